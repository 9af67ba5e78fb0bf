"""Names of fields that came, as paths that a job file could have, and those of them that were probably meant."""

import json

import pytest
from hypothesis import given

from streamrnn.job.codec.names import MAX_NAMES, names_in, nearest
from streamrnn.learner.paths import parse_path
from tests.job.codec.test_records import json_values


def names(*documents: object) -> list[str]:
    return names_in(json.dumps(document).encode() for document in documents)


def test_names_are_paths_of_what_holds_a_value_most_frequent_first() -> None:
    found = names({"cpu.load": 1, "a": {"b": [1, {"c": 2}], "n": None}}, {"x": 1, "a": {"b": [3]}}, [1], "text", 3)
    assert found == ["a.b[0]", '["cpu.load"]', "a.b[1].c", "x"]
    assert names_in([b"junk", None, b'{"x": NaN}', b"[" * 100_000]) == ["x"]


def test_records_with_ever_new_keys_do_not_fill_the_memory() -> None:
    assert len(names({f"k{i}": 1 for i in range(5 * MAX_NAMES)})) == MAX_NAMES


@given(json_values)
def test_every_name_is_a_path(document: object) -> None:
    for name in names({"a": document}):
        assert parse_path(name)[0] == "a"


@pytest.mark.parametrize(
    ("path", "came", "meant"),
    [
        ("cpu.laod", ["mem", '["cpu.load"]', "cpu.load"], ["cpu.load", '["cpu.load"]']),
        ("delay", ["payload.after.delay", "payload.op"], ["payload.after.delay"]),
        ("Delay", ["delay", "x"], ["delay"]),
        ("temp[0]", ["temp.c", "hum"], ["temp.c"]),
        ("zzz", ["a", "b"], []),
    ],
)
def test_the_nearest_names_are_those_that_were_probably_meant(path: str, came: list[str], meant: list[str]) -> None:
    assert nearest(path, came) == meant
