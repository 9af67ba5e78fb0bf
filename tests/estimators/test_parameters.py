"""A refused parameter is named, with what was expected and what was received, whatever the value looks like."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import msgspec
import numpy as np
import pytest

from streamrnn import (
    ConfigError,
    RNNAnomalyDetector,
    RNNClassifier,
    RNNForecaster,
    RNNMultiTargetRegressor,
    RNNRegressor,
)
from streamrnn.estimators.parameters import checked, described, field_types
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearningSpec, StreamSpec
from streamrnn.learner.symbols import Symbols, TextSpec
from tests.support.contract import KINDS

POSITIVE, SHARE = "a number above 0", "a number above 0 and below 1"
ONE_OR_MORE = "a whole number of at least 1"
NAMES = "names or None"

# For each parameter: what is expected, a value of a wrong type, and where there is a range, values outside it.
COMMON: dict[str, tuple[str, list[Any]]] = {
    "cell": ("'bank', 'elstm', 'glru', 'gru', 'lstm' or 'rnn'", ["model.lstm", "LSTM", 3, None]),
    "gates": ("True or False", ["no", 1, None]),
    "hidden_layer": ("a whole number of at least 0 and at most 4,096 or None", ["32", 2.5, True, -1, 4097]),
    "hidden_size": ("a whole number of at least 1 and at most 4,096 or None", ["16", 2.5, True, 0, 4097]),
    "num_layers": ("a whole number of at least 1 and at most 16", ["two", 1.0, 0, 17]),
    "memory": (
        "'auto', a whole number of at least 2 and at most 1,000,000 or None",
        ["long", "16", 2.5, True, 1, 0, 10**7],
    ),
    "k1": (f"{ONE_OR_MORE} or None", ["learning.k1", 1.5, 0, -1]),
    "k2": (f"{ONE_OR_MORE} or None", ["20", 16.0, 0]),
    "betas": (f"a sequence of 2 values, each {SHARE} or None", [0.9, ("0.9", 0.999), (0.9,), (0.0, 0.5), (0.5, 1.0)]),
    "loss": ("text or None", [3, ["squared"]]),
    "optimizer": ("'adam', 'adamw', 'momentum', 'rmsprop', 'sgd' or None", ["learning.adam", "lbfgs", 1]),
    "lr": (f"{POSITIVE} or None", ["learning.lr", "0.1", -1, 0.0, -1e-3, float("nan")]),
    "schedule": ("'constant', 'exponential', 'inverse_sqrt' or None", ["linear", 3]),
    "schedule_updates": (f"{ONE_OR_MORE} or None", ["100", 2.5, 0, -1]),
    "schedule_least": ("a number of at least 0 and at most 1 or None", ["0.1", -0.1, 1.5]),
    "clip_norm": (f"'auto', {POSITIVE} or None", ["1", "Auto", False, 0.0, -2]),
    "polyak_bound": (f"{POSITIVE} or None", ["1", False, 0.0, -2]),
    "batch_size": (ONE_OR_MORE, ["1", 2.0, 0]),
    "scale": ("True or False", ["yes", 1, None]),
    "features": ("a sequence of names or encoders, or None", ["abc", 5, {"a"}, frozenset("b")]),
    "stream_key": ("the name of a feature or None", [["id"], {}]),
    "dtype": ("'float32' or 'float64'", ["model.dtype", "float16", np.float32]),
    "seed": ("a whole number or None", ["seven", 1.5, True]),
    "max_streams": ("a whole number of at least 1 and at most 100,000,000", ["streams.max_streams", 1e3, 0, 10**9]),
    "previous_target": ("True, False or None", ["inputs.yes", 1]),
    "lags": ("a whole number of at least 0 and at most 1,024", ["20", 0.5, -1, 1025]),
    "rls_forgetting": ("a number above 0 and at most 1 or None", ["1", 0.0, 1.5]),
    "rls_prior": (f"{POSITIVE} or None", ["0.1", 0, -0.1]),
    "quantiles": (
        f"a sequence of 1 to 64 values, each {SHARE}",
        [0.5, "0.5", (0.1, "0.5"), (), (0.5, 1.0), [0.5] * 65, {0.5}],
    ),
    "hash_key": ("text", [b"key", 3, None]),
    "missing": ("'auto', 'last', 'mean' or 'zero'", ["none", 0.0, None, True]),
}
OWN: list[tuple[type, str, str, list[Any]]] = [
    (RNNRegressor, "readout", "'rls' or 'linear'", ["softmax", 1, None, ["rls"]]),
    (RNNMultiTargetRegressor, "readout", "'rls' or 'linear'", ["logistic"]),
    (RNNClassifier, "readout", "'softmax' or 'logistic'", ["rls"]),
    (RNNForecaster, "readout", "'rls' or 'linear'", ["softmax"]),
    (RNNAnomalyDetector, "readout", "'linear'", ["rls"]),
    *(
        (estimator, name, expected, values)
        for estimator in (RNNRegressor, RNNMultiTargetRegressor, RNNClassifier)
        for name, expected, values in (
            ("delayed", "True, False or None", ["yes", 2, 1]),
            ("event_key", "the name of a feature or None", [["id"], {}]),
        )
    ),
    (RNNAnomalyDetector, "delayed", "True, False or None", ["yes", 2, 1]),
    (RNNMultiTargetRegressor, "targets", NAMES, ["u", 5, (), ([1],), {"u"}]),
    (
        RNNForecaster,
        "horizon",
        f"{ONE_OR_MORE} or a sequence of 1 to 1,000 values, each {ONE_OR_MORE}",
        ["target.horizon", 1.5, None, True, 0, (), (0, 2), {1, 2}],
    ),
    (
        RNNForecaster,
        "baseline",
        "'auto', 'last', a whole number of at least 1 and at most 100,000 or None",
        ["mean", 1.5, True, 0, -3],
    ),
    (RNNForecaster, "level", SHARE, ["0.9", None, True, 0.0, 1.0, 1]),
]


def refusal(estimator: type, **arguments: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        estimator(**arguments)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.estimator.__name__)
def test_the_tables_above_hold_every_parameter(kind: Any) -> None:
    own = {name for estimator, name, *_ in OWN if estimator is kind.estimator}
    assert {field.name for field in fields(kind.estimator)} == {*COMMON, *own}


@pytest.mark.parametrize("name", COMMON)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.estimator.__name__)
def test_a_refusal_names_the_parameter_what_was_expected_and_what_was_received(kind: Any, name: str) -> None:
    expected, values = COMMON[name]
    for value in values:
        message = refusal(kind.estimator, **{name: value})
        assert message == f"{kind.estimator.__name__}: {name}: expected {expected}, got {shown(value)}"


@pytest.mark.parametrize(
    ("estimator", "name", "expected", "values"), OWN, ids=lambda each: getattr(each, "__name__", "")
)
def test_so_does_a_refusal_of_a_parameter_of_one_estimator(
    estimator: type, name: str, expected: str, values: list[Any]
) -> None:
    for value in values:
        assert (
            refusal(estimator, **{name: value}) == f"{estimator.__name__}: {name}: expected {expected}, got {value!r}"
        )


def shown(value: Any) -> str:
    """As the message has it, which cuts what is very long."""
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]} ..."


@pytest.mark.parametrize(
    ("estimator", "arguments", "message"),
    [
        (RNNRegressor, {"k1": 9, "k2": 8}, "k1: must be at most k2, got k1=9 and k2=8: "),
        (RNNRegressor, {"quantiles": (0.5, 0.1)}, "quantiles: must increase strictly, got [0.5, 0.1]"),
        (RNNRegressor, {"loss": "model.huber"}, "loss: 'model.huber' does not go with readout 'rls'; allowed: squared"),
        (RNNClassifier, {"loss": "squared"}, "loss: 'squared' does not go with readout 'softmax'; allowed: "),
        (
            RNNForecaster,
            {"horizon": 5, "k1": 4, "k2": 8},
            "horizon: 5 steps ahead needs k2 - k1 >= 5, got k2=8, k1=4: ",
        ),
        (RNNForecaster, {"horizon": (6, 1)}, "horizon: steps ahead must increase strictly, got [6, 1]"),
        (RNNRegressor, {"lags": 1024, "features": range(8000)}, "readout: rls keeps outputs x regressors^2 numbers, "),
        (RNNRegressor, {"features": ("a", "a")}, "features: names must differ, got ['a', 'a']"),
        (RNNRegressor, {"features": [["a"]]}, "features: expected names or encoders, got [['a']]"),
        (RNNMultiTargetRegressor, {"targets": ("u", "u")}, "targets: names must differ, got ['u', 'u']"),
    ],
)
def test_parameters_that_do_not_go_together_are_named_without_the_section_of_a_job_file(
    estimator: type, arguments: dict[str, Any], message: str
) -> None:
    assert refusal(estimator, **arguments).startswith(f"{estimator.__name__}: {message}")


@pytest.mark.parametrize("struct", [ModelSpec, LearningSpec, StreamSpec, TextSpec, Symbols])
def test_whatever_a_parameter_may_be_can_be_said_in_words(struct: type[msgspec.Struct]) -> None:
    for kind in field_types(struct).values():
        assert described(kind)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tuple[float, float], "a sequence of 2 values, each a number"),
        (tuple[int, str | None], "a sequence of 2 values: a whole number, text or None"),
        (tuple[bool, ...], "a sequence, each True or False"),
    ],
)
def test_a_sequence_is_told_by_its_length_and_its_values(kind: Any, words: str) -> None:
    assert described(kind) == words


@pytest.mark.parametrize("value", [{0.5, 0.9}, frozenset({0.5, 0.9})])
def test_a_set_is_no_sequence_whatever_its_values(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"m: betas: expected a sequence of 2 values, each a number, got "):
        checked("m", "betas", value, tuple[float, float])


def test_numpy_scalars_count_as_the_numbers_they_are() -> None:
    model = RNNRegressor(hidden_size=np.int64(4), lr=np.float32(0.5), scale=np.bool_(True), clip_norm=np.float64(1.0))
    assert (model._spec().model.hidden_size, model._spec().learning.lr, model._spec().learning.scale) == (4, 0.5, True)


def test_one_stream_gets_arrays_for_one_stream() -> None:
    assert RNNRegressor(max_streams=50)._spec().streams == StreamSpec(max_streams=1)
    assert RNNRegressor(max_streams=50, stream_key="id")._spec().streams == StreamSpec(max_streams=50)
