"""zstd where it pays: chunks that look random or compressed already are stored as they are."""

from __future__ import annotations

import zstandard

from conveyor.errors import CorruptObject
from conveyor.stores.data.backend import Bytes

_LEVEL = 1  # three times the speed of the default for a tenth more bytes
_SAMPLE = 4096  # bytes
_WORTH = 0.95  # a result larger than this share is not kept
_PATIENCE = 8  # after so many failures in a row only every eighth chunk is tried
MAX_RAW = 1 << 28  # bytes that a chunk may claim to have; none is written larger


class Compressor:
    """Learns from what it was given last: ten thousand pictures are not tried ten thousand times. One a thread."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(level=_LEVEL)
        self._failed = 0

    def __call__(self, raw: Bytes) -> Bytes:
        """The shorter form of `raw`, or `raw` itself."""
        if self._failed >= _PATIENCE and self._failed % _PATIENCE:
            self._failed += 1
            return raw
        if self._pays(raw):
            packed = self._zstd.compress(raw)
            if len(packed) < len(raw) * _WORTH:
                self._failed = 0
                return packed
        self._failed += 1
        return raw

    def _pays(self, raw: Bytes) -> bool:
        if len(raw) <= 4 * _SAMPLE:
            return len(raw) > 64
        middle = len(raw) // 2
        sample = memoryview(raw)[middle : middle + _SAMPLE]
        return len(self._zstd.compress(sample)) < _SAMPLE * _WORTH


def expand(stored: Bytes, raw: int) -> Bytes:
    """The raw bytes of a stored chunk; never more than `raw`, whatever the frame claims."""
    if len(stored) == raw:
        return stored
    if raw > MAX_RAW:
        raise CorruptObject(f"a chunk claims {raw:,} bytes", hint="The pack was tampered with; see `data verify`.")
    try:
        if zstandard.frame_content_size(stored) != raw:  # what the frame says of itself is believed by the library
            raise zstandard.ZstdError("it has another length than its index says")
        return zstandard.ZstdDecompressor().decompress(stored, max_output_size=raw)
    except zstandard.ZstdError as error:
        raise CorruptObject(f"a chunk cannot be expanded: {error}", hint="See `conveyor data verify`.") from error
