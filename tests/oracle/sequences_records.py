"""The records that the naive learner of sequences is given, and what it remembers of a sequence at work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from streamrnn.learner.block import Block
from tests.oracle.network import Array
from tests.oracle.streams import History, Record, records_of


@dataclass
class Whole(Record):
    """A record that is a sequence, or a chunk of one; ``frames`` are records of their own, of x and symbols alone."""

    frames: list[Record] = field(default_factory=list)
    answer: list[float] | None = None  # None = unknown
    answer_labels: list[str | None] | None = None  # the same where the set of classes is open


def wholes_of(block: Block) -> Iterator[Whole]:
    """A block's records, one by one."""
    frames, answers = block.frames, block.answers
    assert frames is not None
    for i, record in enumerate(records_of(replace(block, x=np.zeros((len(block), 0))))):
        start, end = frames.bounds[i : i + 2]
        whole = Whole(
            record.key, record.time_ms, (), record.y, record.end, record.kind, record.event, label=record.label,
            frames=[
                Record(record.key, record.time_ms, frames.x[n], (), symbols=[column[n] for column in frames.symbols])
                for n in range(start, end)
            ],
        )  # fmt: skip
        if answers is not None and answers.known[i]:
            inner = slice(answers.bounds[i], answers.bounds[i + 1])
            whole.answer = answers.value[inner].tolist()
            whole.answer_labels = None if answers.labels is None else answers.labels[inner]
        yield whole


@dataclass
class Session(History):
    """A sequence at work, of which chunks came so far; ``state`` is that behind its whole steps."""

    frames: list[Array] = field(default_factory=list)  # standardised, symbols among them
    labels: list[float] = field(default_factory=list)  # of each frame, NaN = unknown
    first: list[tuple[Array, ...]] = field(default_factory=list)  # the state it began with
    states: list[Array] = field(default_factory=list)  # the top layer's, of each whole step, when it was read
    logs: list[Array] = field(default_factory=list)  # of a transcript, what its whole steps said when they were read
    carried: bool = False  # whether it goes on from the steps of another
    dropped: int = 0  # frames that were too many
