"""The Open Inference Protocol v2 over REST: what a request and an answer look like.

Specification: kserve/open-inference-protocol, "inference_rest.md". A tensor's `data` is kept as raw JSON here, because
how it must be decoded depends on its `datatype`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from conveyor.errors import InputRejected

MAX_ID = 256  # characters; a prediction id is stored with every row and joined with late labels


class InputTensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw = msgspec.Raw(b"")


class RequestedOutput(msgspec.Struct):
    name: str


class InferRequest(msgspec.Struct):
    inputs: list[InputTensor]
    id: str | None = None
    outputs: list[RequestedOutput] | None = None


class OutputTensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class InferResponse(msgspec.Struct):
    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor]


_decoder = msgspec.json.Decoder(InferRequest)
_encoder = msgspec.json.Encoder()


def parse(body: bytes) -> InferRequest:
    """Raises InputRejected when the body is not JSON or not an inference request."""
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise InputRejected(
            f"the body is not an inference request: {error}",
            hint='send {"inputs": [{"name", "shape", "datatype", "data"}]}',
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputRejected(
            f"the body is not JSON: {error}",
            hint="NaN, Infinity and numbers beyond 64 bits have no form in JSON; send finite numbers",
        ) from None
    if request.id is not None and len(request.id) > MAX_ID:
        raise InputRejected(f"the id has {len(request.id)} characters", hint=f"send at most {MAX_ID}")
    return request


def encode(value: Any) -> bytes:
    return _encoder.encode(value)
