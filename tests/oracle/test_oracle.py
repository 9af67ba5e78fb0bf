"""The oracle is itself tested: against PyTorch's golden numbers and against central differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from streamrnn.core.losses import CROSS_ENTROPIES, REGRESSION_LOSSES
from streamrnn.core.optim import OPTIMIZERS
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.oracle.learner import NaiveLearner
from tests.oracle.network import (
    class_loss,
    network_backward,
    network_forward,
    random_weights,
    regression_loss,
    zero_state,
)
from tests.oracle.readout import LeastSquares, NaiveReadout
from tests.oracle.statistics import RunningMoments, shrunk_moments
from tests.oracle.streams import LABEL, Clock, Record
from tests.support.golden import (
    CELL_CASES,
    RUN_CASES,
    RUN_FAMILIES,
    last_states,
    last_stream,
    load,
    run_block,
    run_spec,
    tensors,
)
from tests.support.slopes import slope

DAY_MS = 86_400_000


def close(actual: object, expected: object, tolerance: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# ---- golden numbers


def test_every_golden_family_is_present() -> None:
    assert len(CELL_CASES) == 6
    counts = {family: sum(name.startswith(f"{family}_") for name in RUN_CASES) for family in RUN_FAMILIES}
    assert counts == {"tbptt": 36, "log": 24, "loss": 7, "optimizer": 7, "symbols": 6}


def test_golden_runs_cover_every_loss_and_every_optimiser() -> None:
    specs = [run_spec(name, load(name)) for name in RUN_CASES]
    losses = {spec.model.readout if spec.model.classifies else spec.model.effective_loss for spec in specs}
    assert losses == {*REGRESSION_LOSSES, *CROSS_ENTROPIES}
    assert {spec.learning.optimizer for spec in specs} == set(OPTIMIZERS)


@pytest.mark.parametrize("name", CELL_CASES)
def test_oracle_cells_reproduce_pytorch(name: str) -> None:
    case, cell = load(name), name.split("_")[1]
    weights = tensors(case, "w")
    layers, hidden = case["last_h"].shape
    outputs, last, tape = network_forward(cell, weights, case["x"], zero_state(cell, hidden, layers))
    close(outputs, case["pred"], 1e-12)
    for part, key in enumerate(k for k in ("last_h", "last_c") if k in case):
        close([state[part] for state in last], case[key], 1e-12)
    known = np.ones(outputs.shape, bool)
    loss, d_outputs = regression_loss("squared", outputs, case["y"], known, np.full(outputs.shape[1], 0.5), 1.0)
    close(loss, case["loss"], 1e-12)
    grads, dx = network_backward(cell, weights, tape, d_outputs)
    close(dx, case["dx"], 1e-10)
    for key, expected in tensors(case, "g").items():
        close(grads[key], expected, 1e-10)


@pytest.mark.parametrize("name", RUN_CASES)
def test_oracle_runs_reproduce_pytorch(name: str) -> None:
    case = load(name)
    learner = NaiveLearner(run_spec(name, case), tensors(case, "w"))
    value, _ = learner.process(run_block(case))
    close(value.reshape(case["pred"].shape), case["pred"], 1e-9)
    close(learner.grad_norms, case["grad_norm"], 1e-9)
    if "windows" in case:
        assert learner.windows == case["windows"]
    if "update_loss" in case:
        close(learner.losses, case["update_loss"], 1e-9)
    state = learner.streams[last_stream(case)].sequence.state
    for part, expected in enumerate(last_states(case).values()):
        close([layer[part] for layer in state], expected, 1e-9)
    for key, expected in tensors(case, "v").items():
        close(learner.weights[key], expected, 1e-9)


# ---- central differences


LOSSES = ("squared", "absolute", "huber", "quantile", "softmax", "logistic")


@pytest.mark.parametrize(("cell", "loss"), list(itertools.product(("rnn", "lstm", "gru"), LOSSES)))
def test_oracle_gradients_match_central_differences(cell: str, loss: str) -> None:
    rng = np.random.default_rng(7)
    steps, inputs, hidden, layers, outputs = 5, 2, 3, 2, 1 if loss == "logistic" else 3
    weights = random_weights(rng, cell, inputs, hidden, layers, outputs, 0.8)
    state = [tuple(rng.uniform(-0.5, 0.5, hidden) for _ in part) for part in zero_state(cell, hidden, layers)]
    x = rng.standard_normal((steps, inputs))
    known = rng.random((steps, outputs)) < 0.7
    known[0, 0] = True
    levels = np.array([0.1, 0.5, 0.8])
    y = 2 * rng.standard_normal((steps, outputs))
    classes = rng.integers(0, max(2, outputs), steps)

    def value_and_gradient(out: np.ndarray) -> tuple[float, np.ndarray]:
        if loss in ("softmax", "logistic"):
            return class_loss(loss, out, classes, known[:, 0])
        return regression_loss(loss, out, y, known, levels, 0.9)

    def value() -> float:
        return value_and_gradient(network_forward(cell, weights, x, state)[0])[0]

    out, _, tape = network_forward(cell, weights, x, state)
    grads, dx = network_backward(cell, weights, tape, value_and_gradient(out)[1])
    np.testing.assert_allclose(dx, slope(value, x), rtol=1e-6, atol=1e-9)
    for name, w in weights.items():
        np.testing.assert_allclose(grads[name], slope(value, w), rtol=1e-6, atol=1e-9, err_msg=name)


# ---- statistics


def test_running_moments_are_the_population_moments() -> None:
    values, moments = np.random.default_rng(3).normal(1e6, 2.0, 500), RunningMoments()
    for v in values:
        moments.add(float(v))
    close([moments.mean, moments.variance], [values.mean(), values.var()], 1e-9)


@pytest.mark.parametrize("kappa", [10.0, 0.5])
def test_stream_moments_are_shrunk_by_kappa_observations_of_the_partition(kappa: float) -> None:
    rng = np.random.default_rng(4)
    stream, partition = RunningMoments(), RunningMoments()
    for v in rng.normal(3.0, 1.0, 7):
        stream.add(float(v))
    for v in rng.normal(-1.0, 4.0, 90):
        partition.add(float(v))
    mean = (7 * stream.mean + kappa * partition.mean) / (7 + kappa)
    own = stream.variance + (stream.mean - mean) ** 2
    pool = partition.variance + (partition.mean - mean) ** 2
    variance = (7 * own + kappa * pool) / (7 + kappa)
    close(shrunk_moments(stream, partition, kappa), (mean, np.sqrt(variance)), 1e-12)


def test_a_constant_target_has_unit_scale() -> None:
    stream, partition = RunningMoments(), RunningMoments()
    for _ in range(13):
        stream.add(0.1)
        partition.add(0.1)
        assert shrunk_moments(stream, partition, 10.0) == (0.1, 1.0)


# ---- stream time


def test_one_far_timestamp_moves_nothing_and_three_do() -> None:
    clock = Clock(DAY_MS)
    far = 1000 * DAY_MS
    assert [clock.advance(t) for t in (0, 5, far, 6, far, far + 1)] == [0, 5, 5, 6, 6, 6]
    assert clock.advance(far + 2) == far + 2
    assert clock.now_ms == far + 2


def test_far_timestamps_that_disagree_do_not_confirm_each_other() -> None:
    clock = Clock(DAY_MS)
    times = (0, 1, 10 * DAY_MS, 20 * DAY_MS, 30 * DAY_MS, 30 * DAY_MS, 30 * DAY_MS + 9)
    assert [clock.advance(t) for t in times] == [0, 1, 1, 1, 1, 1, 30 * DAY_MS + 9]


def test_a_first_record_from_the_far_future_does_not_stop_the_clock() -> None:
    clock = Clock(DAY_MS)
    assert [clock.advance(t) for t in (9000 * DAY_MS, 10, 11)] == [9000 * DAY_MS, 10, 11]
    assert clock.now_ms == 11
    clock = Clock(DAY_MS)
    assert [clock.advance(t) for t in (9000 * DAY_MS, 99_000 * DAY_MS, 10)] == [9000 * DAY_MS, 9000 * DAY_MS, 10]


def test_going_back_never_resets_a_confirmed_clock() -> None:
    clock = Clock(DAY_MS)
    assert [clock.advance(t) for t in (5 * DAY_MS, 5 * DAY_MS + 1, 7)] == [5 * DAY_MS, 5 * DAY_MS + 1, 7]
    assert clock.now_ms == 5 * DAY_MS + 1


# ---- learning semantics


def spec_and_weights(
    target: TargetSpec | None = None, learning: LearningSpec | None = None, streams: StreamSpec | None = None
) -> tuple[LearnerSpec, dict[str, np.ndarray]]:
    """A small float64 RNN of one feature, for logs written by hand."""
    spec = LearnerSpec(
        n_features=1,
        target=target or TargetSpec(fields=("y",)),
        has_end=True,
        model=ModelSpec(cell="rnn", hidden_size=3, dtype="float64"),
        learning=learning or LearningSpec(k1=2, k2=4),
        streams=streams or StreamSpec(),
    )
    return spec, random_weights(np.random.default_rng(1), "rnn", 4, 3, 1, spec.n_outputs)


NAN = float("nan")


def test_a_window_without_a_known_target_is_no_window() -> None:
    spec, weights = spec_and_weights()
    learner = NaiveLearner(spec, weights)
    learner.run(Record(b"a", i, [0.5], [NAN]) for i in range(6))
    assert learner.windows == 0
    learner.run([Record(b"a", 6, [0.5], [1.0]), Record(b"a", 7, [0.5], [NAN])])
    assert learner.windows == 1


def test_a_gap_learns_what_is_left_before_the_next_record_is_predicted() -> None:
    spec, weights = spec_and_weights(streams=StreamSpec(reset_after_s=10.0))
    learner = NaiveLearner(spec, weights)
    learner.run(Record(b"a", i * 1000, [0.5], [1.0]) for i in range(3))
    assert learner.updates == 1
    _, updates = learner.run([Record(b"a", 12_001, [0.5], [1.0])])
    assert updates.tolist() == [2]
    assert learner.streams[b"a"].sequence.steps == 1


def test_an_end_learns_what_is_left_at_its_record_and_once() -> None:
    spec, weights = spec_and_weights()
    learner = NaiveLearner(spec, weights)
    learner.run([Record(b"a", 0, [0.5], [1.0]), Record(b"a", 1, [0.5], [1.0], end=True)])
    assert learner.updates == 1
    learner.run([Record(b"a", 2, [0.5], [1.0], end=True)])
    assert learner.updates == 2
    assert learner.streams[b"a"].sequence.steps == 0
    assert learner.target_moments[0].count == 3


def test_a_forecast_target_is_learned_once_by_every_step_that_foretold_it() -> None:
    target = TargetSpec(fields=("y",), known="forecast", horizon=2)
    spec, weights = spec_and_weights(target)
    learner = NaiveLearner(spec, weights)
    learner.run(Record(b"a", i * 1000, [0.5], [float(i)]) for i in range(6))
    sequence = learner.streams[b"a"].sequence
    assert np.array(sequence.known).tolist() == [[True, True]] * 4 + [[True, False], [False, False]]
    assert np.array(sequence.injected).tolist() == np.array(sequence.known).tolist()
    assert learner.windows == 3


def test_labels_are_learned_while_their_step_is_in_the_next_window() -> None:
    target = TargetSpec(fields=("y",), known="label", event_field="id", label_field="of")
    spec, weights = spec_and_weights(target)
    learner = NaiveLearner(spec, weights)
    learner.run(Record(b"a", i, [0.5], [NAN], event=i + 1) for i in range(4))
    learner.run(Record(b"a", 9, [0.0], [1.0], kind=LABEL, event=i) for i in (1, 2, 3, 9))
    assert learner.counts == {"records_predicted": 4, "label_records": 4, "late_labels": 2, "unmatched_labels": 1}
    assert [np.isfinite(loss) for loss, _ in learner.scores] == [False] * 4 + [True] * 3 + [False]
    assert learner.windows == 0
    learner.run(Record(b"a", 10 + i, [0.5], [NAN], event=50 + i) for i in range(2))
    assert learner.windows == 1


def test_the_least_recently_touched_stream_makes_room_and_idle_ones_go() -> None:
    spec, weights = spec_and_weights(streams=StreamSpec(max_streams=2, ttl_s=10.0))
    learner = NaiveLearner(spec, weights)
    learner.run(Record(key, t, [0.5], [1.0]) for key, t in ((b"a", 0), (b"b", 1), (b"a", 2), (b"c", 3)))
    assert list(learner.streams) == [b"a", b"c"]
    learner.run([Record(b"c", 10_003, [0.5], [1.0])])
    assert list(learner.streams) == [b"c"]


def test_differences_start_from_the_newest_value_whole_periods_before() -> None:
    target = TargetSpec(fields=("y",), known="forecast", horizon=4, baseline=3)
    spec, _ = spec_and_weights(target, LearningSpec(k1=2, k2=6, scale=False))
    learner = NaiveLearner(spec, random_weights(np.random.default_rng(1), "rnn", 5, 3, 1, 4))
    ys = (NAN, 2.0, 3.0, 5.0, NAN, 11.0)
    learner.run(Record(b"a", i, [0.5], [y]) for i, y in enumerate(ys))
    sequence = learner.streams[b"a"].sequence
    assert sequence.values == [[2.0, 3.0, 5.0, 5.0, 11.0]]  # the last value stands for an unknown one
    assert [learner.baseline(sequence, j, 0, 0) for j in (1, 2, 3, 4)] == [5.0, 5.0, 11.0, 5.0]
    assert [learner.baseline(sequence, j, 0, 3) for j in (1, 2, 3, 4)] == [3.0, 2.0, 3.0, 3.0]  # none before: the last
    assert [learner.baseline(sequence, j, 0, 5) for j in (1, 2, 3, 4)] == [5.25] * 4  # before any value: the mean
    assert learner.change(learner.streams[b"a"], 0, 0, np.inf) == 8.0
    assert learner.change(learner.streams[b"a"], 0, 2, np.inf) == 0.0
    targets = np.array(sequence.targets)
    np.testing.assert_array_equal(targets[1], [1.0, 3.0, NAN, 9.0])  # from its own value: there is none a period before
    assert targets[2].tolist()[:1] == [2.0]


def test_the_oracle_s_least_squares_are_the_textbook_s_recursion() -> None:
    rng, R, forgetting = np.random.default_rng(2), 5, 0.95
    model = LeastSquares(np.eye(R)[2], 0.1, forgetting)
    w, P = np.eye(R)[2], 0.1 * np.eye(R)
    for _ in range(40):
        phi, noise = rng.standard_normal(R), min(model.noise, model.used / forgetting)
        target = float(w @ phi) + float(np.clip(rng.standard_normal(), -1, 1)) * np.sqrt(noise)
        gain = P @ phi / (forgetting * noise + phi @ P @ phi)
        w = w + gain * (target - w @ phi)
        P = (P - np.outer(gain, phi @ P)) / forgetting
        model.update(phi, target)
        close(model.w.astype(float), w, 1e-10)
        close(model.covariance.astype(float), P, 1e-10)


def test_the_oracle_s_mixture_prefers_the_expert_that_was_right() -> None:
    readout = NaiveReadout(3, 1, 1, 0.1, 1.0)
    assert readout.predict(np.array([0.5, 7.0, 1.0])) == 7.0
    phi = np.array([0.5, 7.0, 1.0])
    for y in (0.0, 0.0, 0.0, 0.0):
        readout.update(phi, readout.models(phi), y)
    assert abs(readout.predict(phi)) < 0.1


def test_the_oracle_s_covariance_stays_bounded_where_the_regressors_say_nothing_new() -> None:
    model = LeastSquares(np.zeros(3), 0.1, 0.5)
    for _ in range(40):
        model.update(np.array([1.0, 1.0, 0.0]), 0.4)
        assert np.trace(model.covariance) < 2 * 10 * 0.1 * 3
    assert model.turn > 3
    close(float(model.w @ [1.0, 1.0, 0.0]), 0.4, 1e-2)
    close(float(model.w[2]), 0.0, 1e-12)


def test_missing_inputs_become_the_running_mean_and_are_counted() -> None:
    spec, weights = spec_and_weights()
    learner = NaiveLearner(spec, weights)
    learner.run(Record(b"a", i, [v], [1.0]) for i, v in enumerate((1.0, NAN, float("inf"), 3.0, 2.0)))
    column = [float(x[0]) for x in learner.streams[b"a"].sequence.inputs]
    assert column == [0.0, 0.0, 0.0, 2.0, 0.0]
    assert learner.counts["imputed_inputs"] == 2
    assert learner.input_moments[0].count == 3


def test_dt_and_previous_target_restart_with_the_sequence() -> None:
    spec, weights = spec_and_weights(learning=LearningSpec(k1=2, k2=4, scale=False))
    learner = NaiveLearner(spec, weights)
    log = [Record(b"a", 0, [0.0], [7.0]), Record(b"a", 2000, [0.0], [NAN]), Record(b"a", 1000, [0.0], [8.0])]
    learner.run(log)
    inputs = np.array(learner.streams[b"a"].sequence.inputs)
    close(inputs[:, 1:], [[0, 0, 0], [np.log1p(2), 7, 1], [0, 7, 1]], 1e-15)
    learner.run([Record(b"a", 3000, [0.0], [9.0], end=True), Record(b"a", 5000, [0.0], [9.0])])
    close(learner.streams[b"a"].sequence.inputs[0][1:], [0, 0, 0], 1e-15)


def test_a_window_with_a_non_finite_gradient_is_dropped() -> None:
    spec, weights = spec_and_weights(learning=LearningSpec(k1=1, k2=4, scale=False))
    spec_raw = LearnerSpec(
        n_features=1,
        target=spec.target,
        model=spec.model,
        learning=spec.learning,
        inputs=InputSpec(previous_target=False),
    )
    weights = random_weights(np.random.default_rng(1), "rnn", 2, 3, 1, 1)
    learner = NaiveLearner(spec_raw, weights)
    with np.errstate(over="ignore", invalid="ignore"):
        learner.run([Record(b"a", 0, [0.5], [1e200])])
    assert (learner.windows, learner.counts["windows_dropped_loss"]) == (0, 1)
    learner.run([Record(b"a", 1, [0.5], [1.0])])
    assert learner.windows == 1
