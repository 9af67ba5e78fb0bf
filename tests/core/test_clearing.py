"""A stream's row is cleared array by array as declared, and no other row is touched."""

from __future__ import annotations

from math import nan
from typing import Any, NamedTuple

import numpy as np
import pytest

from streamrnn.core import clearing
from streamrnn.core.arrays import F2, I1, T3, U2, Streams
from streamrnn.core.declarations import NEVER, SEQUENCE, STREAM, Cleared, allocate, by_name, declared, part, stored
from streamrnn.core.jit import jit
from streamrnn.learner.lowering import sizes_of
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec

SPEC = LearnerSpec(
    n_features=2,
    target=TargetSpec(fields=("y", "z"), known="label", event_field="id", label_field="of", label_memory=3),
    model=ModelSpec(hidden_size=3, readout="rls", lags=2),
    learning=LearningSpec(k1=2, k2=4),
)


class Fewer(NamedTuple):
    """Arrays that no kernel knows."""

    a: T3 = stored("2 3", blank=nan, cleared=SEQUENCE)
    b: F2 = stored("2", blank=0.5, cleared=STREAM)
    c: I1 = stored(blank=-7, cleared=STREAM)
    d: U2 = stored("4", cleared=SEQUENCE)
    e: F2 = stored("2", blank=9.0)


def compiled(clear: clearing.Clearing) -> clearing.Clearing:
    """Callable from Python, which kernels are not."""

    @jit
    def call(streams: Any, slot: int) -> None:
        clear(streams, slot)

    return call


def check(group: type, clear: clearing.Clearing, when: set[Cleared]) -> None:
    streams = allocate(group, sizes_of(SPEC), np.float32, rows=(3,))
    for array in by_name(streams).values():
        array[...] = 3
    compiled(clear)(streams, 1)
    for name, declaration in declared(group).items():
        array = by_name(streams)[name]
        expected = np.full_like(array, 3)
        if declaration.cleared in when:
            expected[1] = declaration.blank
        np.testing.assert_array_equal(array, expected, err_msg=name)


def test_the_end_of_a_sequence_clears_what_is_declared_to_end_with_it() -> None:
    check(Streams, clearing.reset_sequence, {SEQUENCE})


def test_a_new_stream_in_a_slot_clears_everything_that_is_ever_cleared() -> None:
    check(Streams, clearing.forget_stream, {SEQUENCE, STREAM})


def test_a_tuple_inside_what_is_kept_per_stream_is_refused() -> None:
    class Nested(NamedTuple):
        a: F2 = stored("2", cleared=SEQUENCE)
        inner: Fewer = part(Fewer)

    with pytest.raises(TypeError, match=r"Nested holds Fewer; what is kept per stream has no part\("):
        clearing.clearing(Nested, SEQUENCE)


@pytest.mark.parametrize("when", [SEQUENCE, STREAM, NEVER])
def test_an_array_is_cleared_by_its_declaration_alone(when: Cleared) -> None:
    check(Fewer, clearing.clearing(Fewer, when), {when})
