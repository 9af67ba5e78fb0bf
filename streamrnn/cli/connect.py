"""``validate --connect``: what would keep a valid job from running where it is meant to. Changes nothing there."""

from __future__ import annotations

import os
from pathlib import Path

from streamrnn.broker.protocol import check_topics
from streamrnn.daemon.opening import open_administration
from streamrnn.job.config import Config


def problems(config: Config) -> list[str]:
    """One sentence each; empty when all is well. Raises BrokerError when the cluster does not answer."""
    found = _writable("checkpoint.directory", Path(config.checkpoint.directory))
    if config.embedded is not None:
        return found + _writable("embedded.directory", Path(config.embedded.directory))
    written = (config.output.topic, config.output.dead_letter_topic)
    return found + check_topics(open_administration(config), read=[config.input.topic], write=written)


def _writable(name: str, directory: Path) -> list[str]:
    """Whether the directory can be written, or made."""
    at = directory.absolute()
    while not at.exists():
        at = at.parent
    if not at.is_dir():
        return [f"{name}: {at} is a file, expected a directory"]
    if not os.access(at, os.W_OK | os.X_OK):
        return [f"{name}: {at} may not be written by this user; grant it or choose another directory"]
    return []
