"""Estimators of whole sequences: x is one, with all its frames, and y what it turns out to be.

The thin way from River's calls to one ``SequenceLearner``, shared by all of them. Each call of ``learn_one`` predicts,
then learns by back-propagation through the whole sequence; nothing lives between calls but what was learned, unless
``carry`` hands a stream's state on, or its sequences come in ``chunks``. When a feature or class appears for the first
time, what was learned is carried over to a larger learner.

What is said of a sequence depends on the kind of estimator: ``_said`` makes it of the learner's predictions, and
``_answers`` makes the learner's answers of ys.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from streamrnn.errors import ConfigError, RecordError
from streamrnn.estimators.base import LearnerEstimator
from streamrnn.estimators.events import read_parameters
from streamrnn.estimators.frames import FRAMES, FrameColumns, Read
from streamrnn.estimators.given import Given, Told, block_of
from streamrnn.estimators.parameters import UNORDERED, checked, section
from streamrnn.estimators.settings import require_possible
from streamrnn.learner.features import FeatureSpec
from streamrnn.learner.hashing import KNOWN_KEY, Hashing, HashKey
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.sequences.learner import SequenceLearner
from streamrnn.learner.spec import InputSpec, LearnerSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.storage.model_file import ModelFile

_MODEL = ("cell", "hidden_size", "num_layers", "memory", "direction", "lookahead", "dtype")
_SEQUENCE = ("max_steps", "stack", "chunks", "carry", "normalise")
"""The parameters that stand in the sections about the model and about sequences."""


class Before(NamedTuple):
    """What there was before a call learned anything."""

    columns: FrameColumns
    classes: int
    learner: SequenceLearner | None
    events: int  # that it had seen
    symbols: list[int]  # how many of each input it knew


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
    schedule_updates: int | None = 100
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

    def _read(self, columns: FrameColumns, x: Mapping[Any, Any], y: Any, ended: Collection[bytes] = ()) -> Given:
        """One sequence, or chunk of one. Raises RecordError; changes nothing.

        ``ended`` are streams whose sequence under way will be over by then.
        """
        after, read = columns.read(x)
        frames, key = len(read.x), after.key(x)
        if frames == 0 and not after.known:
            raise RecordError("empty_sequence", f"{FRAMES}: expected frames of the first sequence, got none")
        if frames == 0 and not self.chunks:
            raise RecordError("empty_sequence", f"{FRAMES}: expected at least one frame, got none")
        self._require_room(0 if key in ended else self._under_way(key), frames)
        return Given(after, key, read, self._answer(y, frames))

    def _under_way(self, key: bytes) -> int:
        """How many frames the stream's sequence has that has not ended."""
        return int(self._learner.row_of(key)["frames"]) if self.chunks and self._learner is not None else 0

    def _require_room(self, before: int, frames: int) -> None:
        """Raise RecordError where so many frames are too many after those before: the network would not read them."""
        most = self.max_steps * self.stack
        if frames == 0 or before + frames <= most:
            return
        if before == 0:
            raise RecordError("too_long", f"{FRAMES}: expected at most {most:,}, got {frames:,}; raise max_steps")
        raise RecordError(
            "too_long",
            f"{FRAMES}: expected at most {most:,} in a sequence, got {frames:,} after {before:,}; raise max_steps, or "
            "end the sequence: end_sequence",
        )

    def _process(self, sequences: Sequence[Given], *, end: bool = True) -> Predictions:
        """Through the learner: what was said of each before it was learned."""
        before = self._before()
        try:
            self._columns = sequences[-1].columns
            told = self._told([each.answer for each in sequences])
            learner = self._learner
            # To look whether the specification is another one costs as much as a short sequence.
            if learner is None or self._columns is not before.columns or self._outgrown(learner, self._classes()):
                learner = self._make()
            return learner.process(block_of(sequences, told, self._columns, end=end))
        except BaseException:  # as a specification that cannot be, or Ctrl-C
            self._take_back(before)
            raise

    def _outgrown(self, learner: SequenceLearner, classes: Iterable[Any]) -> bool:
        """Whether it has not enough outputs for these classes."""
        return len(list(classes)) > learner.spec.n_classes

    def _before(self) -> Before:
        learner, classes = self._learner, len(list(self._classes()))
        if learner is None:
            return Before(self._columns, classes, None, 0, [])
        symbols = [vocabulary.known for vocabulary in learner.vocabularies]
        return Before(self._columns, classes, learner, learner.records_predicted, symbols)

    def _take_back(self, before: Before) -> None:
        """A call was broken off: everything is as before it, unless some of it was learned, to which the rest belongs.

        A learner that was to grow was not touched.
        """
        learner = before.learner
        if learner is not None:
            learner.take_back_classes()
            if learner is self._learner and learner.records_predicted > before.events:
                return
            for vocabulary, known in zip(learner.vocabularies, before.symbols, strict=True):
                vocabulary.take_back(known)
        self._columns, self._learner = before.columns, learner
        self._forget_classes(before.classes)

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

        Returns what was predicted of each before it was learned, as ``predict_one`` would have; but symbols of frames
        that come first have their numbers here.
        """
        with self._lock:
            columns, sequences, ended = self._columns, [], set[bytes]()
            for i, (each, answer) in enumerate(zip(X, y, strict=True)):
                try:
                    sequences.append(self._read(columns, each, answer, ended))
                except RecordError as error:
                    raise RecordError(error.reason, f"sequence {i}: {error.detail}") from None
                columns = sequences[-1].columns
                ended.add(sequences[-1].key)
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

    def _forget_classes(self, known: int) -> None:
        """Forget all but the first so many."""

    def _run(self, sequences: Sequence[Given], *, end: bool = True) -> list[Any]:
        """Learn sequences that one learner can take; what was said of each before."""
        classes, known = dict.fromkeys(self._classes()), []
        for each in sequences:
            known.append(len(classes))
            classes.update(dict.fromkeys(self._classes_in(each.answer)))
        first, learner = sequences[0], self._learner
        # The larger learner would say of the first what nobody could have known: a class that its answer brings.
        grows = learner is None or first.columns is not self._columns or self._outgrown(learner, classes)
        asked = self._ask([first], end=end) if grows else []
        predictions = self._process(sequences, end=end)
        return [*asked, *(self._said(predictions, i, known[i]) for i in range(len(asked), len(sequences)))]

    def predict_one(self, x: Mapping[Any, Any]) -> Any:
        """What the sequence x is predicted to be. Changes nothing."""
        with self._lock:
            return self._predict([x])[0]

    def predict_many(self, X: Iterable[Mapping[Any, Any]]) -> list[Any]:
        """What each of these sequences is predicted to be, from the present state. Changes nothing."""
        with self._lock:
            return self._predict(list(X))

    def _predict(self, xs: Sequence[Mapping[Any, Any]]) -> list[Any]:
        return self._ask([self._read(self._columns, x, None) for x in xs])

    def _ask(self, sequences: Sequence[Given], *, end: bool = True) -> list[Any]:
        """What is said of each. Changes nothing."""
        predictions = self._predictions(sequences, end=end)
        if predictions is None:
            return [self._nothing(len(each.read.x)) for each in sequences]
        known = len(list(self._classes()))
        return [self._said(predictions, i, known) for i in range(len(sequences))]

    def _predictions(self, sequences: Sequence[Given], *, end: bool = True) -> Predictions | None:
        """The learner's; None before there is one."""
        if self._learner is None:
            return None
        n = self._columns.n_features
        known = [each._replace(read=each.read._replace(x=each.read.x[:, :n])) for each in sequences]
        return self._learner.predict(block_of(known, self._unknown(len(known)), self._columns, end=end))

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

    def get_weights(self, *, average: bool = False) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of all weights under PyTorch's names and shapes: the newest, or those that predict, their ``average``.

        Where ``average`` is None as a parameter, the newest predict. Raises ConfigError before the columns are known.
        """
        with self._lock:
            return self._existing().get_weights(average=average)

    def set_weights(self, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Overwrite all weights, their average too, which begins anew with them; statistics, moments and states stay.

        Raises ConfigError before the columns are known (give ``features``), ValueError for tensors that do not fit.
        """
        super().set_weights(weights)

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
