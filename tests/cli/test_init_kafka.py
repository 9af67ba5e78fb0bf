"""From a topic of a real cluster to a job that runs, in one command each; and nothing is left behind on the way."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.cli import app
from streamrnn.daemon.opening import open_administration, topics_of
from streamrnn.job.job_file import load
from tests.support.topics import START_MS, avro, events, flights, machines, three

pytestmark = pytest.mark.kafka
Fill = Callable[..., str]


def call(*arguments: object) -> Result:
    runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
    return runner.invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def fill(kafka_bootstrap: str) -> Iterator[Fill]:
    """Makes a topic with these records; all of it is gone in the end."""
    connection, made = KafkaConnection(bootstrap_servers=kafka_bootstrap), []
    administration = KafkaAdministration(connection)

    def make(sent: Sequence[Any], partitions: int = 2) -> str:
        topic = f"init-{uuid.uuid4().hex[:8]}"
        made.append(topic)
        administration.create_topics({topic: partitions}, keep_forever=True)
        sender = KafkaSender(connection)
        for key, time_ms, value in sent:
            sender.send(topic, key, value, timestamp_ms=time_ms)
        sender.flush(60)
        sender.close(5)
        return topic

    yield make
    administration.delete_topics(
        [name for topic in made for name in (topic, f"{topic}-predictions", f"{topic}-dead-letters")]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "target"),
    [(lambda: flights()[:6_000], "delay"), (machines, None), (events, None), (three, None)],
    ids=["flights", "nested", "events with text", "three records"],
)
def test_a_topic_becomes_a_job_that_can_run(
    sent: Callable[[], Sequence[Any]],
    target: str | None,
    fill: Fill,
    kafka_bootstrap: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    records = sent()
    topic = fill(records)
    options = () if target is None else ("--target", target)
    drafted = call("init", "--bootstrap", kafka_bootstrap, "--topic", topic, *options)
    assert drafted.exit_code == 0, drafted.output
    job = load("job.yaml")
    administration = open_administration(job)
    evaluated = call("evaluate", "-c", "job.yaml", "--topic")
    assert evaluated.exit_code == 0, evaluated.output
    assert re.search(rf"records +{len(records):,}", evaluated.output), evaluated.output
    assert "skill" in evaluated.output
    # Neither of them has joined a group, committed anything, or made a topic.
    assert administration.commits(job.group_id) == {}
    assert administration.describe_group(job.group_id).members == ()
    assert [name for name, found in administration.describe_topics(topics_of(job)).items() if found] == [topic]
    made = call("topics", "-c", "job.yaml")
    assert made.exit_code == 0, made.output
    looked = call("validate", "-c", "job.yaml", "--connect")
    assert looked.exit_code == 0, looked.output
    assert "problem: " not in looked.output


def test_each_partition_has_a_learner_of_its_own(fill: Fill, kafka_bootstrap: str, tmp_path: Path) -> None:
    topic, out = fill(machines(900), partitions=3), tmp_path / "job.yaml"
    assert call("init", "--bootstrap", kafka_bootstrap, "--topic", topic, "-o", out).exit_code == 0
    predictions = tmp_path / "out.jsonl"
    done = call("evaluate", "-c", out, "--topic", "--limit", 600, "--predictions", predictions)
    assert done.exit_code == 0, done.output
    assert "the newest 600 of 900 records are replayed" in done.output
    assert "3, a learner each" in done.output
    lines = predictions.read_text().splitlines()
    assert len(lines) == 600
    assert {re.search(r'"partition":(\d)', line)[1] for line in lines} == {"0", "1", "2"}  # type: ignore[index]


def test_a_topic_that_is_no_json_is_named_for_what_it_is(fill: Fill, kafka_bootstrap: str, tmp_path: Path) -> None:
    done = call("init", "--bootstrap", kafka_bootstrap, "--topic", fill(avro()), "-o", tmp_path / "job.yaml")
    assert done.exit_code == 2
    assert "it looks like Avro framed for Confluent's schema registry (a zero byte, then schema 42)" in done.output
    assert "JsonConverter" in done.output
    assert not (tmp_path / "job.yaml").exists()


def test_an_empty_topic_and_one_that_is_not_there_are_told_apart(
    fill: Fill, kafka_bootstrap: str, tmp_path: Path
) -> None:
    empty = call("init", "--bootstrap", kafka_bootstrap, "--topic", fill([]), "-o", tmp_path / "job.yaml")
    assert empty.exit_code == 2
    assert "holds no record" in empty.output
    nowhere = call("init", "--bootstrap", kafka_bootstrap, "--topic", "init-nowhere", "-o", tmp_path / "job.yaml")
    assert nowhere.exit_code == 2
    assert "--topic: init-nowhere does not exist" in nowhere.output


def test_a_sample_is_the_newest_records_of_each_partition(
    fill: Fill, kafka_bootstrap: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streamrnn.cli import drafting

    monkeypatch.setattr(drafting, "LEAST", 50)
    monkeypatch.setattr(drafting, "PER_PARTITION", 25)
    old = [(b"k", START_MS + i, b'{"kind": "old", "value": 1.5}') for i in range(300)]
    new = [(b"k", START_MS + i, b'{"kind": "new", "value": %d}' % (i % 7)) for i in range(300, 360)]
    topic = fill([*old, *new], partitions=1)
    done = call("init", "--bootstrap", kafka_bootstrap, "--topic", topic, "-o", tmp_path / "job.yaml")
    assert done.exit_code == 0, done.output
    text = (tmp_path / "job.yaml").read_text()
    assert "from the newest 50 of 360 records" in text
    assert "kind: the same in every record: new" in text
