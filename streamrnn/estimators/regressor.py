"""Regression: one number, or several, per event.

The target of an event is known right after it was predicted; a stream's newest targets are inputs of the next
prediction. Where a series is to be forecast from its own past, with seasons, several steps ahead or with intervals,
see ``forecaster``.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from river import base

from streamrnn.errors import ConfigError, RecordError
from streamrnn.estimators.columns import Floats, in_rows, is_name
from streamrnn.estimators.delayed import LabelledEstimator
from streamrnn.estimators.events import same_length
from streamrnn.estimators.parameters import UNORDERED
from streamrnn.learner.values import number

if TYPE_CHECKING:
    import pandas as pd


@dataclass(eq=False, repr=False)
class RNNRegressor(LabelledEstimator, base.MiniBatchRegressor):
    """Recurrent network for regression, with one hidden state per stream that lives between calls.

    An event is predicted from the stream's carried state; ``learn_one`` then advances that state and learns by
    truncated back-propagation through time, or with some cells by gradients that are carried along. Feed raw numbers:
    inputs and targets are scaled inside. Features may appear and disappear at any time.

    All methods may be called from several threads, as by a service that answers while it learns: calls of one estimator
    run one after the other, so a prediction sees it as it was between two events. Predicting changes nothing, except
    where labels come late and a prediction is how an event is seen (``delayed``, ``event_key``).

    Parameters
    ----------
    cell
        ``"lstm"``, ``"gru"`` or ``"rnn"`` (Elman's), which learn from a window of steps; ``"glru"`` or ``"elstm"``,
        whose units do not hear each other and which learn at every event from all steps before it; ``"bank"``, fixed
        filters under ``readout="rls"``, for smooth series.
    gates
        With ``cell="glru"``: whether inputs say how much is kept and let in. False: the LRU.
    hidden_layer
        Units of a tanh layer between state and readout; 0: none. None: none, with cell ``"bank"`` 128, and for classes
        with cell ``"glru"`` 32.
    hidden_size
        Units per layer.
    num_layers
        Stacked layers.
    memory
        Steps back that matter, where they are tens and more. Half of the units of an LSTM or GRU remember over so many
        before anything was learned, half of those of cell ``"glru"`` over up to ten times as many, and those of
        ``"elstm"`` over less than one to ten times as many, and to 1,000 at least. ``"auto"``: ``k2``, with a window.
        None: gates begin as they are; exact cells remember up to some hundred steps.
    k1
        The network learns at every k1-th event of a stream, the readout at each; without a window an optimiser step is
        taken for every k1 events, whatever their streams. None: 1, for classes, too.
    k2
        Events a gradient goes back through, at least ``k1``; not for cells without a window. None: 16.
    loss
        ``"squared"``; with ``readout="linear"`` also ``"absolute"``, ``"huber"`` or ``"quantile"``. None: squared.
    readout
        ``"rls"``: recursive least squares on the hidden state, the inputs and the ``lags`` newest targets, mixed with
        the running mean and the last target so that it does not lose to them. ``"linear"``: learned by gradient, as in
        PyTorch.
    optimizer
        ``"sgd"``, ``"momentum"``, ``"rmsprop"``, ``"adam"`` or ``"adamw"``, with PyTorch's formulas. None: rmsprop.
    lr
        Learning rate; where it falls, the one it begins with. None: 0.01.
    schedule, schedule_updates, schedule_least
        How the rate falls with the optimiser steps t taken before: ``"constant"``; ``"inverse_sqrt"``:
        ``lr / sqrt(1 + t / T)``; ``"exponential"``: ``lr * exp(-t / T)``, with T = ``schedule_updates``, and never
        below the share ``schedule_least`` of ``lr``. A rate that fell follows changes of the stream more slowly.
        None: constant; 10,000; 0, but of ``"exponential"``, which would come to nothing soon, 0.1.
    betas
        Of Adam and AdamW, what their means remember, for the gradient and for its square: two numbers above 0 and below
        1. None: 0.9 and 0.999, for numbers 0.2 and 0.999: what is learned at each event comes late by what the first
        mean remembers.
    clip_norm
        Largest norm of a step's gradient; ``"auto"``: 1, and for classes what the learner takes there (5); None never
        clips.
    polyak_bound
        Most that a step may promise to take off its loss, as a multiple of that loss; a longer one is shortened. It
        keeps all cells stable at the default rate. None: steps are not bounded, nor are they with quantile loss.
    batch_size
        Windows whose gradients are averaged for one step; refused without a window, where ``k1`` says it.
    scale
        Standardise inputs and targets by running statistics. With False the network gets exactly what it is fed.
    features
        Names of the features in column order, or encoders such as ``streamrnn.OneHot``; others are ignored. None:
        numeric features are discovered, sorted within the first event, new ones behind; dates are not inputs.
    stream_key
        Feature that tells streams apart, each with a hidden state of its own; not an input. None: one stream.
    dtype
        ``"float32"`` or ``"float64"``.
    seed
        Decides the initial weights; nothing else is random. None: another seed every time.
    max_streams
        Streams remembered; beyond it the least recently seen is dropped.
    previous_target
        Whether the network sees the stream's newest target; None: where ``scale`` is on.
    lags
        Newest targets of the stream that ``readout="rls"`` sees.
    rls_forgetting
        What an older target still weighs in ``readout="rls"`` after each newer one, from 0 to 1. None: 0.9995, with
        ``cell="bank"`` 0.9999.
    rls_prior
        Variance of its weights before anything was learned, in scaled units. None: 0.1, with ``cell="bank"`` 3.
    quantiles
        Levels of ``loss="quantile"``, increasing; the middle one is the prediction.
    missing
        What a feature counts as that an event lacks. ``"auto"``: None, NaN and pandas' NA as the running mean; a key
        that is absent as 0 where absence is ordinary, since River's transformers leave zeros out, and as the mean
        where it is not. Absence is ordinary for a feature that never varied or counts from 1 on, that is absent more
        often than there, or in more than a tenth of the events if 0 is close to its values; events from before it
        first came count as such that lacked it, at most eight of them. ``"zero"``, ``"mean"`` and ``"last"``, the
        stream's last value, make no difference between absent and None. Encoders have a ``missing`` each.
    hash_key
        What the encoder ``Hash`` hashes values under, by default a key that everybody knows. It is in no file, so that
        ``load`` asks for it again. A daemon's job has a ``hashing.key``, or else its name; under the same key it can
        begin with what the estimator has learned.
    delayed
        Whether labels come later than their events. True: a prediction counts as seeing its event and moves the state;
        the lesson comes with ``learn_one``, whose event is recognised by its features. False: ``learn_one`` sees the
        event. None: as False, until River's evaluation says that labels are delayed, or predictions and lessons show
        it, of which a ``DelayedLabelsWarning`` tells.
    event_key
        Feature that names the event, not an input: labels may come late, in any order, or never. The first call that
        names an event sees it; predictions without a name are questions and change nothing.

    All but a few can be set after events were learned, and hold from the next one on; one that what was learned cannot
    take up is refused when it is set.

    Raises
    ------
    ConfigError
        For a parameter that is not usable.
    RecordError
        From ``learn_one`` and ``predict_one``, for a feature that is not a number, or an event that does not name its
        stream. Such an event changes nothing.

    Examples
    --------
    >>> from river import datasets, evaluate, metrics
    >>> from streamrnn import RNNRegressor
    >>> model = RNNRegressor()
    >>> evaluate.progressive_val_score(datasets.TrumpApproval(), model, metrics.MAE())
    MAE: 0.194...

    One state for each of fifty chicks:

    >>> model = RNNRegressor(stream_key="chick")
    >>> evaluate.progressive_val_score(datasets.ChickWeights(), model, metrics.MAE())
    MAE: 5.7...

    A cell that learns at each event without a window:

    >>> model = RNNRegressor(stream_key="chick", cell="elstm", hidden_layer=32)
    >>> evaluate.progressive_val_score(datasets.ChickWeights(), model, metrics.MAE())
    MAE: 5.3...

    References
    ----------
    Irie, K., Gopalakrishnan, A. & Schmidhuber, J. 2023. Exploring the promise and limits of real-time recurrent
    learning. arXiv:2305.19044. Zucchet, N. et al. 2023. Online learning of long-range dependencies. NeurIPS 36.
    Williams, R. J. & Peng, J. 1990. An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories. Neural Computation 2(4). Hochreiter, S. & Schmidhuber, J. 1997. Long short-term memory. Neural
    Computation 9(8).
    """

    def _readouts(self) -> tuple[str, ...]:
        return ("rls", "linear")

    def _target(self) -> dict[str, Any]:
        return {"fields": ("y",)}

    def learn_one(self, x: Mapping[Any, Any], y: float | None = None) -> None:
        """Advance the stream's state by x, then learn y; None or NaN: advance only."""
        with self._lock:
            self._learn(x, number(y, "y"))

    def predict_one(self, x: Mapping[Any, Any]) -> float:
        """The prediction for x from the stream's present state, 0 before anything was learned. Changes nothing."""
        with self._lock:
            outputs = self._predict(x)
            if outputs is None:
                return 0.0
            return float(
                outputs[0] if len(outputs) == 1 else np.sort(outputs)[len(outputs) // 2]
            )  # the middle quantile

    def predict_quantiles_one(self, x: Mapping[Any, Any]) -> dict[float, float]:
        """With ``loss="quantile"``: level -> value, increasing. Changes nothing."""
        with self._lock:
            if self.loss != "quantile":
                raise ConfigError(f"predict_quantiles_one goes with loss='quantile', got loss={self.loss!r}")
            outputs = self._predict(x)
            values = [0.0] * len(self.quantiles) if outputs is None else np.sort(outputs).tolist()
            return dict(zip(self.quantiles, values, strict=True))

    def learn_many(self, X: pd.DataFrame, y: pd.Series) -> None:
        """Learn from the rows in order, in one call; the same result as ``learn_one`` for each."""
        with self._lock:
            same_length(X, y)
            values = _numbers(y, "y")[:, None]
            self._learn_frame(X, lambda i, j: values[i:j])

    def predict_many(self, X: pd.DataFrame) -> pd.Series:
        """The prediction for each row from the present state: no row advances it."""
        import pandas as pd

        with self._lock:
            outputs = self._predict_frame(X)
            values = np.zeros(len(X)) if outputs is None else np.sort(outputs, axis=1)[:, outputs.shape[1] // 2]
            return pd.Series(values, index=X.index)


@dataclass(eq=False, repr=False)
class RNNMultiTargetRegressor(LabelledEstimator, base.MultiTargetRegressor):
    """Recurrent network that predicts several numbers per event.

    Parameters
    ----------
    targets
        Names of the targets; others are ignored. None: those of the first event that has any.

    All other parameters, and what is raised, are those of ``RNNRegressor``; ``loss="quantile"`` is not among its
    losses.

    Examples
    --------
    >>> from streamrnn import RNNMultiTargetRegressor
    >>> model = RNNMultiTargetRegressor()
    >>> for t in range(300):
    ...     model.learn_one({"day": t % 7}, {"visits": 10 * (t % 7), "sales": 5 - t % 7})
    >>> {name: round(value) for name, value in model.predict_one({"day": 300 % 7}).items()}
    {'sales': -1, 'visits': 60}
    """

    targets: Sequence[Hashable] | None = None

    def __post_init__(self) -> None:
        if self.targets is not None and not _are_names(self.targets):
            raise ConfigError(f"RNNMultiTargetRegressor: targets: expected names or None, got {self.targets!r}")
        self._targets: list[Hashable] = [] if self.targets is None else list(self.targets)
        if len(set(self._targets)) < len(self._targets):
            raise ConfigError(f"RNNMultiTargetRegressor: targets: names must differ, got {self._targets}")
        if self.loss == "quantile":
            raise ConfigError("RNNMultiTargetRegressor: loss: 'quantile' has no single value per target to predict")
        super().__post_init__()

    def _readouts(self) -> tuple[str, ...]:
        return ("rls", "linear")

    def _target(self) -> dict[str, Any]:
        return {"fields": [f"y{i}" for i in range(max(1, len(self._targets)))]}

    def _is_ready(self) -> bool:
        return bool(self._targets)

    def _own_state(self) -> dict[str, Any]:
        return {**super()._own_state(), "targets": self._targets}

    def _set_own_state(self, state: Mapping[str, Any]) -> None:
        super()._set_own_state(state)
        self._targets = msgspec.convert(state["targets"], list[str | int | float | bool | None])

    def learn_one(self, x: Mapping[Any, Any], y: Mapping[Any, float] | None = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Advance the stream's state by x, then learn the targets; one that is absent, None or NaN is not known.

        The names are ``targets``, or those of the first y; before there are any, x is not learned.
        """
        with self._lock:
            if y is not None and not isinstance(y, Mapping):
                raise RecordError("wrong_type", f"y: expected a dict of targets, got {y!r}")
            if not self._targets and y:
                self._columns.extended(x).row(x)  # a refused event must not decide the targets
                for name, value in y.items():
                    number(value, str(name))
                self._targets = sorted(y, key=str)
            if self._targets:
                self._learn(x, self._row(y or {}))

    def predict_one(self, x: Mapping[Any, Any]) -> dict[Hashable, float]:
        """Each target's prediction for x, empty before the targets are known. Changes nothing."""
        with self._lock:
            outputs = self._predict(x)
            values = [0.0] * len(self._targets) if outputs is None else outputs.tolist()
            return dict(zip(self._targets, values, strict=True))

    def learn_many(self, X: pd.DataFrame, y: pd.DataFrame) -> None:
        """Learn from the rows in order, in one call; the same result as ``learn_one`` for each."""
        with self._lock:
            same_length(X, y)
            before, names = self._targets, list(y.columns)
            self._targets = before or sorted(names, key=str)
            try:
                events = (dict(zip(names, row, strict=True)) for row in y.itertuples(index=False, name=None))
                rows = in_rows(self._row, events, y.index)
                values = np.array(rows, np.float64).reshape(len(y), len(self._targets))
                self._learn_frame(X, lambda i, j: values[i:j])
            except RecordError:
                self._targets = before
                raise

    def predict_many(self, X: pd.DataFrame) -> pd.DataFrame:
        """The predictions for each row from the present state: no row advances it."""
        import pandas as pd

        with self._lock:
            outputs = self._predict_frame(X)
            values = np.zeros((len(X), len(self._targets))) if outputs is None else outputs
            return pd.DataFrame(values, index=X.index, columns=self._targets)

    def _row(self, y: Mapping[Any, float]) -> list[float]:
        unknown = [name for name in y if name not in self._targets]
        if unknown and self.targets is None:
            raise RecordError(
                "unknown_target",
                f"y: targets {unknown} were not in the first event, which had {self._targets}; name all: targets=[...]",
            )
        return [number(y.get(name), str(name)) for name in self._targets]


def _are_names(value: Any) -> bool:
    if not isinstance(value, Collection) or isinstance(value, (str, *UNORDERED)):
        return False
    return len(value) > 0 and all(map(is_name, value))


def _numbers(y: pd.Series, name: str) -> Floats:
    """A series as float64, NaN where not known."""
    if getattr(y.dtype, "kind", "O") in "fiub":
        return np.array(y.to_numpy(np.float64))
    return np.array(in_rows(lambda value: number(value, name), y.tolist(), y.index), np.float64)
