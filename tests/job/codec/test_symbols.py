"""Texts and symbols out of a record: what is a unit, what has none, and what makes a dead letter."""

from typing import Any

import pytest

from streamrnn.job.codec.presence import Field
from streamrnn.job.codec.records import RecordCodec
from streamrnn.job.config import Config
from streamrnn.learner.block import FORGET, LABEL
from tests.support.jobs import NEXT, decode, job, rejection, text_job

WORDS = text_job("{field: message, unit: word}")
OPEN = "{open: true, max: 3}"
LOOKED_UP = job(
    features=f"[{{field: a, encoder: numeric}}, {{field: page, encoder: symbol, symbols: {OPEN}}}, "
    "{field: b.c, encoder: symbol, symbols: {values: [x, 2, true]}}]"
)


@pytest.mark.parametrize(
    ("config", "units"),
    [
        (text_job(), "né 1".encode()),
        (text_job("{field: message, unit: character}"), "né 1"),
        (WORDS, ["né", "1"]),
        (text_job("{field: message, unit: character, symbols: {values: [é, n, 1, ' ', z]}}"), "né 1"),
    ],
)
def test_a_text_is_its_units(config: Config, units: Any) -> None:
    block = decode(config, {"message": "né 1"}, {"message": ""}).block
    assert block.texts == [units, units[:0]]
    assert (block.labels, block.symbols, block.x.shape, block.y.shape) == (None, (), (2, 0), (2, 1))


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        ({}, "null_text", "field 'message': missing or null, expected a text"),
        ({"message": None}, "null_text", "missing or null"),
        ({"message": 404}, "wrong_type", "found the number 404, expected a text"),
        ({"message": ["a"]}, "wrong_type", "found the array ['a'], expected a text"),
        ({"message": "a b c d"}, "too_large", "found a text of 4 words, expected at most 3 (input.text.max_units)"),
        ({"message": "a d"}, "unknown_class", "found the word 'd', which is not one of input.text.symbols"),
    ],
)
def test_a_text_that_cannot_be_learned_is_a_dead_letter(value: Any, reason: str, detail: str) -> None:
    config = text_job("{field: message, unit: word, symbols: {values: [a, b, c]}, max_units: 3}")
    error = rejection(config, value)
    assert error.reason == reason
    assert detail in error.detail


def test_texts_are_counted_as_there_or_missing() -> None:
    decoded = decode(WORDS, {"message": "a"}, {"message": None}, {"message": 3}, {})
    assert [(field.path, field.role) for field in _fields(WORDS)] == [("message", "text")]
    assert (decoded.seen.present.tolist(), decoded.seen.missing.tolist()) == ([1], [2])


@pytest.mark.parametrize(("unit", "texts"), [("byte", [b"a", b""]), ("character", ["a", ""]), ("word", [["a"], []])])
def test_a_tombstone_among_texts_has_none(unit: str, texts: list[Any]) -> None:
    block = decode(text_job(f"{{field: message, unit: {unit}}}"), {"message": "a"}, None).block
    assert block.kind[1] == FORGET
    assert block.texts == texts


def test_a_symbol_is_its_canonical_text_and_missing_where_there_is_none() -> None:
    records = [{"a": 1, "page": "/x", "b": {"c": True}}, {"page": 404.0}, {"page": None, "b": {"c": 2.0}}, None]
    decoded = decode(LOOKED_UP, *records, {"a": 2, "page": float("nan")})
    assert decoded.block.symbols == (["/x", "404", None, None, None], ["true", None, "2", None, None])
    assert decoded.block.x.shape == (5, 1)
    assert [f.path for f in _fields(LOOKED_UP)] == ["a", "page", "b.c", "y"]
    assert decoded.seen.missing.tolist() == [2, 1, 2, 4]
    assert decoded.seen.present.tolist() == [2, 3, 2, 0]


def test_an_object_is_no_symbol() -> None:
    error = rejection(LOOKED_UP, {"page": {}})
    assert (error.reason, "field 'page'" in error.detail) == ("wrong_type", True)
    assert rejection(NEXT, {"page": []}).reason == "wrong_type"


def test_a_class_of_an_open_set_comes_as_text_and_its_number_is_the_learner_s() -> None:
    decoded = decode(NEXT, {"page": "/a"}, {"page": 7}, {}, {"page": True}, {"page": float("nan")})
    assert decoded.block.labels == ["/a", "7", None, "true", None]
    assert (decoded.block.y != decoded.block.y).all()
    assert (decoded.seen.present.tolist(), decoded.seen.missing.tolist()) == ([3], [2])


def test_what_an_event_says_of_a_class_that_a_label_brings_is_not_looked_at() -> None:
    config = job(
        target=f"{{fields: [y], known: label, event_field: id, label_field: of, classes: {OPEN}}}", features="[]"
    )
    decoded = decode(config, {"id": 1, "y": "guess"}, {"of": 1, "y": "truth"}, {"of": 2})
    assert decoded.block.labels == [None, "truth", None]
    assert decoded.block.kind.tolist()[1:] == [LABEL, LABEL]
    assert dict(zip([f.path for f in _fields(config)], decoded.seen.present.tolist(), strict=True))["y"] == 1


def _fields(config: Config) -> tuple[Field, ...]:
    return RecordCodec(config).fields
