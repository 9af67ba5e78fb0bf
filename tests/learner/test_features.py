"""Encoders: what each writes, what it refuses, and that a row keeps nothing of the record before."""

import math
import re
import subprocess
import sys
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.errors import ConfigError, RecordError
from streamrnn.learner.features import Cyclic, FeatureEncoder, FeatureSpec, Hash, Log1p, Numeric, OneHot
from streamrnn.learner.features import Symbol as SymbolFeature
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.values import canonical_text, describe

ALL: list[FeatureSpec] = [
    Numeric(field="a"),
    Numeric(field="b"),
    Log1p(field="c"),
    OneHot(field="d", categories=("AA", "UA", 7)),
    Numeric(field="e.f"),
    Hash(field="g", buckets=4),
    Cyclic(field="h", period=24.0),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


def encoded(spec: FeatureSpec, value: object) -> list[float]:
    return FeatureEncoder([spec]).encode_dict({spec.field: value})


def test_a_symbol_writes_no_column_and_is_told_by_its_text() -> None:
    page, state = Symbols(open=True, max=5), Symbols(values=("on", 0))
    encoder = FeatureEncoder(
        [
            Numeric(field="a"),
            SymbolFeature(field="p.q", symbols=page),
            Numeric(field="b"),
            SymbolFeature(field="s", symbols=state),
        ]
    )
    assert (encoder.names, encoder.n_features, encoder.indicator, encoder.missing) == (
        ("a", "b"), 2, (False, False), ("mean", "mean"),
    )  # fmt: skip
    assert (encoder.symbol_fields, encoder.symbols) == (("p.q", "s"), (page, state))
    row = [0.0, 0.0]
    encoder.encode([1, "home", 2, 0.0], row)
    assert row == [1.0, 2.0]
    assert encoder.symbols_of([1, "home", 2, 0.0]) == ["home", "0"]
    assert encoder.symbols_of([1, None, 2, math.nan]) == [None, None]
    assert encoder.symbols_of([1, True, 2, "undeclared"]) == ["true", "undeclared"]
    with pytest.raises(RecordError, match=r"field 'p.q': found the array \[1\]"):
        encoder.symbols_of([1, [1], 2, 0])


def test_symbols_that_are_one_text_and_a_field_given_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="symbols: values must differ"):
        SymbolFeature(field="s", symbols=Symbols(values=(1, "1")))
    twice = SymbolFeature(field="s", symbols=Symbols(bytes=True))
    with pytest.raises(ConfigError, match="found more than once: s"):
        FeatureEncoder([twice, twice])


def test_columns_names_and_indicator_flags_line_up() -> None:
    encoder = FeatureEncoder(ALL)
    assert encoder.names == (
        "a", "b", "log1p(c)", "d=AA", "d=UA", "d=7", "e.f", "g#0", "g#1", "g#2", "g#3", "h:sin", "h:cos",
    )  # fmt: skip
    assert encoder.n_features == len(encoder.names) == len(encoder.indicator)
    assert encoder.indicator == (False, False, False, True, True, True, False, True, True, True, True, True, True)


def test_all_encoders_together_from_a_nested_dict() -> None:
    row = FeatureEncoder(ALL).encode_dict({"a": 1, "b": 2.5, "c": -9, "d": "UA", "e": {"f": True}, "g": "x", "h": 6})
    assert row[:7] == [1.0, 2.5, -math.log(10), 0.0, 1.0, 0.0, 1.0]
    assert sorted(row[7:11]) == [0, 0, 0, 1]
    assert row[11:] == pytest.approx([1.0, 0.0], abs=1e-15)
    assert {type(value) for value in row} == {float}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("magnitude", [0.0, 1e-12, 1.0, 1e300])
def test_log1p_keeps_the_sign_and_small_values(sign: int, magnitude: float) -> None:
    assert encoded(Log1p(field="x"), sign * magnitude) == [sign * math.log1p(magnitude)]


def test_onehot_matches_numbers_and_their_text_alike() -> None:
    spec = OneHot(field="x", categories=(1, 2))
    assert encoded(spec, 1) == encoded(spec, 1.0) == encoded(spec, "1") == [1.0, 0.0]


@pytest.mark.parametrize("value", [None, "DL", "", 3, True])
def test_onehot_of_a_missing_or_undeclared_value_is_all_zeros(value: object) -> None:
    assert encoded(OneHot(field="x", categories=("AA", "UA")), value) == [0.0, 0.0]


