"""Where a process's log goes, one line an entry: to stderr, or to a file while something else has the screen.

The Kafka client is told to be quieter than the daemon by one level, unless the daemon is being debugged; Numba, whose
compiler logs every step it takes, is always quiet.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class Seldom:
    """Says when it is time for another line about the same: at first, and then at most once in ``interval_s``."""

    def __init__(self, interval_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s, self._clock = interval_s, clock
        self._said_at: float | None = None
        self._since = 0

    def due(self, count: int = 1) -> int | None:
        """Add to what has happened; returns how much that is since the last line, when another one is due."""
        self._since += count
        now = self._clock()
        if self._said_at is not None and now - self._said_at < self._interval_s:
            return None
        self._said_at, total, self._since = now, self._since, 0
        return total


def to_stderr(level: str) -> None:
    """Log to stderr at ``level`` (any case) for as long as the process lives."""
    logging.basicConfig(level=level.upper(), format=_FORMAT)
    _quieten_libraries()


@contextlib.contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Log to a file at INFO for as long as the context lasts; afterwards levels are what they were before."""
    root = logging.getLogger()
    before = {logger: logger.level for logger in (root, logging.getLogger("kafka"), logging.getLogger("numba"))}
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(_FORMAT))
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    _quieten_libraries()
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
        for logger, level in before.items():
            logger.setLevel(level)


def _quieten_libraries() -> None:
    ours = logging.getLogger().level
    logging.getLogger("kafka").setLevel(ours if ours <= logging.DEBUG else max(ours, logging.WARNING))
    logging.getLogger("numba").setLevel(max(ours, logging.WARNING))
