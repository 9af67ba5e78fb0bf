"""Targets that come later: an exact cell learns each step when its target is known, and nothing knows it before.

The state that learns goes behind the one that predicts, in the order of events: a step is learned once its label is
there and all steps before it were learned or passed by. It is passed by when its label is there and may not be learned,
when its event has no name to be answered by, when its event is no longer remembered, and when newer events of its
stream have labels by more steps than labels were seen to come out of order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamrnn.learner.block import EVENT, LABEL, Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.learner.test_learner_matches_naive import check_agreement
from tests.support.logs import part

CELLS = [
    {"cell": "glru"}, {"cell": "glru", "gates": False}, {"cell": "elstm"}, {"cell": "elstm", "hidden_layer": 3}
]  # fmt: skip
LABELS = {"event_field": "id", "label_field": "of"}
each = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(map(str, cell.values())))


def spec_of(cell: dict[str, object], known: str, memory: int = 4, horizon: int | tuple[int, ...] = 1) -> LearnerSpec:
    names = LABELS if known == "label" else {}
    return LearnerSpec(
        n_features=2,
        target=TargetSpec(fields=("y",), known=known, label_memory=memory, horizon=horizon, **names),
        model=ModelSpec(**cell, hidden_size=5, dtype="float64"),
        learning=LearningSpec(lr=0.03),
        streams=StreamSpec(max_streams=4, reset_after_s=100.0),
        has_end=True,
    )


Row = tuple[int, int]
"""Kind and event of a record of stream a, a second after the one before."""


def log_of(rows: list[Row], seed: int = 0) -> Block:
    n, rng = len(rows), np.random.default_rng(seed)
    kinds, events = zip(*rows, strict=True)
    y = np.where(np.array(kinds) == LABEL, rng.normal(size=n), np.nan)[:, None]
    return Block.events([b"a"] * n, rng.normal(size=(n, 2)), y, time_ms=1000 * np.arange(n), kind=kinds, event=events)


def updates_after(spec: LearnerSpec, log: Block) -> list[int]:
    """Optimiser steps so far, behind each record."""
    learner, counts = Learner(spec, 1), []
    for i in range(len(log)):
        learner.process(part(log, i, i + 1))
        counts.append(int(learner.counters()["updates"]))
    return counts


@each
@pytest.mark.parametrize("known", ["forecast", "label", "record"])
def test_no_prediction_depends_on_what_comes_after_it(cell: dict[str, object], known: str) -> None:
    spec = spec_of(cell, known, horizon=(1, 3) if known == "forecast" else 1)
    rows = [(EVENT, number) for number in range(1, 31)]
    if known == "label":
        rows = [row for k in range(1, 31) for row in ([(EVENT, k)] + ([(LABEL, k - 2)] if k % 3 and k > 2 else []))]
    log = log_of(rows)
    if known != "label":
        log = replace(log, y=np.random.default_rng(3).normal(size=(len(log), 1)))
    said = Learner(spec, 1).process(log).value
    for at in range(0, len(log) - 5, 5):
        x, y = log.x.copy(), log.y.copy()
        x[at:] += 1.0
        y[at:] += 1.0
        if known == "record":  # the record's own inputs are known to its prediction, its target is not
            x[at] = log.x[at]
        other = Learner(spec, 1).process(replace(log, x=x, y=y)).value
        seen = at + (known == "record")
        np.testing.assert_array_equal(other[:seen], said[:seen])
        assert not np.array_equal(other[at + 1 :], said[at + 1 :], equal_nan=True)


@each
def test_a_label_that_comes_at_once_is_learned_at_once(cell: dict[str, object]) -> None:
    rows = [row for k in range(1, 9) for row in ((EVENT, k), (LABEL, k))]
    assert updates_after(spec_of(cell, "label"), log_of(rows)) == [i // 2 for i in range(1, 17)]


@each
def test_labels_at_once_teach_what_targets_in_the_record_teach(cell: dict[str, object]) -> None:
    rows = [row for k in range(1, 21) for row in ((EVENT, k), (LABEL, k))]
    labelled = log_of(rows)
    events = labelled.rows(slice(0, len(labelled), 2))
    together = replace(events, y=labelled.y[1::2])
    late, now = Learner(spec_of(cell, "label"), 1), Learner(spec_of(cell, "record"), 1)
    late.process(labelled)
    now.process(together)
    assert now.counters()["updates"] == 20
    for name, weights in now.get_weights().items():
        np.testing.assert_array_equal(late.get_weights()[name], weights, err_msg=name)


def counts_after(spec: LearnerSpec, log: Block) -> dict[str, int]:
    learner = Learner(spec, 1)
    learner.process(log)
    return learner.counters()


@each
def test_where_labels_come_in_order_one_that_does_not_holds_up_nobody(cell: dict[str, object]) -> None:
    spec = spec_of(cell, "label", memory=8)
    rows = [(EVENT, 1), (EVENT, 2), (LABEL, 2), (EVENT, 3), (EVENT, 4), (LABEL, 4), (LABEL, 1), (EVENT, 5), (LABEL, 5)]
    assert updates_after(spec, log_of(rows)) == [0, 0, 1, 1, 1, 2, 2, 2, 3]
    check_agreement(spec, log_of(rows), [], 1e-9)
    counts = counts_after(spec, log_of(rows))
    assert (counts["late_labels"], counts["passed_labels"], counts["unmatched_labels"]) == (1, 1, 0)


@each
def test_a_label_is_waited_for_as_long_as_labels_were_seen_to_come_out_of_order(cell: dict[str, object]) -> None:
    spec = spec_of(cell, "label", memory=8)
    first = [(EVENT, 1), (EVENT, 2), (LABEL, 2), (LABEL, 1)]  # the latter is a step behind, and the first of its kind
    rows = [*first, (EVENT, 3), (EVENT, 4), (LABEL, 4), (LABEL, 3), (EVENT, 5), (EVENT, 6), (LABEL, 6), (EVENT, 7)]
    assert updates_after(spec, log_of(rows)) == [0, 0, 1, 1, 1, 1, 1, 3, 3, 3, 3, 3]
    rows.append((LABEL, 7))  # two steps ahead of event 5, which is waited for no more
    assert updates_after(spec, log_of(rows))[-1] == 5
    check_agreement(spec, log_of(rows), [(6, True), (7, True)], 1e-9)
    assert counts_after(spec, log_of(rows))["passed_labels"] == 1


@each
def test_a_label_waits_no_longer_than_the_events_before_its_own_are_remembered(cell: dict[str, object]) -> None:
    spec = spec_of(cell, "label", memory=3)
    rows = [(EVENT, 1), (EVENT, 2), (EVENT, 3), (LABEL, 3), (LABEL, 1)]  # by two steps, of which three are waited for
    rows += [(EVENT, 4), (EVENT, 5), (LABEL, 5), (EVENT, 6), (LABEL, 6), (EVENT, 7), (LABEL, 4)]
    assert updates_after(spec, log_of(rows)) == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 3, 3]
    check_agreement(spec, log_of(rows), [], 1e-9)
    assert counts_after(spec, log_of(rows))["unmatched_labels"] == 1  # that of event 4


def test_of_each_label_it_is_counted_how_far_ahead_of_it_labels_were_by_powers_of_two() -> None:
    rows = [(EVENT, number) for number in range(1, 7)] + [(LABEL, number) for number in (5, 1, 2, 4, 6)]
    learner = Learner(spec_of({"cell": "elstm"}, "label", memory=8), 1)
    learner.process(log_of(rows))
    # 5 and 6 are the newest, 4 is one step behind 5, 2 is three, 1 is four.
    assert learner.state().model["overtaken"].tolist() == [2, 1, 1, 1, 0]


@each
@pytest.mark.parametrize("known", ["record", "forecast", "label"])
def test_targets_in_a_state_are_those_that_are_yet_to_be_learned(cell: dict[str, object], known: str) -> None:
    spec = spec_of(cell, known, memory=6, horizon=3 if known == "forecast" else 1)
    rows = [(EVENT, 1), (EVENT, 2), (LABEL, 2), (LABEL, 1), (EVENT, 3), (EVENT, 4), (LABEL, 4), (EVENT, 5)]
    log = log_of(rows)  # labels come out of order once, so that the third event holds up the fourth
    if known != "label":
        log = replace(log_of([(EVENT, k) for k in range(1, 6)]), y=np.ones((5, 1)))
    learner = Learner(spec, 1)
    learner.process(log)
    streams = learner.state().streams
    waiting = [step for step in range(5) if step > 4 - spec.k2 and not np.isnan(streams["y"][0, step % spec.k2]).all()]
    assert waiting == {"record": [], "forecast": [2, 3], "label": [3]}[known]
    assert streams["learned"][0, 0] == {"record": 5, "forecast": 2, "label": 2}[known]
    assert learner.counters()["updates"] > 0


@each
def test_where_it_is_the_loss_that_is_not_finite_traces_go_on(cell: dict[str, object]) -> None:
    spec = spec_of(cell, "label", memory=6)
    log = log_of([(EVENT, 1), (EVENT, 2), (LABEL, 2), (LABEL, 1), (EVENT, 3), (EVENT, 4), (LABEL, 4), (LABEL, 3)])
    before = Learner(spec, 1)
    before.process(part(log, 0, 7))
    found = []
    for waits in (np.inf, np.nan):  # the target of event 4, which event 3 holds up
        state, learner = before.state().copy(), Learner(spec, 2)
        state.streams["y"][0, 3 % spec.k2] = waits
        learner.resume(state)
        learner.process(part(log, 7, 8))
        found.append((learner.state(), learner.counters()))
    (met, counts), (passed, others) = found
    assert counts["windows_dropped_loss"] == others["windows_dropped_loss"] + 1 == 1
    assert met.streams["learned"][0, 0] == 4
    assert met.streams["traces"][0].any()
    np.testing.assert_array_equal(met.streams["traces"], passed.streams["traces"])
    np.testing.assert_array_equal(met.model["theta"], passed.model["theta"])


def test_how_far_labels_come_out_of_order_is_forgotten_and_rare_ones_do_not_count() -> None:
    """Labels are swapped in pairs for a while, then come in order but for one in hundreds; half of them never."""
    rng, rows = np.random.default_rng(2), []
    for first in range(1, 4_001, 2):
        swapped = first < 400 or first % 400 == 1
        labels = [(LABEL, number) for number in ((first + 1, first) if swapped else (first, first + 1))]
        rows += [(EVENT, first), (EVENT, first + 1), *(row for row in labels if swapped or rng.random() < 0.5)]
    spec, log = spec_of({"cell": "elstm"}, "label", memory=6), log_of(rows)
    log.end[:] = np.arange(len(log)) % 31 == 30  # the twin goes back to the beginning of the sequence at each step
    updates, labels = np.diff(updates_after(spec, log), prepend=0), log.kind == LABEL
    at_once = (updates > 0)[labels]
    assert at_once[500:800].mean() < 0.75  # whoever follows an event without a label waits for one more
    assert at_once[-200:].mean() > 0.9
    check_agreement(spec, log, [], 1e-7)  # where rounding comes to after ten thousand records
    assert 0 < counts_after(spec, log)["passed_labels"] < 20


@each
def test_a_label_of_a_sequence_that_has_ended_is_late(cell: dict[str, object]) -> None:
    spec = spec_of(cell, "label", memory=6)
    log = log_of([(EVENT, 1), (EVENT, 2), (EVENT, 3), (LABEL, 2), (EVENT, 4), (LABEL, 3), (LABEL, 4)])
    log.end[2] = True
    assert updates_after(spec, log) == [0, 0, 0, 0, 0, 0, 1]
    learner = Learner(spec, 1)
    learner.process(log)
    assert learner.counters()["late_labels"] == 2
    check_agreement(spec, log, [], 1e-9, restores=True)


@each
@pytest.mark.parametrize("how", ["mark", "gap", "close"])
def test_what_waits_is_learned_at_the_end_of_its_sequence(cell: dict[str, object], how: str) -> None:
    spec = spec_of(cell, "label", memory=6)
    log = log_of([(EVENT, 1), (EVENT, 2), (LABEL, 2), (EVENT, 3), (LABEL, 3), (EVENT, 4), (EVENT, 5)])
    if how == "mark":
        log.end[5] = True
    elif how == "gap":
        log.time_ms[6] += 1_000_000
    learner = Learner(spec, 1)
    learner.process(part(log, 0, 6))
    if how == "close":
        learner.close(b"a")
    learner.process(part(log, 6, 7))
    assert learner.counters()["updates"] == 2
    assert learner.counters()["sequences_ended"] == 1


@each
@pytest.mark.parametrize("horizon", [1, 3, (2,), (1, 4)])
def test_forecasts_are_learned_once_the_last_of_their_values_came(
    cell: dict[str, object], horizon: int | tuple[int, ...]
) -> None:
    spec = spec_of(cell, "forecast", horizon=horizon)
    log = replace(log_of([(EVENT, k) for k in range(1, 13)]), y=np.random.default_rng(3).normal(size=(12, 1)))
    furthest = max(horizon) if isinstance(horizon, tuple) else horizon
    assert updates_after(spec, log) == [max(0, n - furthest) for n in range(1, 13)]
    log.end[9] = True  # what is known by then of the last steps is learned, in their order
    first = min(horizon) if isinstance(horizon, tuple) else 1
    assert updates_after(spec, log)[9] == 10 - first
    check_agreement(spec, log, [(4, True), (9, False)], 1e-9, restores=True)


READOUTS: list[dict[str, object]] = [{}, {"readout": "rls", "lags": 2}]


@each
@pytest.mark.parametrize("readout", READOUTS, ids=["linear", "rls"])
def test_a_label_that_may_not_be_learned_holds_up_nobody(cell: dict[str, object], readout: dict[str, object]) -> None:
    """Of targets out of bounds least squares learn none, and others the first of a run; nor what has no deviation."""
    spec = spec_of(cell | readout, "label", memory=64)
    log = log_of([row for k in range(1, 61) for row in ((EVENT, k), (LABEL, k))])
    log.y[81] = log.y[83] = 1e6
    counts = updates_after(spec, log)
    assert counts[1] == (0 if readout else 1)
    assert counts[79] > 30
    assert counts[83] == counts[79] + (0 if readout else 1)
    lags = 4 if readout else 0  # records until no lag is out of bounds any more
    assert counts[85 + lags] == counts[83] + 1
    assert counts[-1] > counts[83] + 10
    check_agreement(spec, log, [(90, True)], 1e-9, restores=True)


@each
def test_an_event_without_a_name_holds_up_nobody(cell: dict[str, object]) -> None:
    rows = [(EVENT, 1), (LABEL, 1), (EVENT, 0), (EVENT, 2), (LABEL, 2), (EVENT, 3), (LABEL, 3)]
    spec = spec_of(cell, "label", memory=64)
    assert updates_after(spec, log_of(rows)) == [0, 1, 1, 1, 2, 2, 3]
    check_agreement(spec, log_of(rows), [], 1e-9)
