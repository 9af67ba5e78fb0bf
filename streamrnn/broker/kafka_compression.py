"""Which compressed records this process can read: any producer chooses for itself, so all of Kafka's codecs are needed.

The client finds out whether a codec is there when it meets the first batch that needs it; asked here, it is known
before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

PACKAGES = {"gzip": "Python itself", "snappy": "python-snappy", "lz4": "lz4", "zstd": "zstandard"}
"""What the client reads each codec with."""

_PROBE = b"streamrnn " * 10
_NAMED = re.compile(r"\b(gzip|snappy|lz4|zstd)\b", re.IGNORECASE)


def missing_codecs() -> dict[str, str]:
    """The codecs that do not work here, each with the package it needs; empty when all is well."""
    from kafka import codec

    from streamrnn.broker.kafka_unpacking import CODECS

    return {name: PACKAGES[name] for name, unpack in CODECS.values() if not _works(codec, name, unpack)}


def _works(codec: Any, name: str, unpack: Callable[[bytes], Iterable[bytes]]) -> bool:
    # A module of that name may be another package's.
    encode: Callable[[bytes], bytes] | None = getattr(codec, f"{name}_encode")
    decode: Callable[[bytes], bytes] | None = getattr(codec, f"{name}_decode")
    try:
        if encode is None or decode is None or bytes(decode(packed := encode(_PROBE))) != _PROBE:
            return False
        return b"".join(unpack(packed)) == _PROBE  # what records are read with
    except Exception:
        return False


def what_is_missing(missing: dict[str, str]) -> str:
    """One sentence: the codecs, their packages, and what to do."""
    codecs, packages = ", ".join(missing), " ".join(dict.fromkeys(missing.values()))
    return (
        f"records compressed with {codecs} cannot be read here: the package {packages} is missing or damaged, though "
        f"streamrnn depends on it. Install it (pip install {packages})"
    )


def remedy(error: str) -> str:
    """The same, of an error of the client that names a codec."""
    found = _NAMED.search(error)
    name = found[1].lower() if found else ""
    if name not in PACKAGES:
        return f"they are compressed in a way that the client does not know ({error})"
    return what_is_missing({name: PACKAGES[name]})
