"""Progressive validation of a job over a file: every record is predicted, then scored, then learned from.

The records of a CSV or JSON-lines file go, in the file's order, through the codec and the learner of a daemon with one
partition, with the same seed, so that the same records give the same predictions. Neither a broker nor a checkpoint is
needed. Beside the model, naive predictors see the same targets at the same moments (``scoring`` says which moments
these are); a target that never becomes known is not scored. River is not imported.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Final

import numpy as np
import numpy.typing as npt

from streamrnn.broker.protocol import Record, TopicPartition
from streamrnn.job.codec.records import Decoded
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.job.sample import Sample
from streamrnn.learner.block import FORGET
from streamrnn.offline.scoring import Score, scorer_of

BLOCK: Final = 4_096
"""Records that are read, learned and scored at a time; the result does not depend on it."""


@dataclass
class Report:
    """What an evaluation found. ``sample`` counts its records, and which of them have which fields.

    ``metrics`` are the names in ``Score.values``, the one to rank by first. ``loss`` is the model's mean loss in scaled
    units over the ``losses`` records that have one, as the learner and the daemon's metrics count it. ``known`` counts,
    for each target, the records that bring its value; ``backwards`` records that are older than one before them.
    ``skill`` is the learner's own at the end, by rival (``learner.skill``).
    """

    metrics: tuple[str, ...]
    sample: Sample
    scores: list[Score] = field(default_factory=list)
    known: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    backwards: int = 0
    latest_ms: int = -(1 << 62)
    streams: int = 0
    updates: int = 0
    losses: int = 0
    total_loss: float = 0.0
    skill: dict[str, float] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """All records, whatever became of them."""
        return self.sample.records

    @property
    def labels(self) -> int:
        """Records that are labels."""
        return self.sample.labels

    @property
    def first_rejected(self) -> dict[str, str]:
        """The first of them, by reason."""
        return self.sample.first_rejected

    @property
    def rejected(self) -> Counter[str]:
        """Records that would become dead letters, by reason."""
        return self.sample.rejected

    @property
    def loss(self) -> float:
        """The mean loss; NaN while no record has one."""
        return self.total_loss / self.losses if self.losses else math.nan

    def count(self, batch: list[Record], decoded: Decoded, loss: npt.NDArray[np.float64]) -> None:
        """Note what came of a batch: ``loss`` is NaN where a record has none."""
        block = decoded.block
        self.sample.add(batch, decoded)
        self.known = self.known + (~np.isnan(block.y)).sum(axis=0)
        for time_ms in block.time_ms[block.kind != FORGET].tolist():
            self.backwards += time_ms < self.latest_ms
            self.latest_ms = max(self.latest_ms, time_ms)
        known = loss[~np.isnan(loss)]
        self.total_loss += float(known.sum())
        self.losses += len(known)


def evaluate(
    config: Config,
    source: Iterable[Record],
    *,
    limit: int | None = None,
    progress: Callable[[Report], None] | None = None,
    predictions: IO[bytes] | None = None,
) -> Report:
    """Run the job over the records and score it; the output records go to ``predictions``, one a line.

    ``progress`` is given the growing report after each block of records.
    """
    job = Job(config)
    codec, encoder = job.codec, job.encoder
    learner = job.first_learner(TopicPartition(config.input.topic, 0))
    scorer = scorer_of(job.spec)
    report = Report(metrics=scorer.metrics, sample=Sample(config, codec))
    records = iter(source if limit is None else islice(source, limit))
    # A block at a time, as the daemon does it, bounds memory whatever the file's size.
    while batch := list(islice(records, BLOCK)):
        decoded = codec.decode(batch)
        result = learner.process(decoded.block)
        report.count(batch, decoded, result.loss)
        scorer.score(decoded, result.value)
        if predictions is not None:
            lines = encoder.encode_block(decoded, result.value, result.updates)
            predictions.writelines(line + b"\n" for line in lines if line is not None)
        reached = learner.progress()
        report.streams, report.updates = reached.streams, reached.updates
        if progress is not None:
            report.scores = scorer.scores()
            progress(report)
    report.scores, report.skill = scorer.scores(), learner.skill()
    return report
