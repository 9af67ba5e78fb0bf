"""What is written loads, means what was decided, and is the same for the same sample, whatever records name."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.drafting import yaml_writing
from streamrnn.drafting.draft import draft
from streamrnn.drafting.sample import Sample
from streamrnn.drafting.text import Place, job_file
from streamrnn.job.config import Config
from streamrnn.job.sample import examine
from streamrnn.job.yaml_text import read
from tests.support.topics import avro, events, flights, machines, sample, sample_like, three

PLACE = Place(
    log=['kafka: {bootstrap_servers: "localhost:9092"}'],
    file="job.yaml",
    bootstrap="localhost:9092",
    memory_bytes=8 << 30,
    environment={},
)
SAMPLES = {"flights": flights, "machines": machines, "events": events, "three": three}


def written(found: Sample, target: str | None = None) -> tuple[str, Config]:
    return job_file(draft(found, target), PLACE)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_draft_of_a_topic_uses_all_its_records(name: str) -> None:
    found = sample(SAMPLES[name]())
    _, config = written(found)
    used = examine(config, found.records)
    assert used.used == len(found)
    assert not used.never()
    assert not [remark for remark in used.remarks() if "the same value" in remark]


@pytest.mark.parametrize("name", SAMPLES)
def test_the_same_sample_gives_the_same_file(name: str) -> None:
    assert written(sample(SAMPLES[name]())) == written(sample(SAMPLES[name]()))


def test_the_flights_are_drafted_as_somebody_who_knows_them_would() -> None:
    text, config = written(sample(flights()), "delay")
    assert config.target.fields == ("delay",)
    assert config.input.stream_key is None
    assert not config.inputs.dt
    assert (config.model.loss, config.learning.target_shrinkage) == ("absolute", 100)
    encoders = {feature.field: type(feature).__struct_config__.tag for feature in config.features}
    assert encoders == {
        "carrier": "onehot", "number": "hash", "origin": "onehot", "dest": "hash", "distance": "numeric",
        "day": "cyclic", "weekday": "cyclic", "hour": "cyclic", "minute": "cyclic", "minutes": "cyclic",
        "origin_delay": "numeric",
    }  # fmt: skip
    for reason in (
        "#   id: an identifier: 20,000 different values in 20,000 records",
        "#   tailnum: names the stream, as the record key does",
        "#   timestamp: the record's time, as its timestamp is",
        "#   month: the same in every record: 1",
        "# WARNING: the record's time is minutes plus delay",
        "streamrnn evaluate -c job.yaml --topic",
        "kafka-topics.sh --bootstrap-server localhost:9092 --create --partitions 1 --topic t-predictions",
    ):
        assert reason in text


def test_lines_are_short_enough_to_be_read() -> None:
    for make in SAMPLES.values():
        text, _ = written(sample(make()))
        assert max(map(len, text.splitlines())) <= 125, text


HOSTILE = [
    "a\x1b[2Jb", "no", "${HOME}", "$${x}", "a: b", "x # y", '"', "'", "\\", "[0]", "a.b", "{", "caf\u00e9", "\u202e",
    "\ud7ff", "new\nline", "12", "", "null", "-", "~", "\U0001f600", "\ufdd0", "\x85", "\ufeff",
]  # fmt: skip


def test_no_name_or_value_in_a_record_can_spoil_the_file() -> None:
    rng = random.Random(8)
    found = sample_like(
        300,
        lambda i: {name: rng.random() for name in HOSTILE} | {"word": rng.choice(HOSTILE), "y": rng.random()},
        key=lambda i: rng.choice(HOSTILE) or "k",
    )
    text, config = written(found, "y")
    assert len(config.features) == len(HOSTILE) + 1
    assert text.isprintable() or {c for c in text if not c.isprintable()} == {"\n"}
    assert examine(config, found.records).used == 300


@given(st.text())
def test_any_text_is_read_back_as_it_was(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError:
        return
    back: Any = read(f"job: {yaml_writing.text(word)}", {}, Config).data
    assert back == {"job": word}


@given(st.text())
def test_any_comment_is_no_more_than_one(sentence: str) -> None:
    lines = [*yaml_writing.comment(sentence), *yaml_writing.commented("a: 1", sentence)]
    assert yaml.safe_load("\n".join(lines)) == {"a": 1}


def test_references_to_the_environment_are_kept_in_a_section_and_nowhere_else() -> None:
    lines = yaml_writing.block("kafka", {"security": {"sasl_password": "${P}", "ssl_check_hostname": False}})
    assert lines == ["kafka:", "  security:", '    sasl_password: "${P}"', "    ssl_check_hostname: false"]
    assert yaml_writing.text("${P}") == '"$${P}"'


def test_what_is_no_json_never_gets_here() -> None:
    with pytest.raises(ValueError, match="no JSON"):
        sample(avro())


def test_a_topic_with_a_very_long_name_has_names_for_its_outputs() -> None:
    sent = [(f"k{i % 5}".encode(), 1_760_000_000_000 + i, json.dumps({"value": i % 7}).encode()) for i in range(300)]
    _, config = job_file(draft(sample(sent, topic="t" * 249)), PLACE)
    assert config.output.topic == "t" * 200 + "-predictions"
