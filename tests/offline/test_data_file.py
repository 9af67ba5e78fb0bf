"""Files as records: whatever stands in them, what is wrong is told or judged by the codec, and nothing fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamrnn.job.codec.records import RecordCodec
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
