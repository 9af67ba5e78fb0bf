"""What was learned by exact gradients goes into a larger learner, with the traces and the state that learns behind.

Predictions are the same before and after; where nothing new is known they stay so while both go on learning, and a
restored learner goes on as the living one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as with_fields

from streamrnn import Block, Learner, LearnerSpec
from streamrnn.core.exact.cells import ELSTM, GLRU, LRU, traces
from streamrnn.learner.axes import OUT, Move, trace_inputs, trace_places
from streamrnn.learner.block import EVENT, LABEL
from streamrnn.learner.changes import changes, refusals
from streamrnn.learner.growth import carry_over, without_elapsed_time
from streamrnn.learner.symbols import Symbols
from tests.learner.test_growth import assert_alike, taken_over, widened
from tests.support.learners import bits_of, differing
from tests.support.small_learners import EXACT, block, spec

CLOSE = {"rtol": 1e-9, "atol": 1e-9}
LATE: dict[str, Any] = {"known": "label", "event_field": "id", "label_field": "of"}


@pytest.mark.parametrize("n", [1, 8])
def test_a_cell_has_a_trace_for_each_of_its_weights_and_of_complex_units_two(n: int) -> None:
    of_lambda_and_B, of_a_gate = 2 + 2 * n, n + 1
    assert traces(LRU, n) == of_lambda_and_B
    assert traces(GLRU, n) == of_lambda_and_B + 2 * 2 * of_a_gate
    assert traces(ELSTM, n) == 2 * (of_a_gate + 1)


@pytest.mark.parametrize("model", EXACT)
def test_traces_of_inputs_go_with_their_inputs_and_others_stay_behind_them(model: dict[str, Any]) -> None:
    old, new = (spec(n, previous=False, model=model) for n in (2, 3))
    places = trace_places(Move(old, new, [2, 0]))
    assert len(set(places.tolist())) == len(places) == Learner(old, 1).state().streams["traces"].shape[1]
    out = trace_places(Move(new, replace_dt(new), [0, 1, 2]))
    assert OUT not in out.tolist()
    assert trace_inputs(new)[places].tolist() == [[2, 0, -1][i] for i in trace_inputs(old)]
    if model["cell"] == "elstm":
        assert places.tolist() == [2, 0, 3, 4, 7, 5, 8, 9]


def replace_dt(of: LearnerSpec) -> LearnerSpec:
    """The same with an input of elapsed time."""
    return spec(of.n_features, previous=False, dt=True, model={"cell": of.model.cell, "gates": of.model.gates})


# ---- what may grow


@pytest.mark.parametrize("model", EXACT)
@pytest.mark.parametrize("hidden", [0, 5])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "momentum", "sgd"])
@pytest.mark.parametrize("dt", [False, True])
def test_features_go_to_their_places_and_new_ones_change_nothing(
    model: dict[str, Any], hidden: int, optimizer: str, dt: bool
) -> None:
    model, learning = model | {"hidden_layer": hidden}, {"optimizer": optimizer, "lr": 0.01}
    old, new = (spec(n, dt=dt, model=model, learning=learning) for n in (3, 5))
    assert_alike(old, new, [3, 0, 4])


@pytest.mark.parametrize("model", EXACT)
@pytest.mark.parametrize("baseline", [None, "last", 5])
def test_features_of_a_forecaster_go_to_their_places_though_it_learns_behind(
    model: dict[str, Any], baseline: str | int | None
) -> None:
    old, new = (spec(n, model=model, known="forecast", horizon=3, baseline=baseline) for n in (3, 5))
    assert_alike(old, new, [3, 0, 4])


@pytest.mark.parametrize("model", [*EXACT, {"cell": "bank"}])
@pytest.mark.parametrize("known", ["record", "forecast"])
def test_features_under_the_rls_readout_go_to_their_places(model: dict[str, Any], known: str) -> None:
    old, new = (spec(n, model=model | {"readout": "rls"}, known=known) for n in (3, 5))
    assert_alike(old, new, [3, 0, 4])


@pytest.mark.parametrize("model", EXACT)
def test_features_of_a_classifier_go_to_their_places(model: dict[str, Any]) -> None:
    old, new = (spec(n, classes="abc", model=model | {"readout": "softmax"}) for n in (3, 4))
    assert_alike(old, new, [2, 1, 0])


@pytest.mark.parametrize("model", EXACT)
def test_an_input_of_elapsed_time_joins_without_changing_a_prediction(model: dict[str, Any]) -> None:
    old, new = (spec(3, dt=dt, model=model) for dt in (False, True))
    assert_alike(old, new, [0, 1, 2], afterwards=False)
    source, target = taken_over(old, new, [0, 1, 2])
    rest = block(old, 60, start=200)
    assert np.abs(target.process(rest).value - source.process(rest).value).max() > 1e-9  # it is learned from


@pytest.mark.parametrize("model", EXACT)
def test_elapsed_time_can_be_taken_out_with_its_traces(model: dict[str, Any]) -> None:
    source = Learner(spec(dt=True, model=model), 1)
    source.process(block(source.spec, 200))
    state = without_elapsed_time(source.state())
    target = Learner(state.spec, 2)
    target.resume(state)
    again = Learner(source.spec, 3)
    carry_over(state, again, [0, 1, 2])
    rest = block(source.spec, 30, start=200)
    np.testing.assert_allclose(again.predict(rest).value, target.predict(rest).value, **CLOSE)


@pytest.mark.parametrize("model", EXACT)
@pytest.mark.parametrize("hidden", [0, 3])
@pytest.mark.parametrize("sizes", [(4, 7), (4, 8), (8, 9), (7, 20)])
def test_more_units_change_no_prediction_and_come_to_be_heard(
    model: dict[str, Any], hidden: int, sizes: tuple[int, int]
) -> None:
    old, new = (spec(model=model | {"hidden_layer": hidden, "hidden_size": size}) for size in sizes)
    assert_alike(old, new, [0, 1, 2], afterwards=False)
    _, target = taken_over(old, new, [0, 1, 2])
    heard = "hidden.weight" if hidden else "head.weight"
    units = np.arange(sizes[0], sizes[1])
    assert not target.get_weights()[heard][:, units].any()
    target.process(block(new, 60, start=200))
    assert np.all(target.get_weights()[heard][:, units] != 0.0)
    assert np.all(target.get_weights()["rnn.weight_z" if model["cell"] == "elstm" else "rnn.B_re"][units] != 0.0)
    target.state().require_fit(new)


@pytest.mark.parametrize("model", [*EXACT, {"cell": "lstm"}])
def test_a_wider_hidden_layer_changes_no_prediction_and_comes_to_be_heard(model: dict[str, Any]) -> None:
    old, new = (spec(model=model | {"hidden_layer": size}) for size in (3, 6))
    assert_alike(old, new, [0, 1, 2], afterwards=False)
    _, target = taken_over(old, new, [0, 1, 2])
    before = target.get_weights()
    assert np.all(before["hidden.weight"][3:] != 0.0)
    assert not before["head.weight"][:, 3:6].any()
    target.process(block(new, 60, start=200))
    assert np.all(target.get_weights()["head.weight"][:, 3:6] != 0.0)


@pytest.mark.parametrize("model", EXACT)
def test_a_new_class_keeps_the_order_of_the_others(model: dict[str, Any]) -> None:
    old, new = (spec(classes=c, model=model | {"readout": "softmax"}) for c in ("abc", "abcde"))
    source, target = taken_over(old, new, [0, 1, 2])
    rest = block(old, 60, start=200)
    before, after = source.predict(rest).value, target.predict(rest).value
    np.testing.assert_allclose(after[:, :3] / after[:, :3].sum(axis=1, keepdims=True), before, **CLOSE)


@pytest.mark.parametrize("model", EXACT)
def test_new_target_fields_change_no_other(model: dict[str, Any]) -> None:
    old, new = (spec(fields=fields, model=model) for fields in ("ab", "abcd"))
    assert_alike(old, new, [0, 1, 2])


# ---- symbols


def of_symbols(*sizes: int, **more: Any) -> LearnerSpec:
    """A learner whose inputs are symbols of sets of these sizes."""
    sets = tuple(Symbols(values=tuple(range(size))) for size in sizes)
    return with_fields(spec(1, **more), symbols=sets)


def symbolic(of: LearnerSpec, n: int, start: int = 0) -> Block:
    """Events ``start`` to ``start + n``, each with symbols that are in all sets."""
    rng = np.random.default_rng(start)
    return replace(block(of, n, start), symbols=tuple(rng.integers(2, size=n) for _ in of.symbols))


@pytest.mark.parametrize("model", EXACT)
@pytest.mark.parametrize(
    ("before", "now"), [((2, 3), (4, 3)), ((2, 2), (5, 7)), ((20,), (30,)), ((9, 9), (12, 11)), ((2,), (16,))]
)
def test_more_symbols_change_no_prediction(
    model: dict[str, Any], before: tuple[int, ...], now: tuple[int, ...]
) -> None:
    old, new = of_symbols(*before, model=model), of_symbols(*now, model=model)
    source, target = Learner(old, 1), Learner(new, 2)
    source.process(symbolic(old, 150))
    carry_over(source.state(), target, [0])
    rest = symbolic(old, 60, 150)
    np.testing.assert_allclose(target.predict(rest).value, source.predict(rest).value, **CLOSE)
    np.testing.assert_allclose(target.process(rest).value, source.process(rest).value, **CLOSE)


def test_more_symbols_than_there_are_columns_for_are_refused_with_the_reason() -> None:
    old, new = of_symbols(9, 7, model=EXACT[0]), of_symbols(9, 8, model=EXACT[0])
    (line,) = refusals(old, new)
    assert "cell glru has a column for each symbol up to 16 of all inputs together, and codes" in line
    assert "here 17" in line
    assert refusals(of_symbols(9, 7), of_symbols(9, 8)) == []


def test_more_classes_that_are_shown_count_among_the_columns() -> None:
    old, new = (spec(classes=range(n), model=EXACT[0] | {"readout": "softmax"}) for n in (15, 16))
    (line,) = refusals(old, new)
    assert line.startswith("target.classes:")
    assert "here 17" in line


# ---- late targets


def labelled(of: LearnerSpec, n: int, start: int = 0, wait: int = 4) -> Block:
    """Events ``start`` to ``start + n`` of three streams, each followed by the label of the one ``wait`` before."""
    events, rows = block(of, n, start), []
    for i in range(n):
        number = start + i
        rows.append((number % 3, EVENT, number + 1, events.x[i], np.full(of.n_targets, np.nan)))
        if number >= wait:
            late = number - wait
            value = block(of, 1, late).x.sum() * np.arange(1.0, 1.0 + of.n_targets)
            rows.append((late % 3, LABEL, late + 1, np.full(of.n_features, np.nan), value))
    streams, kinds, ids, x, y = zip(*rows, strict=True)
    keys = [b"%d" % stream for stream in streams]
    times = 1_000 * np.arange(len(rows)) + 1_000_000 * start
    return Block.events(keys, np.array(x), np.array(y), time_ms=times, kind=kinds, event=ids)


def of_labels(memory: int = 6, n_features: int = 3, **more: Any) -> LearnerSpec:
    return spec(n_features, **LATE, label_memory=memory, **more)


@pytest.mark.parametrize("model", EXACT)
@pytest.mark.parametrize(("before", "now"), [(6, 6), (6, 20), (20, 6)])
def test_labels_go_on_to_be_learned_in_a_larger_learner(model: dict[str, Any], before: int, now: int) -> None:
    old, new = of_labels(before, 3, model=model), of_labels(now, 5, model=model)
    source, target = Learner(old, 1), Learner(new, 2)
    source.process(labelled(old, 100))
    carry_over(source.state(), target, [3, 0, 4])
    assert (source.state().streams["steps"][:, None] > source.state().streams["learned"]).any()
    target.state().require_fit(new)
    known, kept = (of.state().model["overtaken"] for of in (source, target))
    assert known.sum() > 50
    n = min(len(known), len(kept))
    np.testing.assert_array_equal(kept[:n], known[:n])
    rest = labelled(old, 40, 100)
    wide = widened(rest, new, [3, 0, 4])
    np.testing.assert_allclose(target.predict(wide).value, source.predict(rest).value, **CLOSE)
    np.testing.assert_allclose(target.process(wide).value, source.process(rest).value, **CLOSE)
    assert source.counters()["updates"] > 100


@pytest.mark.parametrize("model", EXACT)
@pytest.mark.parametrize("wait", [4, 24])
def test_where_labels_are_remembered_for_less_learning_goes_on_from_the_newest_state(
    model: dict[str, Any], wait: int
) -> None:
    old, new = of_labels(12, model=model), of_labels(2, model=model)
    source, target = Learner(old, 1), Learner(new, 2)
    source.process(labelled(old, 60, wait=wait))
    carry_over(source.state(), target, [0, 1, 2])
    state = target.state()
    state.require_fit(new)
    waited = source.state().streams["steps"][:3] - source.state().streams["learned"][:3, 0]
    given_up = np.flatnonzero(waited > 2)
    assert len(given_up) == (3 if wait == 24 else 0)
    for name in ("behind",):
        np.testing.assert_array_equal(state.streams[name][given_up], state.streams["state"][given_up, 0])
    assert not state.streams["traces"][given_up].any()
    assert np.array_equal(state.streams["traces"][:3].any(axis=(1, 2)), waited <= 2)
    rest = labelled(old, 40, 60, wait=2)
    np.testing.assert_array_equal(target.predict(rest).value, source.predict(rest).value)
    updates = target.counters()["updates"]
    assert np.isfinite(target.process(rest).value[rest.kind == EVENT]).all()
    assert target.counters()["updates"] > updates
    target.state().require_fit(new)


@pytest.mark.parametrize("model", EXACT)
def test_targets_of_steps_that_are_given_up_wait_no_more(model: dict[str, Any]) -> None:
    """Labels came out of order once, so that event 5 holds up event 6, whose target is in the smaller ring as well."""
    old, new = of_labels(12, model=model), of_labels(1, model=model)
    rows = [(EVENT, 1), (EVENT, 2), (LABEL, 2), (LABEL, 1), *((EVENT, n) for n in (3, 4, 5, 6)), (LABEL, 6)]
    kind, event = np.array(rows).T
    x, y = np.random.default_rng(1).normal(size=(len(rows), 3)), np.ones((len(rows), old.n_targets))
    log = Block.events([b"a"] * len(rows), x, y, time_ms=1_000 * np.arange(len(rows)), kind=kind, event=event)
    source, target = Learner(old, 1), Learner(new, 2)
    source.process(log)
    carry_over(source.state(), target, [0, 1, 2])
    before, after = source.state().streams, target.state().streams
    assert (before["steps"][0], before["learned"][0, 0], after["learned"][0, 0]) == (6, 4, 6)
    assert np.isfinite(before["y"][0, 5 % old.k2]).all()
    assert np.isnan(after["y"][0]).all()


@pytest.mark.parametrize("model", EXACT)
def test_targets_that_were_known_at_once_may_come_late_from_now_on_and_the_other_way_round(
    model: dict[str, Any],
) -> None:
    at_once, late = spec(model=model), of_labels(5, model=model)
    source, middle, target = Learner(at_once, 1), Learner(late, 2), Learner(at_once, 3)
    source.process(block(at_once, 60))
    carry_over(source.state(), middle, [0, 1, 2])
    before, after = source.state().streams, middle.state().streams
    np.testing.assert_array_equal(after["behind"], before["state"][:, 0])
    np.testing.assert_array_equal(after["traces"][..., :4], before["traces"][..., :4])  # of the units there are
    rest = labelled(late, 30, 60)
    np.testing.assert_array_equal(middle.predict(rest).value, source.predict(rest).value)
    middle.process(rest)
    middle.state().require_fit(late)
    carry_over(middle.state(), target, [0, 1, 2])
    target.state().require_fit(at_once)
    more = block(at_once, 30, 200)
    np.testing.assert_array_equal(target.predict(more).value, middle.predict(more).value)
    target.process(more)
    target.state().require_fit(at_once)


@pytest.mark.parametrize("model", EXACT)
def test_where_no_event_waits_for_a_label_traces_outlive_that_targets_come_with_their_records(
    model: dict[str, Any],
) -> None:
    late, at_once = of_labels(12, model=model), spec(model=model)
    source, target = Learner(late, 1), Learner(at_once, 2)
    log = labelled(late, 60, wait=0)
    source.process(log.rows(slice(0, len(log) - 1)))  # the newest event has no label yet
    carry_over(source.state(), target, [0, 1, 2])
    before, after = source.state().streams, target.state().streams
    waits = (before["steps"][:3, None] > before["learned"][:3])[:, 0]
    assert waits.tolist().count(True) == 1
    np.testing.assert_array_equal(after["traces"][:3, :, :4][~waits], before["traces"][:3, :, :4][~waits])  # no padding
    assert before["traces"][:3][waits].any()
    assert not after["traces"][:3][waits].any()
    np.testing.assert_array_equal(after["state"], before["state"])
    target.state().require_fit(at_once)
    of_label, of_memory = changes(late, at_once), changes(late, of_labels(4, model=model))
    for found in (of_label, of_memory):
        assert any("gradients reach back no further" in change.why for change in found)
    assert not any("no further" in change.why for change in changes(late, of_labels(20, model=model)))


@pytest.mark.parametrize("model", EXACT)
@pytest.mark.parametrize("known", ["record", "forecast"])
def test_what_was_learned_goes_on_without_streams_and_none_of_them_is_behind(model: dict[str, Any], known: str) -> None:
    old, new = (spec(n, model=model, learning={"k1": 7}, known=known) for n in (3, 4))
    source, target = taken_over(old, new, [2, 0, 1], streams=False)
    rest = block(old, 30, start=200)
    fresh = replace(rest, keys=[b"new %d" % i for i in range(30)])
    np.testing.assert_allclose(
        target.predict(widened(fresh, new, [2, 0, 1])).value, source.predict(fresh).value, **CLOSE
    )
    state = target.state()
    state.require_fit(new)
    assert not any(state.streams[name].any() for name in ("state", "traces", "behind", "learned", "shown"))
    assert not state.model["accumulated"].any()
    assert source.state().model["accumulated"].any()


# ---- any growth at all


@st.composite
def growths(draw: st.DrawFn) -> tuple[LearnerSpec, LearnerSpec, list[int]]:
    """A learner, a larger one, and where the features of the former are in the latter."""
    features, more = draw(st.integers(1, 3)), draw(st.integers(0, 2))
    units = draw(st.integers(1, 9))
    model = draw(st.sampled_from(EXACT)) | {"dtype": draw(st.sampled_from(["float32", "float64"]))}
    hidden = draw(st.integers(0, 3))
    known: dict[str, Any] = draw(
        st.sampled_from([{}, {"known": "forecast", "horizon": (2, 3)}, {**LATE, "label_memory": 4}])
    )
    wider = dict(known)
    if "label_memory" in known:
        wider["label_memory"] = draw(st.integers(1, 9))
    k1 = draw(st.integers(1, 4))
    old = spec(features, model=model | {"hidden_size": units, "hidden_layer": hidden}, learning={"k1": k1}, **known)
    new = spec(
        features + more,
        dt=draw(st.booleans()),
        model=model
        | {
            "hidden_size": units + draw(st.integers(0, 8)),
            "hidden_layer": hidden and hidden + draw(st.integers(0, 2)),
        },
        learning={"k1": draw(st.sampled_from([k1, 1, 5]))},
        **wider,
    )
    return old, new, draw(st.permutations(range(features + more)))[:features]


def some(of: LearnerSpec, n: int, start: int) -> Block:
    return labelled(of, n, start) if of.target.known == "label" else block(of, n, start)


@settings(max_examples=40, deadline=None)
@given(growths(), st.integers(1, 40), st.integers(1, 7))
def test_a_prediction_is_the_same_before_and_after_and_a_restored_learner_goes_on_as_the_living(
    growth: tuple[LearnerSpec, LearnerSpec, list[int]], n: int, cut: int
) -> None:
    old, new, features = growth
    source, target = Learner(old, 1), Learner(new, 2)
    source.process(some(old, n, 0))
    carry_over(source.state(), target, features)
    rest = some(old, 20, n)
    wide = widened(rest, new, features)
    if not new.inputs.dt:
        tolerance = {"rtol": 1e-4, "atol": 1e-4} if old.model.dtype == "float32" else CLOSE
        np.testing.assert_allclose(target.predict(wide).value, source.predict(rest).value, **tolerance)
    again = Learner(new, 3)
    again.resume(target.state().copy())
    for start in range(0, len(wide), cut):
        piece = wide.rows(slice(start, start + cut))
        target.process(piece)
        again.process(piece)
        restored = Learner(new, 4)
        restored.resume(again.state())
        again = restored
    assert differing(bits_of(target), bits_of(again)) == []
    target.state().require_fit(new)


def test_a_bank_takes_no_more_filters_but_a_wider_layer_and_features() -> None:
    model = {"cell": "bank", "readout": "rls"}
    (line,) = refusals(spec(model=model), spec(model=model | {"hidden_size": 5}))
    assert "new filters would change what the layer makes" in line
    assert refusals(spec(model=model | {"hidden_layer": 5}), spec(5, model=model | {"hidden_layer": 9})) == []


def test_gates_hidden_layer_and_cell_cannot_change() -> None:
    old = spec(model=EXACT[0])
    for model, path in (
        (EXACT[1], "model.gates"),
        (EXACT[0] | {"hidden_layer": 4}, "model.hidden_layer"),
    ):
        (line,) = refusals(old, spec(model=model))
        assert line.startswith(path)
    assert any(line.startswith("model.cell") for line in refusals(old, spec(model=EXACT[2])))
    assert refusals(spec(model=EXACT[0] | {"hidden_layer": 4}), old)
    narrower: Sequence[str] = refusals(
        spec(model=EXACT[0] | {"hidden_layer": 4}), spec(model=EXACT[0] | {"hidden_layer": 3})
    )
    assert "cannot be taken out" in narrower[0]
