"""What a real broker refuses for the sake of one record, and how the daemon's delivery gets the rest through."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer
from kafka import TopicPartition as ClientTopicPartition
from kafka.admin import NewTopic
from kafka.errors import KafkaError, MessageSizeTooLargeError, TopicAuthorizationFailedError
from prometheus_client import CollectorRegistry

import streamrnn.broker.kafka_sender
from streamrnn.broker.columns import Outputs
from streamrnn.broker.kafka_sender import _REFUSALS, KafkaSender, _refused
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.protocol import REFUSALS, Output, Record, Sender, TopicPartition
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.outgoing import batches
from streamrnn.daemon.partition import Partition, Start
from streamrnn.daemon.refused import Refused, Sent
from streamrnn.errors import RecordError, RefusedError, UndeliveredError
from streamrnn.job.codec.dead_letters import encode_dead_letter
from streamrnn.job.job import Job
from streamrnn.job.job_file import parse
from tests.support.kafka_clients import sender_of

pytestmark = pytest.mark.kafka

DAY_MS = 86_400_000
STRICT = {"message.timestamp.before.max.ms": "60000", "message.timestamp.after.max.ms": "60000"}


@pytest.fixture(params=["one by one", "whole", "confluent"])
def sender(kafka_bootstrap: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sender]:
    """One that is given records one by one, whatever is asked of it, one that makes whole batches of the fewest, and
    the other client's."""
    if request.param == "confluent":
        other = sender_of("confluent", KafkaConnection(bootstrap_servers=kafka_bootstrap))
        yield other
        other.close(5.0)
        return
    monkeypatch.setattr(streamrnn.broker.kafka_sender, "FEW", 1 if request.param == "whole" else 1 << 30)
    made = KafkaSender(KafkaConnection(bootstrap_servers=kafka_bootstrap))
    yield made
    made.close(5.0)


@pytest.fixture
def topic(kafka_bootstrap: str) -> Iterator[Callable[[dict[str, str]], str]]:
    made: list[str] = []

    def make(configs: dict[str, str]) -> str:
        made.append(f"refuses-{uuid.uuid4().hex[:8]}")
        admin.create_topics([NewTopic(made[-1], 1, 1, topic_configs=configs)])
        admin.wait_for_topics(made[-1:], timeout_ms=10_000)
        return made[-1]

    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    yield make
    admin.delete_topics(made)
    admin.close()


def read(bootstrap: str, topic: str) -> list[Any]:
    tp = ClientTopicPartition(topic, 0)
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    consumer.assign([tp])
    consumer.seek_to_beginning(tp)
    end, found = consumer.end_offsets([tp])[tp], []
    deadline = time.monotonic() + 20.0
    while consumer.position(tp) < end:
        assert time.monotonic() < deadline
        found += [record for records in consumer.poll(200).values() for record in records]
    consumer.close()
    return found


def flushed(sender: Sender, outputs: Sequence[Output]) -> UndeliveredError:
    for batch in batches(outputs):
        sender.send_all(batch, None)
    with pytest.raises(UndeliveredError) as caught:
        sender.flush(10.0)
    return caught.value


@pytest.mark.parametrize(
    ("configs", "bad", "reason"),
    [
        ({"max.message.bytes": "5000"}, {"value": b"z" * 6000}, "too_large"),
        ({"cleanup.policy": "compact"}, {"key": None}, "invalid"),
        (STRICT, {"timestamp_ms": -DAY_MS}, "bad_timestamp"),
        (STRICT, {"timestamp_ms": DAY_MS}, "bad_timestamp"),
    ],
)
def test_a_refusal_names_the_records_that_did_not_arrive(
    kafka_bootstrap: str,
    sender: Sender,
    topic: Callable[[dict[str, str]], str],
    configs: dict[str, str],
    bad: dict[str, Any],
    reason: str,
) -> None:
    now = time.time_ns() // 1_000_000
    if "timestamp_ms" in bad:
        bad = {"timestamp_ms": now + bad["timestamp_ms"]}
    name = topic(configs)
    outputs = [Output(name, b"k", b"%d" % i, now) for i in range(20)]
    outputs[7] = outputs[7]._replace(**bad)
    refused = flushed(sender, outputs).refused
    assert 7 in refused
    assert (error := refused[7]) is not None and error.reason == reason
    arrived = [int(record.value) for record in read(kafka_bootstrap, name)]
    assert sorted(arrived) == [i for i in range(20) if i not in refused]

    alone = flushed(sender, [outputs[7]]).refused
    assert [*alone] == [0]
    assert (error := alone[0]) is not None and error.reason == reason
    if reason == "bad_timestamp" and isinstance(sender, KafkaSender):  # librdkafka does not pass the bounds on
        assert error.timestamps is not None
        assert error.timestamps[0] < now < error.timestamps[1]
    sender.send(name, b"k", b"after")
    sender.flush(10.0)
    assert read(kafka_bootstrap, name)[-1].value == b"after"


