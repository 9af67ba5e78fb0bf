"""What splitting a topic costs what is learned: each partition learns a model of its own from fewer records.

    python -m tests.bench.partitions

The demo's job over all flights, keyed by aircraft and split by key into 1, 2, 4 ... partitions: mean absolute error in
minutes over all of them, that of the first tenth of the year, and the processor's time for each record.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from streamrnn.broker.embedded_log import partition_of
from streamrnn.broker.protocol import Record
from streamrnn.demo.flights import Flights, load_flights, stream_key
from streamrnn.demo.log import job_text
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from streamrnn.offline.evaluation import evaluate

PARTITIONS = (1, 2, 4, 8, 16, 32)


def split(flights: Flights, partitions: int) -> Iterator[list[Record]]:
    """The records of each partition, in their order."""
    encode = msgspec.json.Encoder().encode
    parts: list[list[Record]] = [[] for _ in range(partitions)]
    for flight in flights:
        key = stream_key(flight).encode()
        part = parts[partition_of(key, partitions)]
        part.append(Record("departures", 0, len(part), flight["timestamp"], key, encode(flight)))
    yield from parts


def error(config: Config, parts: Sequence[list[Record]]) -> tuple[float, float]:
    """Mean absolute error over all targets of all parts, and seconds of the processor's time."""
    began = time.process_time()
    total, count = 0.0, 0
    for part in parts:
        (model, *_) = evaluate(config, part).scores
        total += model.values["MAE"] * model.scored
        count += model.scored
    return total / count, time.process_time() - began


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each number of partitions."""
    parser = argparse.ArgumentParser(description="Measure what is learned from a topic that is split.")
    parser.add_argument("--limit", type=int, help="flights (default all)")
    parser.add_argument("--partitions", type=int, nargs="+", default=PARTITIONS, help="how many (default 1 to 32)")
    given = parser.parse_args(arguments)
    config = parse(job_text(Path("unused"), None), env={})
    flights = load_flights(given.limit)
    print("| partitions | records each | error, minutes | in the first tenth | us of CPU a record |")
    print("|--:|--:|--:|--:|--:|")
    for partitions in given.partitions:
        parts = list(split(flights, partitions))
        early = [part[: len(part) // 10] for part in parts]
        first, _ = error(config, early)
        whole, seconds = error(config, parts)
        each = len(flights) // partitions
        print(
            f"| {partitions} | {each:,} | {whole:.2f} | {first:.2f} | {1e6 * seconds / len(flights):.1f} |", flush=True
        )


if __name__ == "__main__":
    main()
