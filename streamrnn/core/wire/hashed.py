"""The hash by which Kafka's clients choose the partition of a key: murmur2, in the variant of Java's client.

Austin Appleby's MurmurHash2 with a seed of its own (``org.apache.kafka.common.utils.Utils.murmur2``).
"""

from __future__ import annotations

from typing import NamedTuple

from streamrnn.core.arrays import I1, K1
from streamrnn.core.jit import internal, jit

SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
WORD = 0xFFFFFFFF


class Hashed(NamedTuple):
    """Keys, none of which is missing, and what becomes of them."""

    keys: K1  # the buffer is read, never written
    start: I1  # (n,)
    end: I1
    hashes: I1


@internal
def hash_keys(of: Hashed) -> None:
    """Write the hash of each key, its highest bit cleared."""
    for i in range(len(of.hashes)):
        of.hashes[i] = _murmur2(of.keys, of.start[i], of.end[i]) & 0x7FFFFFFF


@jit
def _murmur2(data: K1, start: int, end: int) -> int:
    at, mixed = start, (SEED ^ (end - start)) & WORD
    while end - at >= 4:
        word = int(data[at]) | int(data[at + 1]) << 8 | int(data[at + 2]) << 16 | int(data[at + 3]) << 24
        word = (word * MULTIPLIER) & WORD
        word = ((word ^ (word >> 24)) * MULTIPLIER) & WORD
        mixed = ((mixed * MULTIPLIER) & WORD) ^ word
        at += 4
    if at < end:
        for place in range(end - at):
            mixed ^= int(data[at + place]) << (8 * place)
        mixed = (mixed * MULTIPLIER) & WORD
    mixed = ((mixed ^ (mixed >> 13)) * MULTIPLIER) & WORD
    return mixed ^ (mixed >> 15)
