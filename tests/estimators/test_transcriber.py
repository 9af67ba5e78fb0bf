"""Symbols as they are told and said, answers that are numbers, and where a translator looked."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrnn import ConfigError, RecordError, RNNTranscriber, RNNTranslator
from tests.support.contract import everything, through_pickle
from tests.support.sequence_estimators import FORECASTER, TRANSLATOR, teach

X = {"frames": np.repeat([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0], [3.0, 1.0]], 3, axis=0)}
TOLD: list[Any] = [1, True, 2.5, "a"]

each_estimator = pytest.mark.parametrize("estimator", [RNNTranscriber, RNNTranslator])


def told(estimator: Any, y: Any = TOLD, n: int = 200, **parameters: Any) -> Any:
    return teach(estimator(hidden_size=12, lr=0.02, max_symbols=8, **parameters), [(X, y)] * n)


def typed(symbols: list[Any]) -> list[Any]:
    """1 is True, and is not, here."""
    return [(type(symbol), symbol) for symbol in symbols]


# ---- symbols as they are told


@each_estimator
def test_symbols_are_said_as_they_were_told_also_from_a_file(estimator: Any, tmp_path: Path) -> None:
    model = told(estimator, [np.int64(1), np.True_, 2.5, np.str_("a")])
    assert typed(model.predict_one(X)) == typed(TOLD)
    assert model.score_one(X, TOLD) == model.score_one(X, ["1", "true", "2.5", "a"]) == 0.0
    model.save(tmp_path / "model")
    for other in (through_pickle(model), estimator.load(tmp_path / "model")):
        assert typed(other.predict_one(X)) == typed(TOLD)
        assert everything(other) == everything(model)


@each_estimator
def test_symbols_are_one_where_their_texts_are_and_the_first_one_is_said(estimator: Any) -> None:
    model = estimator(hidden_size=12, lr=0.02, max_symbols=8)
    for i in range(200):
        model.learn_one(X, [1, "1.5", "a"] if i % 2 == 0 else ["1", 1.5, "a"])
    assert typed(model.predict_one(X)) == typed([1, 1.5, "a"])  # text tells nothing of a type
    told_as_number = model.clone()
    for i in range(200):
        told_as_number.learn_one(X, [1.0, 1] if i % 2 == 0 else [1, 1.0])
    assert {*map(type, told_as_number.predict_one(X))} == {float}


def test_of_numbers_that_are_symbols_no_more_are_kept_than_the_vocabulary_takes() -> None:
    model = RNNTranscriber(hidden_size=2, max_vocabulary=3)
    sizes = []
    for i in range(20):
        model.learn_one(X, [i])
        sizes.append(len(model._own_state()["as_told"]))
    assert sizes == [1, 2, *[3] * 18]


@each_estimator
def test_what_is_no_symbol_is_refused_and_changes_nothing(estimator: Any) -> None:
    model = told(estimator, n=3)
    before = everything(model)
    for value in (math.nan, math.inf, np.float32("nan"), None, [1], {"a": 1}):
        for call in (model.learn_one, model.score_one, lambda x, y: model.learn_many([x], [y])):
            with pytest.raises(RecordError) as error:
                call(X, ["a", value])
            assert error.value.reason == "wrong_type"
    with pytest.raises(RecordError, match="y: found the number nan, expected symbols"):
        model.learn_one(X, np.array([1.0, math.nan]))
    assert everything(model) == before
    with pytest.raises(RecordError, match="y: expected text, got the number 3; unit='element' takes lists"):
        estimator(unit="character").learn_one(X, 3)


def test_a_closed_set_is_said_as_it_is_given() -> None:
    model = told(RNNTranscriber, [1, 0], symbols=["0", 1], n=100)
    assert typed(model.predict_one(X)) == typed([1, "0"])
    with pytest.raises(RecordError, match="y: 2 is not one of the symbols given"):
        model.learn_one(X, [2])


# ---- answers that are numbers


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"symbols": ["a", "b"]}, "symbols"),
        ({"unit": "character"}, "unit"),
        ({"beam": 3}, "beam"),
        ({"max_symbols": 7}, "max_symbols"),
    ],
)
def test_what_is_said_of_symbols_does_not_go_with_numbers(parameters: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"RNNTranslator: {name}: .* goes with symbols, and with horizon numbers"):
        RNNTranslator(horizon=3, **parameters)
    model = teach(FORECASTER.build(), FORECASTER.data(2))
    with pytest.raises(ConfigError, match=f"RNNTranslator: {name}: "):
        setattr(model, name, parameters[name])
    assert getattr(model, name) == getattr(RNNTranslator(), name)


def test_numbers_have_no_probabilities() -> None:
    model = teach(FORECASTER.build(), FORECASTER.data(2))
    with pytest.raises(ConfigError, match="RNNTranslator: horizon: confidence_one is the probability of symbols"):
        model.confidence_one(FORECASTER.data(1)[0][0])


# ---- where it looked


def test_attention_of_chunks_is_of_the_whole_sequence() -> None:
    model = teach(TRANSLATOR.build(chunks=True, max_steps=6), TRANSLATOR.data(30))
    whole, said = model.attention_one({"frames": "abcabc"}), model.predict_one({"frames": "abcabc"})
    model.observe_one({"frames": "abc"})
    model.observe_one({"frames": "a"})
    looked = model.attention_one({"frames": "bc"})
    assert model.predict_one({"frames": "bc"}) == said
    assert looked.shape == (len(said), 6)
    np.testing.assert_allclose(looked, whole, atol=1e-5)
    np.testing.assert_allclose(looked.sum(axis=1), 1.0, atol=1e-5)
    model.end_sequence(y="cba")
    assert model.attention_one({"frames": "bc"}).shape[1] == 2


def test_attention_counts_steps_and_not_frames() -> None:
    model = teach(FORECASTER.build(chunks=True, stack=2), FORECASTER.data(20))
    frames = FORECASTER.data(1)[0][0]["frames"][:3]
    model.observe_one({"frames": frames})
    looked = model.attention_one({"frames": frames[:2]})
    assert looked.shape == (2, 3)
    np.testing.assert_allclose(looked.sum(axis=1), 1.0, atol=1e-5)


def test_a_beam_looks_where_the_best_of_it_looked() -> None:
    model = teach(TRANSLATOR.build(beam=3), TRANSLATOR.data(60))
    x = {"frames": "abca"}
    looked = model.attention_one(x)
    assert looked.shape == (len(model.predict_one(x)), 4)
    np.testing.assert_allclose(looked.sum(axis=1), 1.0, atol=1e-5)
