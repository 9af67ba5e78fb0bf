"""An array is declared in one place; allocation, names and bytes follow from that."""

from __future__ import annotations

from math import nan
from typing import NamedTuple

import numpy as np
import pytest

from streamrnn.core.arrays import F1, F2, I2, T3, U1, Model, Streams
from streamrnn.core.declarations import (
    CACHE_LINE,
    DTYPES,
    SEQUENCE,
    STREAM,
    allocate,
    by_name,
    declared,
    nested_in,
    part,
    row_bytes,
    size,
    stored,
)

SIZES = {"A": 2, "B": 3, "other": 5}


class Inner(NamedTuple):
    """A named tuple inside another."""

    own: F2 = stored("A B", growth="tensors")
    length: int = size("A")


class Outer(NamedTuple):
    """One array of several types, and two tuples that share a declaration."""

    first: T3 = stored("B 4 A", cleared=SEQUENCE)
    second: I2 = stored("other", blank=-1, cleared=STREAM)
    third: U1 = stored(learned=False)
    left: Inner = part(Inner)
    right: Inner = part(Inner, A="other")


def test_declarations_are_found_under_the_names_and_axes_of_the_whole() -> None:
    found = declared(Outer)
    assert list(found) == ["first", "second", "third", "left_own", "right_own"]
    assert [array.axes for array in found.values()] == [
        ("B", "4", "A"),
        ("other",),
        (),
        ("A", "B"),
        ("other", "B"),
    ]
    assert [array.letter for array in found.values()] == list("TIUFF")
    assert [array.cleared for array in found.values()] == ["sequence", "stream", "never", "never", "never"]
    assert found["right_own"].growth == "tensors"
    assert [array.learned for array in found.values()] == [True, True, False, True, True]


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_arrays_are_allocated_as_declared(precision: type) -> None:
    made = allocate(Outer, SIZES, precision, rows=(7,))
    shapes = {name: (array.shape, array.dtype) for name, array in by_name(made).items()}
    assert shapes == {
        "first": ((7, 3, 4, 2), precision),
        "second": ((7, 5), np.int64),
        "third": ((7,), np.uint64),
        "left_own": ((7, 2, 3), np.float64),
        "right_own": ((7, 5, 3), np.float64),
    }
    assert (made.left.length, made.right.length) == (2, 5)
    assert not any(array.any() for array in by_name(made).values())
    assert {array.ctypes.data % CACHE_LINE for array in by_name(made).values()} == {0}
    assert row_bytes(Outer, SIZES, precision) == sum(array[0].nbytes for array in by_name(made).values())


def test_a_field_without_a_declaration_is_an_error_that_names_it() -> None:
    class Forgotten(NamedTuple):
        known: F1 = stored("A")
        forgotten: F1 = nan  # type: ignore[assignment]

    for use in (declared, lambda group: allocate(group, SIZES, np.float64)):
        with pytest.raises(TypeError, match=r"Forgotten\.forgotten is not declared; expected stored"):
            use(Forgotten)


def test_an_axis_of_unknown_length_is_an_error_that_names_the_array() -> None:
    class Odd(NamedTuple):
        known: F1 = stored("A")
        odd: F2 = stored("A nope")

    class Around(NamedTuple):
        inner: Inner = part(Inner, A="nope")

    for use in (lambda group: allocate(group, SIZES, np.float64), lambda group: row_bytes(group, SIZES, np.float64)):
        with pytest.raises(ValueError, match="'odd' has an axis 'nope' of unknown length; known: A, B, other"):
            use(Odd)
        with pytest.raises(ValueError, match=r"'inner.*' has an axis 'nope' of unknown length"):
            use(Around)


def test_the_tuples_inside_a_tuple_are_found_at_any_depth() -> None:
    class Around(NamedTuple):
        outer: Outer = part(Outer)

    assert list(nested_in(Around)) == [Outer, Inner, Inner]


@pytest.mark.parametrize("group", [Model, Streams])
def test_every_array_of_a_learner_says_its_type_and_has_the_dimensions_of_its_annotation(group: type) -> None:
    slots = 1 if group is Streams else 0
    for name, array in declared(group).items():
        assert array.letter in {"T", *DTYPES}
        if name in group._fields:  # type: ignore[attr-defined]
            assert slots + len(array.axes) == int(group.__annotations__[name].__forward_arg__[1]), name
