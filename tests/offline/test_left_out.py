"""Producers that leave things out or name them flat: the job says so, and learns as from a record in full."""

import io
import json
import random
from pathlib import Path
from typing import Any

import pytest

from streamrnn.job.config import Config
from streamrnn.offline.data_file import Fields, read_rows, records
from streamrnn.offline.evaluation import Report, evaluate
from tests.support.jobs import job, record

ZERO = "[{field: x, encoder: numeric, missing: zero}, {field: z, encoder: log1p, missing: zero}]"
TARGETS = {
    "record": ("{fields: [y], missing: zero}", "{}"),
    "forecast": ("{fields: [y], missing: zero, known: forecast, horizon: 2}", "{readout: rls}"),
    "label": ("{fields: [y], missing: zero, known: label, event_field: id, label_field: of}", "{}"),
    "classes": ("{fields: [y], missing: zero, classes: [0, 1, 2]}", "{readout: softmax}"),
}


def rows(known: str, n: int = 300) -> list[dict[str, Any]]:
    numbers, found = random.Random(1), []
    for i in range(1, n):
        x, z = numbers.choice([0, 0, 5]), numbers.choice([0, 1, 2])
        values = {"x": x, "z": z, "y": (x + z) % 3}
        if known == "label":
            found += [{**values, "y": 0, "id": i}, {"of": i, "y": values["y"]}]
        else:
            found.append(values)
    return found


def predicted(config: Config, values: list[dict[str, Any]]) -> tuple[Report, list[bytes]]:
    out = io.BytesIO()
    source = [record(v, key=b"s%d" % (i // 2 % 3), time_ms=1000 * i, offset=i) for i, v in enumerate(values)]
    report = evaluate(config, source, predictions=out)
    return report, out.getvalue().splitlines()


@pytest.mark.parametrize("known", TARGETS)
def test_zeros_left_out_are_learned_as_if_they_had_been_sent(known: str) -> None:
    target, model = TARGETS[known]
    config = job(features=ZERO, target=target, model=model)
    full = rows(known)
    left_out = [{k: v for k, v in row.items() if v != 0} for row in full]
    (report, sent), (again, omitted) = predicted(config, full), predicted(config, left_out)
    assert sent == omitted
    assert report.scores == again.scores
    assert {s.field.path: s.missing for s in report.sample.shares() if s.field.role != "label_field"}["x"] == 0
    assert {s.field.path: s.missing_share for s in again.sample.shares()}["x"] == pytest.approx(2 / 3, abs=0.1)


def test_a_tombstone_of_a_file_s_stream_starts_it_afresh() -> None:
    config = job(features="[{field: x, encoder: numeric}]", target="{fields: [y], known: forecast}")
    values: list[Any] = [{"x": i, "y": i} for i in range(10)]
    source = [record(v, time_ms=1000 * i, offset=i) for i, v in enumerate([*values, None, *values])]
    report = evaluate(config, source)
    # The last forecast before the tombstone is about a value that never came.
    assert [score.scored for score in report.scores] == [18] * 4
    assert (report.sample.tombstones, report.backwards, report.streams) == (1, 0, 1)


@pytest.mark.parametrize(
    ("field", "column"), [('["cpu.load"]', "cpu.load"), ("cpu.load", "cpu.load"), ("r[0]", "r[0]")]
)
def test_a_csv_column_with_a_dot_is_the_field_that_the_job_means(tmp_path: Path, field: str, column: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(f"k,{column},y\na,3,1\na,4,2\n")
    config = job(features=json.dumps([{"field": field, "encoder": "numeric"}]))
    found = evaluate(config, records(config, read_rows(path), Fields(key="k")))
    assert {s.field.path: s.missing for s in found.sample.shares()} == {field: 0, "y": 0}


def test_key_and_time_of_a_file_are_named_like_fields_of_a_job(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"d": {"id": ["a", "b"]}, "t.s": 5, "y": NaN}\n')
    (found,) = records(job(features="[]"), read_rows(path), Fields(key="d.id[1]", timestamp='["t.s"]'))
    assert (found.key, found.timestamp_ms) == (b"b", 5)


def test_a_foreign_record_may_come_first_and_lack_the_key(tmp_path: Path) -> None:
    config = job(source="{topic: in, where: [{field: op, in: [c, u]}]}")
    data = tmp_path / "mixed.jsonl"
    data.write_text('{"foreign": 1}\n{"op": "u", "k": "s", "y": 1}\n')
    keys = [each.key for each in records(config, read_rows(data), Fields(key="k", timestamp=None))]
    assert keys == [None, b"s"]
