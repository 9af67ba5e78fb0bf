"""Dead letters say why, where and what, and stay small whatever came in."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.errors import RecordError
from streamrnn.job.codec.dead_letters import encode_dead_letter
from tests.support.jobs import record

ERROR = RecordError("wrong_type", "field 'a': found x, expected y")


def test_a_dead_letter_says_why_where_and_what() -> None:
    letter = json.loads(encode_dead_letter(record(b"{broken", key=b"\xff"), ERROR))
    assert letter == {
        "reason": "wrong_type", "detail": "field 'a': found x, expected y",
        "topic": "in", "partition": 3, "offset": 0, "timestamp": 5,
        "key": "/w==", "key_encoding": "base64", "key_bytes": 1,
        "value": "{broken", "value_encoding": "utf-8", "value_bytes": 7,
    }  # fmt: skip
    nulls = json.loads(encode_dead_letter(record(None, key=None), ERROR))
    assert [nulls[f"{part}{suffix}"] for part in ("key", "value") for suffix in ("", "_encoding", "_bytes")] == [
        None
    ] * 6


def test_a_long_value_is_cut_between_characters_and_its_size_noted() -> None:
    letter = json.loads(encode_dead_letter(record("é".encode() * 100), ERROR, max_value_bytes=11))
    assert (letter["value"], letter["value_encoding"], letter["value_bytes"]) == ("é" * 5, "utf-8", 200)
    whole = json.loads(encode_dead_letter(record("é".encode()[:1]), ERROR))
    assert (whole["value"], whole["value_encoding"]) == ("ww==", "base64")


@pytest.mark.parametrize(
    "piece", [b"x", b'"', b"\\", b"\x00", b"\xff", "é".encode(), b"\n", b"\x7f", "\u2028".encode()]
)
def test_a_dead_letter_stays_below_1_mb(piece: bytes) -> None:
    blob = piece * (10_000_000 // len(piece))
    error = RecordError("wrong_type", "é" * 1_000_000)
    letter = encode_dead_letter(record(blob, key=blob), error, max_value_bytes=256 * 1024)
    assert len(letter) < 1_000_000
    assert json.loads(letter)["value_bytes"] == len(blob)


@given(st.none() | st.binary(), st.none() | st.binary(), st.text())
def test_a_dead_letter_holds_any_record(key: bytes | None, value: bytes | None, detail: str) -> None:
    letter = json.loads(encode_dead_letter(record(value, key=key), RecordError("wrong_type", detail)))
    for part, data in (("key", key), ("value", value)):
        text, encoding = letter[part], letter[f"{part}_encoding"]
        assert data == (None if text is None else base64.b64decode(text) if encoding == "base64" else text.encode())


def test_what_is_not_to_be_read_goes_as_base64_whatever_it_is_and_is_cut_all_the_same() -> None:
    letter = json.loads(encode_dead_letter(record(b"plain" * 10, key=b"s1"), ERROR, max_value_bytes=9, unread=True))
    assert (letter["key_encoding"], letter["value_encoding"]) == ("base64", "base64")
    assert (base64.b64decode(letter["key"]), base64.b64decode(letter["value"])) == (b"s1", b"plainplai")
    assert letter["value_bytes"] == 50
    nulls = json.loads(encode_dead_letter(record(None, key=None), ERROR, unread=True))
    assert [nulls["key"], nulls["key_encoding"], nulls["value"], nulls["value_encoding"]] == [None] * 4
