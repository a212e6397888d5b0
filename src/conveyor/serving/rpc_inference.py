"""An inference request over gRPC: from its bytes to the answer's, by way of the same tensors as over HTTP."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

from conveyor.errors import InputRejected, NotFound
from conveyor.serving import binary, rpc_size
from conveyor.serving.inference import Answer, Inference, Scored
from conveyor.serving.model import LoadedModel
from conveyor.serving.protocol import (
    InferRequest,
    InputParameters,
    InputTensor,
    OutputParameters,
    RequestedOutput,
    check_id,
)
from conveyor.serving.rpc_messages import Messages

_CONTENTS = {  # datatype -> the field of typed contents; FP16 has none
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
SMALL_BYTES = 4096  # a message that takes no memory to speak of, whatever is in it
FIELDS = 16  # of a tensor, in a request of many: it has 5, and parameters
BESIDE = 4  # tensors besides the features: all of them as one, key and time
_WIDE = {"int_contents": np.dtype("i4"), "uint_contents": np.dtype("u4")}  # they hold narrower datatypes too


class RpcInference:
    """`answer` may be called from several threads."""

    def __init__(self, inference: Inference, model: LoadedModel, messages: Messages) -> None:
        self._inference = inference
        self._model = model
        self._most = len(model.manifest.signature.features) + BESIDE
        self._fields = FIELDS * (self._most + len(model.output_names))
        self._request, self._response = messages["ModelInferRequest"], messages["ModelInferResponse"]

    def answer(self, body: bytes, *, at: float, mark: str = "", length: bytes | None = None) -> Answer:
        """`body`: a ModelInferRequest; the answer's is a ModelInferResponse, with typed contents where the request had
        them. Raises NotFound for another model, and InputRejected when a request cannot be scored."""
        if len(body) > SMALL_BYTES:
            rpc_size.check(body, self._fields)
        request = parsed(self._request, body)
        known(self._model, request.model_name, request.model_version)
        self._bounded(request)
        scored = self._inference.score(_request(request), at, mark)
        return Answer(scored.prediction, self._encoded(scored, raw=bool(request.raw_input_contents)), scored.skew)

    def _bounded(self, request: Any) -> None:
        for asked, limit, noun in (
            (request.inputs, self._most, "tensors"),
            (request.outputs, len(self._model.output_names), "outputs"),
        ):
            if len(asked) > limit:
                raise InputRejected(f"the request has {len(asked)} {noun}", hint=f"there are at most {limit}")

    def _encoded(self, scored: Scored, *, raw: bool) -> bytes:
        model, prediction = self._model, scored.prediction
        response = self._response(model_name=model.name, model_version=str(model.version), id=prediction.id)
        raw = raw or any(model.outputs[number].datatype not in _CONTENTS for number in scored.wanted)
        for number in scored.wanted:
            declared, output = model.outputs[number], scored.outputs[number]
            tensor = response.outputs.add(name=declared.name, datatype=declared.datatype, shape=output.shape)
            if raw:
                response.raw_output_contents.append(binary.write(output, declared.datatype))
            else:
                values = output.ravel().tolist()
                if declared.datatype == "BYTES":
                    values = [value if isinstance(value, bytes) else str(value).encode() for value in values]
                getattr(tensor.contents, _CONTENTS[declared.datatype]).extend(values)
        return response.SerializeToString()  # type: ignore[no-any-return]


def parsed(message: Any, body: bytes) -> Any:
    """`message`: its class. Raises InputRejected."""
    from google.protobuf.message import DecodeError

    try:
        return message.FromString(body)
    except DecodeError as error:
        raise InputRejected(
            f"the message is no {message.DESCRIPTOR.name}: {error}",
            hint="build it from the protocol's open_inference_grpc.proto",
        ) from None


def known(model: LoadedModel, name: str, version: str) -> None:
    """Raises NotFound unless it is this model that is meant."""
    if name != model.name or version not in ("", str(model.version)):
        asked = f"model '{name[:100]}'" + (f" version '{version[:20]}'" if version else "")
        raise NotFound(f"no {asked} on this server", hint=f"it serves '{model.name}' version {model.version}")


def _request(message: Any) -> InferRequest:
    if message.id:
        check_id(message.id)
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InputRejected(
            f"{len(raw)} raw_input_contents for {len(message.inputs)} inputs", hint="send one for each, in their order"
        )
    inputs = [_input(tensor, raw[at] if raw else None) for at, tensor in enumerate(message.inputs)]
    outputs = [RequestedOutput(output.name, _wishes(output.parameters)) for output in message.outputs]
    return InferRequest(inputs, message.id or None, outputs)


def _input(tensor: Any, raw: bytes | None) -> InputTensor:
    if any(parameter.key == "shared_memory_region" for parameter in tensor.parameters):
        raise InputRejected(f"tensor '{tensor.name}' is in shared memory", hint="send its values in the request")
    if raw is not None and tensor.HasField("contents"):
        raise InputRejected(f"tensor '{tensor.name}' has contents and raw_input_contents", hint="send one of them")
    data = _bytes(tensor) if raw is None else raw
    parameters = InputParameters(binary_data_size=len(data))
    return InputTensor(tensor.name, list(tensor.shape), tensor.datatype, msgspec.Raw(data), parameters)


def _bytes(tensor: Any) -> bytes:
    """Typed contents, as raw ones would be. An unknown datatype is told by whoever reads the tensor."""
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        return b""
    given = [descriptor.name for descriptor, _ in tensor.contents.ListFields()]
    if given != [field]:
        raise InputRejected(
            f"tensor '{tensor.name}' of datatype {tensor.datatype} has {' and '.join(given) or 'no contents'}",
            hint=f"send its values in {field}, or those of all tensors in raw_input_contents",
        )
    values = getattr(tensor.contents, field)
    if len(tensor.shape) <= 2 and len(values) != math.prod(tensor.shape):  # no model takes a longer shape
        raise InputRejected(
            f"tensor '{tensor.name}' has shape {list(tensor.shape)} but {len(values)} values",
            hint="send as many values as the shape says, row by row",
        )
    if field == "bytes_contents":
        texts = bytearray()  # a list of them would take twenty times what the message does
        for value in values:
            texts += len(value).to_bytes(4, "little") + value
        return bytes(texts)
    dtype = binary.DTYPES[tensor.datatype]
    found = np.fromiter(values, _WIDE.get(field, dtype), len(values))
    narrow = found.astype(dtype, copy=False)
    if field in _WIDE and (narrow != found).any():
        raise InputRejected(
            f"tensor '{tensor.name}' has a value that is no {tensor.datatype}",
            hint="every value must have the tensor's datatype",
        )
    return narrow.tobytes()


def _wishes(parameters: Any) -> OutputParameters:
    wishes = OutputParameters()
    for parameter in parameters:
        if parameter.key == "classification":
            wishes.classification = parameter.value.int64_param
        elif parameter.key == "shared_memory_region":
            wishes.shared_memory_region = parameter.value.string_param
    return wishes
