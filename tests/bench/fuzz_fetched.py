"""Searches for answers of brokers at which the way from batches to outputs breaks what it promises, by coverage.

    pip install atheris
    python -m tests.bench.fuzz_fetched search DIRECTORY --seconds 900
    python -m tests.bench.fuzz_fetched keep DIRECTORY

As ``fuzz_bytes.py``, one step earlier: an input is what was fetched, and ``tests/support/fetched_path.py`` says how and
what is promised, a second of the processor's time and the memory that the handbook names among it. ``keep`` writes
``tests/data/fetched.txt``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.fuzzing import Reached, command, smallest_first, steps_of, worth_keeping

KEPT = Path(__file__).parents[1] / "data" / "fetched.txt"
MOST_KEPT_BYTES = 100_000
MOST_BYTES = 3_000  # of an input
COVERED = [
    "streamrnn.broker.kafka_batches",
    "streamrnn.broker.kafka_columns",
    "streamrnn.broker.kafka_fetcher",
    "streamrnn.broker.kafka_legacy",
    "streamrnn.broker.kafka_unpacking",
    "streamrnn.broker.protocol",
    "streamrnn.job.codec",
    "streamrnn.learner",
]


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

    reached: Reached = set().union(*map(reaches, seeds()))
    return worth_keeping(smallest_first(found), reached, reaches, to_line, MOST_KEPT_BYTES)


def reaches(given: bytes) -> Reached:
    """What an input reaches in the broker's part."""
    from tests.support.fetched_path import _POLLS, fetched, polls, scaled

    answer = fetched(given)
    with scaled():
        return steps_of(lambda: list(polls(answer, _POLLS[0])), "streamrnn/broker/kafka_")


if __name__ == "__main__":
    command(__doc__, 900, KEPT, search, keep)
