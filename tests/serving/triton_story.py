"""What a user of NVIDIA's `tritonclient` does, unmodified. Run by its own Python; prints what it saw as JSON.

`python triton_story.py URL ROWS.npy`; rows are float32 [n, 4].
"""

import json
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

url, path = sys.argv[1:]
rows = np.load(path)
names = ("amount", "night", "count", "risk")
client = triton.InferenceServerClient(url)
seen: dict[str, object] = {
    "live": client.is_server_live(),
    "ready": client.is_server_ready(),
    "model ready": client.is_model_ready("fraud") and client.is_model_ready("fraud", "3"),
    "other ready": client.is_model_ready("froud"),
    "extensions": client.get_server_metadata()["extensions"],
    "index": client.get_model_repository_index(),
    "inputs": client.get_model_metadata("fraud")["inputs"],
}


def tensor(name: str, values: np.ndarray, datatype: str, binary: bool = True) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values, binary_data=binary)
    return made


def told(result: triton.InferResult) -> dict[str, object]:
    outputs = {name: result.as_numpy(name) for name in ("label", "probabilities")}
    return {name: None if values is None else values.tolist() for name, values in outputs.items()}


seen["binary"] = told(client.infer("fraud", [tensor("input", rows, "FP32")], request_id="triton"))
seen["json"] = told(
    client.infer(
        "fraud",
        [tensor("input", rows, "FP32", binary=False)],
        outputs=[triton.InferRequestedOutput(name, binary_data=False) for name in ("label", "probabilities")],
    )
)
types = ("FP64", "FP32", "FP64", "FP32")
columns = [
    tensor(name, rows[:, [at]].astype("f8" if types[at] == "FP64" else "f4"), types[at], binary=at != 2)
    for at, name in enumerate(names)
]
keys = np.array([f"ö{row}".encode() for row in range(len(rows))], dtype=np.object_)
times = np.arange(len(rows), dtype=np.int64)
columns += [tensor("order", keys, "BYTES"), tensor("at", times, "INT64")]
mixed = [triton.InferRequestedOutput("probabilities"), triton.InferRequestedOutput("label", binary_data=False)]
seen["columns"] = told(client.infer("fraud", columns, outputs=mixed, request_id="columns"))
refused = []
for inputs, more in (
    ([tensor("input", rows[:, :3], "FP32")], {}),
    ([tensor("input", np.full((1, 4), np.nan, np.float32), "FP32")], {}),
    ([tensor("input", rows, "FP32")], {"outputs": [triton.InferRequestedOutput("label", class_count=2)]}),
    ([tensor("input", rows, "FP32")], {"request_compression_algorithm": "gzip"}),
):
    try:
        client.infer("fraud", inputs, **more)
    except InferenceServerException as error:
        refused.append(f"{error.status()}: {error.message()}")
seen["refused"] = refused
print(json.dumps(seen))
