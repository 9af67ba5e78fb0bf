"""A bank of fixed filters under the RLS readout: what it says, what of it learns, and what a stream of it takes.

Its twin is written out here: complex filters by their equation, tanh units, and the oracle's least squares.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace as with_fields

from streamrnn import Block, Learner, LearnerSpec
from streamrnn.learner.block import EVENT, LABEL
from streamrnn.learner.consistency import RuleError
from streamrnn.learner.growth import carry_over
from streamrnn.learner.lowering import bytes_per_stream, sizes_of
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.oracle.readout import NaiveReadout
from tests.support.learners import bits_of, bits_of_predictions, differing, one_by_one
from tests.support.small_learners import STREAMS_SEEN, block

Array = np.ndarray[Any, Any]


def bank(n_features: int = 3, *, model: dict[str, Any] | None = None, scale: bool = True, **target: Any) -> LearnerSpec:
    sizes = {"hidden_size": 5, "hidden_layer": 7, "dtype": "float64", "lags": 3}
    return LearnerSpec(
        n_features=n_features,
        target=TargetSpec(**{"fields": ("y",), **target}),
        inputs=InputSpec(dt=False),
        model=ModelSpec(cell="bank", readout="rls", **{**sizes, **(model or {})}),
        learning=LearningSpec(scale=scale),
        streams=StreamSpec(max_streams=10),
    )


AHEAD = {"known": "forecast", "horizon": (2, 5)}
TARGETS: dict[str, dict[str, Any]] = {
    "record": {}, "forecast": AHEAD, "baseline": {**AHEAD, "baseline": 3},
    "label": {"known": "label", "event_field": "id", "label_field": "of"},
}  # fmt: skip


def log(of: LearnerSpec, n: int, start: int = 0) -> Block:
    """Events ``start`` to ``start + n``; where targets come later, the label of each, four events behind it."""
    events = block(of, n, start)
    if of.target.known != "label":
        return events
    after, unknown = 4, np.full((1, of.n_targets), np.nan)
    order = [at for k in range(n + after) for at in ((k, EVENT), (k - after, LABEL)) if 0 <= at[0] < n]
    rows, kinds = (np.array(column) for column in zip(*order, strict=True))
    return Block.events(
        [events.keys[k] for k in rows], events.x[rows], np.where(kinds[:, None] == LABEL, events.y[rows], unknown),
        time_ms=events.time_ms[rows], kind=kinds, event=start + 1 + rows,
    )  # fmt: skip


def filtered(weights: dict[str, Array], x: Array) -> Array:
    """z (n, M) of inputs x (n, D) from rest: filters, then tanh units over their states and the inputs."""
    radius, phase = np.exp(-np.exp(weights["rnn.nu_log"])), np.exp(weights["rnn.theta_log"])
    into = (weights["rnn.B_re"] + 1j * weights["rnn.B_im"]) * np.sqrt(1 - radius**2)[:, None]
    h, z = np.zeros(len(radius), complex), []
    for row in x:
        h = radius * np.exp(1j * phase) * h + into @ row
        seen = np.concatenate([h.real, h.imag, row])
        z.append(np.tanh(weights["hidden.weight"] @ seen + weights["hidden.bias"]))
    return np.array(z)


def test_it_says_what_least_squares_say_on_filters_written_out() -> None:
    spec = bank(2, scale=False, model={"lags": 0})
    learner, rng = Learner(spec, 3), np.random.default_rng(0)
    x, y = rng.normal(size=(60, 2)), rng.normal(size=60)
    y[1:] += np.sin(3 * x[:-1, 0])
    found = learner.process(Block.events([b"a"] * 60, x, y[:, None])).value[:, 0]
    before = np.concatenate([[0.0], y[:-1]])
    inputs = np.column_stack([x, before, np.arange(60) > 0])
    M = spec.model.hidden_units
    readout = NaiveReadout(spec.n_regressors, M, M + 2, spec.model.prior, spec.model.forgetting)
    for z, row, target, prediction in zip(filtered(learner.get_weights(), inputs), inputs, y, found, strict=True):
        phi = np.concatenate([z, row, [1.0]])
        assert prediction == pytest.approx(readout.predict(phi), rel=1e-9, abs=1e-9)
        readout.update(phi, readout.models(phi), target)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_its_weights_never_move_and_updates_are_steps_of_least_squares(target: dict[str, Any]) -> None:
    spec = bank(**target)
    learner = Learner(spec, 1)
    before, events = learner.get_weights(), log(spec, 60)
    learner.process(events)
    after = learner.get_weights()
    assert [name for name in before if not np.array_equal(before[name], after[name])] == ["rls.weight"]
    steps = learner.counters()["updates"]
    known = {"record": 60, "forecast": 2 * 60 - STREAMS_SEEN * (2 + 5), "label": 60}[target.get("known", "record")]
    assert known - 16 <= steps <= known  # none is learned before the values have a deviation
    assert learner.counters()["late_labels"] == 0  # the filters replay nothing that it could be late for


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_cuts_and_a_restored_copy_change_no_bit(target: dict[str, Any]) -> None:
    spec = bank(**target)
    whole, cut, single, again = (Learner(spec, 1) for _ in range(4))
    said = whole.process(log(spec, 90))
    parts = [cut.process(part) for part in pieces(log(spec, 90), 7, 40, 41)]
    alone = one_by_one(single, log(spec, 90))
    assert not differing(bits_of_predictions(said), bits_of_predictions(*parts))
    assert not differing(bits_of_predictions(said), bits_of_predictions(alone))
    assert not differing(bits_of(whole), bits_of(cut))
    again.resume(whole.state())
    more = log(spec, 50, start=90)
    assert not differing(bits_of_predictions(whole.process(more)), bits_of_predictions(again.process(more)))
    assert not differing(bits_of(whole), bits_of(again))


def pieces(whole: Block, *cuts: int) -> list[Block]:
    bounds = [0, *cuts, len(whole)]
    return [whole.rows(slice(a, b)) for a, b in itertools.pairwise(bounds)]


def test_a_stream_carries_128_bytes_of_state_and_nothing_of_a_gradient() -> None:
    spec = LearnerSpec(n_features=3, target=TargetSpec(fields=("y",)), model=ModelSpec(cell="bank", readout="rls"))
    learner = Learner(spec, 1)
    learner.process(block(spec, 5))
    rows = learner.row_of(b"0")
    assert rows["state"].nbytes == 128
    assert [rows[name].nbytes for name in ("traces", "behind", "before")] == [0, 0, 0]
    assert (spec.model.units, spec.model.hidden_units, spec.model.forgetting, spec.model.prior) == (16, 128, 0.9999, 3)
    assert bytes_per_stream(spec) < 2_000


def test_what_is_given_is_in_force_in_place_of_the_bank_s_own_defaults() -> None:
    model = ModelSpec(
        cell="bank", readout="rls", hidden_size=3, hidden_layer=9, rls_forgetting=0.99, rls_prior=2.0, dtype="float64"
    )
    spec = with_fields(bank(), model=model)
    assert (model.units, model.hidden_units, model.forgetting, model.prior) == (3, 9, 0.99, 2.0)
    assert sizes_of(spec)["R"] == 9 + spec.n_multiplied + 20 + 1


def test_only_least_squares_go_with_it() -> None:
    with pytest.raises(RuleError, match=r"model.readout: found linear with cell bank.* expected rls"):
        with_fields(bank(), model=ModelSpec(cell="bank"))


def test_a_new_feature_is_filtered_from_then_on_and_was_missing_before() -> None:
    old, new = bank(2), bank(3)
    source, target = Learner(old, 1), Learner(new, 2)
    source.process(block(old, 120))
    carry_over(source.state(), target, range(2))
    rest = block(old, 30, start=120)
    lacking = Block.events(rest.keys, np.column_stack([rest.x, np.full(30, np.nan)]), rest.y, time_ms=rest.time_ms)
    expected = source.process(rest).value
    np.testing.assert_allclose(target.process(lacking).value, expected, rtol=1e-9, atol=1e-9)
    weights = target.get_weights()
    assert np.abs(weights["rnn.B_re"][:, 2]).max() > 0.1
    assert np.array_equal(weights["rnn.B_re"][:, :2], source.get_weights()["rnn.B_re"][:, :2])


def test_a_step_ahead_that_is_listed_is_forecast_as_among_all_of_them() -> None:
    few, every = (bank(known="forecast", horizon=horizon) for horizon in ((2, 5), 5))
    events = block(few, 150)
    found, expected = Learner(few, 1).process(events), Learner(every, 1).process(events)
    assert found.value.shape == (150, 2)
    np.testing.assert_array_equal(found.value, expected.value[:, [1, 4]])


def test_what_falls_due_is_what_was_forecast_so_many_steps_before() -> None:
    spec = bank(known="forecast", horizon=(2, 5), baseline="last")
    learner, events = Learner(spec, 1), block(bank(), 30)
    said = {key: [] for key in (b"0", b"1", b"2")}
    for i in range(30):
        key = events.keys[i]
        due = learner.due(key)
        for column, j in enumerate((2, 5)):
            expected = said[key][-j][column] if j <= len(said[key]) else np.nan
            np.testing.assert_equal(due[column], expected)
        said[key].append(learner.process(events.rows(slice(i, i + 1))).value[0])
        np.testing.assert_array_equal(learner.newest_forecast(key), said[key][-1])


@pytest.mark.parametrize("target", [TARGETS["forecast"], TARGETS["baseline"], TARGETS["label"]])
def test_of_what_waits_for_its_target_is_kept_what_the_layer_read(target: dict[str, Any]) -> None:
    spec = bank(**target)
    assert sizes_of(spec)["kept"] == 2 * 5 + spec.n_multiplied + 3  # and not 7 units of the layer, nor the constant
    learner = Learner(spec, 1)
    whole, states = log(spec, 40), []
    for i in range(len(whole)):
        learner.process(whole.rows(slice(i, i + 1)))
        if whole.keys[i] == b"0" and whole.kind[i] == EVENT:
            states.append(learner.row_of(b"0")["state"][0, :, :5].ravel())
    kept = learner.row_of(b"0")["regressors"]
    for row in states[-3:]:  # filters as they were, real parts and then imaginary ones
        assert (kept[:, :10] == row).all(axis=1).sum() == 1


def test_a_wider_layer_is_asked_again_by_its_new_units_too() -> None:
    old, new = (bank(known="forecast", horizon=(2, 5), model={"hidden_layer": units}) for units in (7, 9))
    source, target = Learner(old, 1), Learner(new, 2)
    source.process(block(old, 60))
    carry_over(source.state(), target, range(3))
    rows = [learner.row_of(b"0")["regressors"] for learner in (source, target)]
    np.testing.assert_array_equal(*rows)


def test_a_stream_that_waits_for_distant_targets_takes_a_third_of_what_its_regressors_would() -> None:
    spec = LearnerSpec(
        n_features=0,
        target=TargetSpec(fields=("y",), known="forecast", horizon=(1, 6, 84)),
        model=ModelSpec(cell="bank", readout="rls"),
    )
    sizes = sizes_of(spec)
    assert sizes["kept"] == sizes["R"] - 1 - 128 + 32
    assert bytes_per_stream(spec) < 84 * (4 * sizes["R"] + 24 + 3 * 16)


def test_more_lags_and_features_find_what_waits_at_its_place() -> None:
    old = bank(2, known="forecast", horizon=(2, 5))
    new = bank(3, known="forecast", horizon=(2, 5), model={"lags": 4})
    source, target = Learner(old, 1), Learner(new, 2)
    source.process(block(old, 60))
    carry_over(source.state(), target, (0, 2))
    before, now = (learner.row_of(b"0")["regressors"] for learner in (source, target))
    h, inputs = 2 * 5, old.n_multiplied
    at = [*range(h), h, h + 2, *range(h + 3, h + 1 + inputs), *range(h + 1 + inputs, h + 1 + inputs + 3)]
    np.testing.assert_array_equal(now[:, at], before)
    assert not np.delete(now, at, axis=1).any()
