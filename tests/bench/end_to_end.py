"""What a record costs from the log to its prediction: two jobs on three logs, beside the Kafka clients alone.

    python -m tests.bench.end_to_end                          a real Kafka, started for it (Java 17 and Maven)
    python -m tests.bench.end_to_end --bootstrap HOST:PORT    a real Kafka that runs
    python -m tests.bench.end_to_end --logs embedded          no Kafka at all

The jobs are ``plain`` (three numbers, a hundred streams, LSTM 32) and ``flights``, that of the demo (eLSTM 32, 43
feature columns), each with one partition whose records lie in the input topic already. ``daemon`` predicts
and learns each of them; ``seam`` only hands them on through our brokers, a poll at a time; ``bare`` consumes and
produces the same bytes with nothing but the client.

Each is measured in a process of its own, one behind the other and all in every round; shown is the round that took the
least of the processor, since noise only ever adds to that. What counts is the processor's time of the whole process:
threads in which a client fetches and sends are in it, and so in whichever phase of the loop they ran beside. It begins
once the first records were polled and ends with the last commit or flush. Joining the group, loading kernels and
draining stay outside. Times on the wall depend on what else the machine does; the Kafka itself runs there, too.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import multiprocessing
import pstats
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import msgspec
import numpy as np
from msgspec.structs import replace

from streamrnn.broker.columns import Outputs
from streamrnn.broker.protocol import Assigned, Broker, Commit, Membership, Output, Polled, TopicPartition
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.opening import open_administration, open_broker, open_sender, topics_of
from streamrnn.daemon.run import run_worker
from streamrnn.demo.flights import load_flights, stream_key
from streamrnn.demo.log import create_topics, job_text, quoted
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from tests.support.kafka_clients import CLIENTS

JOBS = ("plain", "flights")
LOGS = ("embedded", *CLIENTS)
PARTS = ("daemon", "seam", "bare")
PHASES = {
    "poll": ("poll",),
    "decode": ("decode",),
    "predict and learn": ("process",),
    "encode and send": ("encode", "send"),
    "commit": ("commit",),
}
"""The loop's, as the table has them; what is left is checkpoints, metrics and the loop itself."""

PLAIN = """
job: plain
{log}
input: {{topic: {name}-in}}
features: [{{field: a, encoder: numeric}}, {{field: b, encoder: numeric}}, {{field: c, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 32}}
output: {{topic: {name}-out, dead_letter_topic: {name}-dead}}
checkpoint: {{directory: {directory}}}
"""
POLL_S, AT_ONCE, TIMEOUT_S = 0.5, 10_000, 60.0


# ---- jobs and their records


def text_of(job: str, directory: Path, bootstrap: str | None) -> str:
    """A job's file, on a Kafka with topics of its own or on a log in ``directory``."""
    if job == "flights":
        return job_text(directory, bootstrap)
    log = f"embedded: {{directory: {quoted(str(directory / 'log'))}}}"
    if bootstrap is not None:
        log = f"kafka: {{bootstrap_servers: {quoted(bootstrap)}}}"
    name = f"plain-{secrets.token_hex(4)}"
    return PLAIN.format(log=log, name=name, directory=quoted(str(directory / "checkpoints")))


def afresh(text: str, log: str) -> Config:
    """The job under a name of its own, which has committed and learned nothing yet."""
    config, name = parse(text, env={}), f"bench-{secrets.token_hex(4)}"
    kafka = config.kafka and replace(config.kafka, client=log, group_id=name)
    checkpoint = replace(config.checkpoint, directory=f"{config.checkpoint.directory}/{name}")
    return replace(config, job=name, kafka=kafka, checkpoint=checkpoint, http=None)


def records_of(job: str, count: int) -> Iterator[tuple[bytes, bytes, int]]:
    """Keys, values and timestamps, of fewer records where there are no more."""
    encode = msgspec.json.Encoder().encode
    if job == "flights":
        for flight in load_flights(count):
            yield stream_key(flight).encode(), encode(flight), flight["timestamp"]
        return
    for i, (a, b, c) in enumerate(np.random.default_rng(1).normal(size=(count, 3)).round(3).tolist()):
        value = {"a": a, "b": b, "c": c, "y": round(a + b, 3)}
        yield b"stream-%d" % (i % 100), encode(value), 1_700_000_000_000 + i


def fill(job: str, texts: Iterable[str], count: int) -> int:
    """Create each job's topics and write the same records to all of them; returns how many there are."""
    records = list(records_of(job, count))
    for text in texts:
        config = parse(text, env={})
        create_topics(config)
        sender = open_sender(config)
        for i in range(0, len(records), AT_ONCE):
            made = [Output(config.input.topic, *record) for record in records[i : i + AT_ONCE]]
            sender.send_all(Outputs.of(made), 0)
            sender.flush(TIMEOUT_S)
        sender.close(5.0)
    return len(records)


# ---- what is measured


class Run(NamedTuple):
    """What it took: of the processor with all threads, on the wall, and of the processor by phase; seconds."""

    cpu_s: float
    wall_s: float
    phases: Mapping[str, float]


