"""Whatever is wrong with a job file, the refusal names a place in it, in our own words and without secrets."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import msgspec.inspect as mi
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.errors import ConfigError
from streamrnn.job.config import Config
from streamrnn.job.field_types import alternatives, item_types
from streamrnn.job.job_file import parse

EXAMPLE = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "examples" / "full.yaml").read_text())
SECRET = "correct-horse-battery"
ENVIRONMENT = {"KAFKA_PASSWORD": SECRET, "SECRET": SECRET}

scalars = st.sampled_from(
    [None, True, 0, -1, 3, 1.5, 10**30, 2**63, 1e300, "", "x", "adam", "a..b", "last", "12", "${SECRET}", "é" * 70]
)
values = (
    scalars
    | st.lists(scalars, max_size=3)
    | st.dictionaries(st.sampled_from(["encoder", "field", "topic", "protocol"]), scalars, max_size=2)
    | st.just(["e"] * 300)
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(p for step, item in inner for p in places(item, (*path, step)))]


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """The full example with some values replaced, fields added or left out."""
    job: dict[str, Any] = copy.deepcopy(EXAMPLE)
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(places(job)))
        at: Any = job
        for step in above:
            at = at[step]
        change = draw(st.sampled_from(["replace", "remove", "add"]))
        if change == "remove":
            del at[last]
        elif change == "add" and isinstance(at, dict):
            at[draw(st.sampled_from(["k", "protocl", f"{last}x"]))] = copy.deepcopy(draw(values))
        else:
            at[last] = copy.deepcopy(draw(values))
    return job


@settings(max_examples=150, deadline=None)
@given(damaged())
def test_a_damaged_job_file_is_valid_or_refused_in_our_words_at_a_place_of_its_own(job: dict[str, Any]) -> None:
    try:
        parse(yaml.safe_dump(job, sort_keys=False), ENVIRONMENT)
    except ConfigError as error:
        message = str(error)
        assert SECRET not in message
        assert re.match(r"(line \d+: )?[a-z0-9_.\[\]]+(: |, )|topics must differ|top level: ", message), message
        for words in ("Expected `", "Object ", "Invalid "):  # msgspec's
            assert words not in message


def test_a_job_file_holds_only_kinds_of_values_that_a_refusal_can_look_into() -> None:
    known = {
        *(mi.StructType, mi.VarTupleType, mi.TupleType, mi.CustomType, mi.LiteralType),
        *(mi.BoolType, mi.IntType, mi.FloatType, mi.StrType, mi.NoneType),
    }
    to_visit: list[mi.Type] = [mi.type_info(Config)]
    while to_visit:
        for t in alternatives(to_visit.pop()):
            assert type(t) in known, f"{t}: see refusal._Search"
            to_visit += [f.type for f in t.fields] if isinstance(t, mi.StructType) else item_types(t)
