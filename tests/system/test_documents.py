"""What is read as JSON is data of a bounded depth, whose numbers fit and whose names are given once."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.system.documents import MOST_LEVELS, check, parsed_json

NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text()
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(DOCUMENTS)
def test_any_document_is_read_as_it_was_written(document: object) -> None:
    assert parsed_json(json.dumps(document).encode()) == document


def levels(n: int) -> str:
    return "[" * n + "]" * n


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (levels(MOST_LEVELS + 1), "nested more than 64 levels deep"),
        (levels(990), "nested more than 64 levels deep"),
        (levels(200_000), "nested more than 64 levels deep"),
        ('{"a":' * 200_000, "nested more than 64 levels deep"),
        (str(2**64), "a whole number of 65 bits"),
        (str(-(2**63) - 1), "a whole number of 64 bits"),
        ("9" * 400, "a whole number of 1329 bits"),
        ("9" * 5_000, "digits"),
        ("1e400", "a number that is not finite"),
        ("9" * 400 + ".0", "a number that is not finite"),
        ("[NaN]", "a number that is not finite"),
        ("-Infinity", "a number that is not finite"),
        ('{"a": 1, "a": 1}', "one name twice"),
        ('{"a": 1, "\\u0061": 1}', "one name twice"),
        ('["\\ud800"]', "surrogates not allowed"),
        ('{"\\udfff": 1}', "surrogates not allowed"),
        ("[1", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_everything_else_is_refused_with_one_kind_of_error(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parsed_json(text)


@pytest.mark.parametrize("data", [b"\xff", b"\x00\x00", b"\xef\xbb\xbf1", b"\xed\xa0\x80"])
def test_bytes_that_are_no_text_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parsed_json(data)


def test_the_deepest_that_is_allowed_is_read() -> None:
    check(parsed_json(levels(MOST_LEVELS)))