class Stopwatch:
    """Begins with the first records."""

    def __init__(self) -> None:
        self.began = False

    def begin(self) -> None:
        """Unless it has begun."""
        if not self.began:
            self.began, self._wall_s, self._cpu_s = True, time.monotonic(), time.process_time()

    def read(self) -> Run:
        """What it took so far."""
        return Run(time.process_time() - self._cpu_s, time.monotonic() - self._wall_s, {})


class Clock:
    """Watches a broker: what passed between the first records and the newest commit, and how much of it in polls."""

    def __init__(self, broker: Broker) -> None:
        self.cpu_s = self.wall_s = self.polled_s = 0.0
        self._watch, self._polling_s = Stopwatch(), 0.0
        self._poll, self._commit = broker.poll, broker.commit
        broker.poll, broker.commit = self.poll, self.commit  # type: ignore[method-assign]

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        started = time.process_time()
        polled = self._poll(timeout_s, max_records)
        if self._watch.began:
            self._polling_s += time.process_time() - started
        elif polled.records:
            self._watch.begin()
        return polled

    def commit(self, offsets: Mapping[TopicPartition, Commit], membership: Membership | None, timeout_s: float) -> None:
        self._commit(offsets, membership, timeout_s)
        if self._watch.began:
            (self.cpu_s, self.wall_s, _), self.polled_s = self._watch.read(), self._polling_s


def daemon(config: Config, count: int, profile: bool = False) -> Run:
    """The whole of it; ``profile`` prints Python's own profile as well."""
    broker, stop = open_broker(config), threading.Event()
    clock, loops = Clock(broker), list[Loop]()

    def at_the_end() -> None:  # an idle moment may also come before the first records do
        if sum(partition.position for partition in loops[0].partitions.values()) == count:
            stop.set()

    # The loop times its phases by that clock, which here is the processor's.
    with (
        mock.patch("time.perf_counter", time.process_time),
        cProfile.Profile() if profile else contextlib.nullcontext() as profiler,
    ):
        run_worker(config, broker, stop, idle=at_the_end, started=lambda loop, _: loops.append(loop))
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    found = {name: sum(phase_s(loops[0], each) for each in its) for name, its in PHASES.items()}
    found["poll"] = clock.polled_s  # without those that waited for the first records
    found["the rest"] = clock.cpu_s - sum(found.values())
    return Run(clock.cpu_s, clock.wall_s, found)


def phase_s(loop: Loop, phase: str) -> float:
    """How long a loop has been in a phase."""
    return loop.metrics.registry.get_sample_value("streamrnn_phase_duration_seconds_sum", {"phase": phase}) or 0.0


def seam(config: Config, count: int) -> Run:
    """Hand records on through our broker, a poll at a time."""
    broker, watch, seen = open_broker(config), Stopwatch(), 0
    broker.subscribe(config.input.topic)
    while seen < count:
        for records in broker.poll(POLL_S, AT_ONCE).records.values():
            watch.begin()
            broker.send_all(
                Outputs(config.output.topic, records.keys, records.values, records.timestamp_ms, records.offset), 0
            )
            seen += len(records)
        for event in broker.events():
            if isinstance(event, Assigned):
                for tp in event.partitions:
                    broker.seek(tp, 0)
                broker.resume(event.partitions)
    broker.flush(TIMEOUT_S)
    taken = watch.read()
    broker.close(5.0)
    return taken


def bare_kafka_python(config: Config, count: int) -> Run:
    """Consume and produce with nothing but kafka-python."""
    from kafka import KafkaConsumer, KafkaProducer, TopicPartition

    assert config.kafka is not None
    servers, source, watch, seen = config.kafka.servers, TopicPartition(config.input.topic, 0), Stopwatch(), 0
    consumer = KafkaConsumer(bootstrap_servers=servers, isolation_level="read_committed", fetch_max_bytes=32 << 20)
    producer = KafkaProducer(bootstrap_servers=servers, batch_size=256 << 10, linger_ms=5)
    consumer.assign([source])
    consumer.seek(source, 0)
    while seen < count:
        for records in consumer.poll(1000 * POLL_S, max_records=AT_ONCE).values():
            watch.begin()
            for record in records:
                producer.send(config.output.topic, record.value, record.key, partition=0, timestamp_ms=record.timestamp)
            seen += len(records)
    producer.flush(TIMEOUT_S)
    taken = watch.read()
    consumer.close()
    producer.close()
    return taken


def bare_confluent(config: Config, count: int) -> Run:
    """Consume and produce with nothing but confluent-kafka."""
    from confluent_kafka import Consumer, Producer, TopicPartition

    assert config.kafka is not None
    servers, sink, watch, seen = ",".join(config.kafka.servers), config.output.topic, Stopwatch(), 0
    consumer = Consumer({"bootstrap.servers": servers, "group.id": config.group_id, "enable.auto.commit": False})
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "queue.buffering.max.messages": 0})
    consumer.assign([TopicPartition(config.input.topic, 0, 0)])
    while seen < count:
        if messages := consumer.consume(AT_ONCE, 0.05):
            watch.begin()
        for message in messages:
            producer.produce(sink, message.value(), message.key(), 0, timestamp=message.timestamp()[1])
        seen += len(messages)
        producer.poll(0)
    if left := producer.flush(TIMEOUT_S):
        raise RuntimeError(f"{left} records were not acknowledged within {TIMEOUT_S:g} s")
    taken = watch.read()
    consumer.close()
    return taken


