"""The subset of CBOR that version 2 of the wire protocol uses."""

import struct

SET_TAG = 258


def encode(value) -> bytes:
    """Canonical: shortest lengths, keys and members in bytewise order."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(encode, value))
    if isinstance(value, (set, frozenset)):
        return head(6, SET_TAG) + encode(sorted(value))
    if isinstance(value, dict):
        pairs = (encode(key) + encode(value[key]) for key in sorted(value))
        return head(5, len(value)) + b"".join(pairs)
    raise TypeError(f"{type(value).__name__} has no form on the wire")


def head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    for code, form in ((24, ">B"), (25, ">H"), (26, ">I"), (27, ">Q")):
        if number < 1 << 8 * struct.calcsize(form):
            return bytes([major << 5 | code]) + struct.pack(form, number)
    raise OverflowError(number)


class Decoder:
    """Reads values one after the other."""

    def __init__(self, data: bytes):
        self.data = data
        self.at = 0

    def __iter__(self):
        while self.at < len(self.data):
            yield self.value()

    def value(self):
        first = self.data[self.at]
        self.at += 1
        major, low = first >> 5, first & 31
        if major == 7:
            return {20: False, 21: True, 22: None}[low]
        if (major, low) == (2, 31):
            return b"".join(iter(self.piece, None))
        number = self.number(low)
        if major == 0:
            return number
        if major == 1:
            return -1 - number
        if major == 2:
            self.at += number
            return self.data[self.at - number : self.at]
        if major == 4:
            return [self.value() for _ in range(number)]
        if major == 5:
            return {self.value(): self.value() for _ in range(number)}
        if (major, number) == (6, SET_TAG):
            return set(self.value())
        raise ValueError(f"byte {first:#x} begins no value")

    def piece(self):
        """A piece of a byte string without a length, or None at its end."""
        if self.data[self.at] == 0xFF:
            self.at += 1
            return None
        return self.value()

    def number(self, low: int) -> int:
        if low < 24:
            return low
        form = {24: ">B", 25: ">H", 26: ">I", 27: ">Q"}[low]
        (number,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return number
