"""Numbers for whoever looks: each is what its name says, known when it is, and the same however a log came."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streamrnn.core import counts, drift, rls
from streamrnn.learner import gauges
from streamrnn.learner.block import EVENT, LABEL, Block
from streamrnn.learner.growth import carry_over
from streamrnn.learner.learner import Learner
from streamrnn.learner.spec import LearnerSpec
from tests.learner.test_learner_matches_naive import check_agreement
from tests.support.learners import bits_of, differing
from tests.support.logs import part
from tests.support.small_learners import block, spec


def fed(of: LearnerSpec, n: int, **settings: Any) -> Learner:
    learner = Learner(of, 1)
    learner.process(block(of, n, **settings))
    return learner


def columns(x: np.ndarray, y: np.ndarray | None = None) -> Block:
    """One stream's events with these inputs, (n,) or (n, features)."""
    x = x.reshape(len(x), -1)
    return Block.events([b"a"] * len(x), x, np.zeros((len(x), 1)) if y is None else y.reshape(-1, 1))


# -- steps and weights ------------------------------------------------------------------------------------------------


def test_the_norm_of_the_weights_is_that_of_all_tensors_together() -> None:
    learner = fed(spec(), 30)
    norms = [np.linalg.norm(tensor) for tensor in learner.get_weights().values()]
    assert gauges.weight_norm(learner.model_arrays()) == pytest.approx(np.linalg.norm(norms), rel=1e-12)


def test_the_ratio_is_that_of_the_first_step_and_then_of_every_sixteenth() -> None:
    of = spec(learning={"k1": 1, "k2": 2, "optimizer": "sgd", "polyak_bound": None, "clip_norm": None})
    learner, log, measured = Learner(of, 1), block(of, 60), []
    for i in range(60):
        before = learner.model_arrays()["theta"].copy()
        learner.process(part(log, i, i + 1))
        model, updates = learner.model_arrays(), learner.counters()["updates"]
        if (length := float(np.linalg.norm(model["theta"] - before))) and (not measured or updates % 16 == 0):
            measured.append(length)
        if measured:
            expected = measured[-1] / gauges.weight_norm(model)
            assert gauges.update_to_weight_ratio(model) == pytest.approx(expected, rel=1e-9)
    assert len(measured) == 4
    assert gauges.update_to_weight_ratio(Learner(of, 1).model_arrays()) is None


def test_after_a_warm_start_the_ratio_is_not_known_before_a_step() -> None:
    old = fed(spec(), 30)
    new = Learner(spec(), 2)
    carry_over(old.state(), new, range(3), streams=False)
    assert new.counters()["updates"] > 0
    assert gauges.update_to_weight_ratio(new.model_arrays()) is None
    assert gauges.state_gradient_norms(new.model_arrays()) == {}
    new.process(block(spec(), 30))
    assert (gauges.update_to_weight_ratio(new.model_arrays()) or 0.0) > 0.0


# -- how far back -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("ends", [False, True], ids=["whole windows", "only short ones"])
def test_windows_are_measured_when_the_oracle_measures_them(ends: bool) -> None:
    of = spec(model={"cell": "lstm", "hidden_size": 2}, learning={"k1": 1, "k2": 3})
    of = replace(of, has_end=ends)
    log = block(of, 700)
    log.end[:] = ends & (np.arange(700) % 6 >= 3)  # the second record of each stream
    check_agreement(of, log, [(200, True), (650, True)], 1e-9)
    at = fed_with(of, log).gauges()["reach_window"]
    assert at == (648 if ends else 647)  # since the seventh, the first of three steps, or the fourth, of two


def fed_with(of: LearnerSpec, log: Block) -> Learner:
    learner = Learner(of, 1)
    learner.process(log)
    return learner


def test_reach_is_known_as_far_as_the_window_had_steps() -> None:
    of = spec(learning={"k1": 2, "k2": 6})
    learner = Learner(of, 1)
    assert gauges.steps_followed(learner.model_arrays()) == [0, 1, 2, 4]
    assert gauges.gradient_reach_steps(gauges.state_gradient_norms(learner.model_arrays())) is None
    learner.process(block(of, 6))
    assert list(gauges.state_gradient_norms(learner.model_arrays())) == [0, 1, 2]  # the first window: two steps
    learner.process(block(of, 12, start=6))
    assert list(gauges.state_gradient_norms(learner.model_arrays())) == [0, 1, 2, 4]  # a longer one, at once
    learner.process(block(of, 900, start=18))
    norms = gauges.state_gradient_norms(learner.model_arrays())
    assert list(norms) == [0, 1, 2, 4]
    assert gauges.gradient_reach_steps(norms) == max(j for j, norm in norms.items() if norm > 0.01 * norms[0])


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("horizon", [1, 3])
def test_reach_of_forecasts_is_that_of_windows_as_whole_as_theirs_can_be(cell: str, horizon: int) -> None:
    of = spec(model={"cell": cell}, learning={"k1": 2, "k2": 6}, known="forecast", horizon=horizon)
    check_agreement(of, block(of, 1_000), [(300, True), (999, True)], 1e-9)
    learner, log, seen = Learner(of, 1), block(of, 1_000), []
    for i in range(1_000):
        learner.process(part(log, i, i + 1))
        seen.append((learner.gauges()["reach_window"], learner.gauges()["reach_steps"]))
    windows = sorted(set(seen) - {(0, 0)})
    assert [steps for _, steps in windows] == [1, 3, 5, 5, 5, 5]  # the newest step's target is not known yet
    assert set(np.diff([window for window, _ in windows[2:]])) == {128}
    assert list(gauges.state_gradient_norms(learner.model_arrays())) == [0, 1, 2, 4]


