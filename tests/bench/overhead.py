"""What metrics, endpoint and status page cost: the processor's time per record with and without them, in turn.

    python -m tests.bench.overhead                   five rounds of 100,000 flights each, on the embedded log
    python -m tests.bench.overhead --every 15        scraped as seldom as is usual

Three kinds of runs take turns, each in a process of its own over a log of its own: ``silent``, which records nothing,
looks for no drift and serves nothing; ``metrics``, with every metric and the endpoint, scraped once in ``--every``
seconds; ``watched``, scraped as well and with somebody looking at the status page, which asks once a second. The
scraper is another process, so its own work does not count; the answers' making does. Given is the least processor
time of the rounds, since noise only ever adds to it, and its ratio to ``silent``.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import tempfile
import threading
import time
import urllib.request
from collections.abc import Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec

from streamrnn.daemon.endpoint.http import HttpServer
from streamrnn.daemon.lateness import Lateness
from streamrnn.daemon.learning import Learning
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.metric_table import METRICS
from streamrnn.daemon.metrics import Metrics, PartitionMetrics
from streamrnn.daemon.newest import NewestPredictions
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.run import run_worker
from streamrnn.daemon.traces import Traces
from streamrnn.demo.flights import load_flights
from streamrnn.demo.log import create_topics, fill, job_text
from streamrnn.job.http_config import HttpConfig
from streamrnn.job.job_file import parse
from tests.bench.end_to_end import Clock

KINDS = ("silent", "metrics", "watched")


def scrape(port: int, pages: Sequence[str], every_s: float, done: Event) -> None:
    """Ask for each page once in so many seconds, until told to stop."""
    while not done.wait(every_s):
        for page in pages:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}{page}") as answer:
                answer.read()


WATCHING = (
    (PartitionMetrics, ("add", "fields", "show", "set", "count", "add_sum", "observe", "info")),
    (Metrics, ("phase", "polled", "committed", "set", "count", "observe")),
    (Learning, ("begin", "saw", "show", "end")),
    (NewestPredictions, ("note",)),
    (Traces, ("note",)),
    (Lateness, ("processed",)),
)
"""What is done for those who watch, and for nothing else. What the kernels measure beside learning is not among it."""


def silent() -> contextlib.ExitStack:
    """Nothing is recorded while this is open."""
    stack = contextlib.ExitStack()
    for kind, names in WATCHING:
        for name in names:
            stack.enter_context(mock.patch.object(kind, name, lambda *_, **__: None))
    return stack


def measure(kind: str, limit: int, every_s: float, result: Any) -> None:
    """One run; puts the microseconds of processor time per record."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        if kind == "silent":
            stack.enter_context(silent())
        config = parse(job_text(Path(scratch) / "job", None), env={})
        http = None if kind == "silent" else HttpConfig(port=0)
        config = msgspec.structs.replace(config, http=http)
        create_topics(config)
        flights = load_flights(limit)
        fill(config, flights, lambda _: None)
        broker, stop, loops = open_broker(config), threading.Event(), []
        clock, done = Clock(broker), multiprocessing.Event()
        stack.callback(done.set)

        def begun(loop: Loop, server: HttpServer | None) -> None:
            loops.append(loop)
            if server is not None:
                watch = [(("/metrics",), every_s)] + ([(("/status.json",), 1.0)] if kind == "watched" else [])
                for pages, seconds in watch:
                    arguments = (server.port, pages, seconds, done)
                    process = multiprocessing.Process(target=scrape, args=arguments, daemon=True)
                    process.start()
                    stack.callback(process.join, 10)
                    stack.callback(done.set)

        def stop_at_the_end() -> None:
            if sum(partition.position for partition in loops[0].partitions.values()) == len(flights):
                stop.set()

        run_worker(config, broker, stop, idle=stop_at_the_end, started=begun)
        result.put(1e6 * clock.cpu_s / len(flights))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table: the least processor time per record of each kind, and its ratio to the silent one's."""
    parser = argparse.ArgumentParser(description="What metrics, endpoint and status page cost.")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each kind (default 5)")
    parser.add_argument("--limit", type=int, default=100_000, help="flights of each run (default 100000)")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between scrapes (default 1)")
    options = parser.parse_args(arguments)
    context = multiprocessing.get_context("spawn")
    took: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(options.rounds):
        for kind in KINDS:
            result = context.SimpleQueue()
            process = context.Process(target=measure, args=(kind, options.limit, options.every, result))
            process.start()
            process.join()
            if process.exitcode != 0:
                raise SystemExit(f"the run of kind {kind} ended with status {process.exitcode}")
            took[kind].append(result.get())
    print(f"{len(METRICS)} metrics, scraped every {options.every:g} s; {options.rounds} rounds")
    print("| kind | us of CPU per record, least | median | ratio of the least |\n|---|--:|--:|--:|")
    for kind, values in took.items():
        middle = sorted(values)[len(values) // 2]
        print(f"| {kind} | {min(values):.2f} | {middle:.2f} | {min(values) / min(took['silent']):.3f} |")


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"{time.perf_counter() - started:.0f} s")
