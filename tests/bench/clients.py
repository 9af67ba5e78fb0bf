"""What a record costs with each Kafka client, side by side: the bare client, the broker's seam, and the whole daemon.

    python -m tests.bench.clients                      a real Kafka, started for it (Java 17 and Maven)
    python -m tests.bench.clients --bootstrap HOST:PORT

Microseconds of the processor per record, of all threads of this process, librdkafka's included. ``bare`` consumes each
record and produces one of the same bytes with the client alone; ``seam`` does so through our brokers, whole polls at a
time; ``daemon`` is a plain job (three fields, LSTM 32) that predicts and learns each record. Clients take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np

from streamrnn.broker.columns import Outputs
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.protocol import Assigned
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.run import run_worker
from streamrnn.job.job_file import parse
from tests.bench.end_to_end import Clock, kafka
from tests.support.kafka_clients import CLIENTS, broker_of, sender_of

JOB = """
job: {job}
kafka: {{client: {client}, bootstrap_servers: '{servers}', group_instance_id: one}}
input: {{topic: {source}}}
features: [{{field: a, encoder: numeric}}, {{field: b, encoder: numeric}}, {{field: c, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 32}}
output: {{topic: {sink}, dead_letter_topic: {sink}-dead}}
checkpoint: {{directory: {directory}/{job}}}
http: null
"""


def fill(connection: KafkaConnection, topic: str, count: int) -> None:
    """So many records of three numbers and a target, of a hundred streams."""
    sender, rng = sender_of("confluent", connection), np.random.default_rng(1)
    for i, (a, b, c) in enumerate(rng.normal(size=(count, 3)).round(3).tolist()):
        value = msgspec.json.encode({"a": a, "b": b, "c": c, "y": round(a + b, 3)})
        sender.send(topic, b"stream-%d" % (i % 100), value, timestamp_ms=1_700_000_000_000 + i, partition=0)
    sender.flush(60.0)
    sender.close(5.0)


def bare_kafka_python(servers: str, source: str, sink: str, count: int) -> float:
    """Consume and produce with nothing but the client."""
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

    consumer = KafkaConsumer(bootstrap_servers=servers, isolation_level="read_committed", fetch_max_bytes=32 << 20)
    producer = KafkaProducer(bootstrap_servers=servers, batch_size=256 << 10, linger_ms=5)
    consumer.assign([TopicPartition(source, 0)])
    consumer.seek(TopicPartition(source, 0), 0)
    seen, began = 0, 0.0
    while seen < count:
        for records in consumer.poll(500, max_records=10_000).values():
            began = began or time.process_time()
            for record in records:
                producer.send(sink, record.value, record.key, partition=0, timestamp_ms=record.timestamp)
            seen += len(records)
    producer.flush(60)
    used = time.process_time() - began
    consumer.close()
    producer.close()
    return used


def bare_confluent(servers: str, source: str, sink: str, count: int) -> float:
    """Consume and produce with nothing but the client."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    consumer = Consumer({"bootstrap.servers": servers, "group.id": f"bare-{sink}", "enable.auto.commit": False})
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "queue.buffering.max.messages": 0})
    consumer.assign([TopicPartition(source, 0, 0)])
    seen, began = 0, 0.0
    while seen < count:
        for message in consumer.consume(10_000, 0.05):
            began = began or time.process_time()
            producer.produce(sink, message.value(), message.key(), 0, timestamp=message.timestamp()[1])
            seen += 1
        producer.poll(0)
    producer.flush(60)
    used = time.process_time() - began
    consumer.close()
    return used


def seam(client: str, connection: KafkaConnection, source: str, sink: str, count: int) -> float:
    """The same through our broker, a poll at a time."""
    broker = broker_of(client, connection, KafkaGroup(group_id=f"seam-{sink}-{client}"))
    broker.subscribe(source)
    seen, began = 0, 0.0
    while seen < count:
        for records in broker.poll(0.5, 10_000).records.values():
            began = began or time.process_time()
            at = records.offset
            broker.send_all(Outputs(sink, records.keys, records.values, records.timestamp_ms, at), 0)
            seen += len(records)
        for event in broker.events():
            if isinstance(event, Assigned):
                for tp in event.partitions:
                    broker.seek(tp, 0)
                broker.resume(event.partitions)
    broker.flush(60.0)
    used = time.process_time() - began
    broker.close(5.0)
    return used


def daemon(client: str, connection: KafkaConnection, source: str, sink: str, count: int, directory: Path) -> float:
    """The whole of it."""
    job = f"bench-{uuid.uuid4().hex[:8]}"
    servers = ",".join(connection.servers)
    config = parse(
        JOB.format(job=job, client=client, servers=servers, source=source, sink=sink, directory=directory), env={}
    )
    broker, stop = open_broker(config), threading.Event()
    clock = Clock(broker)
    loops: list[object] = []

    def at_the_end() -> None:
        if sum(partition.position for partition in loops[0].partitions.values()) == count:  # type: ignore[attr-defined]
            stop.set()

    run_worker(config, broker, stop, idle=at_the_end, started=lambda loop, _: loops.append(loop))
    return clock.cpu_s


def run(servers: str, count: int, rounds: int, directory: Path) -> str:
    """Measure, and print as a table; the least of the rounds counts."""
    connection = KafkaConnection(bootstrap_servers=servers)
    name = f"clients-{uuid.uuid4().hex[:8]}"
    source, sink = f"{name}-in", f"{name}-out"
    KafkaAdministration(connection).create_topics({source: 1, sink: 1, f"{sink}-dead": 1}, keep_forever=True)
    fill(connection, source, count)
    bare: dict[str, Callable[..., float]] = dict(zip(CLIENTS, (bare_kafka_python, bare_confluent), strict=True))
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for client in CLIENTS:
            measures = {
                "bare": lambda client=client: bare[client](servers, source, sink, count),
                "seam": lambda client=client: seam(client, connection, source, sink, count),
                "daemon": lambda client=client: daemon(client, connection, source, sink, count, directory),
            }
            for part, measured in measures.items():
                found.setdefault((part, client), []).append(1e6 * measured() / count)
    KafkaAdministration(connection).delete_topics([source, sink, f"{sink}-dead"])
    lines = [f"| us of CPU a record, {count:,} records | {' | '.join(CLIENTS)} |", "|---|--:|--:|"]
    least = {key: f"{min(times):.2f}" for key, times in found.items()}
    lines += [
        f"| {part} | {' | '.join(least[part, name] for name in CLIENTS)} |" for part in ("bare", "seam", "daemon")
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Compare the two Kafka clients.")
    parser.add_argument("--bootstrap", help="HOST:PORT of a Kafka that runs; topics are created on it")
    parser.add_argument("--limit", type=int, default=300_000, help="records (default 300000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        servers = options.bootstrap
        if not servers:
            (Path(scratch) / "kafka").mkdir()
            servers = stack.enter_context(kafka(Path(scratch) / "kafka"))
        print(run(servers, options.limit, options.rounds, Path(scratch)))


if __name__ == "__main__":
    main()
