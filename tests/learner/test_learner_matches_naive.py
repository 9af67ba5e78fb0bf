"""The learner agrees with the naive one on any specification and log: predictions, scores, counts, weights, states.

The log is given in pieces, as blocks or record by record; in between both are asked what they would say, and imagine.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numba
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_spec

from streamrnn.core.counts import COUNTS, EVICTIONS
from streamrnn.core.kinds import CLOSE
from streamrnn.learner.block import EVENT, LABEL, Block
from streamrnn.learner.clock import JUMPS
from streamrnn.learner.foundation import RLS_WEIGHT
from streamrnn.learner.gauges import state_gradient_norms
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.predictions import Predictions, TextScores
from streamrnn.learner.skill import rivals_of
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.streams import EVICTIONS_IN_USE
from streamrnn.learner.target_spec import TargetSpec
from tests.oracle import exact
from tests.oracle.learner import NaiveLearner
from tests.oracle.network import random_weights
from tests.oracle.reach import drift_means
from tests.oracle.streams import records_of
from tests.support import symbols
from tests.support.learners import carried_state, one_by_one
from tests.support.logs import LOSSES, logs, part, specs

EXAMPLES = settings(
    max_examples=30 if numba.config.DISABLE_JIT else 200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
SHARED_COUNTS = [
    count.name
    for count in (*COUNTS, *EVICTIONS, EVICTIONS_IN_USE, *JUMPS)
    if count.name not in {"updates", "windows_in_batch"}
]


def pair(spec: LearnerSpec) -> tuple[Learner, NaiveLearner]:
    """A learner and its oracle with the same random weights, biases included."""
    learner = Learner(spec, seed=1)
    model, rng, hidden_layer = spec.model, np.random.default_rng(0), spec.model.hidden_units
    if model.is_exact:
        sizes = spec.n_multiplied, model.units, hidden_layer, spec.n_outputs
        weights = exact.random_weights(rng, exact.kind_of(model), *sizes)
    else:
        sizes = spec.n_inputs, model.units, model.num_layers, spec.n_outputs
        weights = random_weights(rng, model.cell, *sizes, hidden_layer=hidden_layer)
    if model.readout == "rls":
        weights = {name: w for name, w in weights.items() if not name.startswith("head")}
        learner.set_weights(weights | {RLS_WEIGHT: learner.get_weights()[RLS_WEIGHT]})
    else:
        learner.set_weights(weights)
    return learner, NaiveLearner(spec, weights)


def check_agreement(
    spec: LearnerSpec, block: Block, cuts: list[tuple[int, bool]], tolerance: float, restores: bool = False
) -> None:
    """Feed both learners the log, piece by piece (up to where, as a block), and compare everything that can be seen.

    With ``restores`` another learner goes on from what the first one knew at each cut.
    """

    def close(actual: object, expected: object, what: str) -> None:
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=what)

    learner, naive = pair(spec)
    start, predictions, expected = 0, [], []
    for cut, whole in [*sorted(cuts), (len(block), True)]:
        piece = part(block, start, min(cut, len(block)))
        start = min(cut, len(block))
        whole = (whole and CLOSE not in piece.kind) or spec.text is not None
        predictions.append(learner.process(piece) if whole else one_by_one(learner, piece))
        if restores:
            learner = restored(learner)
        # On some CPUs NumPy's float32 products raise the flag from lanes they do not use. A NaN that counts is found.
        with np.errstate(invalid="ignore"):
            expected.append(naive.process(piece))
            rest = part(block, start, start + 5)
            close(learner.predict(rest).value, naive.predict(rest), "questions")
            if len(rest) and spec.target.known != "label":
                future = as_future(rest, naive)
                close(imagined(learner, future), naive.imagine(records_of(future)), "imagination")
    close(
        np.concatenate([p.value for p in predictions]), np.concatenate([value for value, _ in expected]), "predictions"
    )
    updates = np.concatenate([count for _, count in expected])
    assert np.concatenate([p.updates for p in predictions]).tolist() == updates.tolist()
    close(np.concatenate([p.loss for p in predictions]), [loss for loss, _ in naive.scores], "losses")
    close(np.concatenate([p.error for p in predictions]), [error for _, error in naive.scores], "errors")
    close(np.concatenate([p.rivals for p in predictions]), naive.rival_scores, "errors of the rivals")
    close(np.concatenate([p.width for p in predictions]), naive.widths, "widths of intervals")
    close(np.concatenate([p.delay for p in predictions]), naive.delays, "delays of labels")
    check_surprises(predictions, naive, tolerance)
    norms = np.full(len(block), np.nan)
    for record, norm in naive.steps:
        norms[record] = norm
    close(np.concatenate([p.grad_norm for p in predictions]), norms, "gradient norms")

    counts = learner.counters()
    assert {name: counts[name] for name in SHARED_COUNTS} == {name: naive.counts[name] for name in SHARED_COUNTS}
    assert counts["updates"] == naive.updates
    if naive.windows:
        close(learner.gauges()["window_loss"], naive.losses[-1], "window loss")
    if naive.steps:
        close(learner.gauges()["grad_norm"], naive.grad_norms[-1], "gradient norm")
    check_gauges(learner, naive, close)
    check_vocabularies(learner, naive)
    for name, weights in learner.get_weights().items():
        close(weights, naive.rls_weights() if name == RLS_WEIGHT else naive.weights[name], name)
    assert learner.streams.keys() == list(naive.streams)
    for key, stream in naive.streams.items():
        for i, (name, state) in enumerate(carried_state(learner, key).items()):
            expected_state = [
                [part for whole in layer for part in exact.parts(whole)][i] for layer in stream.sequence.state
            ]
            close(state, expected_state, f"{name} of {key!r}")
    arrays = learner.state().model
    recent = [naive.rivals.recent(i) for i in naive.rivals.fields]
    close(arrays["recent_errors"], recent, "errors of model and rivals")
    if all(typical > tolerance for _, _, typical in recent):
        skill = [learner.skill().get(name, np.nan) for name in rivals_of(spec)]
        close(skill, naive.rivals.skill(), "skill")
    for o, readout in enumerate(naive.readouts):
        for name, model in (("full", readout.full), ("plain", readout.plain)):
            root = arrays[f"readout_{name}_root"][o]
            close(root @ root.T, model.covariance.astype(float), f"covariance {name} {o}")
            close(arrays[f"readout_{name}_weight"][o], model.w.astype(float), f"weights {name} {o}")
            close(arrays[f"readout_{name}_noise"][o], model.noise, f"noise {name} {o}")
            close(arrays[f"readout_{name}_noise_in_use"][o], model.used, f"noise in use {name} {o}")
            close(arrays[f"readout_{name}_trace"][o], float(np.trace(model.covariance)), f"trace {name} {o}")
            assert arrays[f"readout_{name}_refreshed"][o] == model.turn


def check_surprises(predictions: list[Predictions], naive: NaiveLearner, tolerance: float) -> None:
    """Ranks, within those of a loss a little smaller or larger; of texts the losses and numbers of their units."""
    ranks = np.concatenate([p.rank for p in predictions])
    for n, (rank, surprise) in enumerate(zip(ranks, naive.ranked, strict=True)):
        if surprise is None:
            assert np.isnan(rank).all(), n
            continue
        error = tolerance * (1 + surprise.loss)
        least, most = surprise.ranks(-error), surprise.ranks(error)
        np.testing.assert_array_equal(np.isnan(rank), np.isnan(least), f"rank {n}")
        assert not np.any((rank < np.array(least) - tolerance) | (rank > np.array(most) + tolerance)), n
    texts = [p.texts for p in predictions if p.texts is not None]
    assert [len(losses) for losses in naive.text_losses] == (
        np.concatenate([np.diff(text.bounds) for text in texts]).tolist() if texts else [0] * len(ranks)
    )
    for text, (numbers, losses) in [(TextScores.joined(texts), units_of_texts(naive))] if texts else []:
        assert text.number.tolist() == numbers
        np.testing.assert_allclose(text.loss, losses, rtol=tolerance, atol=tolerance)


def units_of_texts(naive: NaiveLearner) -> tuple[list[int], list[float]]:
    """Numbers and losses of all units."""
    numbers = [number for text in naive.text_numbers for number in text]
    return numbers, [loss for text in naive.text_losses for loss in text]


def check_vocabularies(learner: Learner, naive: NaiveLearner) -> None:
    """Both have given the same numbers, and as many symbols came too late for one."""
    pairs = [*zip(learner.vocabularies, naive.vocabularies, strict=True)]
    if learner.classes is not None and naive.classes is not None:
        pairs.append((learner.classes, naive.classes))
        if naive.classes.open:
            assert learner.state().model["outputs_in_use"].tolist() == [naive.in_use]
    for mine, theirs in pairs:
        assert mine.overflowed == theirs.overflowed
        if theirs.open:
            assert [mine.label(number) for number in range(mine.known)] == theirs.numbered


def check_gauges(learner: Learner, naive: NaiveLearner, close: Callable[[object, object, str], None]) -> None:
    """What is kept for people to look at: reach, length of steps, drift, values clamped."""
    arrays, gauges, spec = learner.state().model, learner.gauges(), learner.spec
    assert (gauges["reach_window"], gauges["reach_steps"]) == (naive.reach.at, naive.reach.steps)
    norms = state_gradient_norms(arrays)
    assert list(norms) == list(naive.reach.norms)
    close(list(norms.values()), list(naive.reach.norms.values()), "state gradient")
    if spec.optimizer != "adamw" and spec.model.dtype == "float64":  # a decay is no step
        close(gauges["update_norm"], naive.step_length, "length of the step")
    assert arrays["x_clamped"][: spec.n_features].tolist() == naive.x_clamped
    assert arrays["y_clamped"].tolist() == naive.y_clamped
    for column, values in enumerate(naive.drifting):
        held, _, count, fast, slow = arrays["x_drift"][column]
        assert held + count == len(values)
        close((fast, slow), drift_means(values), f"drift of input {column}")


def restored(learner: Learner) -> Learner:
    """Another learner, which knows what this one does."""
    other = Learner(learner.spec, seed=2)
    other.resume(copy.deepcopy(learner.state()))
    return other


def as_future(block: Block, naive: NaiveLearner) -> Block:
    """The block's records as if all came in the first one's stream; of an open set, classes that it knows by now."""
    y = block.y
    if block.labels is not None and naive.classes is not None:
        y = np.array([[np.nan if label is None else float(naive.classes.ask(label))] for label in block.labels])
    return replace(block, keys=block.keys[:1] * len(block), y=y, labels=None, texts=None)


def imagined(learner: Learner, block: Block) -> np.ndarray:
    """Predictions of the block's records as if they came next in the stream."""
    learner.imagine(block.keys[0])
    predictions = []
    for i, (x, y) in enumerate(zip(block.x, block.y, strict=True)):
        symbols = [column[i] for column in block.symbols]
        predictions.append(learner.imagine_one(x, y, symbols).copy())
        if learner.spec.target.known == "record":
            learner.turned_out(y)
    return np.reshape(predictions, (-1, learner.spec.n_outputs))


