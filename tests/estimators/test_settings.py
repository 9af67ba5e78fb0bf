"""A parameter that is set is taken up from then on, or refused where it is set; it is never passed over.

What a learned estimator takes up is the same as if it had been saved, and loaded into one with the other parameter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamrnn import ConfigError, Numeric, OneHot, RNNForecaster, RNNMultiTargetRegressor, RNNRegressor
from streamrnn.estimators.settings import FIXED
from tests.support.contract import FORECASTER, KINDS, REGRESSOR, Case, case, infer, run, teach, weight_bits

CASES = [case(kind, cell="lstm") for kind in KINDS]
each_kind = pytest.mark.parametrize("each", CASES, ids=str)

TAKEN_UP: dict[str, Any] = {
    "lr": 0.5,
    "k1": 2,
    "k2": 12,
    "schedule": "inverse_sqrt",
    "schedule_updates": 5,
    "schedule_least": 0.5,
    "clip_norm": 1e-3,
    "polyak_bound": None,
    "batch_size": 3,
    "hidden_size": 9,
    "max_streams": 17,
    "missing": "last",
}
REFUSED: dict[str, Any] = {
    "cell": "none of them",
    "num_layers": 3,
    "dtype": "float64",
    "optimizer": "adamw",
    "scale": False,
    "stream_key": "other",
    "seed": 99,
    "memory": 77,
    "hash_key": "another",
    "features": ["zz"],
    "lr": -1.0,
    "k1": 99,
    "hidden_size": 1,
    "missing": "never",
}


def taught(each: Case, **parameters: Any) -> Any:
    return teach(each.build(**parameters), each.data(30))


@pytest.mark.parametrize("name", TAKEN_UP)
@each_kind
def test_what_can_be_taken_up_is_so_at_once(each: Case, name: str) -> None:
    model, other = taught(each, dtype="float64"), taught(each, dtype="float64")
    setattr(model, name, TAKEN_UP[name])
    assert getattr(model, name) == TAKEN_UP[name]
    assert model._learner.spec == model._spec()  # nothing waits for the next new feature
    x = each.data(1, seed=3)[0][0]
    # Where new units speak up, the readout is a little less sure, and keeps closer to the last value.
    tolerance = 1e-3 if name == "hidden_size" else 1e-9
    np.testing.assert_allclose(flat(infer(model, x)), flat(infer(other, x)), rtol=tolerance, atol=1e-9)
    run(model, each.data(30, seed=2))


def flat(prediction: Any) -> list[float]:
    if isinstance(prediction, dict):
        return [float(prediction[key]) for key in sorted(prediction)]
    return [float(value) for value in np.ravel(prediction)]


RATES: dict[str, Any] = {"lr": 0.2, "schedule": "exponential", "clip_norm": 1e-4, "polyak_bound": 1e-3}


@pytest.mark.parametrize("name", RATES)
def test_a_rate_that_is_set_is_the_rate_that_is_learned_with(name: str) -> None:
    each, value = CASES[0], RATES[name]
    changed, same = taught(each), taught(each)
    setattr(changed, name, value)
    assert weight_bits(changed) == weight_bits(same)
    teach(changed, each.data(20, seed=1))
    teach(same, each.data(20, seed=1))
    assert weight_bits(changed) != weight_bits(same)


@pytest.mark.parametrize("name", REFUSED)
@each_kind
def test_what_cannot_be_taken_up_is_refused_and_changes_nothing(each: Case, name: str) -> None:
    model, same = taught(each), taught(each)
    before = getattr(model, name)
    with pytest.raises(ConfigError, match=f"{type(model).__name__}: {name}: "):
        setattr(model, name, REFUSED[name])
    assert getattr(model, name) == before
    rest = each.data(20, seed=1)
    assert run(model, rest) == run(same, rest)
    assert weight_bits(model) == weight_bits(same)


def test_a_refusal_says_why_and_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"'lstm' cannot become 'gru' .* gates and states .* clone\(\)"):
        taught(case(REGRESSOR, cell="lstm")).cell = "gru"


def test_before_anything_was_learned_a_parameter_is_what_the_constructor_takes() -> None:
    model = RNNRegressor()
    model.stream_key, model.cell, model.features = "id", "gru", (name for name in "ab")
    assert model.features == ["a", "b"]
    with pytest.raises(ConfigError, match="lr: expected a number above 0"):
        model.lr = -1
    with pytest.raises(ConfigError, match="stream_key, which is not an input"):
        model.stream_key = "a"
    assert (model.lr, model.stream_key) == (None, "id")
    made = RNNRegressor(stream_key="id", cell="gru", features=["a", "b"])
    events = [({"a": float(t % 3), "b": 1.0, "id": t % 2}, float(t % 5)) for t in range(20)]
    assert run(model, events) == run(made, events)


@pytest.mark.parametrize(
    ("name", "value"), [("lr", 0.02), ("hidden_size", 8), ("max_streams", 9), ("missing", "zero"), ("targets", ["y"])]
)
@pytest.mark.parametrize("how", ["named", "observed"])
def test_what_was_observed_before_the_first_lesson_stays(how: str, name: str, value: Any) -> None:
    key = {"event_key": "id"} if how == "named" else {}
    model = RNNMultiTargetRegressor(stream_key="s", **key)
    for t in range(5):
        model.observe_one({"id": t, "s": t, "a": float(t)})
    setattr(model, name, value)
    assert model.counters()["waiting"] == 5
    assert model._awaited.max_streams == model.max_streams
    for t in range(5):
        model.learn_one({"id": t, "s": t, "a": float(t)}, {"y": 1.0})
    assert (model.counters()["waiting"], model.counters()["label_records"]) == (0, 5)
    assert len(model._learner.streams) == 5


def test_what_an_event_is_cannot_change_under_those_that_were_observed() -> None:
    model = RNNMultiTargetRegressor(event_key="id")
    model.predict_one({"id": 1, "a": 1.0})
    model.event_key = "name"
    assert model.counters()["waiting"] == 0


def test_features_may_come_behind_those_that_were_learned() -> None:
    model = RNNRegressor(features=["b", "a"])
    for t in range(20):
        model.learn_one({"a": t % 3, "b": t % 5}, t % 3)
    before = model.predict_one({"a": 1, "b": 2})
    model.features = ["b", "a", "c"]
    assert model.predict_one({"a": 1, "b": 2, "c": 7}) == pytest.approx(before, abs=1e-6)
    assert model.get_weights()["rnn.weight_ih_l0"].shape[1] == 3 + 2
    for features in (["a", "b", "c"], ["b"], [Numeric(field="a")], 5):
        with pytest.raises(ConfigError, match="RNNRegressor: features: "):
            model.features = features  # type: ignore[assignment]
    assert model.features == ["b", "a", "c"]


def test_an_encoder_may_treat_what_is_missing_otherwise() -> None:
    colour = OneHot(field="c", categories=("x",))
    model = RNNRegressor(features=[Numeric(field="a"), colour])
    for t in range(20):
        model.learn_one({"a": 5.0 + t % 3, "c": "x"}, t % 3)
    model.features = [Numeric(field="a", missing="zero"), colour]
    assert model.predict_one({"c": "x"}) == model.predict_one({"a": 0.0, "c": "x"})
    with pytest.raises(ConfigError, match="goes with names, got 'zero'; encoders have a `missing` each"):
        model.missing = "zero"


def test_river_mutates_what_can_be_set() -> None:
    model = taught(CASES[0])
    model.mutate({"lr": 0.25})
    assert model._learner.spec.learning.lr == 0.25
    for name in FIXED:
        assert name not in model._mutable_attributes
    assert model.clone().lr == 0.25


def test_intervals_follow_the_level_and_the_number_of_streams() -> None:
    model = taught(case(FORECASTER, cell="lstm"))
    assert isinstance(model, RNNForecaster)
    model.level, model.max_streams = 0.5, 3
    assert (model._intervals.level, model._intervals.max_streams) == (0.5, 3)
    with pytest.raises(ConfigError, match="level: expected"):
        model.level = 2.0
    assert model.level == model._intervals.level == 0.5


def test_the_targets_of_a_learned_estimator_stay() -> None:
    model = RNNMultiTargetRegressor(targets=["u"])
    model.learn_one({"a": 1.0}, {"u": 1.0})
    with pytest.raises(ConfigError, match=r"targets: .* in their order"):
        model.targets = ["u", "v"]
    assert model.targets == ["u"]


@pytest.mark.parametrize("error", [KeyError("of whatever kind"), ValueError("this"), KeyboardInterrupt()])
def test_a_setting_that_fails_is_as_it_was_whatever_is_raised(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = taught(case(REGRESSOR, cell="lstm"))
    lr = model.lr

    def fails(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(RNNRegressor, "_take_up", fails)
        with pytest.raises(type(error)):
            model.lr = 0.25
    assert model.lr == lr
    model.k2 = 12
    assert model._learner.spec == model._spec()
