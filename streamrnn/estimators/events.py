"""Estimators of events: dicts, or rows of frames, whose features become the network's columns.

The thin way from River's calls to one ``Learner``, shared by all but the language model, whose symbols have no
features. Beside parameters and learner an estimator of events holds the columns it knows; when a feature or class
appears for the first time, what was learned is carried over to a larger learner.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np

from streamrnn.errors import CheckpointError, ConfigError
from streamrnn.estimators.base import RecurrentEstimator
from streamrnn.estimators.columns import Columns, Encoded, Floats, Missing, in_rows
from streamrnn.estimators.parameters import UNORDERED, checked, section
from streamrnn.estimators.settings import require_possible
from streamrnn.estimators.stream_key import StreamKeyWatch
from streamrnn.learner.block import EVENT, PREDICT, Block
from streamrnn.learner.features import FeatureSpec
from streamrnn.learner.hashing import KNOWN_KEY, Hashing, HashKey, check_of
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.storage.model_file import ModelFile

if TYPE_CHECKING:
    import pandas as pd

_MODEL = (
    "cell", "gates", "hidden_layer", "hidden_size", "num_layers", "memory", "loss", "readout", "dtype", "lags",
    "rls_forgetting", "rls_prior", "quantiles",
)  # fmt: skip
"""The parameters that stand in the section about the model."""


@dataclass(eq=False, repr=False)
class EventEstimator(RecurrentEstimator):
    """Parameters common to estimators of events, and what they do alike."""

    loss: str | None = None
    readout: str = "rls"
    scale: bool = True
    features: Sequence[Hashable | FeatureSpec] | None = None
    previous_target: bool | None = None
    lags: int = 20
    rls_forgetting: float | None = None
    rls_prior: float | None = None
    quantiles: tuple[float, ...] = (0.05, 0.5, 0.95)
    missing: str = "auto"
    hash_key: str = KNOWN_KEY

    def __post_init__(self) -> None:
        if isinstance(self.features, Iterable) and not isinstance(self.features, (str, list, tuple, *UNORDERED)):
            self.features = list(self.features)  # a frame's columns, or what can be gone through once only
        owner = type(self).__name__
        missing = checked(owner, "missing", self.missing, Missing)
        self.hash_key = HashKey(checked(owner, "hash_key", self.hash_key, str))
        try:
            self._columns = Columns(self.features, self.stream_key, missing, self.hash_key)
        except ConfigError as error:
            raise ConfigError(f"{owner}: {error}") from None
        self._keys = None if self.stream_key is None else StreamKeyWatch(owner, self.stream_key)
        if self.readout not in self._readouts():
            allowed = " or ".join(map(repr, self._readouts()))
            raise ConfigError(f"{owner}: readout: expected {allowed}, got {self.readout!r}")
        super().__post_init__()

    def _take_up(self, name: str) -> None:
        """Have what was learned go on with a parameter that was just set. Raises ConfigError where it cannot."""
        learner, columns = self._learner, self._columns
        assert learner is not None
        owner = type(self).__name__
        missing = checked(owner, "missing", self.missing, Missing)
        try:
            if name in {"features", "missing"}:
                self._columns = columns.changed(self.features, missing)
            require_possible(self, name, learner.spec, self._spec())
        except ConfigError as error:
            self._columns = columns
            raise error if str(error).startswith(owner) else ConfigError(f"{owner}: {error}") from None
        self._make()

    # ---- for the concrete classes

    def _readouts(self) -> tuple[str, ...]:
        """The readouts the estimator can have."""
        raise NotImplementedError

    def _target(self) -> dict[str, Any]:
        """The ``target`` section of the specification as it is now."""
        raise NotImplementedError

    @property
    def _n_features(self) -> int:
        """Columns that are inputs of the network."""
        return self._columns.n_features

    def _target_when(self) -> dict[str, Any]:
        """What the same section says about when targets become known; nothing: with their event."""
        return {}

    def _outgrown(self, learner: Learner) -> bool:  # noqa: ARG002
        """Whether the learner is too small for what is known now, columns apart: for a new class, say."""
        return False

    # ---- specification and learner

    def _fields(self) -> dict[str, Any]:
        owner = type(self).__name__
        shown = checked(owner, "previous_target", self.previous_target, bool | None)
        scale = checked(owner, "scale", self.scale, bool)
        return {
            "n_features": self._n_features,
            "indicator": self._columns.indicator[: self._n_features],
            "missing": self._columns.imputed[: self._n_features],
            "inputs": InputSpec(dt=False, previous_target=scale if shown is None else shown),
            "model": section(owner, ModelSpec, self._values(_MODEL)),
            "target": section(owner, TargetSpec, {**self._target(), **self._target_when()}),
        }

    @property
    def _learning(self) -> tuple[str, ...]:
        return (*super()._learning, "scale")

    def _adopt(self, columns: Columns) -> Learner:
        """The learner for these columns, which are the known ones or those with new ones behind."""
        if columns is self._columns and self._learner is not None and not self._outgrown(self._learner):
            return self._learner
        before, self._columns = self._columns, columns
        try:
            return self._make()
        except BaseException:  # with Ctrl-C, say; wider than the learner, they would be refused ever after
            self._columns = before
            self._forget_unlearned()
            raise

    def _forget_unlearned(self) -> None:
        """The learner was not made larger: forget what it has no room for."""

    def _learn(self, x: Mapping[Any, Any], y: float | Sequence[float]) -> None:
        """One event through the learner. An event that is refused changes nothing."""
        # Whatever may refuse the event comes before the learner, or the estimator's columns, change.
        self._teach(self._columns.encoded(x), y)

    def _teach(self, event: Encoded, y: float | Sequence[float]) -> None:
        """``_learn`` for an event that was encoded."""
        columns, x, row, key = event
        self._adopt_event(columns, x, row).step(key, EVENT, row, y)

    def _adopt_event(self, columns: Columns, x: Mapping[Any, Any], row: Sequence[float]) -> Learner:
        """``_adopt`` for an event that is about to be learned: the keys it lacks count for those to come."""
        if self._keys is not None:
            self._note_keys((x.get(self.stream_key),))
        return self._adopt_row(columns, x, row)

    def _note_keys(self, keys: Iterable[object]) -> None:
        """Before an event, or a mini-batch, with these keys is learned: whether they can be meant."""
        if self._keys is not None and self._learner is not None:
            self._keys.note(keys, self._learner.streams)

    def _adopt_row(self, columns: Columns, x: Mapping[Any, Any], row: Sequence[float]) -> Learner:
        """``_adopt_event`` for a row of a mini-batch, whose keys were noted."""
        learner = self._adopt(columns)
        if (zeros := columns.note(x, row)) is not None and learner.spec.n_features:
            learner.add_zeros(zeros)
        return learner

    def _predict(self, x: Mapping[Any, Any]) -> Floats | None:
        """The learner's prediction for one event, (n_outputs,); None before there is a learner. Changes nothing."""
        key, row = self._columns.key(x), self._columns.row(x)
        return None if self._learner is None else self._learner.step(key, PREDICT, row, np.nan)

    def _learn_frame(
        self, frame: pd.DataFrame, targets: Callable[[int, int], Floats], cuts: Iterable[int] = ()
    ) -> None:
        """Learn all rows in one call of the kernel; the result is the same as row by row.

        ``targets(start, stop)`` gives the targets of these rows. The call is split at each of ``cuts``, and wherever a
        feature appears for the first time. A frame that is refused changes nothing.
        """
        if not self._columns.has_all(frame):
            self._learn_row_by_row(frame, targets)
            return
        stages = self._columns.extended_by(frame)
        keys, rows = stages[-1][1].keys(frame), stages[-1][1].rows(frame)
        if self._keys is not None:
            self._note_keys(frame[self.stream_key].tolist())
        bounds = sorted({*(start for start, _ in stages), *cuts, len(frame)})
        for start, stop in pairwise(bounds):
            columns = next(known for first, known in reversed(stages) if first <= start)
            y = targets(start, stop)
            part = rows[start:stop, : columns.n_features]
            learner = self._adopt(columns)
            columns.note_rows(part)
            learner.process(Block.events(keys[start:stop], part, y))

    def _learn_row_by_row(self, frame: pd.DataFrame, targets: Callable[[int, int], Floats]) -> None:
        """The same for a frame that lacks known features, which each of its rows may change the meaning of."""
        events = [dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False, name=None)]
        known = self._columns

        def check(x: dict[Any, Any]) -> None:
            nonlocal known
            known = known.with_row(x)[0]
            known.key(x)

        in_rows(check, events, frame.index)  # what is refused must be so before anything changes
        if self._keys is not None:
            self._note_keys([x[self.stream_key] for x in events])
        for i, x in enumerate(events):
            y = targets(i, i + 1)[0]
            columns, row = self._columns.with_row(x)
            self._adopt_row(columns, x, row).step(columns.key(x), EVENT, row, y)

    def _predict_frame(self, frame: pd.DataFrame) -> Floats | None:
        """Every row predicted from the present state, (n, n_outputs); None before there is a learner."""
        keys, rows = self._columns.keys(frame), self._columns.rows(frame)
        if self._learner is None:
            return None
        unknown = np.full((len(frame), self._learner.spec.n_targets), np.nan)
        return self._learner.predict(Block.events(keys, rows, unknown)).value

    # ---- public

    def _existing(self) -> Learner:
        if self._learner is None and not self._columns.fixed:
            raise ConfigError(
                f"{type(self).__name__}: there are no weights before the first event, since its features decide their "
                "shapes; name them beforehand: features=[...]"
            )
        return super()._existing()

    @classmethod
    def load(cls, path: str | Path, hash_key: str | None = None) -> Self:
        """The estimator that ``save`` wrote, going on exactly where it was.

        No file holds a ``hash_key`` that was given; where values are hashed, it has to be given again.

        Raises CheckpointError when the file is missing, damaged or of another kind of estimator, and for another key.
        """

        return cls._loaded(path, lambda owner: read_parameters(path, owner, hash_key))

    # ---- state

    def _told_parameters(self) -> dict[str, Any]:
        return {name: value for name, value in self._parameters().items() if name != "hash_key"}

    def _owner(self) -> dict[str, Any]:
        hashing = Hashing.of(self._columns.hash_check, KNOWN_KEY)._asdict()
        return {**super()._owner(), "hashing": hashing, "columns": self._columns.state()}

    @property
    def _column_labels(self) -> tuple[str, ...]:
        return self._columns.labels[: self._n_features]

    def _restore(self, model: ModelFile) -> None:
        if (columns := model.owner["columns"]) is not None:  # None: the features tell all, as of a job
            self._columns = self._columns.restored(columns)
        super()._restore(model)