pieces = st.lists(st.tuples(st.integers(0, 50), st.booleans()), max_size=3)


@pytest.mark.slow
@EXAMPLES
@given(st.data())
def test_float64_learner_matches_the_naive_one(data: st.DataObject) -> None:
    spec = data.draw(specs(), label="spec")
    block = data.draw(logs(spec, closings=True), label="log")
    check_agreement(spec, block, data.draw(pieces, label="cuts"), 1e-9)


@pytest.mark.slow
@EXAMPLES
@given(st.data())
def test_float64_learner_with_a_readout_by_least_squares_matches_the_naive_one(data: st.DataObject) -> None:
    spec = data.draw(specs(losses=(("rls", "squared"),)), label="spec")
    block = data.draw(logs(spec, 30, closings=True), label="log")
    check_agreement(spec, block, data.draw(pieces, label="cuts"), 1e-9)


@pytest.mark.slow
@EXAMPLES
@given(st.data())
def test_float64_learner_of_forecasts_matches_the_naive_one(data: st.DataObject) -> None:
    spec = data.draw(specs(losses=LOSSES[:5], known="forecast"), label="spec")
    block = data.draw(logs(spec, 30, closings=True), label="log")
    check_agreement(spec, block, data.draw(pieces, label="cuts"), 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("known", ["record", "forecast", "label"])
@settings(EXAMPLES, max_examples=EXAMPLES.max_examples // 2)
@given(st.data())
def test_float64_learner_of_symbols_matches_the_naive_one_however_often_it_is_restored(
    known: str, data: st.DataObject
) -> None:
    spec = data.draw(specs(losses=(("softmax", "cross_entropy"),), known=known), label="spec")
    block = data.draw(logs(spec, 40, closings=True), label="log")
    check_agreement(spec, block, data.draw(pieces, label="cuts"), 1e-9, restores=True)


@pytest.mark.slow
@EXAMPLES
@given(st.data())
def test_float64_learner_of_texts_matches_the_naive_one_however_often_it_is_restored(data: st.DataObject) -> None:
    spec = data.draw(specs(losses=(("softmax", "cross_entropy"),), texts=True), label="spec")
    block = data.draw(logs(spec, 20), label="log")
    check_agreement(spec, block, data.draw(pieces, label="cuts"), 1e-9, restores=True)


@EXAMPLES
@given(st.data())
def test_float32_learner_matches_the_naive_one(data: st.DataObject) -> None:
    # Adam and RMSprop divide by the gradient's own size, which turns rounding of a tiny gradient into a large step.
    spec = data.draw(specs("float32", ("sgd", "momentum")), label="spec")
    check_agreement(spec, data.draw(logs(spec, 25), label="log"), [], 5e-4)


@pytest.mark.parametrize("name", list(symbols.ALL))
def test_symbols_that_are_new_and_too_many_in_many_streams_are_what_the_naive_learner_has_them_be(name: str) -> None:
    spec = symbols.ALL[name]
    block = symbols.log_of(spec, 88)
    check_agreement(spec, block, [(20, True), (50, spec.text is not None), (51, True)], 1e-9, restores=True)


@pytest.mark.parametrize(("schedule", "batch_size"), [("inverse_sqrt", 1), ("exponential", 3)])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "rmsprop", "adam", "adamw"])
def test_rows_in_use_take_steps_that_fall_and_are_shortened_as_in_the_naive_one(
    optimizer: Literal["sgd", "momentum", "rmsprop", "adam", "adamw"],
    schedule: Literal["inverse_sqrt", "exponential"],
    batch_size: int,
) -> None:
    lr = {"sgd": 0.3, "rmsprop": 0.01}.get(optimizer, 0.1)  # long enough that steps are shortened
    spec = replace_spec(
        symbols.ALL["next event"],
        learning=LearningSpec(
            k1=1, k2=3, optimizer=optimizer, lr=lr, batch_size=batch_size,
            schedule=schedule, schedule_updates=20, schedule_least=0.3, clip_norm=1.0, polyak_bound=0.05,
        ),
    )  # fmt: skip
    block = symbols.log_of(spec, 120)
    check_agreement(spec, block, [(40, True)], 1e-9, restores=True)
    learner, _ = pair(spec)
    learner.process(block)
    assert learner.counters()["steps_shortened"] > 0