@pytest.mark.slow
@pytest.mark.parametrize("late", [0, 1, 3], ids=lambda late: f"{late} events late")
def test_reach_of_labels_is_that_of_windows_as_whole_as_theirs_can_be(late: int) -> None:
    of = spec(0, learning={"k1": 2, "k2": 6}, known="label", event_field="id", label_field="of", label_memory=8)
    n, rng = 600, np.random.default_rng(0)
    rows = [row for i in range(n) for row in ((EVENT, i), (LABEL, i - late)) if row[1] >= 0]
    kind, event = np.array(rows).T
    y = np.where(kind == LABEL, rng.normal(size=len(rows)), np.nan)[:, None]
    no_inputs, times = np.zeros((len(rows), 0)), np.arange(len(rows))
    log = Block.events([b"a"] * len(rows), no_inputs, y, time_ms=times, kind=kind, event=event)
    check_agreement(of, log, [(300, True), (len(rows) - 1, True)], 1e-9)
    now = fed_with(of, log).gauges()
    # A window ends with an event, whose label and those of the ``late`` before it are yet to come. That of the sixth
    # event is the first whole one, and the second or the first from which there is something to learn.
    assert (now["reach_steps"], now["reach_window"]) == (6 - 1 - late, {0: 2, 1: 2, 3: 1}[late] + 2 * 128)


def test_where_nothing_is_heard_of_the_state_nothing_is_reached() -> None:
    assert gauges.gradient_reach_steps({0: 0.0, 1: 0.0, 2: 0.0}) == 0
    assert gauges.gradient_reach_steps({0: math.nan, 1: 1.0}) == 0


@pytest.mark.parametrize(("old", "new", "known"), [(6, 3, [0, 1, 2]), (6, 20, [0, 1, 2, 4])])
def test_what_was_measured_comes_along_to_other_windows(old: int, new: int, known: list[int]) -> None:
    before = fed(spec(learning={"k1": 2, "k2": old}), 900)
    after = Learner(spec(learning={"k1": 2, "k2": new}), 1)
    carry_over(before.state(), after, range(3))
    norms = gauges.state_gradient_norms(before.model_arrays())
    assert gauges.state_gradient_norms(after.model_arrays()) == {j: norms[j] for j in known}


# -- the mixture ------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1e6), min_size=4, max_size=4), st.floats(0, 200))
def test_shares_are_what_the_mixture_weighs_its_experts_by(losses: list[float], count: float) -> None:
    def mixture(full: float, plain: float, newest: float) -> float:
        return rls.mixture(np.array(losses), count, full, plain, newest)

    network, linear, last = mixture(1, 0, 0), mixture(0, 1, 0), mixture(0, 0, 1)
    expected = [network, linear, 1 - network - linear - last, last]
    np.testing.assert_allclose(rls.shares(losses, count), expected, atol=1e-12)


def test_shares_are_averaged_over_outputs_and_unknown_without_the_readout() -> None:
    learner = fed(spec(fields=("y", "z"), model={"readout": "rls"}), 200)
    model = learner.model_arrays()
    each = [rls.shares(*of) for of in zip(model["readout_losses"], model["readout_loss_count"], strict=True)]
    shares = gauges.mixture_shares(model)
    assert list(shares) == ["network", "linear", "baseline", "last"]
    np.testing.assert_allclose(list(shares.values()), np.mean(each, axis=0), rtol=1e-12)
    assert sum(shares.values()) == pytest.approx(1.0)
    assert gauges.mixture_shares(Learner(learner.spec, 1).model_arrays())["last"] == 1.0
    assert gauges.mixture_shares(fed(spec(), 30).model_arrays()) == {}


# -- drift of inputs --------------------------------------------------------------------------------------------------


def drifts(x: np.ndarray) -> float:
    return float(gauges.input_drift(fed_with(spec(1, previous=False), columns(x)).model_arrays())[0])


