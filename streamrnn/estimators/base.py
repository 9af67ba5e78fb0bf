"""What all estimators share: the network's parameters, and the learner that holds what was learned.

An estimator holds its parameters and a learner; nothing else decides what it predicts, but for what ``events`` knows of
columns. A learner is of fixed size, so when it is to be larger, what was learned is carried over to a larger one.
Estimators are pickled and saved through the same state, a model file, and a file says which estimator wrote it.

River's events carry no time, so nothing here depends on one: a sequence ends by ``end_sequence``, or never.

Every public method holds the estimator's lock from its first look at the learner to its last; what starts with an
underscore expects it to be held.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace

from streamrnn.errors import CheckpointError, ConfigError
from streamrnn.estimators.lock import EstimatorLock
from streamrnn.estimators.parameters import plain, section
from streamrnn.estimators.settings import FIXED, change, parameters_of, require_possible
from streamrnn.learner.consistency import RuleError
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.growth import carry_over, require_no_larger
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import RULE_OF
from streamrnn.learner.spec import LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.values import canonical_text
from streamrnn.storage.model_file import ModelFile, load_model, pack, save_model, unpack

_LEARNING = (
    "optimizer", "lr", "schedule", "schedule_updates", "schedule_least", "clip_norm", "polyak_bound", "batch_size",
)  # fmt: skip
_STREAMS = ("max_streams",)
"""The parameters that stand in each section of the specification."""
FIXED_FILTERS: Mapping[str, Any] = {"optimizer": LearningSpec().optimizer}
"""What a cell of which gradients train nothing has where a parameter is None: what it may not be told."""

L = TypeVar("L", bound=Foundation)


@dataclass(eq=False, repr=False)
class LearnerEstimator(Generic[L]):
    """Parameters common to all estimators, and what they do alike. The concrete classes document them."""

    cell: str = "lstm"
    hidden_size: int = 16
    num_layers: int = 1
    memory: int | str | None = None
    optimizer: str | None = None
    lr: float | None = None
    schedule: str | None = None
    schedule_updates: int | None = None
    schedule_least: float | None = None
    clip_norm: float | str | None = "auto"
    polyak_bound: float | None = 1.0
    batch_size: int = 1
    stream_key: Hashable | None = None
    dtype: str = "float32"
    seed: int | None = 0
    max_streams: int = 10_000

    def __post_init__(self) -> None:
        owner = type(self).__name__
        self._learner: L | None = None
        self._lock = EstimatorLock()
        if self.seed is not None and (isinstance(self.seed, bool) or not isinstance(self.seed, int | np.integer)):
            raise ConfigError(f"{owner}: seed: expected a whole number or None, got {self.seed!r}")
        self._spec()

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] == "_" or "_learner" not in self.__dict__ or name not in parameters_of(self):
            object.__setattr__(self, name, value)
        else:
            change(self, name, value, partial(object.__setattr__, self))

    @property
    def _mutable_attributes(self) -> set[str]:
        return {*parameters_of(self)} - FIXED.keys()

    def _take_up(self, name: str) -> None:
        """Have what was learned go on with a parameter that was just set. Raises ConfigError where it cannot."""
        assert self._learner is not None
        require_possible(self, name, self._learner.spec, self._spec())
        self._make()

    # ---- for the concrete classes

    def _new_learner(self, spec: LearnerSpec, seed: int) -> L:
        """A learner of the estimator's kind."""
        raise NotImplementedError

    @property
    def _has_end(self) -> bool:
        """Whether sequences are ended by whoever calls."""
        return True

    def _fields(self) -> dict[str, Any]:
        """What the specification says beside learning and streams. Raises ConfigError naming the parameter."""
        raise NotImplementedError

    def _own_state(self) -> dict[str, Any]:
        """What the estimator needs besides parameters, columns and learner, as JSON values."""
        return {}

    def _set_own_state(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``_own_state``; called before the learner is put in place."""

    # ---- specification and learner

    def _spec(self) -> LearnerSpec:
        """The specification of the learner for what is known now. Raises ConfigError naming the parameter."""
        owner = type(self).__name__
        fields = self._fields()
        learning = section(owner, LearningSpec, self._by_cell(self._values(self._learning)))
        streams = section(owner, StreamSpec, self._values(_STREAMS))
        try:
            return LearnerSpec(
                has_end=self._has_end,
                learning=learning,
                # Without a key there is one stream, and arrays for more would lie idle.
                streams=streams if self.stream_key is not None else replace(streams, max_streams=1),
                **fields,
            )
        except RuleError as error:
            raise ConfigError(f"{owner}: {error.field}: {error.reason}") from None

    @property
    def _learning(self) -> tuple[str, ...]:
        """The parameters that stand in the section about learning."""
        return _LEARNING

    def _by_cell(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values with those that are None as the cell has them; what stays None is the specification's to say."""
        return values

    def _values(self, names: Sequence[str]) -> dict[str, Any]:
        return {name: getattr(self, name) for name in names}

    def _make(self) -> L:
        """The learner, made anew or grown to what is known now."""
        spec = self._spec()
        if self._learner is None:
            seed = secrets.randbits(63) if self.seed is None else int(self.seed)
            self._learner = self._new_learner(spec, seed & (2**64 - 1))
        elif spec != self._learner.spec:
            grown = self._new_learner(
                spec, 0
            )  # the seed does not matter: all weights are overwritten, or start from zero
            carry_over(self._learner.state(), grown, range(self._learner.spec.n_features))
            self._learner = grown
        return self._learner

    # ---- public

    def _stream_name(self, key: Hashable | None) -> bytes:
        if (key is None) != (self.stream_key is None):
            raise ConfigError(
                f"key: {'needed, since stream_key is set' if key is None else 'goes with stream_key, which is not set'}"
            )
        return b"" if key is None else canonical_text(key, str(self.stream_key)).encode("utf-8", "surrogatepass")

    def get_weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """Copies of all weights under PyTorch's names and shapes; with readout rls also ``rls.weight``.

        Raises ConfigError before the columns are known.
        """
        with self._lock:
            return self._existing().get_weights()

    def set_weights(self, weights: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Overwrite all weights; statistics, optimiser moments and states stay.

        Raises ConfigError before the columns are known (give ``features``), ValueError for tensors that do not fit.
        """
        with self._lock:
            self._existing().set_weights(weights)

    def _existing(self) -> L:
        """The learner, made where there is none yet. Raises ConfigError where only events can tell how large it is."""
        return self._learner or self._make()

    def counters(self) -> dict[str, int]:
        """Running counts of what happened (events, updates, clipped, imputed, evictions ...); empty at first."""
        with self._lock:
            return {} if self._learner is None else self._learner.counters()

    def save(self, path: str | Path) -> None:
        """Write parameters and everything learned to a safetensors file, which ``load`` and a daemon read.

        Raises CheckpointError when the file cannot be written, or could not be read again.
        """
        try:
            with self._lock:
                model = self._model_file()
                model.require_readable()
                save_model(path, model)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{type(self).__name__} cannot be saved to {path}: {error}") from error

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The estimator that ``save`` wrote, going on exactly where it was.

        Raises CheckpointError when the file is missing, damaged or of another kind of estimator.
        """
        return cls._loaded(path, lambda owner: dict(owner["parameters"]))

    @classmethod
    def _loaded(cls, path: str | Path, parameters_in: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Self:
        """``load``, with what finds the parameters in the file's ``owner``."""
        model = load_model(path)
        owner = model.owner
        if (why := owner.get("why")) is not None:
            raise CheckpointError(f"{path} holds a model of a job that no estimator can go on from: {'; '.join(why)}")
        if owner.get("estimator") != cls.__name__:
            raise CheckpointError(f"{path} holds a model of {owner.get('estimator')}, not of {cls.__name__}")
        try:
            estimator = cls(**parameters_in(owner))
            estimator._restore(model)
        except (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
            why = str(error) or type(error).__name__
            raise CheckpointError(f"{path} does not fit together: {why}") from error
        return estimator

    # ---- state

    def _parameters(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def _told_parameters(self) -> dict[str, Any]:
        """Those that a file holds."""
        return self._parameters()

    def _owner(self) -> dict[str, Any]:
        """What a file holds beside what was learned, as JSON values; raises TypeError for what JSON cannot hold."""
        return {
            "estimator": type(self).__name__,
            "parameters": msgspec.to_builtins(self._told_parameters(), enc_hook=plain),
            "own": self._own_state(),
        }

    @property
    def _column_labels(self) -> tuple[str, ...]:
        """Names of the network's columns in a file."""
        return ()

    def _model_file(self) -> ModelFile:
        return ModelFile(None if self._learner is None else self._learner.state(), self._column_labels, self._owner())

    def _restore(self, model: ModelFile) -> None:
        self._set_own_state(model.owner["own"])
        if (saved := model.saved) is not None:
            spec = self._spec()
            require_no_larger(spec, saved.spec)  # before anything is allocated that the file does not hold
            learner = self._new_learner(spec, 0)
            carry_over(saved, learner, range(saved.spec.n_features))
            self._learner = learner

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            # Equal estimators are equal pickles, whether equal texts are one object or, as from a file, several.
            told = {name: sys.intern(v) if type(v) is str else v for name, v in self._parameters().items()}
            return {"parameters": told, "model": pack(self._model_file())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state["parameters"].items():
            setattr(self, name, value)
        self.__post_init__()
        self._restore(unpack(state["model"]))


@dataclass(eq=False, repr=False)
class RecurrentEstimator(LearnerEstimator[Learner]):
    """What estimators have in common that learn step by step: their streams have states that live between calls."""

    _windowed: ClassVar[Mapping[str, Any]] = {"k1": 1, "k2": 16, "optimizer": "rmsprop", "lr": 1e-2}
    """What is learned with where a parameter is None, by cells that learn from a window of steps."""
    _exact: ClassVar[Mapping[str, Any]] = {"k1": 1, "optimizer": "rmsprop", "lr": 1e-2}
    """The same by cells that carry their gradient along; what is not told is as in a job that does not tell it.

    ``k1`` is 1 for classes, too: at this rate 8, a job's, was worse in 7 of 8 pairs of cell and data set.
    """

    gates: bool = True
    hidden_layer: int | None = None
    k1: int | None = None
    k2: int | None = None
    betas: tuple[float, float] | None = None

    def _new_learner(self, spec: LearnerSpec, seed: int) -> Learner:
        return Learner(spec, seed)

    @property
    def _learning(self) -> tuple[str, ...]:
        return ("k1", "k2", "betas", *super()._learning)

    def _by_cell(self, values: dict[str, Any]) -> dict[str, Any]:
        of_rule = {"tbptt": self._windowed, "rtrl": self._exact, "fixed": FIXED_FILTERS}[RULE_OF[self.cell]]
        return {name: of_rule.get(name) if value is None else value for name, value in values.items()}

    def end_sequence(self, key: Hashable | None = None) -> None:
        """End a stream's sequence: learn from what is left of it and go back to the zero state.

        ``key`` is the stream's value of ``stream_key``; without one there is a single stream. What was learned stays.
        """
        with self._lock:
            name = self._stream_name(key)
            if self._learner is not None:
                self._learner.close(name)
