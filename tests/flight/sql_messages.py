"""Messages of Flight SQL as bytes, written and read by hand: what a client without a library sends."""

from __future__ import annotations

__all__ = ["Fields", "flag", "packed", "parsed", "text", "unpacked"]

TYPES = "type.googleapis.com/arrow.flight.protocol.sql."
VARINT, BYTES = 0, 2

Fields = dict[int, list[bytes | int]]


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(number: int, value: bytes | str) -> bytes:
    """A field of a text, of bytes or of a message."""
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(data)) + data


def flag(number: int, value: int) -> bytes:
    """A field of a number, a flag or an enumeration."""
    return varint(number << 3 | VARINT) + varint(value)


def packed(name: str, *fields: bytes) -> bytes:
    """A message in an `Any`."""
    return text(1, TYPES + name) + text(2, b"".join(fields))


def parsed(data: bytes) -> Fields:
    """The fields of a message, by number."""
    found: Fields = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = number()
        value: bytes | int = number()
        assert key & 7 in {VARINT, BYTES}
        if key & 7 == BYTES:
            end = at + int(value)
            value, at = data[at:end], end
        found.setdefault(key >> 3, []).append(value)
    return found


def unpacked(name: str, data: bytes) -> Fields:
    """The fields of a message in an `Any`."""
    fields = parsed(data)
    assert fields[1] == [(TYPES + name).encode()]
    (inner,) = fields.get(2, [b""])
    assert isinstance(inner, bytes)
    return parsed(inner)