def test_onehot_categories_that_are_the_same_text_are_refused() -> None:
    with pytest.raises(ValueError, match="values must differ"):
        OneHot(field="x", categories=("1", 1))


def test_hash_is_the_same_in_every_process() -> None:
    code = (
        "from streamrnn.learner.features import *;"
        "print(FeatureEncoder([Hash(field='x', buckets=64)]).encode_dict({'x': 'N14228'}).index(1.0))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    # Written down: a change would silently permute the inputs of saved models.
    assert seen == {b"42\n"}


def test_hash_of_missing_is_all_zeros() -> None:
    assert encoded(Hash(field="x", buckets=3), None) == [0.0, 0.0, 0.0]


def test_cyclic_wraps_around_and_keeps_the_phase_of_large_values() -> None:
    spec = Cyclic(field="x", period=24.0)
    assert encoded(spec, 0) == pytest.approx(encoded(spec, 24), abs=1e-15) == [0.0, 1.0]
    assert encoded(spec, 6 + 24.0 * 2**40) == encoded(spec, 6)
    assert encoded(spec, -1) == pytest.approx(encoded(spec, 23), abs=1e-12)
    assert all(abs(v) <= 1 for v in encoded(Cyclic(field="x", period=5e-324), 1e308))


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, np.float32("nan")])
@pytest.mark.parametrize("spec", [Numeric(field="x"), Log1p(field="x"), Cyclic(field="x", period=7.0)])
def test_missing_and_non_finite_numbers_become_nan(spec: FeatureSpec, value: object) -> None:
    assert all(math.isnan(v) for v in encoded(spec, value))


@pytest.mark.parametrize("value", [1, True, 1.0, np.float32(1), np.int64(1), np.bool_(True)])
def test_numbers_of_every_type_are_accepted(value: object) -> None:
    assert encoded(Numeric(field="x"), value) == [1.0]


@pytest.mark.parametrize("spec", [Numeric(field="x"), Log1p(field="x"), Cyclic(field="x", period=7.0)])
@pytest.mark.parametrize(
    ("value", "found"), [("12", "the string '12'"), ([1], "the array [1]"), ({}, "the object {}"), (1j, "complex")]
)
def test_a_wrong_type_names_field_found_and_expected(spec: FeatureSpec, value: object, found: str) -> None:
    with pytest.raises(RecordError, match=rf"field 'x': found .*{re.escape(found)}.*, expected a number") as caught:
        encoded(spec, value)
    assert caught.value.reason == "wrong_type"


@pytest.mark.parametrize("spec", [OneHot(field="x", categories=("a",)), Hash(field="x", buckets=2)])
@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_a_category_must_be_a_scalar(spec: FeatureSpec, value: object) -> None:
    with pytest.raises(RecordError, match="expected a string, number or boolean"):
        encoded(spec, value)


@pytest.mark.parametrize("value", [10**400, -(10**400), 10**5000], ids=["long", "negative", "longest"])
def test_an_integer_beyond_float64_is_refused_by_name(value: int) -> None:
    for spec in (Numeric(field="x"), Log1p(field="x"), Cyclic(field="x", period=2.0)):
        with pytest.raises(RecordError, match="field 'x'") as caught:
            encoded(spec, value)
        assert caught.value.reason == "out_of_range"


def test_huge_integers_that_cancel_are_still_refused() -> None:
    encoder = FeatureEncoder([Numeric(field="a"), Numeric(field="b"), Numeric(field="c")])
    with pytest.raises(RecordError, match="field 'a'"):
        encoder.encode([10**400, -(10**400), 1.0], [0.0] * 3)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ("mean", ("mean", "mean", "mean", "mean", "mean")),
        ("last", ("last", "last", "last", "last", "mean")),
        ("zero", (0.0, 0.0, 0.0, 1.0, "mean")),  # the cosine of 0 is 1; a category is all zeros whatever is said
    ],
)
def test_an_encoder_says_for_each_column_what_a_missing_value_counts_as(missing: Any, expected: tuple[Any]) -> None:
    encoder = FeatureEncoder(
        [
            Numeric(field="a", missing=missing),
            Log1p(field="b", missing=missing),
            Cyclic(field="c", period=24, missing=missing),
            OneHot(field="d", categories=("x",)),
        ]
    )
    assert encoder.missing == expected
    assert str(encoder.encode_dict({})) == "[nan, nan, nan, nan, 0.0]"


