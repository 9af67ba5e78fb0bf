"""Columns are found in the order in which features come, and never move.

A frame is its rows: whatever is discovered, encoded or refused in one is so in the others.
"""

from __future__ import annotations

import datetime
import json
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn import ConfigError, Numeric, OneHot, RecordError, RNNRegressor
from streamrnn.estimators.columns import Columns

NOTHING = (None, math.nan, math.inf, -math.inf)

values = st.one_of(st.sampled_from([None, math.nan]), st.integers(-9, 9), st.floats(-1e6, 1e6))
tables = st.lists(st.fixed_dictionaries(dict.fromkeys("cab", values)), min_size=1, max_size=8)


def discovered(*events: dict[Any, Any]) -> Columns:
    """The columns after these events."""
    columns = Columns(None, None)
    for x in events:
        columns = columns.extended(x)
    return columns


def same(a: Any, b: Any) -> bool:
    """Equal, a missing value being equal to a missing one."""
    return np.array_equal(np.array(a, np.float64), np.array(b, np.float64), equal_nan=True)


# ---- discovery


def test_columns_are_sorted_within_an_event_and_in_order_of_appearance_between_events() -> None:
    assert discovered({"d": 1, "c": 1}, {"a": 1, "b": 1, "c": 1}, {"B": 2}).names == ("c", "d", "a", "b", "B")


def test_extending_leaves_the_older_columns_object_as_it_was() -> None:
    first = discovered({"a": 1.0})
    second = first.extended({"b": 1.0})
    assert first.names == ("a",)
    assert second.names == ("a", "b")
    assert second.extended({"a": 3.0}) is second
    assert second.extended({}) is second


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_feature_appears_with_its_first_value(nothing: float | None) -> None:
    columns = discovered({"a": 1.0, "b": nothing})
    assert columns.names == ("a",)
    assert columns.extended({"b": 0}).names == ("a", "b")


def test_dates_and_the_stream_are_no_inputs() -> None:
    x = {"a": 1.0, "day": datetime.date(2020, 1, 1), "at": datetime.datetime(2020, 1, 1), "id": 7}
    columns = Columns(None, "id").extended(x)
    assert columns.names == ("a",)
    assert columns.extended(x) is columns
    assert columns.row(x) == [1.0]


@pytest.mark.parametrize("value", [True, 3, np.int64(3), np.float32(2.5), np.bool_(False), Decimal("1.5")])
def test_every_kind_of_number_is_an_input(value: Any) -> None:
    columns = discovered({"a": value})
    assert columns.names == ("a",)
    assert [float(cell) for cell in columns.row({"a": value})] == [float(value)]


