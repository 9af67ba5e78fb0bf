"""What cannot be used is refused at once, by name, and changes nothing.

A wrong argument is a ConfigError of the constructor that names the parameter; a value of a wrong type is a RecordError
that names the feature; a file that is damaged, foreign or of another class is never half loaded.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from streamrnn import (
    CheckpointError,
    ConfigError,
    OneHot,
    RecordError,
    RNNAnomalyDetector,
    RNNClassifier,
    RNNForecaster,
    RNNMultiTargetRegressor,
    RNNRegressor,
    RNNSequenceClassifier,
    RNNSequenceRegressor,
    RNNTagger,
    save_weights,
)
from tests.support.contract import (
    BATCHED,
    CASES,
    CLASSIFIER,
    FORECASTER,
    KINDS,
    MULTI_TARGET,
    REGRESSOR,
    SMALL,
    TOLD,
    Case,
    case,
    everything,
    frame,
    infer,
    learn,
    targets,
    teach,
)


@pytest.mark.parametrize("cell", ["glru", "elstm", "bank"])
@pytest.mark.parametrize("owner", [RNNSequenceClassifier, RNNSequenceRegressor, RNNTagger])
def test_estimators_of_sequences_say_that_the_cell_is_at_fault(owner: Any, cell: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{owner.__name__}: cell: found {cell} beside whole sequences"):
        owner(cell=cell)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"cell": "glru", "optimizer": "adamw"}, "optimizer: found adamw with cell glru"),
        ({"cell": "elstm", "optimizer": "adamw"}, "optimizer: found adamw with cell elstm"),
        ({"cell": "glru", "k2": 5}, "k2: found 5 with cell glru, which has no window"),
        ({"cell": "glru", "memory": "auto"}, "memory: found auto with cell glru; auto is k2"),
        ({"cell": "elstm", "batch_size": 2}, "batch_size: found 2 with cell elstm, which has no windows"),
        ({"cell": "bank", "lr": 0.1}, "lr: found 0.1 with cell bank, .*; rls_forgetting and rls_prior say"),
        ({"cell": "bank", "memory": 9}, "memory: found 9 with cell bank, .*; lags says"),
    ],
)
def test_what_a_cell_cannot_have_is_named_as_estimators_have_it(given: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=f"^RNNRegressor: {why}") as error:
        RNNRegressor(**given)
    assert "model." not in str(error.value)
    assert "learning." not in str(error.value)


EVERYWHERE: list[dict[str, Any]] = [
    {"cell": "transformer"},
    {"hidden_size": 0},
    {"hidden_size": 2.5},
    {"num_layers": 0},
    {"k1": 0},
    {"k1": 9, "k2": 8},
    {"k2": "20"},
    {"loss": "cubic"},
    {"readout": "quadratic"},
    {"optimizer": "lbfgs"},
    {"lr": 0.0},
    {"lr": -1e-3},
    {"lr": math.nan},
    {"clip_norm": 0.0},
    {"batch_size": 0},
    {"scale": "yes"},
    {"features": ("a", "a")},
    {"features": "abc"},
    {"features": (OneHot(field="c", categories=("p",)), OneHot(field="c", categories=("p",)))},
    {"dtype": "float16"},
    {"seed": "seven"},
    {"max_streams": 0},
]
OF_ONE: list[tuple[type, dict[str, Any]]] = [
    (RNNRegressor, {"loss": "absolute", "readout": "rls"}),
    (RNNRegressor, {"loss": "huber"}),
    (RNNRegressor, {"loss": "quantile"}),
    (RNNRegressor, {"loss": "cross_entropy", "readout": "linear"}),
    (RNNRegressor, {"readout": "softmax"}),
    (RNNRegressor, {"lags": -1}),
    (RNNRegressor, {"rls_forgetting": 1.5}),
    (RNNRegressor, {"rls_forgetting": 0.0}),
    (RNNMultiTargetRegressor, {"readout": "logistic"}),
    (RNNMultiTargetRegressor, {"targets": ("u", "u")}),
    (RNNMultiTargetRegressor, {"targets": ()}),
    (RNNClassifier, {"readout": "linear"}),
    (RNNClassifier, {"readout": "rls"}),
    (RNNClassifier, {"loss": "squared"}),
    (RNNForecaster, {"horizon": 0}),
    (RNNForecaster, {"horizon": 5, "k1": 4, "k2": 8}),
    (RNNForecaster, {"baseline": "mean"}),
    (RNNForecaster, {"baseline": 0}),
    (RNNForecaster, {"level": 1.0}),
    (RNNForecaster, {"level": 0.0}),
    (RNNForecaster, {"readout": "softmax"}),
    (RNNAnomalyDetector, {"readout": "softmax"}),
]


@pytest.mark.parametrize("arguments", EVERYWHERE, ids=repr)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.estimator.__name__)
def test_a_wrong_argument_is_refused_by_name(kind: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"\b{next(iter(arguments))}\b"):
        kind.estimator(**arguments)


@pytest.mark.parametrize(("estimator", "arguments"), OF_ONE, ids=lambda value: getattr(value, "__name__", repr(value)))
def test_an_argument_that_does_not_go_with_the_estimator_is_refused_by_name(
    estimator: type, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=rf"\b{next(iter(arguments))}\b"):
        estimator(**arguments)


def test_every_parameter_is_kept_under_its_own_name_as_it_was_given() -> None:
    features = ["a", "b"]
    model = RNNRegressor(features=features, lr=0.5, clip_norm=None)
    assert model.features is features
    assert model.lr == 0.5
    assert model.clip_norm is None
    assert model.loss is None


# ---- events


@pytest.mark.parametrize("each", CASES, ids=str)
@pytest.mark.parametrize("value", ["text", [1.0], {"deep": 1.0}, 1 + 2j, object()], ids=lambda v: type(v).__name__)
def test_a_feature_of_a_wrong_type_is_refused_by_name_and_changes_nothing(each: Case, value: object) -> None:
    pairs = each.data(21)
    model = teach(each.build(), pairs[:-1])
    before = everything(model)
    x, y = pairs[-1]
    with pytest.raises(RecordError, match="'b'"):
        learn(model, {**x, "b": value}, y)
    with pytest.raises(RecordError, match="'b'"):
        infer(model, {**x, "b": value})
    assert everything(model) == before


@pytest.mark.parametrize("each", CASES, ids=str)
def test_a_declared_feature_of_a_wrong_type_is_refused_from_the_first_event_on(each: Case) -> None:
    with pytest.raises(RecordError, match="'b'"):
        learn(each.build(features=("a", "b")), {"a": 1.0, "b": "text"}, each.data(1)[0][1])


@pytest.mark.parametrize("each", BATCHED, ids=str)
def test_a_batch_with_a_wrong_value_is_refused_as_a_whole(each: Case) -> None:
    pairs = each.data(30)
    model = teach(each.build(), pairs[:20])
    before = everything(model)
    X = frame(pairs[20:]).astype({"b": object})
    X.iloc[7, list(X.columns).index("b")] = "text"
    with pytest.raises(RecordError, match="'b'"):
        model.learn_many(X, targets(pairs[20:]))
    with pytest.raises(RecordError, match="'b'"):
        model.predict_many(X)
    assert everything(model) == before


@pytest.mark.parametrize("each", [each for each in TOLD if each.kind is not CLASSIFIER], ids=str)
def test_a_target_of_a_wrong_type_is_refused_and_changes_nothing(each: Case) -> None:
    pairs = each.data(21)
    model = teach(each.build(), pairs[:-1])
    before = everything(model)
    wrong = {"u": "text", "v": 1.0} if each.kind is MULTI_TARGET else "text"
    with pytest.raises(RecordError, match="u" if each.kind is MULTI_TARGET else "text"):
        learn(model, pairs[-1][0], wrong)
    assert everything(model) == before


def test_as_many_targets_as_rows_are_asked_for() -> None:
    pairs = REGRESSOR.data(20)
    model = teach(case(REGRESSOR).build(), pairs)
    before = everything(model)
    with pytest.raises(ValueError, match=r"20.*19|19.*20"):
        model.learn_many(frame(pairs), targets(pairs[1:]))
    assert everything(model) == before


def test_a_forecast_is_asked_for_whole_steps_and_an_interval_within_the_horizon() -> None:
    model = teach(case(FORECASTER).build(), FORECASTER.data(20))
    for horizon in (0, -1, 1.5, True):
        with pytest.raises(ConfigError, match="horizon"):
            model.forecast(horizon)
    with pytest.raises(ConfigError, match="horizon"):
        model.forecast_interval(model.horizon + 1)
    with pytest.raises(ValueError, match="xs"):
        model.forecast(2, [{"a": 1.0}])


def test_quantiles_are_there_with_their_loss_only() -> None:
    with pytest.raises(ConfigError, match="quantile"):
        teach(case(REGRESSOR).build(), REGRESSOR.data(5)).predict_quantiles_one({"a": 1.0})


# ---- weights and files


def test_weights_of_another_shape_are_refused_by_name() -> None:
    model = teach(case(REGRESSOR).build(), REGRESSOR.data(10))
    before = everything(model)
    weights = model.get_weights()
    with pytest.raises(ValueError, match=r"rnn\.weight_hh_l0"):
        model.set_weights({**weights, "rnn.weight_hh_l0": np.zeros((1, 1))})
    with pytest.raises(ValueError, match=r"rnn\.bias_hh_l0"):
        model.set_weights({name: array for name, array in weights.items() if name != "rnn.bias_hh_l0"})
    assert everything(model) == before


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "regressor.safetensors"
    teach(case(REGRESSOR).build(), REGRESSOR.data(20)).save(path)
    return path


def refused(path: Path, estimator: type = RNNRegressor) -> str:
    """The message of the refusal, which must name the file."""
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        estimator.load(path)  # type: ignore[attr-defined]
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("estimator", [RNNMultiTargetRegressor, RNNClassifier, RNNForecaster, RNNAnomalyDetector])
def test_the_file_of_another_class_is_refused_naming_both(saved: Path, estimator: type) -> None:
    message = refused(saved, estimator)
    assert "RNNRegressor" in message
    assert estimator.__name__ in message


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    refused(saved)


def test_garbage_is_refused(saved: Path) -> None:
    saved.write_bytes(np.random.default_rng(0).bytes(4096))
    refused(saved)


def test_weights_alone_are_not_a_saved_model(saved: Path) -> None:
    save_weights(saved, {"rnn.weight_ih_l0": np.zeros((4, 3), np.float32)})
    refused(saved)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere.safetensors")


def test_a_directory_that_is_not_there_cannot_be_saved_to(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere"):
        teach(RNNRegressor(**SMALL), REGRESSOR.data(3)).save(tmp_path / "nowhere" / "model.safetensors")


@pytest.mark.parametrize("bad", ["abc", [1, 2], 10**400], ids=["text", "array", "huge"])
@pytest.mark.parametrize("lacking", [False, True])
def test_learn_many_names_the_row_that_it_refuses_and_what_is_in_it(bad: object, lacking: bool) -> None:
    model = RNNRegressor()
    model.learn_one({"a": 1.0, "b": 1.0} if lacking else {"a": 1.0}, 1.0)
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=["first", "second", "third"])
    spoilt = frame.astype(object)
    spoilt.iat[1, 0] = bad
    y = pd.Series([1.0, 2.0, 3.0], index=frame.index)
    shown = "60 digits" if isinstance(bad, int) else re.escape(repr(bad))
    with pytest.raises(RecordError, match=f"row 1, labelled second: field 'a': .*{shown}"):
        model.learn_many(spoilt, y)
    wrong = y.astype(object)
    wrong.iat[2] = "late"
    with pytest.raises(RecordError, match="row 2, labelled third: field 'y': found the string 'late'"):
        model.learn_many(frame, wrong)
    with pytest.raises(RecordError, match="row 2, labelled third: field 'late': found the string 'never'"):
        wrong.iat[2] = "never"
        RNNMultiTargetRegressor().learn_many(frame, wrong.to_frame("late"))


def test_a_class_that_is_none_names_its_row() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0]})
    with pytest.raises(RecordError, match=r"row 1: y: a class is text.*\['x'\]"):
        RNNClassifier().learn_many(frame, pd.Series(["x", ["x"]]))
    keyed = pd.DataFrame({"a": [1.0, 2.0], "k": ["s", None]})
    with pytest.raises(RecordError, match=r"row 1: .*'k'"):
        RNNRegressor(stream_key="k").learn_many(keyed, pd.Series([1.0, 2.0]))


def test_weights_that_load_would_refuse_are_not_saved(saved: Path, tmp_path: Path) -> None:
    model = RNNRegressor.load(saved)
    model.set_weights({name: np.full_like(weight, 1e30) for name, weight in model.get_weights().items()})
    with pytest.raises(CheckpointError, match="'theta' holds numbers"):
        model.save(tmp_path / "m.safetensors")
    assert not (tmp_path / "m.safetensors").exists()