@pytest.mark.parametrize("sender", ["one by one", "whole"], indirect=True)
def test_what_the_client_itself_refuses_in_a_batch_is_named_and_what_lies_before_it_arrives(
    kafka_bootstrap: str, sender: Sender, topic: Callable[[dict[str, str]], str]
) -> None:
    name = topic({})
    outputs = Outputs.of([Output(name, b"k", b"v" * (2 << 20) if i == 15 else b"%d" % i) for i in range(40)])
    with pytest.raises(RefusedError, match="maximum request size") as caught:
        sender.send_all(outputs, 0)
    assert (caught.value.reason, caught.value.place) == ("too_large", 15)
    with pytest.raises(RefusedError, match="needs a key or value") as caught:
        sender.send_all(Outputs.of([*outputs[16:20], Output(name, None, None), *outputs[20:]]), None)
    assert (caught.value.reason, caught.value.place) == ("invalid", 4)
    sender.send_all(outputs[20:], 0)
    sender.flush(10.0)
    assert [int(r.value) for r in read(kafka_bootstrap, name)] == [i for i in range(40) if i != 15]


@pytest.mark.parametrize("sender", ["one by one", "whole"], indirect=True)
def test_a_batch_that_only_its_topic_finds_too_large_is_split_and_arrives(
    kafka_bootstrap: str, sender: Sender, topic: Callable[[dict[str, str]], str]
) -> None:
    name = topic({"max.message.bytes": "4000"})
    values = [b"%d " % i + b"v" * 300 for i in range(200)]
    sender.send(name, b"k", b"first")
    sender.send_all(Outputs.of([Output(name, b"k", value) for value in values]), 0)
    sender.flush(20.0)
    assert [record.value for record in read(kafka_bootstrap, name)] == [b"first", *values]


def test_every_reason_of_a_refusal_is_one_that_is_counted_from_the_start() -> None:
    assert {*_REFUSALS.values()} == {*REFUSALS}


def test_what_concerns_a_whole_topic_is_no_refusal_of_a_record(kafka_bootstrap: str) -> None:  # noqa: ARG001 - its group
    size, right = MessageSizeTooLargeError(), TopicAuthorizationFailedError("t")
    assert _refused({0: right}) is None
    assert _refused({0: size, 1: right}) is None
    assert _refused({0: KafkaError("was part of a batch")}) is None
    assert (found := _refused({0: size, 1: KafkaError("was part of a batch")})) is not None
    assert found[1] is None


@pytest.mark.slow
@pytest.mark.parametrize("sender", ["one by one", "whole"], indirect=True)
def test_a_batch_with_everything_that_topics_refuse_arrives_in_order_and_once(
    kafka_bootstrap: str, sender: Sender, topic: Callable[[dict[str, str]], str], tmp_path: Path
) -> None:
    now = time.time_ns() // 1_000_000
    out, dead = (
        topic(STRICT | {"max.message.bytes": "2000"}),
        topic({"cleanup.policy": "compact", "max.message.bytes": "1000"}),
    )
    partition = _partition(tmp_path, out, dead)
    made = [Output(out, b"s%d" % (i % 5), json.dumps(i).encode(), now, offset=i) for i in range(600)]
    made[100] = made[100]._replace(timestamp_ms=now - DAY_MS)
    made[101] = made[101]._replace(timestamp_ms=now + DAY_MS)
    made[200] = made[200]._replace(value=b"1" * 3000)
    letter = encode_dead_letter(Record("in", 0, 0, 1, None, b"v" * 3000), RecordError("malformed", "d"))
    made[300] = Output(dead, None, letter, offset=300)
    made[301] = Output(dead, b"k", letter, offset=301)
    partition.outputs = batches(made)

    def send(_: Partition, output: Output) -> None:
        sender.send(output.topic, output.key, output.value, timestamp_ms=output.timestamp_ms)

    refused = Refused(partition.job.config.output, send, lambda: sender.flush(10.0))
    error = flushed(sender, made)
    refused.sort_out([Sent(partition, output, output) for output in made], error.refused)

    predicted = read(kafka_bootstrap, out)
    assert sorted(int(r.value) for r in predicted) == [i for i in range(600) if i not in (200, 300, 301)]
    for stream in range(5):
        of = [int(record.value) for record in predicted if record.key == b"s%d" % stream]
        assert of == sorted(of)
    letters = read(kafka_bootstrap, dead)
    assert {record.key for record in letters} == {b"in/0/300", b"k", b"s0"}
    assert all(len(record.value) < 1000 for record in letters)


def _partition(directory: Path, out: str, dead: str) -> Partition:
    job = Job(
        parse(
            f"{{job: j, embedded: {{directory: {directory}/log}}, input: {{topic: in}}, "
            f"features: [{{field: a, encoder: numeric}}], "
            f"target: {{fields: [y]}}, output: {{topic: {out}, dead_letter_topic: {dead}}}, "
            f"checkpoint: {{directory: {directory}/checkpoints}}, http: null}}",
            env={},
        )
    )
    tp = TopicPartition("in", 0)
    start = Start(lineage="l", position=0, ordinal=0, replay_until=0)
    return Partition(job, tp, Metrics(CollectorRegistry()), job.first_learner(tp), start)
