"""Names of fields that came, as paths that a job file could have, and those of them that were probably meant."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given

from streamrnn.job.codec.names import MAX_BYTES, MAX_NAMES, names_in, nearest, told
from streamrnn.learner.paths import parse_path, path_text
from tests.job.codec.test_records import json_values


def names(*documents: object) -> list[str]:
    return names_in(json.dumps(document).encode() for document in documents)


def test_names_are_paths_of_what_holds_a_value_most_frequent_first() -> None:
    found = names({"cpu.load": 1, "a": {"b": [1, {"c": 2}], "n": None}}, {"x": 1, "a": {"b": [3]}}, [1], "text", 3)
    assert found == ["a.b[0]", '["cpu.load"]', "a.b[1].c", "x"]
    assert names_in([b"junk", None, b'{"x": NaN}', b"[" * 100_000]) == ["x"]


def test_records_with_ever_new_keys_do_not_fill_the_memory() -> None:
    assert len(names({f"k{i}": 1 for i in range(5 * MAX_NAMES)})) == MAX_NAMES


def test_long_records_take_no_longer_than_one_of_the_bytes_that_are_looked_at() -> None:
    wide = b"{" + b",".join(b'"%d":1' % i for i in range(80_000)) + b"}"
    assert 0 < len(names_in([wide])) <= MAX_NAMES
    assert names_in([wide, b'{"x": 1}'])[-1] != "x"  # as many names as are told apart came before
    assert names_in([b'{"x": "%s"}' % (b"a" * MAX_BYTES), b'{"y": 1}']) == ["y"]
    taken: list[int] = []

    def values() -> Iterator[bytes]:
        for i in range(1_000):
            taken.append(i)
            yield b'{"f%d": "%s"}' % (i, b"a" * 10_000)

    assert len(names_in(values())) == MAX_BYTES // 10_013
    assert len(taken) == 1_000


def test_names_in_a_message_are_short_and_of_plain_characters() -> None:
    for near in ("load", "else"):
        message = told("a.load", [path_text([f"{near}\n\x1b[2J\u202e" + "x" * 100_000]), f"b\x07.{near}"])
        assert message.isprintable()
        assert len(message) < 500
    assert told("a", []) == "no fields were found in them"


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
