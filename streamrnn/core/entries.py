"""How many entries the fields of a named tuple take where it stands in a table, as its annotations tell."""

from __future__ import annotations

from typing import Any

from streamrnn.core.arrays import Model
from streamrnn.core.declarations import nested_in

NESTED = {group.__name__: group for group in nested_in(Model)}


def fields_of(group: Any) -> list[str]:
    """The annotations of a named tuple as they are written: "int", "float", "F2", "Squares" ..."""
    return [group.__annotations__[name].__forward_arg__ for name in group._fields]


def width(group: Any) -> int:
    """Entries of the table that a named tuple takes."""
    return sum(map(entries, fields_of(group)))


def entries(kind: str) -> int:
    """Entries that a field of this annotation takes."""
    if kind in NESTED:
        return width(NESTED[kind])
    return 1 if kind in {"int", "float"} else 1 + int(kind[1])
