"""How many fields a message has, before it is read: two bytes on the wire can be an empty message, which takes forty
times that in memory."""

from __future__ import annotations

from collections.abc import Iterator

from conveyor.errors import InputRejected

NESTED = (5, 6)  # a request's inputs and outputs: they have lists of messages themselves
_VARINT, _EIGHT, _SIZED, _FOUR = 0, 1, 2, 5  # ways to write a field; a group is written by none that is asked for


def check(body: bytes, most: int) -> None:
    """Raises InputRejected when a ModelInferRequest and its tensors have more fields than `most`, or are cut short."""
    count = 0
    try:
        for number, content in _fields(memoryview(body)):
            count += 1
            if number in NESTED:
                for _ in _fields(content):
                    count += 1
                    _enough(count, most)
            _enough(count, most)
    except IndexError:
        raise InputRejected(
            "the message is no ModelInferRequest: it is cut short",
            hint="build it from the protocol's open_inference_grpc.proto",
        ) from None


def _enough(count: int, most: int) -> None:
    if count > most:
        raise InputRejected(
            f"the request has more than {most} fields", hint="send each tensor once, without parameters of your own"
        )


def _fields(body: memoryview) -> Iterator[tuple[int, memoryview]]:
    at = 0
    while at < len(body):
        tag, at = _number(body, at)
        content, kind = body[:0], tag & 7
        if kind == _VARINT:
            _, at = _number(body, at)
        elif kind == _SIZED:
            size, at = _number(body, at)
            content = body[at : at + size]
            at += size
        elif kind in (_FOUR, _EIGHT):
            at += 4 if kind == _FOUR else 8
        else:
            raise IndexError
        yield tag >> 3, content


def _number(body: memoryview, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends. Raises IndexError when it does not."""
    number = 0
    for shift in range(0, 70, 7):
        byte = body[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise IndexError
