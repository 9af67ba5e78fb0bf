"""Files of records: regular, of any size, no line of it is; what stands in them is told or judged by the codec."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from streamrnn.errors import ConfigError
from streamrnn.job.codec.records import RecordCodec
from streamrnn.offline import data_file
from streamrnn.offline.data_file import Fields, parsed, read_rows, records
from tests.support.jobs import job

JOB = job(features="[{field: a, encoder: numeric}]")
ODD = [
    "1" * 301,
    "-" + "9" * 5_000,
    "1" * 100_000,
    "1e999",
    "-1e-999",
    "9" * 19,
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "2020-01-01T00:00:00." + "1" * 5_000,
    "+" * 1_000,
    "é\u2028\u202e",
]


@pytest.fixture
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_file, "LONGEST_LINE", 1 << 16)


@pytest.mark.usefixtures("short_lines")
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


@pytest.mark.usefixtures("short_lines")
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


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_no_value_fails_as_number_time_or_key(text: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"data{suffix}"
    if suffix == ".csv":
        path.write_text(f"k,a,y,t\nq,1,2,{text}\nq,{text},2,5\n{text},1,{text},6\n")
    else:
        number = text if text.lstrip("-")[:1].isdigit() and text.lstrip("-").isalnum() else json.dumps(text)
        path.write_text(
            f'{{"k": "q", "a": 1, "y": 2, "t": {number}}}\n{{"k": "q", "a": {number}, "t": 5}}\n'
            f'{{"k": {number}, "y": {number}, "t": 6}}\n'
        )
    remarks: list[str] = []
    made = list(records(JOB, read_rows(path), Fields(key="k", timestamp="t"), remarks.append))
    assert [record.offset for record in made] == [0, 1, 2]
    decoded = RecordCodec(JOB).decode(made)
    assert len(decoded.block) + len(decoded.rejected) == 3
    assert all(len(error.detail) < 1_000 for _, error in decoded.rejected)
    assert all(len(remark) < 1_000 for remark in remarks)


def test_a_whole_number_with_more_digits_than_float64_has_room_for_is_text() -> None:
    assert parsed("9" * 300) == int("9" * 300)
    assert parsed("9" * 301) == "9" * 301