def normal(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=n)


def test_drift_is_the_fast_mean_minus_the_slow_one_in_deviations() -> None:
    x = 100.0 + 5.0 * normal(5_016)
    x[4_000:] += 5.0
    fast = slow = 0.0
    for i, value in enumerate(x[8:].reshape(-1, 16).mean(axis=1)):
        n = 16 * (i + 1)
        fast, slow = fast + 16 / min(n, 1_000) * (value - fast), slow + 16 / n * (value - slow)
    assert drifts(x) == pytest.approx((fast - slow) / x.std(), rel=1e-6)
    assert drifts(x) == pytest.approx(0.63 - 0.2, abs=0.1)  # the fast one has come 63 % of the way, the slow one 20 %


@pytest.mark.parametrize("jump", [3.0, 1e3, 1e6, -1e6])
def test_a_level_that_changed_for_good_shows_with_its_sign_however_far_it_jumped(jump: float) -> None:
    x = normal(8_000)
    x[5_000:] += jump
    assert drifts(x) * np.sign(jump) > 0.5


def test_one_absurd_number_does_not_show_and_neither_does_noise() -> None:
    x = normal(20_000)
    calm = drifts(x)
    assert abs(calm) < 0.1
    x[3] = x[19_990] = 1e12
    assert abs(drifts(x) - calm) < 0.02


def test_drift_is_not_known_before_the_fast_mean_forgets_nor_of_what_is_an_indicator() -> None:
    assert math.isnan(drifts(normal(8 + int(drift.FAST))))
    assert not math.isnan(drifts(normal(8 + int(drift.FAST) + 16)))
    assert drifts(np.full(3_000, 7.0)) == 0.0
    of = LearnerSpec(n_features=2, target=spec().target, indicator=(True, False))
    learner = fed_with(of, columns(np.column_stack([normal(2_000) > 0, normal(2_000)])))
    found = gauges.input_drift(learner.model_arrays())
    assert [math.isnan(value) for value in found] == [True, False, False]  # and dt, of which 0 is known


def test_drift_goes_where_its_column_goes_and_a_new_one_begins() -> None:
    x = np.column_stack([normal(3_000, seed) for seed in range(2)])
    x[2_000:, 1] += 5.0
    before = fed_with(spec(2), columns(x))
    after = Learner(spec(3), 1)
    carry_over(before.state(), after, [2, 0])
    old, new = (gauges.input_drift(learner.model_arrays()) for learner in (before, after))
    assert old[1] > 0.5
    assert (new[2], new[0]) == (old[0], old[1])
    assert math.isnan(new[1])


# -- values out of bounds ---------------------------------------------------------------------------------------------


def test_inputs_and_targets_out_of_bounds_are_counted_by_column() -> None:
    x, y = np.column_stack([normal(300, 1), normal(300, 2)]), normal(300, 3)
    x[100, 0] = x[200, 0] = -1e3
    x[150, 1] = 1e3
    y[[120, 250]] = 1e4
    learner, log = Learner(spec(2), 1), columns(x, y)
    learner.process(part(log, 0, 50))  # of the first few, hardly any scale is known
    model = learner.model_arrays()
    before = np.concatenate([model["x_clamped"], model["y_clamped"]])
    learner.process(part(log, 50, 300))
    assert (np.concatenate([model["x_clamped"], model["y_clamped"]]) - before).tolist() == [2, 1, 0, 2]
    assert learner.counters()["outlying_targets"] == model["y_clamped"].sum()


def test_predicting_alone_counts_nothing() -> None:
    learner = fed_with(spec(1), columns(normal(100)))
    learner.predict(columns(np.array([1e6])))
    assert learner.model_arrays()["x_clamped"].tolist() == [0, 0]


# -- the same however it came -----------------------------------------------------------------------------------------


@pytest.mark.slow
@given(st.lists(st.integers(0, 1_500), max_size=4), st.data())
def test_any_cut_and_any_restart_leave_the_same_numbers(cuts: list[int], data: st.DataObject) -> None:
    of = spec(1, learning={"k1": 1, "k2": 2}, model={"hidden_size": 1, "cell": "rnn"})
    x = normal(1_500)
    x[700:] += 1e4
    log, at_once, learner, start = columns(x, x), Learner(of, 1), Learner(of, 1), 0
    at_once.process(log)
    for end in [*sorted(cuts), 1_500]:
        learner.process(part(log, start, end))
        start = end
        if data.draw(st.booleans(), label="restart"):
            saved, learner = learner.state().copy(), Learner(of, 2)
            learner.resume(saved)
    assert differing(bits_of(at_once), bits_of(learner)) == []
    model = learner.model_arrays()
    assert model["gauges"][counts.REACH_WINDOW] > 1_000
    assert model["x_clamped"][0] > 0
