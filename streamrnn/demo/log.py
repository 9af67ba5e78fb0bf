"""The demo's log, embedded or a real Kafka: its job file, its topics, the departures in them, and the predictions back.

In Kafka every run makes topics of its own, with one partition and no end to their retention (the records are years old
and would be gone within minutes); they stay when the demo ends. Reading back goes through the same ``Broker`` seam as
the daemon, by offset, so what is scored is what a consumer of the output topic gets.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from streamrnn.broker.columns import Outputs
from streamrnn.broker.protocol import Assigned, Broker, Output, Record, TopicPartition
from streamrnn.daemon.opening import open_administration, open_broker, open_sender, topics_of
from streamrnn.demo.flights import Flights, stream_key
from streamrnn.errors import BrokerError
from streamrnn.job.config import Config
from streamrnn.job.yaml_text import MOST_BYTES
from streamrnn.system.reading import read

FLUSH_EVERY: Final = 20_000
FLUSH_TIMEOUT_S: Final = 60.0
READ_TIMEOUT_S: Final = 60.0
"""How long reading back may stand still: joining a group takes a real cluster a few seconds."""


def job_text(directory: Path, bootstrap: str | None) -> str:
    """The demo's job file, with ``directory`` (and the cluster and fresh topics' names) filled in."""
    text = read(Path(__file__).with_name("flights.yaml"), MOST_BYTES, links=True).decode()
    text = replaced(text, "./streamrnn-demo/checkpoints", quoted(str(directory / "checkpoints")))
    if bootstrap is None:
        return replaced(text, "./streamrnn-demo/log", quoted(str(directory / "log")))
    run = f"streamrnn-demo-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    for topic in ("departures", "delay-predictions", "dead-letters"):
        text = replaced(text, f"topic: {topic}", f"topic: {run}.{topic}")
    old = "embedded: {directory: ./streamrnn-demo/log}   # a log of files in place of Kafka"
    return replaced(text, old, f"kafka: {{bootstrap_servers: {quoted(bootstrap)}, group_id: {run}}}")


def replaced(text: str, old: str, new: str) -> str:
    """A job file's text with ``new`` in place of ``old``."""
    if text.count(old) != 1:
        raise ValueError(f"job file: {old!r} must occur once, found {text.count(old)} times")
    return text.replace(old, new)


def quoted(text: str) -> str:
    """Text as YAML reads it, with nothing in it that names an environment variable."""
    return msgspec.json.encode(text.replace("${", "$${")).decode()


def check_cluster(config: Config) -> None:
    """Raise BrokerError unless the job's cluster answers."""
    open_administration(config).describe_topics([config.input.topic])


def create_topics(config: Config) -> None:
    """Create the job's topics with one partition each."""
    open_administration(config).create_topics(dict.fromkeys(topics_of(config), 1), keep_forever=True)


def fill(config: Config, flights: Flights, report: Callable[[int], None]) -> None:
    """Write every departure to the input topic, keyed by aircraft and stamped with its time."""
    broker = open_sender(config)
    encode = msgspec.json.Encoder().encode
    topic = config.input.topic
    try:
        written, departures = 0, iter(flights)
        while batch := list(islice(departures, FLUSH_EVERY)):
            made = [Output(topic, stream_key(one).encode(), encode(one), one["timestamp"]) for one in batch]
            broker.send_all(Outputs.of(made), 0)
            broker.flush(FLUSH_TIMEOUT_S)
            written += len(batch)
            report(written)
    finally:
        broker.close(timeout_s=5.0)


@dataclass(frozen=True)
class ReadBack:
    """Predictions by offset of the input record, NaN where there is none, and how many records repeated one."""

    prediction: npt.NDArray[np.float64]
    repeated: int


class _Prediction(msgspec.Struct):
    topic: str
    offset: int
    prediction: float


def read_predictions(config: Config, n: int) -> ReadBack:
    """Read the output topic from its beginning and match each prediction with its record."""
    decode = msgspec.json.Decoder(_Prediction).decode
    values = np.full(n, np.nan)
    total = 0
    for record in read_all(open_broker(config, f"{config.group_id}-reader"), config.output.topic):
        if record.value is not None and (found := decode(record.value)).topic == config.input.topic:
            total += 1
            values[found.offset] = found.prediction
    return ReadBack(values, total - int(np.isfinite(values).sum()))


def read_all(broker: Broker, topic: str) -> Iterator[Record]:
    """Every record of ``topic`` up to its present end, through a consumer group of its own; closes ``broker``."""
    try:
        broker.subscribe(topic)
        ends: dict[TopicPartition, int] = {}
        moved = time.monotonic()
        while not ends or any(broker.position(tp) < end for tp, end in ends.items()):
            if time.monotonic() - moved > READ_TIMEOUT_S:
                raise BrokerError(f"reading topic {topic} back came to a halt for {READ_TIMEOUT_S:g} s")
            polled = broker.poll(0.2, 10_000).records
            for event in broker.events():
                if isinstance(event, Assigned):
                    for tp in event.partitions:
                        broker.seek(tp, broker.log_start(tp))
                        ends[tp] = broker.log_end(tp)
                    broker.resume(event.partitions)
            if polled:
                moved = time.monotonic()
            for records in polled.values():
                yield from records
    finally:
        broker.close(timeout_s=5.0)