LABELLED = LearnerSpec(
    n_features=1,
    target=TargetSpec(fields=("y",), known="label", event_field="id", label_field="of"),
    model=ModelSpec(cell="gru", hidden_size=3, dtype="float64"),
    learning=LearningSpec(k1=2, k2=8),
)


def labelled_log(rows: list[tuple[int, int, float]]) -> Block:
    """One stream's log from (kind, event, y) by record, a second apart."""
    n = len(rows)
    kinds, events, y = zip(*rows, strict=True)
    x = np.linspace(-1, 1, n)[:, None]
    return Block.events([b"a"] * n, x, np.array(y)[:, None], time_ms=1000 * np.arange(n), kind=kinds, event=events)


def test_a_repeated_label_is_learned_once() -> None:
    events = [(EVENT, number, np.nan) for number in range(1, 7)]
    label = (LABEL, 1, 3.0)
    log = labelled_log([events[0], label, *events[1:3], label, *events[3:]])
    check_agreement(LABELLED, log, [], 1e-9)
    learner, _ = pair(LABELLED)
    learner.process(log)
    assert learner.counters()["windows"] == 1


def test_an_end_mark_means_nothing_where_the_specification_has_none() -> None:
    log = labelled_log([(EVENT, number, np.nan) for number in range(1, 6)])
    log.end[1] = True
    check_agreement(LABELLED, log, [], 1e-9)


