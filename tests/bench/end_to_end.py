"""Records per second through the whole daemon, and where the time goes.

    python -m tests.bench.end_to_end                          the embedded log, 100,000 flights
    python -m tests.bench.end_to_end --kafka                  a real Kafka, started for it (Java 17 and Maven)
    python -m tests.bench.end_to_end --bootstrap HOST:PORT    a real Kafka that runs

The demo's job (LSTM 32, k1 = 2, k2 = 8, one partition) runs over flights that lie in the input topic already. The clock
runs from the first poll that brings records to the last commit; joining the group, loading kernels and draining stay
outside. ``poll`` includes waiting for the broker. The processor's time, of all threads, is what can be compared on a
machine that does other things as well.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import pstats
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from streamrnn.broker.protocol import Broker
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.run import run_worker
from streamrnn.demo.flights import load_flights
from streamrnn.demo.log import create_topics, fill, job_text
from streamrnn.job.job_file import parse


class Clock:
    """Watches a broker: when the first records came, when the last commit returned, how long polls took between.

    ``cpu_s`` is what the process, with all its threads, used of the processor in between.
    """

    def __init__(self, broker: Broker) -> None:
        self.began_s, self.ended_s, self.polled_s = 0.0, 0.0, 0.0
        self.cpu_s = 0.0
        self._polling_s = self._cpu_began_s = 0.0
        self._poll, self._commit = broker.poll, broker.commit
        broker.poll, broker.commit = self.poll, self.commit  # type: ignore[method-assign]

    def poll(self, *arguments: Any) -> Any:
        started = time.perf_counter()
        polled = self._poll(*arguments)
        if polled.records and not self.began_s:
            self.began_s, self._cpu_began_s = started, time.process_time()
        if self.began_s:
            self._polling_s += time.perf_counter() - started
        return polled

    def commit(self, *arguments: Any) -> None:
        self._commit(*arguments)
        self.ended_s, self.polled_s = time.perf_counter(), self._polling_s
        self.cpu_s = time.process_time() - self._cpu_began_s


def run(directory: Path, bootstrap: str | None, limit: int, profile: bool) -> str:
    """Replay ``limit`` flights; returns the report."""
    config = msgspec.structs.replace(parse(job_text(directory, bootstrap), env={}), http=None)
    create_topics(config)
    flights = load_flights(limit)
    started = time.perf_counter()
    fill(config, flights, lambda _: None)
    filled_s = time.perf_counter() - started
    broker, stop, loops = open_broker(config), threading.Event(), []
    clock = Clock(broker)

    def stop_at_the_end() -> None:  # an idle moment may also come before the first records do
        if sum(partition.position for partition in loops[0].partitions.values()) == len(flights):
            stop.set()

    def started_as(loop: Loop, _: object) -> None:
        loops.append(loop)

    with cProfile.Profile() if profile else contextlib.nullcontext() as profiler:
        run_worker(config, broker, stop, idle=stop_at_the_end, started=started_as)
    total_s, n = clock.ended_s - clock.began_s, len(flights)
    phases = {
        sample.labels["phase"]: sample.value
        for metric in loops[0].metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "streamrnn_phase_duration_seconds_sum"
    }
    phases["poll"] = clock.polled_s
    phases["the rest"] = total_s - sum(phases.values())
    where = "Kafka" if bootstrap else "embedded log"
    lines = [
        f"{where}: {n:,} records in {total_s:.2f} s, {n / total_s:,.0f} records/s "
        f"(written before at {n / filled_s:,.0f} records/s), {1e6 * clock.cpu_s / n:.1f} us of CPU per record",
        "| phase | us per record | share |",
        "|---|--:|--:|",
    ]
    lines += [f"| {name} | {1e6 * s / n:.1f} | {s / total_s:.0%} |" for name, s in phases.items()]
    if profile:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
    return "\n".join(lines)


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
    """Print the report."""
    parser = argparse.ArgumentParser(description="Time the daemon over flights, end to end.")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--bootstrap", help="HOST:PORT of a Kafka that runs; topics are created on it")
    where.add_argument("--kafka", action="store_true", help="start a Kafka for it")
    parser.add_argument("--limit", type=int, default=100_000, help="flights (default 100000)")
    parser.add_argument("--profile", action="store_true", help="print Python's profile as well; everything is slower")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        bootstrap = options.bootstrap
        if options.kafka:
            (Path(scratch) / "kafka").mkdir()
            bootstrap = stack.enter_context(kafka(Path(scratch) / "kafka"))
        print(run(Path(scratch) / "job", bootstrap, options.limit, options.profile))


if __name__ == "__main__":
    main()