@pytest.mark.parametrize("value", ["text", [1.0], 1j, {}, object()], ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(RecordError, match="colour"):
        discovered({"colour": value})
    with pytest.raises(RecordError, match="colour"):
        discovered({"colour": 1.0}).row({"colour": value})


def test_refused_text_comes_with_the_remedy() -> None:
    with pytest.raises(RecordError, match=r"OneHot\(field='colour'"):
        discovered({"colour": "red"})


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_missing_value_is_nan_beside_the_others(nothing: float | None) -> None:
    assert same(discovered({"a": 1, "b": 1, "c": 1}).row({"a": 5.0, "b": nothing}), [5.0, math.nan, math.nan])


def test_large_numbers_whose_sum_overflows_are_numbers_still() -> None:
    row = discovered({"a": 1, "b": 1}).row({"a": 1e308, "b": 1.7e308})
    assert row == [1e308, 1.7e308]


# ---- declared


def test_declared_features_stand_in_the_order_given_and_nothing_joins_them() -> None:
    columns = Columns(["b", "a"], None)
    assert columns.extended({"c": 1.0}) is columns
    assert columns.row({"a": 1.0, "b": 2.0, "c": "any"}) == [2.0, 1.0]


def test_encoders_name_and_mark_their_columns() -> None:
    columns = Columns([Numeric(field="a"), OneHot(field="c", categories=("x", "y"))], None)
    assert columns.labels == ("a", "c=x", "c=y")
    assert columns.indicator == (False, True, True)
    assert columns.row({"a": 2.0, "c": "y"}) == [2.0, 0.0, 1.0]


def test_names_and_encoders_do_not_mix() -> None:
    with pytest.raises(ConfigError, match="Numeric"):
        Columns(["a", Numeric(field="b")], None)


# ---- frames


def in_rows(columns: Columns, frame: pd.DataFrame) -> list[tuple[int, Columns]]:
    """The stages of a frame as its rows give them one by one."""
    stages: list[tuple[int, Columns]] = [(0, columns)]
    for i, row in enumerate(frame.to_dict("records")):
        more = stages[-1][1].extended(row)
        if more is not stages[-1][1]:
            stages = [*(stages if i else []), (i, more)]
    return stages


@given(tables)
def test_a_frame_is_discovered_as_its_rows_are(rows: list[dict[str, Any]]) -> None:
    frame = pd.DataFrame(rows)
    stages, expected = Columns(None, None).extended_by(frame), in_rows(Columns(None, None), frame)
    assert [(i, c.names) for i, c in stages] == [(i, c.names) for i, c in expected]


def test_a_feature_that_is_infinite_first_is_discovered_in_a_frame_too() -> None:
    X, y = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [math.inf, 1.0, 2.0]}), pd.Series([1.0, 2.0, 3.0])
    model = RNNRegressor(hidden_size=2)
    model.learn_many(X, y)
    assert [place for place, _ in in_rows(Columns(None, None), X)] == [0, 1]
    assert model.get_weights()["rnn.weight_ih_l0"].shape[1] == 2 + 2  # and the newest target with its flag


@given(tables)
def test_a_frame_is_encoded_as_its_rows_are(rows: list[dict[str, Any]]) -> None:
    frame = pd.DataFrame(rows)
    columns = Columns(["b", "c", "absent"], None)
    expected = [columns.row(row) for row in frame.to_dict("records")]
    assert same(columns.rows(frame), expected)
    assert columns.rows(frame).flags.c_contiguous
    assert columns.rows(frame.iloc[:0]).shape == (0, 3)


def test_the_streams_of_a_frame_are_those_of_its_rows() -> None:
    columns = Columns(["a"], "id")
    frame = pd.DataFrame({"a": [1.0] * 3, "id": [1, 2, 1]})
    assert columns.keys(frame) == [columns.key(row) for row in frame.to_dict("records")]
    assert columns.key({"id": 1}) == columns.key({"id": 1.0}) == columns.key({"id": "1"}) == b"1"


def test_an_event_that_does_not_name_its_stream_is_refused() -> None:
    columns = Columns(None, "id")
    for x in ({}, {"id": None}):
        with pytest.raises(RecordError, match="'id'"):
            columns.key(x)
    with pytest.raises(RecordError, match="'id'"):
        columns.keys(pd.DataFrame({"a": [1.0]}))
    assert Columns(None, None).key({}) == b""


# ---- state


def test_columns_come_back_from_json() -> None:
    columns = discovered({2: 1.0, "b": 1.0, np.int64(7): 1, "day": datetime.date(2020, 1, 1)}, {"a": 1.0})
    again = Columns(None, None).restored(json.loads(json.dumps(columns.state())))
    assert again.names == columns.names == (2, 7, "b", "a")
    assert again.extended({"day": datetime.date(2020, 1, 2)}) is again


def test_names_of_text_numbers_and_tuples_come_back_from_their_state() -> None:
    columns = Columns(None, None).extended({("a", "b"): 1.0, "c": 2.0, 3: 4.0})
    again = Columns(None, None).restored(columns.state())
    assert again.names == columns.names
    assert again.row({("a", "b"): 1.0, "c": 2.0, 3: 4.0}) == columns.row({("a", "b"): 1.0, "c": 2.0, 3: 4.0})


def test_names_json_cannot_hold_are_refused_when_saved() -> None:
    with pytest.raises(TypeError, match="frozenset"):
        Columns(None, None).extended({frozenset("a"): 1.0}).state()
