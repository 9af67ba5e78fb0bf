"""Two fingerprints travel in a manifest, and this is how they are made and compared.

``configuration`` is all that changes what is learned: whether a difference can be taken up is the job's to say.
``build`` is versions, CPU target and C library: a difference may change last bits, or none (``core`` says when), and is
allowed, so that rolling deploys work; whoever restores reports it.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from streamrnn.errors import CheckpointError, EarlierFormat
from streamrnn.version import __version__

_ABSENT = object()


def build_info(**extra: str) -> dict[str, str]:
    """What may decide bits besides the configuration; ``extra`` adds what the caller knows: what made the kernels."""
    return {
        "streamrnn": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip(),
        **extra,
    }


def as_json(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """``configuration`` as it will look when read back: tuples as lists, structs as dicts, keys as text."""
    try:
        value = json.loads(json.dumps(msgspec.to_builtins(dict(configuration), str_keys=True), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the configuration cannot be stored as JSON: {error}") from error
    return dict(value)


def canonical_sha256(value: object) -> str:
    """SHA-256 over ``value`` as JSON with sorted keys and no white space."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def refuse_earlier(what: str, told: object, readable: int) -> None:
    """Raise EarlierFormat where a file tells that it is of a format before the one that is ``readable``."""
    found = told.get("format") if isinstance(told, dict) else None
    if isinstance(told, dict) and type(found) is int and 1 <= found < readable:
        build = told.get("build")
        by = f", {build.get('streamrnn')!r}" if isinstance(build, dict) else ""
        raise EarlierFormat(
            f"{what} has format {found}, this version of streamrnn ({__version__}) reads {readable}; an earlier version"
            f"{by} wrote it, and nothing is known to be wrong with it: go back to that one, or learn afresh (see "
            "Upgrading in the handbook)"
        )


def changes(old: object, new: object) -> list[str]:
    """What differs between two nested values, one "path: old -> new" line for each leaf, as JSON shows it.

    >>> changes({"model": {"cell": "gru"}, "q": [1]}, {"model": {"cell": "lstm"}, "q": [1.0, 2]})
    ['model.cell: "gru" -> "lstm"', 'q[1]: (absent) -> 2']
    """
    before, after = dict(_leaves(old)), dict(_leaves(new))
    lines = []
    for path in sorted(before.keys() | after.keys()):
        was, now = before.get(path, _ABSENT), after.get(path, _ABSENT)
        # True == 1 in Python, not in a configuration; 1 == 1.0 in both.
        if was != now or isinstance(was, bool) != isinstance(now, bool):
            lines.append(f"{path or '(everything)'}: {_shown(was)} -> {_shown(now)}")
    return lines


def _leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every leaf of nested dicts and lists with its path, e.g. ("features[2].encoder", "onehot")."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


def _shown(value: object) -> str:
    return "(absent)" if value is _ABSENT else json.dumps(value)
