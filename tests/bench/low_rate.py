"""The daemon at a low rate on a real Kafka: its share of a processor, and how late its predictions are.

    python -m tests.bench.low_rate                             400 records/s, a Kafka started for it (Java 17 and Maven)
    python -m tests.bench.low_rate --bootstrap HOST:PORT       a real Kafka that runs
    python -m tests.bench.low_rate --rate 0                    nothing to do

The demo's job. A child process writes flights, one at a time and stamped with the time it writes them; a prediction is
late by the time between that stamp and the moment the broker appends the prediction. Producing takes up to 5 ms of
it on either side (``LINGER_MS``). Processor time is that of the daemon's process, all threads, once it is under way.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Sequence
from multiprocessing.synchronize import Event
from pathlib import Path

import msgspec
import numpy as np
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from streamrnn.daemon.loop import Loop
from streamrnn.daemon.opening import open_broker, open_sender
from streamrnn.daemon.run import run_worker
from streamrnn.demo.flights import load_flights, stream_key
from streamrnn.demo.log import create_topics, job_text, read_all
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from tests.bench.end_to_end import kafka

WARM_S = 2.0


def feed(text: str, rate: int, ended: Event) -> None:
    """Write ``rate`` flights a second, stamped with the present, until ``ended``."""
    config, encode, n = parse(text, env={}), msgspec.json.encode, 0
    flights, sender, began_s = list(load_flights(20_000)), open_sender(config), time.time()
    while not ended.wait(0.001):
        while n < rate * (time.time() - began_s):
            flight = flights[n % len(flights)]
            now_ms = round(1000 * time.time())
            sender.send(config.input.topic, stream_key(flight).encode(), encode(flight), timestamp_ms=now_ms)
            n += 1
    sender.close(1.0)


class Watch(threading.Thread):
    """Measures a worker for ``seconds`` once it is under way, then stops it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(daemon=True)
        self.seconds, self.stop, self.loop = seconds, threading.Event(), threading.Event()
        self.began_s, self.cpu_share = 0.0, 0.0

    def started(self, loop: Loop, _: object) -> None:
        """As ``run_worker`` tells it."""
        self._loop = loop
        self.start()

    def run(self) -> None:
        while not self._loop.partitions:
            time.sleep(0.1)
        time.sleep(WARM_S)
        self.began_s, cpu_s = time.time(), time.process_time()
        time.sleep(self.seconds)
        self.cpu_share = (time.process_time() - cpu_s) / (time.time() - self.began_s)
        self.stop.set()


def measure(directory: Path, bootstrap: str, rate: int, seconds: float) -> str:
    """Run the daemon under ``rate`` records a second; returns the report."""
    text = job_text(directory, bootstrap)
    config = msgspec.structs.replace(parse(text, env={}), http=None)
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        stamped = {"message.timestamp.type": "LogAppendTime"}
        admin.create_topics([NewTopic(config.output.topic, 1, 1, topic_configs=stamped)])
    create_topics(config)
    spawn, watch = multiprocessing.get_context("spawn"), Watch(seconds)
    ended = spawn.Event()
    feeder = spawn.Process(target=feed, args=(text, rate, ended), daemon=True)
    if rate:
        feeder.start()
        time.sleep(3.0)  # until the flights are read
    run_worker(config, open_broker(config), watch.stop, started=watch.started)
    ended.set()
    report = f"{rate} records/s: {watch.cpu_share:.1%} of a processor"
    if rate:
        feeder.join(10.0)
        late = lateness(config, 1000 * watch.began_s)
        p50, p90, p99, most = np.percentile(late, (50, 90, 99, 100))
        report += f"; {len(late)} predictions late by {p50:.0f} (median), {p90:.0f} (90 %), {p99:.0f} (99 %), "
        report += f"{most:.0f} ms (most)"
    return report


def lateness(config: Config, since_ms: float) -> list[int]:
    """Milliseconds from each input, written after ``since_ms``, to its prediction."""
    late = []
    for record in read_all(open_broker(config, f"{config.group_id}-reader"), config.output.topic):
        written_ms = msgspec.json.decode(record.value or b"")["timestamp"]
        if written_ms >= since_ms:
            late.append(record.timestamp_ms - written_ms)
    return late


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(description="Measure the daemon at a low rate on Kafka.")
    parser.add_argument("--bootstrap", help="HOST:PORT of a Kafka that runs; topics are created on it")
    parser.add_argument("--rate", type=int, nargs="+", default=[400], help="records per second (default 400)")
    parser.add_argument("--seconds", type=float, default=10.0, help="time measured for each (default 10)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        bootstrap = options.bootstrap
        if bootstrap is None:
            (Path(scratch) / "kafka").mkdir()
            bootstrap = stack.enter_context(kafka(Path(scratch) / "kafka"))
        for rate in options.rate:
            print(measure(Path(scratch) / f"job-{rate}", bootstrap, rate, options.seconds), flush=True)


if __name__ == "__main__":
    main()
