"""What records are to a job: counted whatever the cut, and what is probably not meant said in a sentence each."""

from typing import Any

import pytest

from streamrnn.job import sample
from streamrnn.job.codec.records import RecordCodec
from streamrnn.job.config import Config
from streamrnn.job.sample import Sample, examine
from tests.support.jobs import job, record
from tests.support.sequence_jobs import TARGETS, sequence_job

XZ = "[{field: x, encoder: numeric}, {field: z, encoder: numeric}]"


def looked_at(config: Config, values: list[Any], cut: int = 1000) -> Sample:
    codec = RecordCodec(config)
    found = Sample(config, codec)
    records = [record(value, offset=i) for i, value in enumerate(values)]
    for i in range(0, len(records), cut):
        found.add(records[i : i + cut], codec.decode(records[i : i + cut]))
    return found


def shares(found: Sample) -> dict[str, float]:
    return {share.field.path: share.missing_share for share in found.shares()}


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_the_shares_of_missing_fields_are_those_of_the_usable_records(cut: int) -> None:
    values = [{"x": 1, "z": 2, "y": 1}, {"x": 2}, {"z": 3, "y": 2}, {"x": 3, "y": None}, b"junk", None, {"x": []}]
    found = looked_at(job(features=XZ), values, cut)
    assert shares(found) == {"x": 1 / 4, "z": 2 / 4, "y": 2 / 4}
    assert (found.records, found.tombstones, found.filtered, found.used) == (7, 1, 0, 4)
    assert dict(found.rejected) == {"malformed": 1, "wrong_type": 1}
    assert found.first_rejected["wrong_type"].startswith("record 6: field 'x': found the array []")


def test_a_field_that_never_came_is_named_with_the_nearest_that_did() -> None:
    found = looked_at(job(features=XZ), [{"x": i, "payload": {"z": 2}, "y": i} for i in range(3)])
    assert found.remarks() == ["feature 'z' came in none of 3 records; the nearest names that come: payload.z"]
    assert [field.path for field in found.never()] == ["z"]
    labels = looked_at(
        job(features="[]", target="{fields: [y], known: label, event_field: id, label_field: of}"), [{"id": 1}]
    )
    assert labels.never() == []
    assert [share.field.path for share in labels.absent()] == []  # labels are told by a field that events are without


def test_a_time_that_cannot_be_used_has_come_all_the_same() -> None:
    config = job(features=XZ, source="{topic: in, timestamp: {field: t}, numbers: strict}")
    found = looked_at(config, [{"x": 1, "z": 2, "y": 3, "t": "17"}, {"x": 2, "z": 1, "y": 1}, {"x": 1, "t": 3}])
    assert shares(found)["t"] == 1 / 3
    assert dict(found.rejected) == {"bad_timestamp": 2}
    assert [field.path for field in looked_at(config, [{"x": 1, "z": 1, "y": 1, "t": "17"}]).never()] == []


def test_numbers_that_are_never_zero_and_often_missing_lead_to_a_question() -> None:
    values = [{k: v for k, v in {"x": i % 3, "z": i, "y": i % 2}.items() if v} for i in range(100)]
    question = "of the records and 0 in none: if your producer leaves zeros out, say missing: zero"
    assert looked_at(job(features=XZ), values).remarks() == [
        f"feature 'x' is missing in 34% {question}",
        f"target 'y' is missing in 50% {question}",
    ]
    said = "[{field: x, encoder: numeric, missing: zero}, {field: z, encoder: numeric}]"
    assert looked_at(job(features=said, target="{fields: [y], missing: zero}"), values).remarks() == []
    for target in ("labels of numbers", "numbers"):
        config = sequence_job(TARGETS[target])
        answer = [1.5] if target == "labels of numbers" else [1.5, 2, 3]
        often_unknown = [{"frames": [[i + 1, 2]], "y": answer if i % 3 else None} for i in range(100)]
        assert not [remark for remark in looked_at(config, often_unknown).remarks() if "say missing: zero" in remark]
    with_zeros = looked_at(job(features=XZ), [*values, {"x": 0, "z": 0, "y": 0}])
    assert with_zeros.remarks() == []


def test_a_field_with_one_value_teaches_nothing() -> None:
    category = "{field: c, encoder: hash, buckets: 8}, {field: c, encoder: onehot, categories: [a]}"
    features = f"[{{field: x, encoder: numeric}}, {category}]"
    values = [{"x": 7, "c": "a", "y": i} for i in range(5)]
    assert looked_at(job(features=features), values).remarks() == [
        "feature 'x' has the same value in every record, which teaches nothing",
        "feature 'c' has the same value in every record, which teaches nothing",
    ]
    assert looked_at(job(features=features), [*values, {"x": 8, "c": "b", "y": 1}]).remarks() == []
    assert looked_at(job(features=features), values[:1]).remarks() == []


def test_conditions_that_no_record_meets_are_named() -> None:
    found = looked_at(job(features="[]", source="{topic: in, where: [{field: op, equals: c}]}"), [{"y": 1}, {"y": 2}])
    assert found.remarks() == ["input.where passes over all 2 records"]
    assert (found.filtered, found.used) == (2, 0)


def test_examining_decodes_records_wherever_they_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "BATCH", 3)
    found = examine(job(features=XZ), (record({"x": i, "y": 1}) for i in range(8)))
    assert found.records == 8
    assert shares(found) == {"x": 0, "z": 1, "y": 0}


def test_of_sequences_all_frames_are_looked_at() -> None:
    config = sequence_job(frames="columns: [a, b, c]")
    sample = examine(
        config, [record({"frames": [[1, 5, None], [2, 5, 3]], "y": "low"}), record({"frames": [[1, 5, 4]]})]
    )
    assert sample.remarks() == [
        "feature 'b' has the same value in every record, which teaches nothing",
    ]
    assert [share.field.path for share in sample.shares() if share.missing] == ["y"]
    assert (
        examine(config, [record({"frame": [[1, 2, 3]]})]).remarks()[0].startswith("frames 'frames' came in none of 1")
    )
