"""Clearing what is kept of a stream, when its sequence ends or another stream takes its slot.

What is cleared, and with what, stands with the declaration of each array (``arrays.Streams``); the functions here are
put together from that when the module is loaded. The fields of a named tuple have different types, so to Numba a
field's number must be a constant: hence a function for each array, each calling the one before it. All of them are
inlined.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from streamrnn.core.arrays import Streams
from streamrnn.core.declarations import SEQUENCE, STREAM, Cleared, declared, nested_in
from streamrnn.core.jit import internal

Clearing = Callable[[Any, int], None]


@internal
def nothing(streams: Any, slot: int) -> None:
    """The beginning of a chain."""


def clearing(group: Any, when: Cleared, first: Clearing = nothing) -> Clearing:
    """A kernel ``(streams, slot)`` that blanks the arrays of ``group`` that are cleared then, after ``first``.

    Raises TypeError where one named tuple is inside the other: what is kept per stream is a flat row of arrays.
    """
    if nested := [inner.__name__ for inner in nested_in(group)]:
        raise TypeError(f"{group.__name__} holds {', '.join(nested)}; what is kept per stream has no part(...)")
    chosen = ((name, array.blank) for name, array in declared(group).items() if array.cleared == when)
    return functools.reduce(_then, ((group._fields.index(name), blank) for name, blank in chosen), first)


def _then(before: Clearing, what: tuple[int, float]) -> Clearing:
    field, blank = what

    @internal
    def cleared(streams: Any, slot: int) -> None:
        before(streams, slot)
        array = streams[field]
        array[slot] = array.dtype.type(blank)

    return cleared


reset_sequence = clearing(Streams, SEQUENCE)
"""Back to the zero state with an empty window; the stream's target statistics stay."""

forget_stream = clearing(Streams, STREAM, first=reset_sequence)
"""Everything about the slot's previous stream."""
