"""Observations: what a model server writes for every prediction request, and what monitoring reads."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Prediction:
    """One request's rows. Arrays are raw little-endian bytes, so that logging costs no conversion.

    `id` is the prediction id; row i of a batch is `id` alone when there is one row, else `id/i`.
    """

    id: str
    at: float  # wall clock, seconds since the epoch
    model: str
    version: int
    rows: int
    features: bytes  # float32 [rows, features], row-major
    scores: bytes  # float32 [rows]
    keys: tuple[str, ...] = ()
    times: tuple[int, ...] = ()  # event times, microseconds since the epoch
    mark: str = ""  # "", "shadow"
    pair: str = ""  # while a copy goes to a shadow: the rollout and an id, equal in both versions' logs


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Prediction)


def encode(prediction: Prediction) -> bytes:
    """A frame: 4 bytes little-endian length, then MessagePack. A torn last frame is recognised by its length."""
    body = _encoder.encode(prediction)
    return len(body).to_bytes(4, "little") + body


def decode_all(raw: bytes) -> tuple[list[Prediction], int]:
    """The whole frames in `raw`, and how many bytes they took; a torn tail is left for a later read."""
    found: list[Prediction] = []
    at = 0
    while at + 4 <= len(raw):
        size = int.from_bytes(raw[at : at + 4], "little")
        if size == 0 or at + 4 + size > len(raw):  # zeros are what a power loss can leave past the last sync
            break
        found.append(_decoder.decode(raw[at + 4 : at + 4 + size]))
        at += 4 + size
    return found, at