def test_a_question_after_a_gap_is_answered_as_from_a_new_sequence() -> None:
    spec = LearnerSpec(
        n_features=0,
        target=TargetSpec(fields=("y",), known="forecast", baseline="last"),
        model=ModelSpec(cell="gru", hidden_size=2, dtype="float64"),
        learning=LearningSpec(k1=2, k2=4),
        streams=StreamSpec(reset_after_s=10.0),
    )
    learner, naive = pair(spec)
    log = labelled_log([(EVENT, 0, float(y)) for y in (3, 4, 6, 9)])
    log = replace(log, x=np.zeros((4, 0)))
    learner.process(log)
    naive.process(log)
    later = part(log, 3, 4)
    later.time_ms[0] += 20_000
    np.testing.assert_allclose(learner.predict(later).value, naive.predict(later), rtol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "rmsprop", "adam", "adamw"])
def test_steps_that_promise_more_than_their_batch_s_loss_are_shortened_as_in_the_naive_one(
    optimizer: Literal["sgd", "momentum", "rmsprop", "adam", "adamw"], batch_size: int
) -> None:
    lr = 0.5 if optimizer == "sgd" else 0.1  # the others make up for the length of the gradient
    spec = LearnerSpec(
        n_features=2,
        target=TargetSpec(fields=("y",)),
        model=ModelSpec(cell="gru", hidden_size=3, dtype="float64"),
        learning=LearningSpec(k1=1, k2=3, optimizer=optimizer, lr=lr, batch_size=batch_size, polyak_bound=0.3),
    )
    rng = np.random.default_rng(6)
    x = rng.standard_normal((60, 2))
    log = Block.events([b"a"] * 60, x, x[:, :1] + rng.standard_normal((60, 1)), time_ms=1000 * np.arange(60))
    check_agreement(spec, log, [], 1e-9)
    learner, _ = pair(spec)
    learner.process(log)
    assert learner.counters()["steps_shortened"] > 0


