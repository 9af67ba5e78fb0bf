"""Estimators of whole sequences: x is one, with all its frames, and y what it turns out to be.

The thin way from River's calls to one ``SequenceLearner``, shared by all of them. Each call of ``learn_one`` predicts,
then learns by back-propagation through the whole sequence; nothing lives between calls but what was learned, unless
``carry`` hands a stream's state on, or its sequences come in ``chunks``. When a feature or class appears for the first
time, what was learned is carried over to a larger learner.

What is said of a sequence depends on the kind of estimator: ``_said`` makes it of the learner's predictions, and
``_answers`` makes the learner's answers of ys.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from streamrnn.errors import ConfigError, RecordError
from streamrnn.estimators.base import LearnerEstimator
from streamrnn.estimators.columns import Floats
from streamrnn.estimators.events import read_parameters
from streamrnn.estimators.frames import FRAMES, FrameColumns, Read
from streamrnn.estimators.parameters import UNORDERED, checked, section
from streamrnn.estimators.settings import require_possible
from streamrnn.learner.block import EVENT, Answers, Block, Frames
from streamrnn.learner.features import FeatureSpec
from streamrnn.learner.hashing import KNOWN_KEY, Hashing, HashKey
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.sequences.learner import SequenceLearner
from streamrnn.learner.spec import InputSpec, LearnerSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.values import describe
from streamrnn.storage.model_file import ModelFile

_MODEL = ("cell", "hidden_size", "num_layers", "memory", "direction", "lookahead", "dtype")
_SEQUENCE = ("max_steps", "stack", "chunks", "carry", "normalise")
"""The parameters that stand in the sections about the model and about sequences."""


class Told(NamedTuple):
    """What n sequences turn out to be, in the columns of a ``Block`` that are the kind's."""

    y: Floats  # (n, 1)
    labels: list[str | None] | None = None
    answers: Answers | None = None


class Given(NamedTuple):
    """One sequence, read."""

    columns: FrameColumns
    key: bytes
    read: Read
    answer: Any


