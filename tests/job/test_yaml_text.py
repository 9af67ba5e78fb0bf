"""A job file that somebody made up costs no more than its bytes, and is refused with a place in it."""

from __future__ import annotations

import itertools
import math
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import msgspec.inspect as mi
import pytest

from streamrnn.errors import ConfigError
from streamrnn.job.config import Config
from streamrnn.job.job_file import load, parse
from streamrnn.job.yaml_text import MOST_BYTES
from tests.support.jobs import yaml


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, {})
    return str(caught.value)


def test_aliases_and_anchors_are_refused_where_they_first_stand_whatever_they_would_mean() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join(f'*{a}' for _ in range(10))}]\n" for a, b in itertools.pairwise("abcdefghij")
    )
    assert (
        refusal(bomb)
        == "line 1, column 4: found a YAML anchor or alias (& or *), expected the value itself: write it out"
    )
    for text in (
        "job: *x",
        "a: {<<: *b}",
        "job: x\ninput: &x {topic: in}",
        "&x job: y",
        "*x : y",
        "a: [&b {}]",
        "&r\na: 1",
    ):
        assert "found a YAML anchor or alias" in refusal(text)
    assert parse(yaml(input="{topic: in, end_field: '*a &b'}"), {}).input.end_field == "*a &b"


def test_a_merge_key_is_a_name_like_any_other() -> None:
    assert "input.<<: unknown field" in refusal(yaml(input="{topic: in, <<: {topic: other}}"))


SHAPES: dict[str, Callable[[int], str]] = {
    "levels": lambda n: "a: " + "[" * n,
    "lists in lists": lambda n: "- " * n,
    "fields": lambda n: "".join(f"k{i:06}: 1\n" for i in range(n // 11)),
    "one field": lambda n: "a: 1\n" * (n // 5),
    "text": lambda n: "a: " + "x " * (n // 2),
    "escapes": lambda n: 'a: "' + "\\\\" * (n // 2) + '"',
    "quotes that never end": lambda n: 'a: "' + "x\n " * (n // 3),
    "a block": lambda n: "a: |\n" + "  x\n" * (n // 4),
    "nothing": lambda n: "\n" * n + "a: 1",
    "comments": lambda n: "#\n" * (n // 2) + "a: 1",
    "a list": lambda n: "a: [" + "1," * (n // 2) + "]",
    "a mapping": lambda n: "{" + "a: 1, " * (n // 6),
    "directives": lambda n: "%FOO bar\n" * (n // 9) + "--- a",
    "a tag": lambda n: "a: !<" + "%41" * (n // 3) + ">",
    "references": lambda n: "job: '" + "${A:-b}" * (n // 7) + "'",
    "open references": lambda n: "job: '" + "${" * (n // 2) + "'",
    "digits": lambda n: "a: " + "1" * n,
    "an exponent": lambda n: "a: 1e" + "1" * n,
    "zeros": lambda n: "a: 0" + "0" * n + "x",
    "a name": lambda n: "? " + "x" * n + "\n: 1",
    "steps": lambda n: "a:\n b:\n" * (n // 7),
    "features": lambda n: "features:\n" + "- {field: x, encoder: numeric}\n" * (n // 31),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_eight_times_the_text_takes_about_eight_times_as_long(shape: str) -> None:
    def cpu(n: int) -> float:
        text, best = SHAPES[shape](n), math.inf
        for _ in range(2):
            started = time.process_time()
            refusal(text)
            best = min(best, time.process_time() - started)
        return best

    assert cpu(32_000) / max(cpu(4_000), 0.001) < 24  # 64 where it grows with the square


def numeric_fields(kind: mi.Type, path: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Every field of the file that is no list, by the names that lead to it."""
    while isinstance(kind, mi.Metadata):
        kind = kind.type
    if isinstance(kind, mi.StructType):
        return set().union(*(numeric_fields(field.type, (*path, field.encode_name)) for field in kind.fields))
    if isinstance(kind, mi.UnionType):
        return set().union(*(numeric_fields(each, path) for each in kind.types))
    return {path}


ODD = ["9" * 400, "-" + "9" * 399, "1e400", "0x" + "f" * 300, "!!float x", "{<<: {a: 1}}"]


@pytest.mark.parametrize("odd", ODD)
def test_no_value_of_any_field_ends_in_anything_but_a_refusal_or_a_job(odd: str) -> None:
    paths = numeric_fields(mi.type_info(Config))
    assert len(paths) > 90
    for first, *path in paths:
        text = odd
        for name in reversed(path):
            text = f"{{{name}: {text}}}"
        try:
            parse(yaml(**{first: text}), {})
        except ConfigError:
            continue
        assert odd.startswith("0x"), (first, *path)  # text, where that is wanted


def test_a_job_file_is_a_file_of_a_bounded_size_and_may_be_named_by_a_link(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, of this process and all its tests until now
    (tmp_path / "data").write_text(yaml())
    (tmp_path / "job.yaml").symlink_to("data")
    assert load(tmp_path / "job.yaml", {}).job
    os.mkfifo(tmp_path / "pipe")
    os.truncate(tmp_path / "data", 1 << 40)
    for name, found in (("pipe", "is a pipe, expected a regular file"), ("data", f"at most {MOST_BYTES}")):
        with pytest.raises(ConfigError, match=rf"^{tmp_path / name}: cannot be read: .*{found}"):
            load(tmp_path / name, {})
    with pytest.raises(ConfigError, match="cannot be read: is a device"):
        load("/dev/zero", {})
    assert "found 1048577 characters, expected at most 1048576" in refusal(" " * (MOST_BYTES + 1))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (1 << 20)


def test_more_names_and_values_than_any_job_has_are_refused_before_they_are_all_made() -> None:
    assert "found more than 100000 names and values" in refusal("- a\n" * 200_000)
    assert "found more than 100000 names and values" in refusal("[" + "a," * 300_000 + "]")
