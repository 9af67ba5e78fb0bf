"""How many symbols the open sets of a partition's learner hold, and how many came beyond them, as metrics.

A field that is both an input and the target has two sets that see the same symbols; it is shown once, as the target.
What came beyond while records were replayed is left out, like everything that is counted for a partition.
"""

from __future__ import annotations

from streamrnn.daemon.metrics import PartitionMetrics
from streamrnn.job.job import Job
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.vocabulary import Vocabulary


class Vocabularies:
    """Shows the open sets of one learner by the field whose symbols they hold."""

    def __init__(self, job: Job, learner: Foundation, metrics: PartitionMetrics) -> None:
        self._metrics = metrics
        fields = job.config.feature_encoder().symbol_fields
        sets = dict(zip(fields, learner.vocabularies, strict=True))
        if learner.classes is not None:
            sets[job.spec.target.fields[0]] = learner.classes
        self._open: dict[str, Vocabulary] = {field: each for field, each in sets.items() if each.other is not None}
        self._before = self._beyond()  # as of the last ``begin``, and then as shown last
        self._live = False

    def begin(self) -> None:
        """A batch is about to be processed that is no replay."""
        if not self._live:
            self._before, self._live = self._beyond(), True

    def show(self) -> None:
        """Bring the metrics up to date."""
        now = self._beyond() if self._live else self._before
        for field, vocabulary in self._open.items():
            apart = 1 + (vocabulary.end is not None)  # "other" and the end of a text are no symbols of the field
            self._metrics.set("streamrnn_vocabulary_symbols", vocabulary.known - apart, field)
            self._metrics.set("streamrnn_vocabulary_capacity_symbols", vocabulary.size - apart, field)
            self._metrics.count("streamrnn_symbols_beyond_total", now[field] - self._before[field], field)
        self._before = now

    def end(self) -> None:
        """Another job takes over: what this one alone shows has no samples any more."""
        for field in self._open:
            self._metrics.set("streamrnn_vocabulary_symbols", None, field)
            self._metrics.set("streamrnn_vocabulary_capacity_symbols", None, field)

    def _beyond(self) -> dict[str, int]:
        return {field: vocabulary.overflowed for field, vocabulary in self._open.items()}
