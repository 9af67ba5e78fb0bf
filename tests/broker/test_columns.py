"""Batches as columns stand for the records they were made of, whichever way one looks at them."""

from __future__ import annotations

import numpy as np

from streamrnn.broker.columns import NOW, Outputs, Records, Strings
from streamrnn.broker.protocol import Output, Record, Refused

RECORDS = [
    Record("in", 3, 7, 1_000, b"a", b"1"),
    Record("in", 3, 9, -1, None, b"", (("trace", b"x"),)),
    Record("in", 3, 10, 2_000, b"", None),
    Record("in", 3, 12, 2_001, b"k", None, (), Refused("too_large", "found much", 1, 99)),
]
OUTPUTS = [Output("out", b"a", b"1", 5, offset=7), Output("out", None, b"2", None, offset=9)]


def test_records_are_those_they_were_made_of() -> None:
    records = Records.of(RECORDS)
    assert list(records) == RECORDS
    assert records[-1] == RECORDS[-1]
    assert len(records) == 4


def test_a_slice_of_records_is_the_slice_of_what_they_were_made_of() -> None:
    records = Records.of(RECORDS)
    for rows in (slice(0, 0), slice(1, 3), slice(2, None), slice(None, -1), slice(3, 4)):
        assert list(records[rows]) == RECORDS[rows]
    assert list(records[1:][1:][1:]) == RECORDS[3:]


def test_missing_strings_are_not_empty_ones() -> None:
    strings = Strings.of([b"", None, b"ab", None, b"c"])
    assert strings.tolist() == list(strings) == [b"", None, b"ab", None, b"c"]
    assert strings.missing.tolist() == [False, True, False, True, False]
    assert strings.sizes.tolist() == [0, 0, 2, 0, 1]
    assert Strings.of([]).tolist() == []


def test_strings_none_of_which_is_missing_are_those_they_were_made_of() -> None:
    for of in ([], [b""], [b"", b"ab", b"", b"c"]):
        assert Strings.of_all(of).tolist() == Strings.of(of).tolist() == of


def test_outputs_are_those_they_were_made_of() -> None:
    outputs = Outputs.of(OUTPUTS)
    assert list(outputs) == OUTPUTS
    assert outputs.timestamp_ms.tolist() == [5, NOW]
    assert list(outputs[1:]) == OUTPUTS[1:]


def test_outputs_at_some_places_are_those_in_that_order() -> None:
    assert list(Outputs.of(OUTPUTS).at(np.array([1, 0, 1]))) == [OUTPUTS[1], OUTPUTS[0], OUTPUTS[1]]
