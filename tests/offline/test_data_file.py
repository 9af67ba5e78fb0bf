"""A file of records is a regular file of any size, and no line of it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamrnn.errors import ConfigError
from streamrnn.offline import data_file


@pytest.fixture(autouse=True)
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_file, "LONGEST_LINE", 1 << 16)


@pytest.mark.parametrize(
    ("name", "begin", "line"), [("a.jsonl", b'{"x":1}\n', 2), ("a.csv", b"x,y\n1,2\n", 3), ("a.ndjson", b"", 1)]
)
def test_a_line_of_a_terabyte_is_refused_by_its_number_and_not_read(
    tmp_path: Path, name: str, begin: bytes, line: int
) -> None:
    path = tmp_path / name
    path.write_bytes(begin)
    os.truncate(path, 1 << 40)
    rows = data_file.read_rows(path)
    with pytest.raises(ConfigError, match=rf"--data: {path}, line {line}: found more than 65,536 bytes"):
        list(rows)


def test_the_longest_line_is_read_with_the_file_s_last_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    longest = b"x" * ((1 << 16) - 2)
    path.write_bytes(longest + b"\n" + longest)
    assert list(data_file.read_rows(path)) == [longest, longest]


def test_a_file_may_be_named_by_a_link_and_nothing_but_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"1\n")
    (tmp_path / "link.jsonl").symlink_to("data")
    assert list(data_file.read_rows(tmp_path / "link.jsonl")) == [b"1"]
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    for name, kind in (("pipe.csv", "a pipe"), ("zero.jsonl", "a device")):
        with pytest.raises(ConfigError, match=f"{name} cannot be read: is {kind}, expected a regular file"):
            next(data_file.read_rows(tmp_path / name))
