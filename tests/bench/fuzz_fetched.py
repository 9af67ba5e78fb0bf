"""Searches for answers of brokers at which the way from batches to outputs breaks what it promises, by coverage.

    pip install atheris
    python -m tests.bench.fuzz_fetched search DIRECTORY --seconds 900
    python -m tests.bench.fuzz_fetched keep DIRECTORY

As ``fuzz_bytes.py``, one step earlier: an input is what was fetched, and ``tests/support/fetched_path.py`` says how and
what is promised, a second of the processor's time and the memory that the handbook names among it. ``keep`` writes
``tests/data/fetched.txt``.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

KEPT = Path(__file__).parents[1] / "data" / "fetched.txt"
MOST_KEPT_BYTES = 100_000
MOST_BYTES = 3_000  # of an input
COVERED = [
    "streamrnn.broker.kafka_batches",
    "streamrnn.broker.kafka_fetcher",
    "streamrnn.broker.kafka_legacy",
    "streamrnn.broker.kafka_unpacking",
    "streamrnn.broker.protocol",
    "streamrnn.job.codec",
    "streamrnn.learner",
]


def main() -> None:
    """Search, or keep what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("search", "keep"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seconds", type=int, default=900)
    options = parser.parse_args()
    found = options.directory / "inputs"
    found.mkdir(parents=True, exist_ok=True)
    if options.what == "search":
        search(options.directory, found, options.seconds)
    else:
        lines = keep(found)
        KEPT.write_text("".join(lines))
        print(f"{len(lines)} inputs kept in {KEPT}")


def search(directory: Path, found: Path, seconds: int) -> None:
    """Search for so long; the process ends here."""
    import logging

    import atheris

    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=COVERED):
        from tests.support.fetched_path import from_line, go, seeds
    given = [*seeds(), *(from_line(line) for line in (KEPT.read_text().splitlines() if KEPT.exists() else ()))]
    for i, each in enumerate(given):
        go(each)
        (found / f"given-{i}").write_bytes(each)
    limits = [f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}", "-timeout=20", "-rss_limit_mb=3000"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={directory}/", str(found)], lambda data: go(data))
    atheris.Fuzz()


def keep(found: Path) -> list[str]:
    """Lines of inputs that reach all that those in ``found`` do and the seeds do not, the smallest first."""
    from tests.support.fetched_path import seeds, to_line

    inputs = sorted((path.read_bytes() for path in found.iterdir()), key=lambda data: (len(data), data))
    reached: set[Any] = set().union(*map(reaches, seeds()))
    lines: list[str] = []
    for given in inputs:
        new = reaches(given) - reached
        line = to_line(given) + "\n"
        if new and sum(map(len, lines)) + len(line) <= MOST_KEPT_BYTES:
            reached |= new
            lines.append(line)
    return lines


def reaches(given: bytes) -> set[Any]:
    """Steps from line to line that an input takes in the broker's part, each with the power of two of how often."""
    from tests.support.fetched_path import _POLLS, fetched, polls, scaled

    answer = fetched(given)
    steps: Counter[Any] = Counter()
    last = [0]

    def traced(frame: FrameType, *_: Any) -> Any:
        name = frame.f_code.co_filename
        if "streamrnn/broker/kafka_" not in name:
            return None
        steps[name, last[0], frame.f_lineno] += 1
        last[0] = frame.f_lineno
        return traced

    with scaled():
        sys.settrace(traced)
        try:
            list(polls(answer, _POLLS[0]))
        finally:
            sys.settrace(None)
    return {(step, min(count.bit_length(), 4)) for step, count in steps.items()}


if __name__ == "__main__":
    main()
