"""What a user of NVIDIA's `tritonclient` does over gRPC, unmodified. Run by its own Python; prints what it saw as JSON.

`python triton_grpc_story.py URL ROWS.npy`; rows are float32 [n, 4].
"""

import json
import sys
from collections.abc import Callable

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import InferenceServerException

url, path = sys.argv[1:]
rows = np.load(path)
client = triton.InferenceServerClient(url)
seen: dict[str, object] = {
    "live": client.is_server_live(),
    "ready": client.is_server_ready(),
    "model ready": client.is_model_ready("fraud") and client.is_model_ready("fraud", "3"),
    "other ready": client.is_model_ready("froud") or client.is_model_ready("fraud", "4"),
    "server": client.get_server_metadata(as_json=True),
    "index": client.get_model_repository_index(as_json=True),
    "model": client.get_model_metadata("fraud", as_json=True),
}


def tensor(name: str, values: np.ndarray, datatype: str) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


def told(result: triton.InferResult) -> dict[str, object]:
    outputs = {name: result.as_numpy(name) for name in ("label", "probabilities")}
    return {name: None if values is None else values.tolist() for name, values in outputs.items()}


seen["raw"] = told(client.infer("fraud", [tensor("input", rows, "FP32")], request_id="triton"))
seen["one"] = told(client.infer("fraud", [tensor("input", rows[:1], "FP32")], model_version="3"))
keys = np.array([f"ö{row}".encode() for row in range(len(rows))], dtype=np.object_)
columns = [tensor(name, rows[:, [at]], "FP32") for at, name in enumerate(("amount", "night", "count", "risk"))]
columns += [tensor("order", keys, "BYTES"), tensor("at", np.arange(len(rows), dtype=np.int64), "INT64")]
asked = [triton.InferRequestedOutput("probabilities"), triton.InferRequestedOutput("label")]
seen["columns"] = told(client.infer("fraud", columns, outputs=asked, request_id="columns"))

stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(url))


def request(datatype: str = "FP32", shape: tuple[int, ...] = (2, 4), **contents: object) -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name="fraud")
    made.inputs.add(name="input", datatype=datatype, shape=shape, contents=pb.InferTensorContents(**contents))
    return made


typed = stub.ModelInfer(request(fp32_contents=rows[:2].ravel().tolist()))
seen["typed"] = {
    "label": list(typed.outputs[0].contents.int64_contents),
    "probabilities": np.reshape(typed.outputs[1].contents.fp32_contents, typed.outputs[1].shape).tolist(),
}
whole = stub.ModelInfer(request("INT8", (1, 4), int_contents=[1, 0, -2, 3]))
seen["whole"] = {"id": whole.id, "version": whole.model_version, "label": len(whole.outputs[0].contents.int64_contents)}


def refused(ask: Callable[[], object]) -> str:
    try:
        ask()
    except InferenceServerException as error:
        return f"{error.status()}: {error.message()}"
    except grpc.RpcError as error:
        return f"{error.code()}: {error.details()}"
    return "not refused"


four = [1.0, 2.0, 3.0, 4.0]
both = request(shape=(1, 4), fp32_contents=four)
both.raw_input_contents.append(b"\0" * 16)
many = request(shape=(1, 4))
many.raw_input_contents.extend([b"\0" * 16] * 2)
shared = request(shape=(1, 4), fp32_contents=four)
shared.inputs[0].parameters["shared_memory_region"].string_param = "region"
label = triton.InferRequestedOutput("label", class_count=2)
seen["refused"] = [
    refused(ask)
    for ask in (
        lambda: client.infer("fraud", [tensor("input", rows[:, :3], "FP32")]),
        lambda: client.infer("fraud", [tensor("input", np.full((1, 4), np.nan, np.float32), "FP32")]),
        lambda: client.infer("fraud", [tensor("input", rows, "FP32")], outputs=[label]),
        lambda: client.infer("fraud", [tensor("input", rows, "FP32")], compression_algorithm="gzip"),
        lambda: client.infer("froud", [tensor("input", rows, "FP32")]),
        lambda: client.infer("fraud", [tensor("input", rows, "FP32")], model_version="4"),
        lambda: client.infer("fraud", [tensor("input", np.zeros((70_000, 4), np.float32), "FP32")]),
        lambda: client.get_model_metadata("froud"),
        lambda: client.load_model("fraud"),
        lambda: stub.ModelInfer(both),
        lambda: stub.ModelInfer(many),
        lambda: stub.ModelInfer(shared),
        lambda: stub.ModelInfer(request(shape=(1, 4), fp64_contents=four)),
        lambda: stub.ModelInfer(request(fp32_contents=four)),
        lambda: stub.ModelInfer(request("INT8", (1, 4), int_contents=[1, 2, 3, 400])),
        lambda: stub.ModelInfer(request("FP8", (1, 4))),
        lambda: stub.ModelInfer(pb.ModelInferRequest(model_name="fraud")),
        lambda: stub.ModelInfer(pb.ModelInferRequest(model_name="fraud", id="ö" * 300)),
    )
]
print(json.dumps(seen))
