"""Where the daemon's log goes: stderr, one line an entry, at the level the job file names."""

from __future__ import annotations

import logging

_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


def to_stderr(level: str) -> None:
    """Set logging up for a process of its own. The Kafka client is told to be quieter by one level than the daemon."""
    logging.basicConfig(level=level.upper(), format=_FORMAT)
    ours = logging.getLogger().level
    logging.getLogger("kafka").setLevel(ours if ours <= logging.DEBUG else max(ours, logging.WARNING))
    logging.getLogger("numba").setLevel(max(ours, logging.WARNING))
