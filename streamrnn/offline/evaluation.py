"""Progressive validation of a job over past records: every one is predicted, then scored, then learned from.

The records of a file, or of a topic, go in their order through the codec and the learners of a daemon, one for each
partition, with the same seeds, so that the same records give the same predictions; a file is one partition. No
checkpoint is read or written. Beside the model, naive predictors of each partition see the same targets at the same
moments (``scoring`` says which moments these are); a target that never becomes known is not scored. River is not
imported.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from streamrnn.learner.block import EVENT, FORGET
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.symbols import Symbols
from streamrnn.offline import sequence_scoring
from streamrnn.offline.scoring import Classes, Numbers, Score, Scorer, merged
from streamrnn.offline.symbol_scoring import SymbolScorer

BLOCK: Final = 4_096
"""Records that are read, learned and scored at a time; the result does not depend on it."""


@dataclass
class Report:
    """What an evaluation found. ``sample`` counts its records, and which of them have which fields.

    ``metrics`` are the names in ``Score.values``, the one to rank by first. ``loss`` is the model's mean loss in scaled
    units over the ``losses`` records that have one, as the learner and the daemon's metrics count it. ``known`` counts,
    for each target, the records that bring its value; ``backwards`` records that are older than one before them.
    ``skill`` is the learner's own at the end, by rival (``learner.skill``). ``waiting`` counts events that were not
    predicted, as those behind them did not come.
    """

    metrics: tuple[str, ...]
    sample: Sample
    scores: list[Score] = field(default_factory=list)
    known: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    backwards: int = 0
    partitions: int = 1
    streams: int = 0
    updates: int = 0
    waiting: int = 0
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

    def count(self, batch: list[Record], decoded: Decoded, loss: npt.NDArray[np.float64], latest_ms: int) -> int:
        """Note what came of a partition's batch: ``loss`` is NaN where a record has none.

        ``latest_ms`` is the newest time of the partition before it; returned is that behind it.
        """
        block = decoded.block
        self.sample.add(batch, decoded)
        if block.answers is not None:
            self.known = self.known + np.count_nonzero(block.answers.known)
        elif block.texts is None:
            self.known = self.known + (~np.isnan(block.y)).sum(axis=0)
        else:
            self.known = self.known + np.count_nonzero(block.kind == EVENT)
        for time_ms in block.time_ms[block.kind != FORGET].tolist():
            self.backwards += time_ms < latest_ms
            latest_ms = max(latest_ms, time_ms)
        known = loss[~np.isnan(loss)]
        self.total_loss += float(known.sum())
        self.losses += len(known)
        return latest_ms


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
    partitions: dict[int, _Partition] = {}
    report = Report(metrics=scorer_of(job.spec).metrics, sample=Sample(config, job.codec))
    records = iter(source if limit is None else islice(source, limit))
    # A block at a time, as the daemon does it, bounds memory however many records there are.
    while batch := list(islice(records, min(BLOCK, job.rows_at_once))):
        for number in sorted({record.partition for record in batch}):
            if (partition := partitions.get(number)) is None:
                partition = partitions[number] = _Partition(job, number)
            partition.process([record for record in batch if record.partition == number], report, predictions)
        report.streams = sum(partition.streams for partition in partitions.values())
        report.updates = sum(partition.updates for partition in partitions.values())
        report.waiting = sum(partition.waiting for partition in partitions.values())
        if progress is not None:
            report.scores = merged([partition.scorer.scores() for partition in partitions.values()])
            progress(report)
    report.partitions = len(partitions)
    report.scores = merged(
        [partition.scorer.scores() for partition in partitions.values()] or [scorer_of(job.spec).scores()]
    )
    report.skill = mean_skill([partition.skill() for partition in partitions.values()])
    return report


def scorer_of(spec: LearnerSpec) -> Scorer | SymbolScorer | sequence_scoring.Scorer:
    """The scorer for what the specification predicts: numbers, classes, symbols, or something of a whole sequence."""
    if spec.sequence is not None and (scorer := sequence_scoring.scorer_of(spec)) is not None:
        return scorer
    if isinstance(spec.target.classes, Symbols):
        return SymbolScorer(spec)
    return Numbers(spec) if spec.target.classes is None else Classes(spec)


def mean_skill(skills: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Skill against each rival, on average over the partitions that know it.

    >>> mean_skill([{"last": 0.5, "mean": 0.25}, {"last": 0.25}, {}])
    {'last': 0.375, 'mean': 0.25}
    """
    known: dict[str, list[float]] = {}
    for skill in skills:
        for rival, value in skill.items():
            known.setdefault(rival, []).append(value)
    return {rival: sum(values) / len(values) for rival, values in known.items()}


class _Partition:
    """One partition's learner, and what its predictions are measured by."""

    def __init__(self, job: Job, number: int) -> None:
        self._job = job
        self._learner = job.first_learner(TopicPartition(job.config.input.topic, number))
        self._latest_ms = -(1 << 62)
        self.scorer = scorer_of(job.spec)
        self.streams = self.updates = self.waiting = 0

    def skill(self) -> dict[str, float]:
        """How much better than naive rivals it was on the newest records."""
        return self._learner.skill()

    def process(self, batch: list[Record], report: Report, predictions: IO[bytes] | None) -> None:
        """Predict, score and learn these records."""
        decoded = self._job.codec.decode(batch)
        result = self._learner.process(decoded.block)
        self._latest_ms = report.count(batch, decoded, result.loss, self._latest_ms)
        self.scorer.score(decoded, result)
        if predictions is not None:
            written = self._job.encoder.encode_block(decoded, result, self._learner.classes)
            predictions.writelines(value + b"\n" for value in written.values.tolist() if value is not None)
        reached = self._learner.progress()
        self.streams, self.updates, self.waiting = reached.streams, reached.updates, self._learner.n_waiting
