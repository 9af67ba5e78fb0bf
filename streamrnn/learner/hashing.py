"""Which bucket a value is hashed into: keyed, so that nobody without the key can aim at one.

With a hash that everybody can compute, whoever chooses values can make up any number that share a bucket with an honest
one, and teach the network about that. So the hash is BLAKE2b under a key (RFC 7693). It must come out the same after a
restart, on every worker and in a replay: the key is therefore no accident but the user's, a text of any length. As what
was learned goes with it, a ``check`` travels with what was learned: it tells whether two keys are the same, and not
what they are (somebody who guesses the text can confirm the guess, so a secret should be random).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, Self

import msgspec

KNOWN_KEY = "streamrnn"
"""What is hashed under where no key is given, as in an estimator. Everybody knows it."""

_CACHED = 4096
_CACHED_LENGTH = 64
"""Values that are remembered with their hash, and their longest: 2 MB at most. What comes often is found there in a
fifth of the time; whoever sends values that never repeat makes everybody pay the microsecond that a hash takes."""


class HashKey(str):
    """A key that is not shown where it stands among other values."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        return super().__new__(cls, str.__str__(text))  # another key's own __str__ would give stars

    def __repr__(self) -> str:
        return f"'{self}'"

    def __str__(self) -> str:
        return "**********"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class Hashing(NamedTuple):
    """What is recorded of the key that something was learned under: its ``check``, None where nothing was hashed; and
    the key, where it is no secret."""

    check: str | None = None
    key: str | None = None

    @classmethod
    def read(cls, recorded: object) -> Hashing:
        """From a file. Raises ValueError for anything else."""
        told = msgspec.convert(recorded, dict[str, str | None])
        return cls(told.get("check"), told.get("key"))

    @classmethod
    def of(cls, check: str | None, *no_secrets: str) -> Hashing:
        """With the one of ``no_secrets`` that it is the check of, if it is one of them."""
        return cls(check, next((key for key in no_secrets if check_of(key) == check), None))


def hasher(key: str) -> Callable[[str], int]:
    """A function of text to 64 bits, evenly spread and not to be foretold without the key."""
    keyed = hashlib.blake2b(digest_size=8, key=_stretched(key), person=b"bucket")

    def compute(text: str) -> int:
        own = keyed.copy()
        own.update(text.encode("utf-8", "surrogatepass"))
        return int.from_bytes(own.digest(), "little")

    cached = lru_cache(_CACHED)(compute)

    def hashed(text: str) -> int:
        return cached(text) if len(text) <= _CACHED_LENGTH else compute(text)

    return hashed


def check_of(key: str) -> str:
    """A digest by which two keys can be compared; the key does not follow from it."""
    return hashlib.blake2b(digest_size=16, key=_stretched(key), person=b"check").hexdigest()


def _stretched(key: str) -> bytes:
    """The text as a key of the length that BLAKE2b takes."""
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=32, person=b"hash key").digest()
