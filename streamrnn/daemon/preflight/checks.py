"""All checks, in the order in which an operator wants to hear of them.

Findings come as they are made, so that what was found stands even where the cluster then stops answering.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamrnn.daemon.preflight.facts import Facts, Tell, gather
from streamrnn.daemon.preflight.findings import Finding, fine
from streamrnn.daemon.preflight.group import group
from streamrnn.daemon.preflight.machine import machine, memory, space
from streamrnn.daemon.preflight.records import records
from streamrnn.daemon.preflight.replay import replay
from streamrnn.daemon.preflight.topics import topics
from streamrnn.job.config import Config


class Preflight:
    """Looks at a job's surroundings once; ``facts`` is what was found, None before and where there is nothing yet."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.facts: Facts | None = None

    def findings(self, tell: Tell) -> Iterator[Finding]:
        """What there is to say. Raises BrokerError when the cluster does not answer."""
        tell("this machine")
        yield from machine(self.config)
        facts = self.facts = gather(self.config, tell)
        source = None if facts is None else facts.topics[self.config.input.topic]
        partitions = 1 if source is None else source.partitions
        yield from space(self.config, partitions)
        yield from memory(self.config, partitions)
        if facts is None:
            yield fine("the embedded log's topics are made as needed")
            return
        yield from checks(self.config, facts)


def checks(config: Config, facts: Facts) -> Iterator[Finding]:
    """Everything but the machine, from facts alone."""
    yield from topics(config, facts)
    yield from group(config, facts)
    yield from replay(config, facts)
    yield from records(config, facts)