BARE: Mapping[str, Callable[[Config, int], Run]] = {"kafka-python": bare_kafka_python, "confluent": bare_confluent}


def measure(part: str, text: str, log: str, count: int, profile: bool) -> Run:
    """One run of one part."""
    config = afresh(text, log)
    if part == "daemon":
        return daemon(config, count, profile)
    return seam(config, count) if part == "seam" else BARE[log](config, count)


# ---- the table

Found = dict[tuple[str, str], Run]
"""The best run of each log and part."""


def table(job: str, logs: Sequence[str], count: int, found: Found) -> str:
    """One job's, with a column for each log."""

    def row(name: str, part: str, cell: Callable[[Run], str]) -> str:
        return f"| {name} | {' | '.join(cell(found[log, part]) if (log, part) in found else '' for log in logs)} |"

    def us(seconds: float) -> str:
        return f"{1e6 * seconds / count:.2f}"

    def in_phase(name: str) -> Callable[[Run], str]:
        return lambda run: us(run.phases[name])

    def of_the_processor(run: Run) -> str:
        return us(run.cpu_s)

    def per_second(run: Run) -> str:
        return f"{count / run.wall_s:,.0f}"

    lines = [f"| {job}, {count:,} records, us of CPU a record | {' | '.join(logs)} |", f"|---|{'--:|' * len(logs)}"]
    lines += [row(name, "daemon", in_phase(name)) for name in (*PHASES, "the rest")]
    for name, part in (("**the daemon**", "daemon"), ("our brokers alone", "seam"), ("the bare client", "bare")):
        if any(each == part for _, each in found):
            lines += [row(name, part, of_the_processor), row("records/s", part, per_second)]
    return "\n".join(lines)


def measured(pool: ProcessPoolExecutor, texts: Mapping[str, str], count: int, options: argparse.Namespace) -> Found:
    """Every part on every log, in turn; the least of the rounds."""
    found: Found = {}
    for number in range(options.rounds):
        for part in ("daemon",) if options.profile else PARTS:
            for log in texts if part != "bare" else [log for log in texts if log in BARE]:
                run = pool.submit(measure, part, texts[log], log, count, options.profile).result()
                told = f"{part} on {log}: {1e6 * run.cpu_s / count:.2f} us, {count / run.wall_s:,.0f} records/s"
                print(f"round {number + 1}, {told}", file=sys.stderr, flush=True)
                found[log, part] = min(found.get((log, part), run), run, key=lambda each: each.cpu_s)
    return found


def run(options: argparse.Namespace, servers: str | None, scratch: Path) -> Iterator[str]:
    """A table for each job."""
    # A process each: neither threads nor objects of one run are in the next.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool, contextlib.ExitStack() as stack:
        for job in options.jobs:
            embedded = text_of(job, scratch / job, None)
            on_kafka = servers and text_of(job, scratch / f"{job}-kafka", servers)
            texts = {log: embedded if log == "embedded" else on_kafka or "" for log in options.logs}
            if on_kafka:
                stack.callback(delete_topics, on_kafka)
            count = pool.submit(fill, job, tuple(dict.fromkeys(texts.values())), options.limit).result()
            yield table(job, options.logs, count, measured(pool, texts, count, options))


def delete_topics(text: str) -> None:
    """Leave nothing on a cluster that goes on."""
    config = parse(text, env={})
    open_administration(config).delete_topics(topics_of(config))


@contextlib.contextmanager
def kafka(directory: Path) -> Iterator[str]:
    """A broker of our own."""
    from tests.kafka.server import KafkaServer

    server = KafkaServer(directory)
    server.start()
    try:
        yield server.bootstrap
    finally:
        server.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="What a record costs from the log to its prediction.")
    parser.add_argument("--bootstrap", help="HOST:PORT of a Kafka that runs; topics are created on it, and deleted")
    parser.add_argument("--limit", type=int, default=150_000, help="records of each run (default 150000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS, help="only these (default both)")
    parser.add_argument("--logs", nargs="+", choices=LOGS, default=LOGS, help="only these (default all)")
    parser.add_argument(
        "--profile", action="store_true", help="only the daemon, with Python's profile; everything is slower"
    )
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        servers = options.bootstrap
        if servers is None and any(log in BARE for log in options.logs):
            (Path(scratch) / "kafka").mkdir()
            servers = stack.enter_context(kafka(Path(scratch) / "kafka"))
        for found in run(options, servers, Path(scratch)):
            print(found, end="\n\n", flush=True)


if __name__ == "__main__":
    main()
