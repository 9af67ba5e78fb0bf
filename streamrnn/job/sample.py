"""What some records are to a job: how many can be used, and which of its fields they have.

Fed with records and what decoding made of them, wherever they come from: a file that is evaluated, or the newest
records of a topic. ``remarks`` says what is probably not meant, one sentence each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.broker.protocol import Record
from streamrnn.job.codec.names import names_in, told
from streamrnn.job.codec.presence import Field
from streamrnn.job.codec.records import Decoded, RecordCodec
from streamrnn.job.config import Config
from streamrnn.learner.block import EVENT, LABEL

BATCH = 4_096
NAMED = 200
"""Records of which all names are read, when a field never came."""
OFTEN = 0.02
"""The share of records from which on a missing number is worth a question."""


_MARKS = {"end_field", "label_field"}
"""Roles of fields that most records are without: what they have to say is said by being there."""
_NEEDED = {"feature", "target", "text", "frames", "stream_key", "timestamp"}


class Share(NamedTuple):
    """How often a field had a value in the records that were looked at for it."""

    field: Field
    present: int
    missing: int

    @property
    def missing_share(self) -> float:
        """From 0 to 1; NaN where no record was looked at."""
        looked = self.present + self.missing
        return self.missing / looked if looked else float("nan")


class Sample:
    """Counts records of one job.

    Attributes
    ----------
    records, labels, tombstones, filtered
        How many there were, and how many of these kinds.
    rejected, first_rejected
        By reason: how many would become dead letters, and the first of them.
    """

    def __init__(self, config: Config, codec: RecordCodec) -> None:
        self._config, self._fields = config, codec.fields
        self.records = self.labels = self.tombstones = self.filtered = 0
        self.rejected: Counter[str] = Counter()
        self.first_rejected: dict[str, str] = {}
        self._seen = np.zeros((2, len(codec.fields)), np.int64)
        self._values: list[bytes] = []
        features, targets = config.features, config.target.fields
        self._columns = np.cumsum([0, *(len(feature.columns) for feature in features), *(1 for _ in targets)])
        n_columns = int(self._columns[-1])
        self._low, self._high = np.full(n_columns, np.inf), np.full(n_columns, -np.inf)
        self._zeros = np.zeros(n_columns, np.int64)

    def add(self, records: Sequence[Record], decoded: Decoded) -> None:
        """Note a batch and what decoding made of it."""
        block = decoded.block
        self.records += len(records)
        self.labels += int(np.count_nonzero(block.kind == LABEL))
        self.tombstones += decoded.tombstones
        self.filtered += decoded.filtered
        self._seen += decoded.seen
        for record, error in decoded.rejected:
            self.rejected[error.reason] += 1
            self.first_rejected.setdefault(error.reason, f"record {record.offset}: {error.detail}")
        wanted = NAMED - len(self._values)
        self._values += islice((record.value for record in records if record.value is not None), max(0, wanted))
        # What targets were left out stand for is no value that came, but it is what is learned.
        counted = (block.kind == EVENT) | (block.kind == LABEL)
        n_features = len(self._low) - block.y.shape[1]
        if block.frames is None:
            self._look(block.x[counted], slice(0, n_features))
        else:  # all frames of all sequences
            self._look(block.frames.x, slice(0, n_features))
        values = block.y[counted] if block.answers is None else block.answers.value[:, np.newaxis]
        self._look(values, slice(n_features, None))

    def _look(self, values: npt.NDArray[np.float64], columns: slice) -> None:
        """Note values of some columns."""
        if len(values):
            self._low[columns] = np.fmin(self._low[columns], np.fmin.reduce(values, axis=0))
            self._high[columns] = np.fmax(self._high[columns], np.fmax.reduce(values, axis=0))
            self._zeros[columns] += np.count_nonzero(values == 0.0, axis=0)

    @property
    def used(self) -> int:
        """Records that are learned from, or are labels."""
        return self.records - self.rejected.total() - self.filtered - self.tombstones

    def shares(self) -> list[Share]:
        """Every field of the job, once, with how often it had a value."""
        present, missing = self._seen.tolist()
        return [Share(*each) for each in zip(self._fields, present, missing, strict=True)]

    def absent(self) -> list[Share]:
        """Of fields that some record was without, but for marks."""
        return [s for s in self.shares() if s.missing and s.field.role not in _MARKS]

    def never(self) -> list[Field]:
        """Fields that no record had and that hardly any can do without: no marks of ends, events or labels."""
        return [s.field for s in self.shares() if s.missing and not s.present and s.field.role in _NEEDED]

    def remarks(self) -> list[str]:
        """What is probably not meant, one sentence each; fields that never came first."""
        never, often = [], []
        names: list[str] | None = None
        for share in self.shares():
            path, role = share.field
            if share.missing and not share.present:
                names = names_in(self._values) if names is None else names
                never.append(f"{role} {path!r} came in none of {share.missing:,} records; {told(path, names)}")
            elif share.missing_share >= OFTEN and self._may_be_zero(share.field):
                often.append(
                    f"{role} {path!r} is missing in {share.missing_share:.0%} of the records and 0 in none: "
                    "if your producer leaves zeros out, say missing: zero"
                )
        constant = [
            f"{field.role} {field.path!r} has the same value in every record, which teaches nothing"
            for field, _, missing in self.shares()
            if not missing and self._is_constant(field)
        ]
        if self.records and self.filtered == self.records:
            never.append(f"input.where passes over all {self.records:,} records")
        return never + often + constant

    def _uses(self, field: Field) -> list[tuple[int, int]]:
        """The columns of a field's features and targets, each from and to."""
        paths = [*(feature.field for feature in self._config.features), *self._config.target.fields]
        columns = [
            (int(self._columns[i]), int(self._columns[i + 1])) for i, path in enumerate(paths) if path == field.path
        ]
        return [(first, end) for first, end in columns if first < end]  # a symbol has none

    def _may_be_zero(self, field: Field) -> bool:
        """Whether zeros may have been left out of a number, of which nothing is said yet."""
        config = self._config
        numbers = [
            not feature.indicator and getattr(feature, "missing", "zero") != "zero"
            for feature in config.features
            if feature.field == field.path
        ]
        if field.role == "target":
            one = config.target.kind in (None, "label")  # of others no missing value stands for anything
            numbers.append(one and config.target.classes is None and config.target.missing != "zero")
        return all(numbers) and bool(numbers) and all(not self._zeros[a:b].any() for a, b in self._uses(field))

    def _is_constant(self, field: Field) -> bool:
        uses = self._uses(field)
        return bool(uses) and self.used > 1 and all((self._low[a:b] == self._high[a:b]).all() for a, b in uses)


def examine(config: Config, records: Iterable[Record]) -> Sample:
    """Decode records as the daemon would and count them; nothing is learned."""
    codec = RecordCodec(config)
    sample, source = Sample(config, codec), iter(records)
    while batch := list(islice(source, BATCH)):
        sample.add(batch, codec.decode(batch))
    return sample