def read_parameters(path: str | Path, owner: Mapping[str, Any], hash_key: str | None) -> dict[str, Any]:
    """The parameters that a file holds in its ``owner``, of an estimator whose features may be encoders."""
    parameters = dict(owner["parameters"])
    if any(isinstance(feature, dict) for feature in parameters["features"] or ()):
        parameters["features"] = msgspec.convert(parameters["features"], list[FeatureSpec])
    for name in ("quantiles", "betas"):
        if isinstance(parameters.get(name), list):
            parameters[name] = tuple(parameters[name])
    parameters["hash_key"] = _hash_key(path, Hashing.read(owner.get("hashing", {})), hash_key)
    return parameters


def _hash_key(path: str | Path, recorded: Hashing, given: str | None) -> str:
    """The key that values were hashed under, given or recorded; any where none were."""
    key = given or recorded.key
    if recorded.check is None:
        return key or KNOWN_KEY
    if key is None:
        raise CheckpointError(
            f"{path}: its features were hashed under a key that no file holds; give it to load() as hash_key: the "
            "job's hashing.key, or the hash_key that the estimator was made with"
        )
    if check_of(key) != recorded.check:
        raise CheckpointError(f"{path}: hash_key is not the key that its features were hashed under")
    return key


def same_length(frame: pd.DataFrame, y: pd.Series | pd.DataFrame) -> None:
    """Raise ValueError unless there is one target for each row, TypeError unless they come from pandas."""
    if not hasattr(y, "iloc"):
        raise TypeError(f"y: expected a pandas Series, or for several targets a DataFrame, got {type(y).__name__}")
    if len(frame) != len(y):
        raise ValueError(f"X has {len(frame)} rows, y has {len(y)}")