@dataclass(eq=False, repr=False)
class SequenceEstimator(LearnerEstimator[SequenceLearner]):
    """Parameters common to estimators of sequences, and what they do alike."""

    cell: str = "gru"
    hidden_size: int = 32
    direction: str = "both"
    lookahead: int | None = None
    stack: int = 1
    normalise: str = "running"
    max_steps: int = 1_000
    chunks: bool = False
    carry: bool = False
    optimizer: str = "adam"
    lr: float = 1.5e-2
    schedule: str = "inverse_sqrt"
    schedule_updates: int = 100
    average: float | None = 0.99
    scale: bool = True
    features: Sequence[Hashable | FeatureSpec] | None = None
    hash_key: str = KNOWN_KEY

    def __post_init__(self) -> None:
        if isinstance(self.features, Iterable) and not isinstance(self.features, (str, list, tuple, *UNORDERED)):
            self.features = list(self.features)
        owner = type(self).__name__
        self.hash_key = HashKey(checked(owner, "hash_key", self.hash_key, str))
        try:
            self._columns = FrameColumns(self.features, self.stream_key, self.hash_key, self._most_inputs())
        except ConfigError as error:
            raise ConfigError(f"{owner}: {error}") from None
        super().__post_init__()

    # ---- for the concrete classes

    def _most_inputs(self) -> int:
        """Most symbols that get a number where frames are found to be symbols."""
        return 1_000

    def _model_fields(self) -> dict[str, Any]:
        """What the specification's section about the model has besides what all share."""
        raise NotImplementedError

    def _target(self) -> dict[str, Any]:
        """The ``target`` section of the specification as it is now."""
        raise NotImplementedError

    def _answer(self, y: Any, frames: int) -> Any:
        """One y as it may be told; None: it is unknown. Raises RecordError; changes nothing."""
        raise NotImplementedError

    def _told(self, answers: Sequence[Any]) -> Told:
        """Answers in the learner's numbers; those of classes that come first are given out."""
        raise NotImplementedError

    def _said(self, predictions: Predictions, i: int, known: int) -> Any:
        """What is said of record i, before which so many of the classes were known."""
        raise NotImplementedError

    _answers_frames: ClassVar[bool] = False
    """Whether y says something of each frame."""

    def _nothing(self, frames: int) -> Any:
        """What is said before anything was learned."""
        raise NotImplementedError

    # ---- specification and learner

    def _new_learner(self, spec: LearnerSpec, seed: int) -> SequenceLearner:
        return SequenceLearner(spec, seed)

    @property
    def _has_end(self) -> bool:
        return self.chunks

    @property
    def _learning(self) -> tuple[str, ...]:
        return (*super()._learning, "average", "scale")

    def _fields(self) -> dict[str, Any]:
        owner = type(self).__name__
        return {
            "n_features": self._columns.n_features,
            "indicator": self._columns.indicator,
            "missing": self._columns.imputed,
            "symbols": self._columns.symbols,
            "inputs": InputSpec(dt=False, previous_target=False),
            "model": section(owner, ModelSpec, {**self._values(_MODEL), **self._model_fields()}),
            "target": section(owner, TargetSpec, {"fields": ("y",), **self._target()}),
            "sequence": section(owner, SequenceSpec, self._values(_SEQUENCE)),
        }

    def _take_up(self, name: str) -> None:
        assert self._learner is not None
        columns, owner = self._columns, type(self).__name__
        try:
            if name == "features":
                self._columns = columns.changed(self.features)
            require_possible(self, name, self._learner.spec, self._spec())
        except ConfigError as error:
            self._columns = columns
            raise error if str(error).startswith(owner) else ConfigError(f"{owner}: {error}") from None
        self._make()

    def _existing(self) -> SequenceLearner:
        if self._learner is None and not self._columns.known:
            raise ConfigError(
                f"{type(self).__name__}: there are no weights before the first sequence, since its features decide "
                "their shapes; name them beforehand: features=[...]"
            )
        return super()._existing()

    # ---- reading

    def _read(self, columns: FrameColumns, x: Mapping[Any, Any], y: Any) -> Given:
        """One sequence, or chunk of one. Raises RecordError; changes nothing."""
        after, read = columns.read(x)
        frames = len(read.x)
        if frames == 0 and not after.known:
            raise RecordError("empty_sequence", f"{FRAMES}: expected frames of the first sequence, got none")
        if not self.chunks:
            most = self.max_steps * self.stack
            if frames == 0:
                raise RecordError("empty_sequence", f"{FRAMES}: expected at least one frame, got none")
            if frames > most:
                raise RecordError(
                    "too_long", f"{FRAMES}: expected at most {most:,}, got {frames:,}; raise max_steps, or send chunks"
                )
        return Given(after, after.key(x), read, self._answer(y, frames))

    def _block(self, sequences: Sequence[Given], told: Told, *, end: bool = True) -> Block:
        """The sequences as the learner takes them, in the columns that it has."""
        n, columns = len(sequences), self._columns
        bounds = np.zeros(n + 1, np.int64)
        np.cumsum([len(each.read.x) for each in sequences], out=bounds[1:])
        x = np.full((int(bounds[-1]), columns.n_features), np.nan)
        for each, start, stop in zip(sequences, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            x[start:stop, : each.read.x.shape[1]] = each.read.x
        symbols = tuple(
            [text for each in sequences for text in each.read.symbols[k]] for k in range(len(columns.symbols))
        )
        return Block(
            [each.key for each in sequences],
            np.zeros(n, np.int64),
            np.zeros((n, 0)),
            told.y,
            np.full(n, end),
            np.full(n, EVENT, np.uint8),
            np.zeros(n, np.uint64),
            labels=told.labels,
            frames=Frames(bounds, x, symbols),
            answers=told.answers,
        )

    def _process(self, sequences: Sequence[Given], *, end: bool = True) -> Predictions:
        """Through the learner: what was said of each before it was learned."""
        same, self._columns = sequences[-1].columns is self._columns, sequences[-1].columns
        told = self._told([each.answer for each in sequences])
        learner = self._learner
        # To look whether the specification is another one costs as much as a short sequence.
        if learner is None or not same or len(list(self._classes())) > learner.spec.n_classes:
            learner = self._make()
        try:
            return learner.process(self._block(sequences, told, end=end))
        except BaseException:
            learner.take_back_classes()
            raise

    # ---- public

    def learn_one(self, x: Mapping[Any, Any], y: Any = None) -> None:
        """Learn that the sequence x turns out to be y; None: nothing is known of it.

        With ``chunks`` x are the last frames of the sequence under way, which ends.
        """
        with self._lock:
            given = self._read(self._columns, x, y)
            self._cuts([given])
            self._process([given])

    def learn_many(self, X: Iterable[Mapping[Any, Any]], y: Iterable[Any]) -> list[Any]:
        """Learn sequences in order; the same result as ``learn_one`` for each.

        Returns what was predicted of each before it was learned, as ``predict_one`` would have.
        """
        with self._lock:
            columns, sequences = self._columns, []
            for i, (each, answer) in enumerate(zip(X, y, strict=True)):
                try:
                    sequences.append(self._read(columns, each, answer))
                except RecordError as error:
                    raise RecordError(error.reason, f"sequence {i}: {error.detail}") from None
                columns = sequences[-1].columns
            parts = [sequences[start:stop] for start, stop in pairwise(self._cuts(sequences))]
            return [said for part in parts for said in self._run(part)]

    def _cuts(self, sequences: Sequence[Given]) -> list[int]:
        """Where the learner has to be another one: at each sequence with new columns, or new classes."""
        cuts, known = [0], dict.fromkeys(self._classes())
        for i, each in enumerate(sequences):
            before = len(known)
            known.update(dict.fromkeys(self._classes_in(each.answer)))
            # Two classes have outputs from the start.
            grows = len(known) > max(2, before) or (i > 0 and each.columns is not sequences[i - 1].columns)
            if grows and i > 0:
                cuts.append(i)
        self._require_classes(list(known))
        return [*cuts, len(sequences)] if sequences else cuts

    def _classes(self) -> Iterable[Any]:
        """The classes that have outputs, where these grow with them."""
        return ()

    def _classes_in(self, answer: Any) -> Iterable[Any]:  # noqa: ARG002
        """Those of an answer."""
        return ()

    def _require_classes(self, classes: Sequence[Any]) -> None:
        """Raise RecordError where there may not be so many."""

    def _run(self, sequences: Sequence[Given], *, end: bool = True) -> list[Any]:
        """Learn sequences that one learner can take; what was said of each before."""
        classes, known = dict.fromkeys(self._classes()), []
        for each in sequences:
            known.append(len(classes))
            classes.update(dict.fromkeys(self._classes_in(each.answer)))
        predictions = self._process(sequences, end=end)
        return [self._said(predictions, i, known[i]) for i in range(len(sequences))]

    def predict_one(self, x: Mapping[Any, Any]) -> Any:
        """What the sequence x is predicted to be. Changes nothing."""
        with self._lock:
            return self._predict([x])[0]

    def predict_many(self, X: Iterable[Mapping[Any, Any]]) -> list[Any]:
        """What each of these sequences is predicted to be, from the present state. Changes nothing."""
        with self._lock:
            return self._predict(list(X))

    def _predict(self, xs: Sequence[Mapping[Any, Any]]) -> list[Any]:
        read = [self._read(self._columns, x, None) for x in xs]
        predictions = self._predictions(read)
        if predictions is None:
            return [self._nothing(len(each.read.x)) for each in read]
        known = len(list(self._classes()))
        return [self._said(predictions, i, known) for i in range(len(read))]

    def _predictions(self, sequences: Sequence[Given]) -> Predictions | None:
        """The learner's; None before there is one."""
        if self._learner is None:
            return None
        n = self._columns.n_features
        known = [each._replace(read=each.read._replace(x=each.read.x[:, :n])) for each in sequences]
        return self._learner.predict(self._block(known, self._unknown(len(known))))

    def _unknown(self, n: int) -> Told:
        return self._told([None] * n)

    # ---- chunks

    def observe_one(self, x: Mapping[Any, Any], y: Any = None) -> Any:
        """More frames of the sequence under way; returns what it is so far predicted to be.

        Goes with ``chunks``. None where ``direction`` is ``"both"``: what is read backwards begins at the end. ``y``
        are the labels of these frames, where each has one; other estimators are told at the end.
        """
        with self._lock:
            self._require_chunks("observe_one")
            if y is not None and not self._answers_frames:
                raise RecordError("wrong_type", "y: what a sequence turns out to be is told end_sequence, at its end")
            given = self._read(self._columns, x, y)
            self._cuts([given])
            said = self._run([given], end=False)[0]
            return None if self.direction == "both" else said

    def end_sequence(self, key: Hashable | None = None, y: Any = None) -> Any:
        """The sequence under way is over: returns what it is predicted to be, then learns that it turns out to be y.

        Goes with ``chunks``. ``key`` is the stream's value of ``stream_key``; without one there is a single stream.
        """
        with self._lock:
            self._require_chunks("end_sequence")
            name, columns = self._stream_name(key), self._columns
            if not columns.known:
                raise RecordError("empty_sequence", f"{FRAMES}: no sequence is under way")
            read = Read(np.zeros((0, columns.n_features)), tuple([] for _ in columns.symbols))
            given = Given(columns, name, read, self._answer(y, 0))
            self._cuts([given])
            return self._run([given])[0]

    def _require_chunks(self, method: str) -> None:
        if not self.chunks:
            raise ConfigError(f"{type(self).__name__}: chunks: {method} goes with chunks=True")

    # ---- state

    @classmethod
    def load(cls, path: str | Path, hash_key: str | None = None) -> Self:
        """The estimator that ``save`` wrote, going on exactly where it was.

        No file holds a ``hash_key`` that was given; where values are hashed, it has to be given again.

        Raises CheckpointError when the file is missing, damaged or of another kind of estimator, and for another key.
        """
        return cls._loaded(path, lambda owner: read_parameters(path, owner, hash_key))

    def _told_parameters(self) -> dict[str, Any]:
        return {name: value for name, value in self._parameters().items() if name != "hash_key"}

    def _owner(self) -> dict[str, Any]:
        hashing = Hashing.of(self._columns.hash_check, KNOWN_KEY)._asdict()
        return {**super()._owner(), "hashing": hashing, "columns": self._columns.state()}

    @property
    def _column_labels(self) -> tuple[str, ...]:
        return self._columns.labels

    def _restore(self, model: ModelFile) -> None:
        if (columns := model.owner["columns"]) is not None:  # None: the features tell all, as of a job
            self._columns = self._columns.restored(columns)
        super()._restore(model)


def require_sequence(y: Any) -> list[Any] | None:
    """An answer that is a list or an array of plain values, as a list; None: it is not known. Raises RecordError."""
    if y is None:
        return None
    if isinstance(y, np.ndarray):
        y = y.tolist() if y.ndim == 1 else y
    if isinstance(y, str) or not isinstance(y, Sequence):
        raise RecordError("wrong_type", f"y: expected a list, got {describe(y)}")
    return list(y)
