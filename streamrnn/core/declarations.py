"""How an array of a learner is declared, in the one place where all that happens to it is told.

A declaration stands where the default of a named tuple's field would, behind the annotation that gives the array's type
and number of dimensions:

    class Streams(NamedTuple):
        state: T4 = stored("L C H", cleared=SEQUENCE)

Loops over ``declared(Streams)`` do the rest: allocation (``allocate``), clearing (``clearing``), growth, checks of a
saved state and bytes per stream (``learner``). An axis is a letter or name that ``learner.axes`` explains, or a number.
A field without a declaration is an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Group = TypeVar("Group")

NEVER: Literal["never"] = "never"
SEQUENCE: Literal["sequence"] = "sequence"
STREAM: Literal["stream"] = "stream"
Cleared = Literal["never", "sequence", "stream"]
"""When a stream's row is cleared: never (nothing reads what another stream left), when its sequence ends, or when its
slot is given to another stream. What goes with a sequence goes with the stream too."""

Growth = Literal[
    "places", "tensors", "weights", "second moments", "root", "trace", "last values", "rows", "outputs in use"
]
"""How an array gets into a larger learner: the names of ``learner.growth.RULES``."""

DTYPES: Mapping[str, type] = {"F": np.float64, "I": np.int64, "U": np.uint64, "B": np.bool_, "K": np.uint8}
"""Types by the letter of an annotation; T, the model's precision, is the learner's choice."""


class Stored(NamedTuple):
    """One array: see ``stored``."""

    axes: tuple[str, ...]
    blank: float
    cleared: Cleared
    growth: Growth
    learned: bool
    name: str = ""
    letter: str = ""

    def dtype(self, precision: type) -> type:
        """The type of its entries where the model's precision is this."""
        return precision if self.letter == "T" else DTYPES[self.letter]

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Its shape where the axes have these sizes. Raises ValueError for an axis that is not among them."""
        return tuple(int(axis) if axis.isdecimal() else _length(self.name, axis, sizes) for axis in self.axes)


class Part(NamedTuple):
    """A named tuple inside another: see ``part``."""

    group: type
    renamed: dict[str, str]


class Size(NamedTuple):
    """A number that is the length of an axis: see ``size``."""

    axis: str


def stored(
    axes: str = "", *, blank: float = 0.0, cleared: Cleared = NEVER, growth: Growth = "places", learned: bool = True
) -> Any:
    """Declare an array.

    Parameters
    ----------
    axes
        Its axes separated by spaces. Of what is kept per stream the slot comes first and is not named.
    blank
        What it is cleared with, what a stream never seen has, and what a new place starts with when an axis grows.
    cleared
        When a stream's row is cleared.
    growth
        Who moves it into a larger learner: "places" copies each entry to its place on every axis; other names are
        rules of ``learner.growth``.
    learned
        Whether it belongs to what was learned; else it tells of the log so far, and a warm start leaves it behind.
    """
    return Stored(tuple(axes.split()), blank, cleared, growth, learned)


def part(group: type, **renamed: str) -> Any:
    """Declare a named tuple inside another; ``renamed`` are axes that have another name there."""
    return Part(group, renamed)


def size(axis: str) -> Any:
    """Declare a number: the length of an axis."""
    return Size(axis)


def declared(group: Any) -> dict[str, Stored]:
    """The arrays of a named tuple by name; those of a tuple inside it have its name before theirs."""
    found: dict[str, Stored] = {}
    for name in _fields(group):
        what = _declaration(group, name)
        if isinstance(what, Stored):
            found[name] = what._replace(name=name, letter=group.__annotations__[name].__forward_arg__[0])
        elif isinstance(what, Part):
            for inner, array in declared(what.group).items():
                axes = tuple(what.renamed.get(axis, axis) for axis in array.axes)
                found[f"{name}_{inner}"] = array._replace(name=f"{name}_{inner}", axes=axes)
    return found


def by_name(values: Any) -> dict[str, Array]:
    """The arrays in a named tuple under the names of ``declared``."""
    found: dict[str, Array] = {}
    for name, value in values._asdict().items():
        what = _declaration(values, name)
        if isinstance(what, Stored):
            found[name] = value
        elif isinstance(what, Part):
            found |= {f"{name}_{inner}": array for inner, array in by_name(value).items()}
    return found


CACHE_LINE = 64


def zeros(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """As ``np.zeros``, but beginning at a cache line: vectors that straddle two cost up to two fifths of a product."""
    kind = np.dtype(dtype)
    size = math.prod((shape,) if isinstance(shape, int) else shape) * kind.itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % CACHE_LINE
    return memory[start : start + size].view(kind).reshape(shape)


def allocate(group: type[Group], sizes: Mapping[str, int], precision: type, rows: tuple[int, ...] = ()) -> Group:
    """A named tuple of zeros; ``rows`` come before the declared axes.

    Zeros alone, since the system hands out memory of zeros only when it is written to.
    """
    found = declared(group)
    values: list[Any] = []
    for name in _fields(group):
        what = _declaration(group, name)
        if isinstance(what, Stored):
            values.append(zeros((*rows, *found[name].shape(sizes)), found[name].dtype(precision)))
        elif isinstance(what, Part):
            inside = {**sizes, **{axis: _length(name, other, sizes) for axis, other in what.renamed.items()}}
            values.append(allocate(what.group, inside, precision, rows))
        else:
            values.append(_length(name, what.axis, sizes))
    return group(*values)


def row_bytes(group: Any, sizes: Mapping[str, int], precision: type) -> int:
    """Bytes that one row of all arrays takes."""
    return sum(
        math.prod(array.shape(sizes)) * np.dtype(array.dtype(precision)).itemsize for array in declared(group).values()
    )


def nested_in(group: type) -> Iterator[type]:
    """The named tuples inside a named tuple, at any depth."""
    for name in _fields(group):
        what = _declaration(group, name)
        if isinstance(what, Part):
            yield what.group
            yield from nested_in(what.group)


def _length(name: str, axis: str, sizes: Mapping[str, int]) -> int:
    if axis not in sizes:
        raise ValueError(f"{name!r} has an axis {axis!r} of unknown length; known: {', '.join(sizes)}")
    return sizes[axis]


def _fields(group: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = group._fields
    return names


def _declaration(group: Any, name: str) -> Stored | Part | Size:
    what = group._field_defaults.get(name)
    if not isinstance(what, Stored | Part | Size):
        owner = group.__name__ if isinstance(group, type) else type(group).__name__
        raise TypeError(f"{owner}.{name} is not declared; expected stored(...), part(...) or size(...) behind its type")
    return what