@pytest.mark.parametrize(
    "spec",
    [{"encoder": "numeric", "missing": "none"}, {"encoder": "hash", "buckets": 2, "missing": "zero"}],
)
def test_what_missing_values_count_as_is_one_of_three_and_said_of_numbers_only(spec: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match="missing"):
        msgspec.convert({"field": "a", **spec}, FeatureSpec)


@pytest.mark.parametrize("nothing", [None, pd.NA, pd.NaT, np.ma.masked, np.datetime64("NaT"), np.timedelta64("NaT")])
def test_every_word_for_nothing_is_missing_to_every_encoder(nothing: object) -> None:
    features = [Numeric(field="a"), Log1p(field="a"), OneHot(field="a", categories=("x",)), Hash(field="a", buckets=2)]
    row = FeatureEncoder([*features, Cyclic(field="a", period=24)]).encode_dict({"a": nothing})
    assert str(row) == "[nan, nan, 0.0, 0.0, 0.0, nan, nan]"


def test_a_span_of_time_is_no_number() -> None:
    with pytest.raises(RecordError, match="expected a number"):
        encoded(Numeric(field="a"), np.timedelta64(5, "D"))


def test_infinities_that_cancel_are_still_missing() -> None:
    encoder = FeatureEncoder([Numeric(field="a"), Numeric(field="b"), Numeric(field="c")])
    assert str(encoder.encode_dict({"a": math.inf, "b": -math.inf, "c": 1})) == "[nan, nan, 1.0]"
    assert encoder.encode_dict({"a": 1e308, "b": 1e308, "c": 1}) == [1e308, 1e308, 1.0]


def test_a_nested_field_below_something_that_is_no_object_is_a_wrong_type() -> None:
    encoder = FeatureEncoder([Numeric(field="a.b.c")])
    assert math.isnan(encoder.encode_dict({"a": None})[0])
    assert math.isnan(encoder.encode_dict({"a": {"b": {}}})[0])
    assert encoder.encode_dict({"a.b.c": 5, "a": 1}) == [5.0]
    with pytest.raises(RecordError, match=r"field 'a\.b\.c': found the number 1 above 'b', expected an object"):
        encoder.encode_dict({"a": 1})


def test_a_column_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match="found more than once: x"):
        FeatureEncoder([Numeric(field="x"), Numeric(field="x")])
    assert FeatureEncoder([Numeric(field="x"), Log1p(field="x")]).n_features == 2


def test_specs_are_told_apart_by_their_encoder_and_refuse_unknown_fields() -> None:
    decoded = msgspec.convert({"encoder": "cyclic", "field": "h", "period": 24}, FeatureSpec)
    assert decoded == Cyclic(field="h", period=24.0)
    for bad in ({"encoder": "cyclic", "field": "h"}, {"encoder": "numeric", "field": "h", "period": 1}, {"field": "h"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(bad, FeatureSpec)


@given(st.lists(json_values, min_size=7, max_size=7), st.lists(json_values, min_size=7, max_size=7))
def test_a_row_depends_on_its_own_values_alone(first: list[Any], second: list[Any]) -> None:
    encoder = FeatureEncoder(ALL)

    def outcome(values: list[Any], row: Any) -> Any:
        try:
            encoder.encode(values, row)
        except RecordError as error:
            return error.reason
        return np.asarray(row, dtype=np.float64).tobytes()

    alone = outcome(second, [0.0] * encoder.n_features)
    for used in ([7.0] * encoder.n_features, np.full(encoder.n_features, 7.0)):
        outcome(first, used)
        assert outcome(second, used) == alone


@given(json_values)
def test_every_json_value_is_encoded_or_refused(value: Any) -> None:
    for spec in ALL:
        encoder = FeatureEncoder([spec])
        row = np.full(encoder.n_features, 9.0)
        try:
            encoder.encode([value], row)
        except RecordError:
            continue
        assert not np.isinf(row).any()
        assert not (row == 9.0).any() or value == 9 or spec.columns[0] in ("log1p(c)",)


@given(st.integers())
def test_canonical_text_of_an_integer_keeps_all_its_digits(value: int) -> None:
    assert canonical_text(value, "f") == str(value)


def test_descriptions_stay_short() -> None:
    for value in ("x" * 10_000, 10**5000, 10**50, 1e300, ["x" * 10_000], {"x" * 10_000: 1}):
        assert len(describe(value)) < 100
