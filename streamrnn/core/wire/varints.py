"""Integers of as many bytes as they need: seven bits to a byte, the lowest first, signs in zigzag (0, -1, 1, -2, ...).

As in Protocol Buffers. Whatever is read of a place is checked against the place where the data end.
"""

from __future__ import annotations

from streamrnn.core.arrays import K1
from streamrnn.core.jit import ZERO, jit

NOWHERE = -1
"""The place behind what cannot be read."""

MOST_BYTES = 9
"""Integers of more are not read: with them the sum of two stays one of 64 bits."""


@jit
def read_varint(data: K1, at: int, stop: int) -> tuple[int, int]:
    """The integer at a place and the place behind it: ``NOWHERE`` from there on, and where it does not end by ``stop``
    or has more than ``MOST_BYTES``."""
    value: int = ZERO
    if at >= 0:
        for place in range(min(stop - at, MOST_BYTES)):
            byte = int(data[at + place])
            value |= (byte & 127) << (7 * place)
            if byte < 128:
                return (value >> 1) ^ -(value & 1), at + place + 1
    return ZERO, NOWHERE


@jit
def past(at: int, size: int, stop: int) -> int:
    """The place behind ``size`` bytes; a size below zero stands for something that is missing, and takes none."""
    if at < 0 or size > stop - at:
        return NOWHERE
    return at + max(size, ZERO)


@jit
def varint_bytes(value: int) -> int:
    """How many bytes an integer takes."""
    rest = (value << 1) ^ (value >> 63)
    count = ZERO + 1
    while not 0 <= rest < 128:
        rest = (rest >> 7) & ((1 << 57) - 1)
        count += 1
    return count


@jit
def write_varint(data: K1, at: int, value: int) -> int:
    """Write an integer; returns the place behind it. There must be room."""
    rest = (value << 1) ^ (value >> 63)
    while not 0 <= rest < 128:
        data[at] = (rest & 127) | 128
        rest = (rest >> 7) & ((1 << 57) - 1)
        at += 1
    data[at] = rest
    return at + 1
