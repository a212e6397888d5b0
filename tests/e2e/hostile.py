"""Files that lie."""

from __future__ import annotations


def varint(number: int) -> bytes:
    """Zigzag and base 128, as Thrift's compact protocol writes an i64."""
    number, out = number << 1, bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def claiming(parquet: bytes, rows: int, claimed: int) -> bytes:
    """The Parquet file with a footer that says `claimed` wherever it said `rows`; the data stay as they are."""
    size = int.from_bytes(parquet[-8:-4], "little")
    data, footer = parquet[: -8 - size], parquet[-8 - size : -8]
    i64 = b"\x16"  # a field of type i64 whose number is one more than the last one's
    assert footer.count(i64 + varint(rows)) >= 2
    footer = footer.replace(i64 + varint(rows), i64 + varint(claimed))
    return data + footer + len(footer).to_bytes(4, "little") + b"PAR1"
