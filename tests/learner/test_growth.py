"""What was learned goes into a larger learner, entry by entry to its place.

A learner that took over says the same as the one it took over from, and learns the same where what is new to it is
missing. What does not fit is named, all of it, before anything is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
from msgspec.structs import replace as with_fields

import streamrnn.learner.growth
import streamrnn.learner.state
from streamrnn import Block, Learner, LearnerSpec
from streamrnn.core.arrays import I2, T3
from streamrnn.core.declarations import SEQUENCE, Growth, allocate, by_name, declared, stored
from streamrnn.learner.axes import Move
from streamrnn.learner.changes import refusals
from streamrnn.learner.growth import RULES, carry_over, grown, without_elapsed_time
from streamrnn.learner.lowering import sizes_of
from streamrnn.learner.state import MODEL, STREAMS
from streamrnn.storage.model_file import ModelFile, load_model, save_model
from tests.support.learners import bits_of, differing
from tests.support.small_learners import CELLS, STREAMS_SEEN, block, spec

EXACT = {"rtol": 1e-11, "atol": 1e-11}
BASELINES = (None, "last", 5)


def widened(of: Block, spec: LearnerSpec, features: Sequence[int]) -> Block:
    """The same events as a larger learner gets them, what they lack being missing."""
    x, y = np.full((len(of), spec.n_features), np.nan), np.full((len(of), spec.n_targets), np.nan)
    x[:, features] = of.x
    y[:, : of.y.shape[1]] = of.y
    return replace(of, x=x, y=y)


def taken_over(old: LearnerSpec, new: LearnerSpec, features: Sequence[int], **options: Any) -> tuple[Learner, Learner]:
    """A learner of 200 events and the one that took over from it."""
    source, target = Learner(old, 1), Learner(new, 2)
    source.process(block(old, 200))
    carry_over(source.state(), target, features, **options)
    return source, target


def assert_alike(old: LearnerSpec, new: LearnerSpec, features: Sequence[int], *, afterwards: bool = True) -> None:
    """Both predict the same, at once and, where nothing new is known, while they go on learning."""
    source, target = taken_over(old, new, features)
    rest = block(old, 60, start=200)
    more = widened(rest, new, features)
    outputs = source.spec.n_outputs
    expected = source.predict(rest).value
    np.testing.assert_allclose(target.predict(more).value[:, :outputs], expected, **EXACT)
    assert np.ptp(expected, axis=0).max() > 1e-3
    if afterwards:
        expected = source.process(rest).value
        np.testing.assert_allclose(target.process(more).value[:, :outputs], expected, **EXACT)


# ---- what may grow


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("readout", ["linear", "rls"])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "momentum", "sgd"])
@pytest.mark.parametrize("dt", [False, True])
def test_features_go_to_their_places_and_new_ones_change_nothing(
    cell: str, readout: str, optimizer: str, dt: bool
) -> None:
    model, learning = {"cell": cell, "readout": readout, "num_layers": 2}, {"optimizer": optimizer}
    old, new = (spec(n, dt=dt, model=model, learning=learning) for n in (3, 5))
    assert_alike(old, new, [3, 0, 4])


@pytest.mark.parametrize("readout", ["linear", "rls"])
@pytest.mark.parametrize("baseline", BASELINES)
def test_features_of_a_forecaster_go_to_their_places(readout: str, baseline: str | int | None) -> None:
    old, new = (spec(n, model={"readout": readout}, known="forecast", horizon=3, baseline=baseline) for n in (3, 5))
    assert_alike(old, new, [3, 0, 4])


def test_features_of_a_classifier_go_to_their_places() -> None:
    old, new = (spec(n, classes="abc", model={"readout": "softmax"}) for n in (3, 4))
    assert_alike(old, new, [2, 1, 0])


@pytest.mark.parametrize("readout", ["linear", "rls"])
def test_an_input_of_elapsed_time_joins_without_changing_a_prediction(readout: str) -> None:
    old, new = (spec(3, dt=dt, model={"readout": readout}) for dt in (False, True))
    assert_alike(old, new, [0, 1, 2], afterwards=False)
    source, target = taken_over(old, new, [0, 1, 2])
    rest = block(old, 60, start=200)
    assert np.abs(target.process(rest).value - source.process(rest).value).max() > 1e-9  # it is learned from


@pytest.mark.parametrize("readout", ["linear", "rls"])
def test_a_new_feature_is_learned_from(readout: str) -> None:
    # Nothing else tells the target, and the deviation of its noise is 0.1.
    model = {"readout": readout, "dtype": "float32"}
    old, new = (spec(n, previous=False, model=model) for n in (1, 2))
    _, target = taken_over(old, new, [0])
    rng = np.random.default_rng(5)
    more = replace(block(new, 2_000, start=200), x=rng.normal(size=(2_000, 2)))
    more = replace(more, y=3.0 * more.x[:, 1:] + 0.1 * rng.normal(size=(2_000, 1)))
    error = np.abs(target.process(more).value - more.y)[1_500:].mean()
    assert error < (0.15 if readout == "rls" else 0.6)


@pytest.mark.parametrize("previous", [False, True])
def test_a_new_class_keeps_the_order_of_the_others(previous: bool) -> None:
    old, new = (spec(classes=c, previous=previous, model={"readout": "softmax"}) for c in ("abc", "abcde"))
    source, target = taken_over(old, new, [0, 1, 2])
    rest = block(old, 60, start=200)
    before, after = source.predict(rest).value, target.predict(rest).value
    np.testing.assert_allclose(after[:, :3] / after[:, :3].sum(axis=1, keepdims=True), before, **EXACT)
    np.testing.assert_allclose(after[:, 3], after[:, 4])
    assert target.get_weights()["head.bias"][3] == source.get_weights()["head.bias"].min()


def test_new_target_fields_change_no_other_and_are_learned() -> None:
    old, new = (spec(fields=fields, model={"loss": "huber"}) for fields in ("ab", "abcd"))
    assert_alike(old, new, [0, 1, 2])
    _, target = taken_over(old, new, [0, 1, 2])
    rest = block(new, 3_000, start=200)
    error = np.abs(target.process(rest).value - rest.y)[2_500:].mean(axis=0)
    assert error[3] < 0.5 * np.abs(rest.y[2_500:, 3]).mean()


@pytest.mark.parametrize(
    "baseline",
    [
        None,
        *(b for b in BASELINES[1:]),
    ],
)
@pytest.mark.parametrize("fields", [("a", "ab"), ("ab", "abc")])
def test_new_fields_of_a_forecaster_change_no_other(fields: tuple[str, str], baseline: str | int | None) -> None:
    old, new = (spec(fields=names, known="forecast", baseline=baseline) for names in fields)
    assert_alike(old, new, [0, 1, 2])


@pytest.mark.parametrize("readout", ["linear", "rls"])
@pytest.mark.parametrize("known", ["record", "forecast"])
def test_elapsed_time_can_be_taken_out_as_if_every_event_came_after_the_usual_time(readout: str, known: str) -> None:
    old = spec(dt=True, model={"readout": readout}, known=known)
    source = Learner(old, 1)
    regular = block(old, 200)  # each stream comes every three seconds: the usual time, always
    source.process(regular)
    state = without_elapsed_time(source.state())
    target = Learner(state.spec, 2)
    target.resume(state)
    rest = block(old, 60, start=200)
    usual = replace(block(old, 3, start=200), time_ms=np.array([201_000, 202_000, 200_000]))
    expected, found = (learner.predict(usual).value for learner in (source, target))
    # Not quite the usual: a stream's first event counts as coming after no time.
    np.testing.assert_allclose(found, expected, atol=0.05 * np.ptp(source.predict(rest).value))
    mine, theirs = target.get_weights(), source.get_weights()
    np.testing.assert_array_equal(mine["rnn.weight_ih_l0"], np.delete(theirs["rnn.weight_ih_l0"], 3, axis=1))
    if readout == "rls":
        for name, place in (("full", 4 + 3), ("plain", 3)):
            root, before = (s.model[f"readout_{name}_root"][0] for s in (state, source.state()))
            covariance = np.delete(np.delete(before @ before.T, place, axis=0), place, axis=1)
            np.testing.assert_allclose(root @ root.T, covariance, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(state.model[f"readout_{name}_trace"][0], np.trace(covariance), rtol=1e-9)
    again = Learner(old, 3)
    carry_over(state, again, [0, 1, 2])  # and it may come back, weighing nothing
    np.testing.assert_allclose(again.predict(usual).value, found, **EXACT)


def test_elapsed_time_that_is_not_standardised_cannot_be_taken_out() -> None:
    learner = Learner(spec(dt=True, learning={"scale": False}), 1)
    with pytest.raises(ValueError, match=r"learning\.scale"):
        without_elapsed_time(learner.state())


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("optimizer", ["adam", "momentum"])
@pytest.mark.parametrize("layers", [1, 2])
def test_wider_layers_change_no_prediction_and_come_to_be_heard(cell: str, optimizer: str, layers: int) -> None:
    model, learning = {"cell": cell, "num_layers": layers}, {"optimizer": optimizer}
    old, new = (spec(model=model | {"hidden_size": size}, learning=learning) for size in (4, 7))
    assert_alike(old, new, [0, 1, 2], afterwards=False)
    source, target = taken_over(old, new, [0, 1, 2])
    target.process(block(new, 60, start=200))
    weights = target.get_weights()
    assert np.all(weights["head.weight"][:, 4:] != 0.0)
    assert np.all(weights["rnn.weight_hh_l0"][:4, 4:] != 0.0)
    assert target.counters()["updates"] > source.counters()["updates"] > 0


def test_units_that_are_new_hear_as_at_a_beginning_and_are_not_heard() -> None:
    old, new = spec(model={"cell": "lstm"}), spec(4, model={"cell": "lstm", "hidden_size": 6})
    fresh = Learner(new, 2).get_weights()
    source, target = taken_over(old, new, [0, 1, 3])
    mine, theirs = target.get_weights(), source.get_weights()
    units = np.array([4, 5, 10, 11, 16, 17, 22, 23])  # of the gates i, f, g, o
    known = np.setdiff1d(np.arange(24), units)
    for name in ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0"):
        np.testing.assert_array_equal(mine[name][units], fresh[name][units], err_msg=name)
    np.testing.assert_array_equal(mine["rnn.weight_hh_l0"][known][:, :4], theirs["rnn.weight_hh_l0"])
    assert not mine["rnn.weight_hh_l0"][known][:, 4:].any()
    assert not mine["rnn.weight_ih_l0"][known][:, 2].any()  # the new column
    np.testing.assert_array_equal(mine["head.weight"][:, :4], theirs["head.weight"])
    assert not mine["head.weight"][:, 4:].any()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("known", ["record", "forecast"])
def test_a_wider_layer_under_the_rls_readout_stays_near_and_goes_on_learning(cell: str, known: str) -> None:
    old, new = (
        spec(model={"cell": cell, "readout": "rls", "hidden_size": size}, known=known, dt=True) for size in (4, 7)
    )
    source, target = taken_over(old, new, [0, 1, 2])
    rest = block(old, 600, start=200)
    before, after = source.predict(rest).value, target.predict(rest).value
    # Not the same: weights of new units are uncertain, and uncertain predictions are drawn to the newest value.
    assert np.abs(after - before).mean() < 0.02 * np.ptp(before)
    source_error, target_error = (np.nanmean(learner.process(rest).error) for learner in (source, target))
    assert target_error < 1.1 * source_error


def test_less_room_for_streams_keeps_those_seen_last() -> None:
    old, new = spec(), spec(max_streams=2)
    source, target = Learner(old, 1), Learner(new, 2)
    # The last of them is of stream 1, the one before of stream 0; all at one time, so that only their order tells.
    source.process(replace(block(old, 200), time_ms=np.zeros(200, np.int64)))
    carry_over(source.state(), target, [0, 1, 2])
    assert target.streams.keys() == [b"0", b"1"]
    assert target.counters()["evictions_capacity"] == 1
    rest = block(old, 60, start=200)
    known = [key in (b"0", b"1") for key in rest.keys]
    np.testing.assert_array_equal(target.predict(rest).value[known], source.predict(rest).value[known])
    blank = replace(rest, keys=[b"never seen"] * 60)
    np.testing.assert_array_equal(target.predict(blank).value, source.predict(blank).value)
    assert target.process(rest).value.shape == (60, 1)
    assert target.counters()["evictions_capacity"] > 1


@pytest.mark.parametrize("batch_size", [2, 7])
def test_a_batch_begun_under_another_size_is_given_up(batch_size: int) -> None:
    old = spec(learning={"batch_size": 5})
    new = with_fields(old, learning=with_fields(old.learning, batch_size=batch_size))
    source, target = taken_over(old, new, [0, 1, 2])
    assert source.state().model["accumulated"].any()
    assert source.counters()["windows_in_batch"] > 0
    assert not target.state().model["accumulated"].any()
    assert target.counters()["windows_in_batch"] == 0
    assert target.counters()["updates"] == source.counters()["updates"]


def test_room_for_more_streams_keeps_those_there_are() -> None:
    assert_alike(spec(max_streams=3), spec(max_streams=500), [0, 1, 2])


def test_what_was_learned_stays_with_the_source_and_is_not_shared() -> None:
    source, target = taken_over(spec(), spec(5), [0, 1, 2])
    rest = block(spec(), 20, start=200)
    expected = source.predict(rest).value
    target.process(widened(rest, target.spec, [0, 1, 2]))
    np.testing.assert_array_equal(source.predict(rest).value, expected)


# ---- without streams


@pytest.mark.parametrize("readout", ["linear", "rls"])
def test_streams_and_running_counts_can_be_left_behind(readout: str) -> None:
    of = spec(model={"readout": readout})
    source, target = taken_over(of, of, [0, 1, 2], streams=False)
    assert target.progress().streams == 0
    assert source.progress().streams == STREAMS_SEEN
    rest = block(of, 30, start=200)
    blank = replace(rest, keys=[b"never seen"] * 30)
    np.testing.assert_array_equal(target.predict(rest).value, target.predict(blank).value)
    np.testing.assert_array_equal(target.predict(blank).value, source.predict(blank).value)
    for name, array in source.get_weights().items():
        np.testing.assert_array_equal(target.get_weights()[name], array)
    counters = target.counters()
    assert counters["updates"] == source.counters()["updates"] > 0
    assert not any(count for name, count in counters.items() if name != "updates")
    assert target.digest == 0
    target.process(rest)
    assert target.counters()["records_predicted"] == 30


# ---- what does not fit


OF_EACH = [
    ({"model": {"cell": "gru"}}, "model.cell"),
    ({"model": {"hidden_size": 3}}, "model.hidden_size"),
    ({"model": {"num_layers": 2}}, "model.num_layers"),
    ({"model": {"dtype": "float32"}}, "model.dtype"),
    ({"model": {"readout": "rls"}}, "model.readout"),
    ({"model": {"loss": "huber"}}, "model.loss"),
    ({"previous": False}, "inputs.previous_target"),
    ({"learning": {"scale": False}}, "learning.scale"),
    ({"learning": {"optimizer": "sgd"}}, "learning.optimizer"),
    ({"known": "forecast"}, "target.known"),
    ({"known": "forecast", "horizon": 2}, "target.horizon"),
    ({"known": "forecast", "baseline": "last"}, "target.baseline"),
]


@pytest.mark.parametrize(("change", "named"), OF_EACH, ids=[named for _, named in OF_EACH])
def test_every_difference_that_matters_is_named_with_both_values(change: dict[str, Any], named: str) -> None:
    lines = refusals(spec(), spec(**change))
    assert any(line.startswith(f"{named}: ") and "in what was learned" in line for line in lines)
    with pytest.raises(ValueError, match=named.replace(".", r"\.")):
        carry_over(Learner(spec(), 1).state(), Learner(spec(**change), 1), [0, 1, 2])


SHRUNK = [
    (spec(dt=True), spec(dt=False), "inputs.dt"),
    (spec(fields="abc"), spec(fields="ab"), "target.fields"),
    (spec(fields="a", model={"readout": "rls"}), spec(fields="ab", model={"readout": "rls"}), "target.fields"),
    (spec(model={"readout": "rls"}), spec(model={"readout": "rls", "lags": 2}), "model.lags"),
    (
        spec(model={"loss": "quantile"}),
        spec(model={"loss": "quantile", "quantiles": (0.1, 0.9)}),
        "model.quantiles",
    ),
    (
        spec(classes="abc", model={"readout": "softmax"}),
        spec(classes="ab", model={"readout": "softmax"}),
        "target.classes",
    ),
]


@pytest.mark.parametrize(("old", "new", "named"), SHRUNK, ids=[f"{named}-{i}" for i, (*_, named) in enumerate(SHRUNK)])
def test_what_cannot_shrink_or_grow_is_named(old: LearnerSpec, new: LearnerSpec, named: str) -> None:
    assert [line.partition(":")[0] for line in refusals(old, new)] == [named]


def test_all_differences_are_named_at_once() -> None:
    lines = refusals(spec(), spec(model={"cell": "gru", "hidden_size": 2}, learning={"scale": False}))
    assert [line.partition(":")[0] for line in lines] == ["model.cell", "model.hidden_size", "learning.scale"]


def test_what_need_not_agree_is_no_difference() -> None:
    old = spec(learning={"lr": 0.1, "k1": 1}, model={"rls_prior": 0.5, "memory": 50})
    learning = {"lr": 0.2, "k1": 2, "clip_norm": None, "polyak_bound": None}
    new = spec(7, dt=True, learning=learning, max_streams=99)
    assert refusals(old, new) == []
    assert refusals(old, with_fields(old, has_end=True)) == []


@pytest.mark.parametrize("features", [[0, 1], [0, 1, 1], [0, 1, 2, 3]])
def test_every_column_needs_a_place_of_its_own(features: list[int]) -> None:
    with pytest.raises(ValueError, match="features"):
        carry_over(Learner(spec(), 1).state(), Learner(spec(5), 1), features)


# ---- arrays and their declarations


def test_arrays_that_nobody_declared_are_refused() -> None:
    source, target = Learner(spec(), 1), Learner(spec(5), 1)
    source.process(block(spec(), 9))
    before = bits_of(target)
    state = source.state()
    for part in ("model", "streams"):
        more = {**getattr(state, part), "y_more": np.zeros((3, 1))}
        with pytest.raises(ValueError, match="holds y_more, which no learner of this version keeps"):
            carry_over(replace(state, **{part: more}), target, [0, 1, 2])
    assert differing(bits_of(target), before) == []


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (stored("unheard"), "'more' has an axis 'unheard' that nobody has told how to grow"),
        (stored("D", growth="guess"), "'more' grows by 'guess', which is no rule; known: places"),
        (stored("D H", growth="places"), None),
    ],
)
def test_an_array_that_growth_does_not_know_is_an_error(
    monkeypatch: pytest.MonkeyPatch, declaration: Any, message: str | None
) -> None:
    """It is never placed by guesswork, whatever it is called."""
    move = Move(spec(3), spec(5), [0, 1, 2])
    sizes = sizes_of(spec(3)) | {"unheard": 2}
    monkeypatch.setattr(streamrnn.learner.growth, "sizes_of", lambda of: sizes_of(of) | {"unheard": 2})
    table = {"more": declaration._replace(letter="F")}
    source = {"more": np.ones(table["more"].shape(sizes))}
    if message is None:
        assert grown(table, source, move)["more"].sum() == source["more"].size
    else:
        with pytest.raises(ValueError, match=message):
            grown(table, source, move)


def test_every_array_grows_by_a_rule_that_there_is() -> None:
    """Whether or not it grows in any test."""
    assert set(get_args(Growth)) == set(RULES)
    for name, array in {**MODEL, **STREAMS}.items():
        assert array.growth in RULES, name


class More(NamedTuple):
    """Per-stream arrays that no learner has yet, declared here and nowhere else."""

    trace: T3 = stored("D H", blank=-1.0, cleared=SEQUENCE)
    tally: I2 = stored("F")


def test_a_new_array_is_told_in_one_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Allocated, cleared (tests/core/test_clearing), grown, checked and saved from its declaration alone."""
    old, new = spec(3), spec(5)
    for module in (streamrnn.learner.state, streamrnn.learner.growth):
        monkeypatch.setattr(module, "STREAMS", {**STREAMS, **declared(More)})
    source = Learner(old, 1)
    source.process(block(old, 200))
    more = allocate(More, sizes_of(old), np.float64, rows=(STREAMS_SEEN,))
    more.trace[...] = np.arange(more.trace.size).reshape(more.trace.shape)
    more.tally[...] = 7
    lacking = source.state()
    with pytest.raises(ValueError, match="lacks trace, tally"):
        lacking.require_fit(old)
    state = replace(lacking, streams={**lacking.streams, **by_name(more)})
    state.require_fit(old)
    move = Move(old, new, [3, 0, 4])
    moved = grown({**STREAMS, **declared(More)}, state.streams, move)
    np.testing.assert_array_equal(moved["trace"][:, [3, 0, 4, 5, 6]], more.trace)
    np.testing.assert_array_equal(moved["trace"][:, [1, 2]], -1.0)
    assert moved["tally"].tolist() == more.tally.tolist()
    save_model(tmp_path / "m.safetensors", ModelFile(state, ("a", "b", "c"), {}))
    saved = load_model(tmp_path / "m.safetensors").saved
    assert saved is not None
    np.testing.assert_array_equal(saved.streams["trace"], more.trace)