def test_quantile_loss_learns_as_if_steps_were_not_bounded() -> None:
    def learned(bound: float | None) -> Learner:
        spec = LearnerSpec(
            n_features=2,
            target=TargetSpec(fields=("y",)),
            model=ModelSpec(hidden_size=3, loss="quantile"),
            learning=LearningSpec(k1=1, k2=3, lr=0.1, polyak_bound=bound),
        )
        rng = np.random.default_rng(7)
        x = rng.standard_normal((60, 2))
        learner = Learner(spec, seed=1)
        learner.process(Block.events([b"a"] * 60, x, x[:, :1], time_ms=1000 * np.arange(60)))
        return learner

    assert learned(0.1).digest == learned(None).digest
    assert learned(0.1).counters()["steps_shortened"] == 0


@pytest.mark.parametrize("ttl_s", [None, 30.0])
@pytest.mark.parametrize(
    "cuts", [[], [(60, True)], [(102, True), (108, False)], [(96, True)], [(i, i % 3 == 0) for i in range(0, 130, 7)]]
)
def test_a_jump_of_time_that_is_taken_back_leaves_pauses_and_streams_as_the_naive_learner_has_them(
    cuts: list[tuple[int, bool]], ttl_s: float | None
) -> None:
    streams = StreamSpec(max_streams=9, ttl_s=ttl_s, reset_after_s=10.0, max_time_jump_s=60.0)
    spec = LearnerSpec(
        n_features=2, target=TargetSpec(fields=("y",)), streams=streams, inputs=InputSpec(dt=True),
        model=ModelSpec(hidden_size=3, dtype="float64"),
    )  # fmt: skip
    block = log_with_a_jump(spec)
    check_agreement(spec, block, cuts, 1e-9)
    learner, _ = pair(spec)
    learner.process(block)
    counts = learner.counters()
    assert (counts["time_jumps_believed"], counts["time_jumps_taken_back"]) == (1, 1)
    assert counts["sequences_ended" if ttl_s is None else "evictions_ttl"] > 0


def test_labels_across_a_jump_that_is_taken_back_are_as_late_as_the_naive_learner_has_them() -> None:
    spec = replace_spec(LABELLED, streams=StreamSpec(max_streams=9, ttl_s=30.0, max_time_jump_s=60.0))
    block = log_with_a_jump(spec)
    kind, event = np.zeros(len(block), np.uint8), np.arange(1, len(block) + 1, dtype=np.uint64)
    seen: dict[bytes, list[int]] = {}
    for i, key in enumerate(block.keys):
        before = seen.setdefault(key, [])
        if len(before) > 1 and i % 5 < 2:
            kind[i], event[i] = LABEL, before.pop(0)
        else:
            before.append(i + 1)
    block = replace(block, kind=kind, event=event, y=np.where(kind[:, None] == LABEL, block.y, np.nan))
    check_agreement(spec, block, [(60, True), (102, False)], 1e-9)
    learner, _ = pair(spec)
    delays = learner.process(block).delay
    assert len(delays[delays > 0]) > 10
    assert np.nanmax(delays) < 3600, "an event of next year was brought back with time"
    assert learner.counters()["time_jumps_taken_back"] == 1
    assert learner.counters()["lost_labels"] > 0


def log_with_a_jump(spec: LearnerSpec) -> Block:
    """Six streams; three go on a year ahead, and then only the others come."""
    year_ms, rng = 365 * 86_400_000, np.random.default_rng(3)
    keys = [f"s{i % 6}".encode() for i in range(48)]
    times = [1000 * i for i in range(48)]
    for i in range(60):
        ahead = i % 3 > 0 and i < 40
        keys.append(f"s{i % 3 if ahead else 3 + i % 3}".encode() if i < 50 else f"s{i % 6}".encode())
        times.append(48_000 + 1000 * i + (year_ms if ahead else 0))
    keys[48:52], times[48:52] = [b"s0", b"s1", b"s2", b"s0"], [year_ms + 48_000 + i for i in range(4)]
    n = len(keys)
    return Block.events(keys, rng.normal(size=(n, spec.n_features)), rng.normal(size=(n, 1)), time_ms=times)
