"""The Open Inference Protocol v2 over REST: what a request and an answer look like.

Specification: kserve/open-inference-protocol, "inference_rest.md", and its extension for binary tensors. A tensor's
`data` is kept raw here, because how it must be decoded depends on its `datatype`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from conveyor.errors import InputRejected

MAX_ID = 256  # characters; a prediction id is stored with every row and joined with late labels


class InputParameters(msgspec.Struct):
    binary_data_size: int | None = None  # bytes of this tensor behind the JSON
    shared_memory_region: str | None = None


class InputTensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw(b"")  # JSON, or little-endian bytes when `binary`
    parameters: InputParameters | None = None

    @property
    def binary(self) -> bool:
        return self.parameters is not None and self.parameters.binary_data_size is not None


class OutputParameters(msgspec.Struct):
    binary_data: bool | None = None
    classification: int = 0
    shared_memory_region: str | None = None


class RequestedOutput(msgspec.Struct):
    name: str
    parameters: OutputParameters | None = None


class RequestParameters(msgspec.Struct):
    binary_data_output: bool = False  # for outputs that do not say it themselves


class InferRequest(msgspec.Struct):
    inputs: list[InputTensor]
    id: str | None = None
    outputs: list[RequestedOutput] | None = None
    parameters: RequestParameters | None = None


class BinarySize(msgspec.Struct):
    binary_data_size: int


class OutputTensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: BinarySize | msgspec.UnsetType = msgspec.UNSET


class InferResponse(msgspec.Struct):
    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor]


T = TypeVar("T")
_decoder = msgspec.json.Decoder(InferRequest)
_encoder = msgspec.json.Encoder()


def parse(body: bytes, length: bytes | None = None) -> InferRequest:
    """`length`: what the header Inference-Header-Content-Length says, the bytes of JSON that binary tensors follow.

    Raises InputRejected when the body is not JSON or not an inference request.
    """
    if length is None:
        request = decode(_decoder, body, 'send {"inputs": [{"name", "shape", "datatype", "data"}]}')
    else:
        end = _header_end(length, body)
        request = decode(_decoder, body[:end], 'send {"inputs": [...]}, then the bytes of its binary tensors')
        _distribute(request.inputs, memoryview(body)[end:])
    if request.id is not None:
        check_id(request.id)
    return request


def decode(decoder: msgspec.json.Decoder[T], body: bytes | memoryview, hint: str) -> T:
    """`hint` says what a request of this kind looks like. Raises InputRejected."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InputRejected(f"the body is not an inference request: {error}", hint=hint) from None
    except RecursionError:
        raise InputRejected("the body's JSON is nested too deeply", hint=hint) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputRejected(
            f"the body is not JSON: {error}",
            hint="NaN, Infinity and numbers beyond 64 bits have no form in JSON; send finite numbers",
        ) from None


def check_id(id_: str) -> None:
    """A client's own prediction id. Raises InputRejected."""
    if len(id_) > MAX_ID:
        raise InputRejected(f"the id has {len(id_)} characters", hint=f"send at most {MAX_ID}")


def _header_end(length: bytes, body: bytes) -> int:
    end = int(length) if length.isdigit() and len(length) < 20 else -1
    if not 0 <= end <= len(body):
        raise InputRejected(
            f"Inference-Header-Content-Length is '{length.decode('latin-1')}', the body has {len(body)} bytes",
            hint="give the length of the JSON, which the binary tensors follow",
        )
    return end


def _distribute(inputs: list[InputTensor], binary: memoryview) -> None:
    """Each binary tensor's bytes, in the order of the inputs, become its data."""
    at = 0
    for tensor in inputs:
        size = tensor.parameters.binary_data_size if tensor.parameters else None
        if size is None:
            continue
        if size < 0 or at + size > len(binary):
            raise InputRejected(
                f"tensor '{tensor.name}' has binary_data_size {size}, {len(binary) - at} bytes are left for it",
                hint="send the bytes of all binary tensors behind the JSON, in the order of the inputs",
            )
        if tensor.data:
            raise InputRejected(f"tensor '{tensor.name}' has JSON data and binary data", hint="send one of them")
        tensor.data = msgspec.Raw(binary[at : at + size])
        at += size
    if at != len(binary):
        raise InputRejected(
            f"{len(binary) - at} bytes behind the JSON belong to no tensor",
            hint='say in each binary tensor\'s "parameters" how many are its own: {"binary_data_size": 16}',
        )


def encode(value: Any) -> bytes:
    return _encoder.encode(value)
