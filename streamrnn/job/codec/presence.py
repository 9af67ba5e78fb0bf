"""How often each field of the job had a value in the records that were looked at for it.

Counted over a batch at once, on the arrays wherever they tell: a number that is missing is NaN there. Where they do not
(a category that is missing is all zeros, as is one that is not declared), the codec notes the records in which
something is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.errors import AbsentError, RecordError
from streamrnn.job.config import Config
from streamrnn.learner.block import EVENT, LABEL, Block
from streamrnn.learner.features import Cyclic, FeatureEncoder, Log1p, Numeric

Integers = npt.NDArray[np.int64]


class Field(NamedTuple):
    """A field that the job names, and what for."""

    path: str
    role: str


class Seen(NamedTuple):
    """For each field (see ``Presence.fields``): records with a value in it, and records without."""

    present: Integers
    missing: Integers


class Presence:
    """Counts fields.

    Attributes
    ----------
    fields
        Those of the job, each once, under the first role it has.
    paths
        Those that are looked for in a record; features of sequences are in their frames.
    n_features
        How many features there are.
    """

    def __init__(self, config: Config, encoder: FeatureEncoder) -> None:
        source, target = config.input, config.target
        self._in_labels = target.known == "label"
        self._of_sequences = source.sequence is not None
        self._in_ends = self._of_sequences and source.end_field is not None and target.kind != "labels"
        named = (
            *((path, "feature") for path in encoder.fields),
            *((path, "target" if source.text is None else "text") for path in target.fields),
            (None if source.sequence is None else source.sequence.field, "frames"),
            (source.stream_key, "stream_key"),
            (source.timestamp.field, "timestamp"),
            (source.end_field, "end_field"),
            (target.event_field, "event_field"),
            (target.label_field, "label_field"),
        )
        self._uses = [(path, role) for path, role in named if path is not None]
        roles: dict[str, str] = {}
        for path, role in self._uses:
            roles.setdefault(path, role)
        self.fields = tuple(Field(path, role) for path, role in roles.items())
        outside = (path for path, role in self._uses if not (self._of_sequences and role == "feature"))
        self.paths = tuple(dict.fromkeys(outside))
        self._first_use = np.array([self._uses.index(field) for field in self.fields], np.int64)
        widths = [len(spec.columns) for spec in encoder.specs]
        first = np.cumsum([0, *widths[:-1]]) if widths else np.zeros(0, np.int64)
        self._n_specs = self.n_features = len(widths)
        # Of frames the codec tells what none of them has.
        self._to_note = np.array([self._of_sequences or not _becomes_nan(spec) for spec in encoder.specs], np.bool_)
        self._columns = first[~self._to_note]  # of those that the arrays tell of
        self._all_columns = len(self._columns) == encoder.n_features and not self._of_sequences
        self.told_by_arrays = not self._to_note.any()

    def count(
        self,
        block: Block,
        kinds: bytes,
        ends: Sequence[bool | None],
        noted: bytearray,
        rejected: Sequence[tuple[object, RecordError]],
        absent: Integers,
    ) -> Seen:
        """Counts of a batch: its block, kinds and end marks (None = missing), a byte for each feature of records in
        which one is missing, the records rejected, and in how many further ones each feature is missing of which the
        arrays do not tell. ``kinds`` and ``ends`` leave silent rows out, which have no value of any field."""
        n_events, n_labels = kinds.count(EVENT), kinds.count(LABEL)
        n_targets = n_labels if self._in_labels else n_events
        x, y = block.x, block.y
        if n_events < len(kinds):
            x = x[block.kind == EVENT]
        if n_targets < len(kinds):
            y = y[block.kind == (LABEL if self._in_labels else EVENT)]
        looked = [n_events if not self._of_sequences else len(noted) // max(1, self._n_specs)] * self._n_specs
        missing = [*self._features(x, noted, absent)]
        if block.frames is not None:
            n_targets = ends.count(True) if self._in_ends else n_events
            looked += [n_targets] * block.y.shape[1]
            missing += [n_targets - known for known in _answered(block)]
        elif block.labels is not None:
            looked.append(n_targets)
            missing.append(block.labels.count(None) - (len(kinds) - n_targets))
        elif block.texts is None:
            looked += [n_targets] * y.shape[1]
            # A target is infinite where it was left out and means zero, unless that is unknown as well.
            missing += np.count_nonzero(~np.isfinite(y), axis=0).tolist()
        for _, role in self._uses[len(looked) :]:
            n, without = self._other(role, block, n_events, n_events + n_labels, ends, rejected)
            looked.append(n)
            missing.append(without)
        counts = np.array((looked, missing), np.int64)[:, self._first_use]
        return Seen(counts[0] - counts[1], counts[1])

    @staticmethod
    def _other(
        role: str,
        block: Block,
        n_events: int,
        n: int,
        ends: Sequence[bool | None],
        rejected: Sequence[tuple[object, RecordError]],
    ) -> tuple[int, int]:
        """Records looked at for a field that is no feature and no target, and those without it."""
        if role == "end_field":
            return n_events, ends.count(None)
        if role == "event_field":
            return n_events, int(np.count_nonzero((block.event == 0) & (block.kind == EVENT)))
        if role == "label_field":
            return n, n_events
        reasons = {"stream_key": "null_key", "text": "null_text", "frames": "empty_sequence"}
        refused = [error for _, error in rejected if error.reason == reasons.get(role, "bad_timestamp")]
        without = sum(isinstance(error, AbsentError) for error in refused)
        if role == "frames" and block.frames is not None:
            n = n_events
            without += n_events - int(np.count_nonzero(np.diff(block.frames.bounds)))
        return n + len(refused), without

    def _features(self, x: npt.NDArray[np.float64], noted: bytearray, absent: Integers) -> Iterable[int]:
        missing = absent.copy()
        if len(self._columns):
            told = np.isnan(x if self._all_columns else x[:, self._columns])
            missing[~self._to_note] = np.count_nonzero(told, axis=0)
        if noted:
            each = np.frombuffer(noted, np.uint8).reshape(-1, self._n_specs).sum(axis=0, dtype=np.int64)
            missing += each * self._to_note
        counts: list[int] = missing.tolist()
        return counts


def _answered(block: Block) -> list[int]:
    """Of how many sequences each target is known."""
    if block.answers is not None:
        return [int(np.count_nonzero(block.answers.known))]
    if block.labels is not None:
        return [len(block.labels) - block.labels.count(None)]
    known: list[int] = np.count_nonzero(np.isfinite(block.y), axis=0).tolist()
    return known


def _becomes_nan(spec: object) -> bool:
    """Whether a missing value of the feature is NaN in its columns."""
    return isinstance(spec, Numeric | Log1p | Cyclic)
