"""Every axis of a learner's arrays is known, as long as its arrays, and says where its entries go."""

from __future__ import annotations

import numpy as np
import pytest

from streamrnn.learner.axes import AXES, Move, index_of, places_on
from streamrnn.learner.learner import Learner
from streamrnn.learner.lowering import sizes_of
from streamrnn.learner.state import MODEL, STREAMS
from tests.support.small_learners import spec

SPECS = [
    spec(),
    spec(fields="ab", dt=True, model={"readout": "rls", "num_layers": 2, "cell": "gru"}),
    spec(known="forecast", horizon=3, baseline=5, model={"readout": "rls"}),
    spec(known="label", event_field="id", label_field="of", label_memory=7),
    spec(classes="abc", model={"readout": "softmax"}),
]


def test_no_axis_is_declared_that_nobody_knows_and_none_is_known_for_nothing() -> None:
    named = {axis for array in (*MODEL.values(), *STREAMS.values()) for axis in array.axes if not axis.isdecimal()}
    assert named == AXES.keys()


@pytest.mark.parametrize("of", SPECS)
def test_arrays_of_a_learner_are_as_long_as_their_axes(of: object) -> None:
    learner = Learner(of, 1)  # type: ignore[arg-type]
    state, sizes = learner.state(), sizes_of(learner.spec)
    for name, array in state.model.items():
        assert array.shape == MODEL[name].shape(sizes), name
    for name, array in state.streams.items():
        assert array.shape[1:] == STREAMS[name].shape(sizes), name


@pytest.mark.parametrize("of", SPECS)
def test_an_axis_that_does_not_grow_keeps_every_entry_where_it_was(of: object) -> None:
    move, sizes = Move(of, of, range(3)), sizes_of(of)  # type: ignore[arg-type]
    for name, axis in AXES.items():
        if axis.places is not None and axis.places != "behind":
            places = places_on(name, move)
            if len(places):
                np.testing.assert_array_equal(places, np.arange(sizes[name]), err_msg=name)


def test_places_of_several_axes_are_combined() -> None:
    move = Move(spec(2, previous=False), spec(4, previous=False), [3, 1])
    target = np.zeros((4, 2, 4))
    target[index_of("a", ("D", "2", "D"), (2, 2, 2), (4, 2, 4), move)] = np.arange(1.0, 9.0).reshape(2, 2, 2)
    assert target[3, :, 3].tolist() == [1.0, 3.0]
    assert target[3, :, 1].tolist() == [2.0, 4.0]
    assert target[1, :, 3].tolist() == [5.0, 7.0]
    assert np.count_nonzero(target) == 8


@pytest.mark.parametrize(
    ("axes", "old", "new", "message"),
    [
        (("what",), (1,), (1,), "'a' has an axis 'what' that nobody has told how to grow; known: P, average, L"),
        (("L",), (3,), (4,), "'a' cannot go from 3 to 4 layers"),
        (("2",), (2,), (3,), "'a' cannot go from 2 to 3 entries"),
    ],
)
def test_an_axis_that_is_unknown_or_cannot_grow_is_named(
    axes: tuple[str, ...], old: tuple[int, ...], new: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        index_of("a", axes, old, new, Move(spec(), spec(), range(3)))


def test_only_axes_that_say_it_can_be_asked_for_places() -> None:
    for axis in ("P", "O", "what"):
        with pytest.raises(ValueError, match=f"axis '{axis}' does not say"):
            places_on(axis, Move(spec(), spec(), range(3)))
