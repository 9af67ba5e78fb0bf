"""The language model's parameters and arguments: which may change once it has learned, and what is refused."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from streamrnn import ConfigError, RecordError, RNNLanguageModel
from tests.support.language_models import END, OTHER, TEXT, UNITS, bits, made, taught


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", 0.5), ("schedule", "constant"), ("clip_norm", None), ("k1", 2), ("k2", 12), ("hidden_size", 9)],
)
def test_what_can_be_taken_up_is_so_at_once(name: str, value: Any) -> None:
    model, same = taught(), taught()
    setattr(model, name, value)
    assert model._learner is not None
    assert model._learner.spec == model._spec()
    before, after = same.predict_proba_one(), model.predict_proba_one()
    np.testing.assert_allclose([*after.values()], [*before.values()], atol=1e-6)
    model.learn_many(TEXT)


def test_a_higher_bound_leaves_what_is_said_and_gives_numbers_to_what_had_none() -> None:
    model, same = taught("word", max_symbols=2), taught("word", max_symbols=2)
    model.max_symbols = 40
    assert model.predict_proba_one() == same.predict_proba_one()
    model.learn_many("quite another word")
    assert {"quite", "another", "word"} <= model.predict_proba_one().keys()


@pytest.mark.parametrize(
    ("unit", "name", "value"),
    [
        ("byte", "unit", "word"),
        ("byte", "mark_end", True),
        ("word", "max_symbols", 7),
        ("word", "symbols", ("a", "b")),
        ("byte", "cell", "gru"),
        ("byte", "stream_key", "user"),
        ("byte", "seed", 5),
    ],
)
def test_what_cannot_be_taken_up_is_refused_and_changes_nothing(unit: str, name: str, value: Any) -> None:
    model = taught(unit)
    before = bits(model), getattr(model, name)
    with pytest.raises(ConfigError, match=r"clone\(\)") as caught:
        setattr(model, name, value)
    assert str(caught.value).startswith(f"RNNLanguageModel: {name}: {before[1]!r} cannot become {value!r} once ")
    assert (bits(model), getattr(model, name)) == before


@pytest.mark.parametrize("betas", [(9, 9), (0.5,), "x", {0.5, 0.9}])
def test_betas_that_are_none_are_refused_once_events_were_learned_and_others_taken_up(betas: Any) -> None:
    model = taught()
    before = bits(model)
    with pytest.raises(ConfigError, match="RNNLanguageModel: betas: expected a sequence of 2 values, each a number"):
        model.betas = betas
    assert model.betas == RNNLanguageModel().betas
    assert bits(model) == before
    model.betas, model.lr = (0.9, 0.99), 0.5
    assert model._learner is not None
    assert (model._learner.spec.learning.betas, model._learner.spec.learning.lr) == ((0.9, 0.99), 0.5)


def test_a_lower_bound_is_refused_in_words() -> None:
    model = taught("word", max_symbols=8)
    with pytest.raises(ConfigError, match=r"max_symbols: 8 cannot become 7 .* raised"):
        model.max_symbols = 7


def test_before_anything_was_learned_a_parameter_is_what_the_constructor_takes() -> None:
    model = made()
    model.predict_one()
    model.unit, model.cell = "word", "gru"
    model.learn_many("a b")
    assert bits(model) == bits_of_words()


def bits_of_words() -> tuple[Any, ...]:
    model = made("word", cell="gru")
    model.learn_many("a b")
    return bits(model)


def refusals() -> Iterator[Any]:
    yield {"unit": "letter"}, "unit: expected 'byte', 'character' or 'word', got 'letter'"
    yield {"mark_end": 1}, "mark_end: expected True or False, got 1"
    yield {"carry": "no"}, "carry: expected True or False, got 'no'"
    yield {"max_symbols": 0}, "max_symbols: expected a whole number of at least 1 and at most 100,000, got 0"
    yield {"symbols": ("a", "b")}, "symbols: goes with characters and words; bytes are all known"
    yield {"unit": "word", "symbols": "ab"}, "symbols: expected a sequence of 2 to 100,000 values, each "
    yield {"unit": "word", "symbols": ("a", "a")}, "values: must differ"
    yield {"unit": "word", "symbols": ("a", 1)}, "symbols: symbol: expected text for words, got 1"
    yield {"unit": "character", "symbols": ("a", "bc")}, "symbols: symbol: expected one character, got 'bc'"
    yield {"unit": "word", "symbols": {"a", "b"}}, "symbols: expected a sequence of 2 to 100,000 values, each "
    yield {"unit": "word", "symbols": frozenset("ab")}, "symbols: expected a sequence of 2 to 100,000 values, each "
    for betas in ((1.0, 0.9), (0.5,), (0.5, 0.9, 0.9), (0.9, "x"), "x", 0.9, {0.5, 0.9}, (9, 9), (0.5, math.nan)):
        expected = "a sequence of 2 values, each a number above 0 and below 1 or None"
        yield {"betas": betas}, f"betas: expected {expected}, got {betas!r}"
    yield {"stream_key": ["user"]}, "stream_key: expected a name or None, got ['user']"
    yield {"k1": 9, "k2": 8}, "k1: must be at most k2"


@pytest.mark.parametrize(("parameters", "message"), [*refusals()])
def test_a_refusal_names_the_parameter_what_was_expected_and_what_was_received(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        RNNLanguageModel(**parameters)
    assert str(caught.value).startswith(f"RNNLanguageModel: {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": -1}, "generate: n: expected a whole number of at least 0"),
        ({"n": 1.5}, "generate: n: expected a whole number"),
        ({"n": 1, "temperature": -0.1}, "generate: temperature: expected a number of at least 0, got -0.1"),
        ({"n": 1, "temperature": math.inf}, "generate: temperature: expected a finite number, got inf"),
        ({"n": 1, "temperature": math.nan}, "generate: temperature: "),
        ({"n": 1, "temperature": "hot"}, "generate: temperature: expected a number of at least 0, got 'hot'"),
        ({"n": 1, "seed": -3}, "generate: seed: expected a whole number of at least 0"),
    ],
)
def test_so_does_a_refusal_of_what_to_write(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        taught().generate(**arguments)
    assert str(caught.value).startswith(message)


WRONG: list[tuple[str, Any, str]] = [
    ("byte", 256, "symbol: expected a byte: 0 to 255, or bytes of length 1, got 256"),
    ("byte", -1, "symbol: expected a byte: 0 to 255, or bytes of length 1, got -1"),
    ("byte", 1.5, "symbol: expected a byte: 0 to 255, or bytes of length 1, got 1.5"),
    ("byte", True, "symbol: expected a byte: 0 to 255, or bytes of length 1, got True"),
    ("byte", None, "symbol: expected a byte: 0 to 255, or bytes of length 1, got None"),
    ("byte", {"text": 1}, "symbol: expected a byte: 0 to 255, or bytes of length 1, got {'text': 1}"),
    ("byte", b"ab", "symbol: expected one byte, got 2: b'ab'; learn_many takes many"),
    ("byte", "字", "symbol: expected one byte, got 3: '字'; learn_many takes many"),
    ("byte", OTHER, "symbol: expected a byte: 0 to 255, or bytes of length 1, got <Mark.OTHER: 'other'>"),
    ("byte", END, "symbol: END is one where mark_end=True alone"),
    ("character", "ab", "symbol: expected one character, got 'ab'; learn_many takes many"),
    ("character", 65, "symbol: expected text for characters, got 65"),
    ("word", b"a", "symbol: expected text for words, got b'a'"),
]


@pytest.mark.parametrize(("unit", "symbol", "message"), WRONG)
def test_what_is_no_symbol_is_refused_and_changes_nothing(unit: str, symbol: Any, message: str) -> None:
    model = taught(unit)
    before = pickle.dumps(model)
    calls: list[Callable[[], Any]] = [lambda: model.learn_one(symbol), lambda: model.score_one(symbol)]
    if symbol is not END:
        calls.append(lambda: model.learn_many([UNITS[unit][0], symbol]))
    for call in calls:
        with pytest.raises(RecordError) as caught:
            call()
        assert message in str(caught.value)
    assert pickle.dumps(model) == before


@pytest.mark.parametrize("text", ["a b b", None])
def test_a_symbol_outside_a_closed_set_is_refused_and_changes_nothing(text: str | None) -> None:
    model = made("word", symbols=("a", "b"))
    if text is not None:
        model.learn_many(text)
    before = pickle.dumps(model)
    for call in (lambda: model.learn_many("a c"), lambda: model.learn_one("c"), lambda: model.score_one("c")):
        with pytest.raises(RecordError, match="symbol: 'c' is not one of the symbols given"):
            call()
    assert pickle.dumps(model) == before


@pytest.mark.parametrize(("unit", "text"), [("byte", 5), ("word", {"a": 1}), ("character", None)])
def test_what_is_no_text_is_refused(unit: str, text: Any) -> None:
    with pytest.raises(RecordError, match="text: expected str, bytes or a list of symbols, got "):
        made(unit).learn_many(text)


def test_bytes_that_are_no_text_are_refused_where_characters_are_meant() -> None:
    made().learn_many(b"\xff\xfe")
    with pytest.raises(RecordError, match="text: expected UTF-8 for words"):
        made("word").learn_many(b"\xff")
