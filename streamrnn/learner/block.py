"""The arrays a learner is given: n decoded records in log order.

The codec and the estimators build blocks, the learner reads them. A record that could not be decoded has no row. Where
a log is cut into blocks has no meaning. Nothing here computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamrnn.core.kinds import EVENT, FORGET, LABEL, PREDICT

__all__ = ["EVENT", "FORGET", "LABEL", "PREDICT", "Answers", "Block", "Frames"]

Units = bytes | Sequence[str]
"""The units of a text: its bytes, its characters (a string is a sequence of them) or its words."""


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """The frames of n records that are sequences, or chunks of them.

    Attributes
    ----------
    bounds : int64 [n + 1]
        Record i has the frames from ``bounds[i]`` to ``bounds[i + 1]``.
    x : float64 [frames, n_features]
        Encoded features, NaN = missing.
    symbols
        Per input that is a symbol: the symbol's text per frame, None = missing.
    """

    bounds: npt.NDArray[np.int64]
    x: npt.NDArray[np.float64]
    symbols: tuple[list[str | None], ...] = ()

    def rows(self, rows: slice) -> Frames:
        """Those of some of the records."""
        bounds, inner = _cut(self.bounds, rows)
        return Frames(bounds, self.x[inner], tuple(column[inner] for column in self.symbols))


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What n sequences turn out to be: a label for each step, a transcript, another sequence.

    Attributes
    ----------
    bounds : int64 [n + 1]
        That of record i goes from ``bounds[i]`` to ``bounds[i + 1]``.
    value : float64 [elements]
        Numbers of classes, or numbers; NaN = unknown.
    known : bool [n]
        Whether it is known; what is known may be empty.
    labels
        Where the set of classes is open: the class's text per element, None = unknown; ``value`` is written by the
        learner then.
    """

    bounds: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    known: npt.NDArray[np.bool_]
    labels: list[str | None] | None = None

    def rows(self, rows: slice) -> Answers:
        """Those of some of the records."""
        bounds, inner = _cut(self.bounds, rows)
        labels = None if self.labels is None else self.labels[inner]
        return Answers(bounds, self.value[inner], self.known[rows], labels)


def _cut(bounds: npt.NDArray[np.int64], rows: slice) -> tuple[npt.NDArray[np.int64], slice]:
    """Bounds of some of the records, and where their elements stand."""
    start, stop, _ = rows.indices(len(bounds) - 1)
    inner = bounds[start : max(start, stop) + 1]
    return inner - inner[0], slice(int(inner[0]), int(inner[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """n records in log order; every array is C-contiguous and writable.

    Attributes
    ----------
    keys
        Stream key per record.
    time_ms : int64 [n]
        Record time in milliseconds since the epoch.
    x : float64 [n, n_features]
        Encoded features, NaN = missing.
    y : float64 [n, n_targets]
        Targets as numbers (a class is its index), NaN = unknown now.
    end : bool [n]
        Last record of its sequence.
    kind : uint8 [n]
        0 (``EVENT``), 1 (``LABEL``, a later record that brings an event's targets) or 5 (``FORGET``, a tombstone: its
        stream is forgotten, the rest of its row has no meaning).
    event : uint64 [n]
        Id of the event, or of the event a label belongs to; 0 = none.
    symbols
        Per input that is a symbol: the symbol's text per record, None = missing.
    labels
        Where the set of classes is open: the class's text per record, None = unknown now; ``y`` is written by the
        learner then.
    texts
        Where records are texts: each one's units, as bytes, or as text by character or by word.
    frames, answers
        Where records are whole sequences: their frames (``x`` is [n, 0] then), and what they turn out to be, unless
        that is one label, which stands in ``y`` or ``labels``.
    """

    keys: list[bytes]
    time_ms: npt.NDArray[np.int64]
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    end: npt.NDArray[np.bool_]
    kind: npt.NDArray[np.uint8]
    event: npt.NDArray[np.uint64]
    symbols: tuple[list[str | None], ...] = ()
    labels: list[str | None] | None = None
    texts: list[Units] | None = None
    frames: Frames | None = None
    answers: Answers | None = None

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, rows: slice) -> Block:
        """The block of some of its records."""
        return Block(
            self.keys[rows], self.time_ms[rows], self.x[rows], self.y[rows], self.end[rows], self.kind[rows],
            self.event[rows],
            symbols=tuple(column[rows] for column in self.symbols),
            labels=None if self.labels is None else self.labels[rows],
            texts=None if self.texts is None else self.texts[rows],
            frames=None if self.frames is None else self.frames.rows(rows),
            answers=None if self.answers is None else self.answers.rows(rows),
        )  # fmt: skip

    @classmethod
    def events(
        cls,
        keys: Sequence[bytes],
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        time_ms: npt.ArrayLike | None = None,
        end: npt.ArrayLike | None = None,
        kind: npt.ArrayLike | None = None,
        event: npt.ArrayLike | None = None,
    ) -> Block:
        """A block of keys, features and targets; the rest has defaults.

        Left out, every record is an event at time 0, in the middle of its sequence, and without an id. Arrays of the
        right type are used as they are, not copied.

        >>> block = Block.events([b"a", b"a"], x=[[1.0], [2.0]], y=[[0.5], [0.7]], end=[False, True])
        >>> len(block), block.x.shape, block.kind.tolist()
        (2, (2, 1), [0, 0])
        """
        n = len(keys)
        return cls(
            keys=list(keys),
            time_ms=np.zeros(n, np.int64) if time_ms is None else np.asarray(time_ms, np.int64),
            x=np.asarray(x, np.float64),
            y=np.asarray(y, np.float64),
            end=np.zeros(n, np.bool_) if end is None else np.asarray(end, np.bool_),
            kind=np.full(n, EVENT, np.uint8) if kind is None else np.asarray(kind, np.uint8),
            event=np.zeros(n, np.uint64) if event is None else np.asarray(event, np.uint64),
        )
