r"""What the model would write: a text that goes on from where the learner stands, drawn byte by byte.

Each byte is drawn from the probabilities that the learner gives, in a copy of the stream's state, and then shown to
that copy as if it had come. Nothing is learned, and the stream itself does not change. The draw's seed is the number of
bytes read: a sample is a function of the text and of how much of it was read.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.partition import Partition
from streamrnn.demo.text.log import STREAM, Feed
from streamrnn.demo.text.source import Source
from streamrnn.escaping import one_line
from streamrnn.learner.drawing import draw
from streamrnn.learner.learner import Learner

LENGTH: Final = 400
"""Bytes of a sample."""
BEFORE: Final = 60
"""Bytes of the text that are shown before it."""
TEMPERATURE: Final = 0.7
"""Below 1, the probable becomes more so: a model that is still young would else show its errors alone."""
MILESTONES: Final = (10_000, 100_000, 1_000_000)
"""Bytes behind which a sample is kept."""


@dataclass(frozen=True)
class Sample:
    """What was written once ``at`` bytes had been read, of which ``before`` are the last."""

    at: int
    before: bytes
    written: bytes


def write(learner: Learner, at: int, text: bytes) -> Sample:
    """Have the learner go on from where it stands, having read the first ``at`` bytes of ``text``."""
    learner.imagine(STREAM)
    random, written = np.random.default_rng(at), bytearray()
    for _ in range(LENGTH):
        written.append(draw(learner.imagine_one(()), TEMPERATURE, random))
        learner.turned_out(written[-1])
    start = max(0, at - BEFORE)
    while start < at - BEFORE + 3 and text[start] & 0xC0 == 0x80:  # within a character of UTF-8
        start += 1
    return Sample(at, text[start:at], bytes(written))


def shown(data: bytes) -> list[str]:
    r"""Bytes as lines that a terminal may be given: what is no plain character is escaped, and a tab is spaces.

    >>> shown(b"a\tb\nc\x1b[2J \xc3\xa9\xff")
    ['a   b', 'c\\x1b[2J é\\xff']
    """
    return [one_line(line.expandtabs(4)) for line in data.decode("utf-8", "backslashreplace").split("\n")]


class Stages:
    """Feeds the text in stages that end at milestones, and has a sample written at the end of each.

    For the worker's thread: called when all that was fed has been learned, with nothing in between.
    """

    def __init__(self, feed: Feed, source: Source) -> None:
        self.samples: list[Sample] = []
        self._feed, self._source = feed, source
        marks = [n for n in MILESTONES if n < len(source.data)]
        self._stages = [*(bisect_right(source.ends, n) for n in marks), len(source.ends)]
        self.begin()

    def begin(self) -> None:
        """Feed the next stage."""
        self._feed.write(self._stages[len(self.samples)])

    def __call__(self, loop: Loop) -> None:
        """Where the stage has been learned, have a sample written and feed the next one."""
        for partition in loop.partitions.values():
            if partition.position == self._feed.written and len(self.samples) < len(self._stages):
                self.samples.append(written_now({partition.tp: partition}, self._source))
                if len(self.samples) < len(self._stages):
                    self.begin()


def written_now(partitions: Mapping[TopicPartition, Partition], source: Source) -> Sample:
    """What the only partition's learner would write; for the loop's thread."""
    (partition,) = partitions.values()
    at = source.ends[partition.position - 1] if partition.position else 0
    assert isinstance(partition.learner, Learner)
    return write(partition.learner, at, source.data)
