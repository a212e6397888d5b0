"""The limit: granian, msgspec and onnxruntime and nothing else; no checks, no observations."""

import os

import msgspec
import numpy as np
import onnxruntime as ort


class Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[float]


class Asked(msgspec.Struct):
    inputs: list[Tensor]


options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(os.environ["BENCH_MODEL"] + "/model.onnx", options)
decoder, encoder = msgspec.json.Decoder(Asked), msgspec.json.Encoder()
HEADERS = [("content-type", "application/json")]


async def app(scope, protocol) -> None:  # type: ignore[no-untyped-def]
    if scope.path == "/ready":
        protocol.response_empty(200, [])
        return
    tensor = decoder.decode(await protocol()).inputs[0]
    rows = np.array(tensor.data, np.float32).reshape(tensor.shape)
    label, probabilities = session.run(None, {"input": rows})
    outputs = [
        {"name": "label", "shape": list(label.shape), "datatype": "INT64", "data": label.tolist()},
        {
            "name": "probabilities",
            "shape": list(probabilities.shape),
            "datatype": "FP32",
            "data": probabilities.ravel().tolist(),
        },
    ]
    protocol.response_bytes(200, HEADERS, encoder.encode({"model_name": "forest", "outputs": outputs}))
