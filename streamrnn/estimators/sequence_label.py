"""One label for a whole sequence: a class, or a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
from river import base

from streamrnn.errors import RecordError
from streamrnn.estimators.classifier import Label, checked_label
from streamrnn.estimators.given import Told
from streamrnn.estimators.parameters import checked
from streamrnn.estimators.sequences import SequenceEstimator
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.values import number


@dataclass(eq=False, repr=False)
class LabellingEstimator(SequenceEstimator):
    """What estimators of sequences have in common whose classes may appear at any time."""

    readout: str = "softmax"

    def __post_init__(self) -> None:
        self._labels: dict[Label, int] = {}
        super().__post_init__()

    @property
    def classes(self) -> list[Label]:
        """The classes seen so far, in the order in which they appeared."""
        with self._lock:
            return list(self._labels)

    def _classes(self) -> Iterable[Any]:
        return self._labels

    def _require_classes(self, classes: Sequence[Any]) -> None:
        if self.readout == "logistic" and len(classes) > 2:
            raise RecordError(
                "too_many_classes",
                f"y: readout='logistic' tells two classes apart, got a third: {sorted(classes, key=str)}; use "
                "readout='softmax'",
            )

    def _forget_classes(self, known: int) -> None:
        while len(self._labels) > known:
            self._labels.popitem()

    def _class_names(self) -> tuple[int, ...]:
        """What stands for the classes in the specification. There are two from the start: no kernel knows one class."""
        return tuple(range(max(2, len(self._labels))))

    def _index(self, label: Label | None) -> float:
        """The class's number, given out in order of appearance; NaN for an unknown label."""
        return np.nan if label is None else float(self._labels.setdefault(label, len(self._labels)))

    def _own_state(self) -> dict[str, Any]:
        return {**super()._own_state(), "labels": list(self._labels)}

    def _set_own_state(self, state: Mapping[str, Any]) -> None:
        super()._set_own_state(state)
        labels = msgspec.convert(state["labels"], list[str | int | float | bool])
        self._labels = {label: i for i, label in enumerate(labels)}
        if len(self._labels) != len(labels):
            raise ValueError(f"labels: must differ, got {labels}")


@dataclass(eq=False, repr=False)
class RNNSequenceClassifier(LabellingEstimator, base.Classifier):
    """Recurrent network that says which class a whole sequence is of: a session, a gesture, an utterance, a trip.

    A call of ``learn_one`` is one sequence; it is predicted from nothing but its own frames. The readout sees the mean
    of what the network says at all steps, and its final states.

    Parameters
    ----------
    cell
        ``"gru"``, ``"lstm"`` or ``"rnn"`` (Elman's).
    hidden_size
        Units per layer and direction.
    num_layers
        Stacked layers.
    memory
        Steps over which half of the units of an LSTM or GRU remember before anything was learned. None: gates begin as
        they are.
    direction
        ``"both"``: a second network reads the sequence backwards. ``"forward"``: what is known at a step follows from
        the steps before it, so that something can be said while a sequence comes in (``chunks``).
    lookahead
        With ``"both"`` and one layer: steps that the second network looks ahead of each step. None: to the end.
    stack
        Neighbouring frames that are joined to one step.
    normalise
        ``"running"``: columns are standardised by what was seen before; ``"sequence"``: also by the sequence's own mean
        and deviation, which takes out what a speaker, room or device adds to all its frames.
    max_steps
        Longest sequence, in steps; a longer one is refused, and so is a chunk that would make it longer.
    chunks
        Whether a sequence may come in pieces: ``observe_one`` for each, then ``end_sequence``. ``learn_one`` gives the
        last piece, or all of it.
    carry
        Whether a stream's sequence begins with the state that its last one ended with; direction forward only.
    optimizer, lr, schedule, schedule_updates, schedule_least, clip_norm, polyak_bound, batch_size
        As in ``RNNRegressor``, where "gradient" is that of a whole sequence.
    average
        Share of the old ones that an exponential average of the weights keeps at each step, with which predictions are
        made. None: they are made with the newest weights.
    scale
        Standardise inputs, and targets that are numbers, by running statistics.
    features
        Names of an array's columns, or of the features of dicts, in column order; or encoders such as
        ``streamrnn.OneHot``, which read dicts, and ``streamrnn.Symbol``, which reads plain values. None: found out.
    stream_key
        Feature of x beside ``"frames"`` that tells streams apart; needed where several streams ``carry`` or send
        ``chunks`` at once. None: one stream.
    dtype, seed, max_streams, hash_key
        As in ``RNNRegressor``.
    readout
        ``"softmax"``, or ``"logistic"`` for exactly two classes.

    Raises
    ------
    ConfigError
        For a parameter that is not usable.
    RecordError
        For what is no sequence: no frames, frames of another width, too many, or values that are no numbers. It changes
        nothing; nor does anything else, as Ctrl-C, that breaks a call off before it has learned something.

    Examples
    --------
    Whether a sequence rises or falls:

    >>> import numpy as np
    >>> from streamrnn import RNNSequenceClassifier
    >>> rng = np.random.default_rng(1)
    >>> model = RNNSequenceClassifier(hidden_size=8)
    >>> right = 0
    >>> for i in range(200):
    ...     slope, frames = rng.choice([-1, 1]), int(rng.integers(5, 20))
    ...     x = {"frames": slope * np.arange(frames)[:, None] / 5 + rng.normal(size=(frames, 1))}
    ...     y = "rises" if slope > 0 else "falls"
    ...     right += model.predict_one(x) == y
    ...     model.learn_one(x, y)
    >>> right > 160
    True

    References
    ----------
    Schuster, M. and Paliwal, K. K. 1997. Bidirectional recurrent neural networks. IEEE Transactions on Signal
    Processing 45.
    """

    @property
    def _multiclass(self) -> bool:
        return self.readout == "softmax"

    def _model_fields(self) -> dict[str, Any]:
        return {"readout": self.readout}

    def _target(self) -> dict[str, Any]:
        return {"kind": "label", "classes": self._class_names()}

    def _answer(self, y: Any, frames: int) -> Label | None:  # noqa: ARG002
        return checked_label(y)

    def _classes_in(self, answer: Any) -> Iterable[Any]:
        return () if answer is None else (answer,)

    def _told(self, answers: Sequence[Any]) -> Told:
        return Told(np.array([[self._index(answer)] for answer in answers]))

    def predict_proba_one(self, x: Mapping[Any, Any], **kwargs: Any) -> dict[Label, float]:  # type: ignore[override] # noqa: ARG002
        """The probability of each class seen so far, none at first. Changes nothing."""
        with self._lock:
            predictions = self._predictions([self._read(self._columns, x, None)])
            return {} if predictions is None else self._probabilities(predictions, 0, len(self._labels))

    def predict_one(self, x: Mapping[Any, Any], **kwargs: Any) -> Any:  # noqa: ARG002
        """The most probable class; None before there is one. Changes nothing."""
        with self._lock:
            return self._predict([x])[0]

    def _probabilities(self, predictions: Predictions, i: int, known: int) -> dict[Label, float]:
        """Those of the classes that were known before the sequence."""
        outputs = predictions.value[i]
        if self.readout == "logistic":
            outputs = np.array([1.0 - outputs[0], outputs[0]])
        shown = outputs[:known]
        return dict(zip(self._labels, (shown / shown.sum()).tolist(), strict=False))

    def _said(self, predictions: Predictions, i: int, known: int) -> Label | None:
        if not known:
            return None
        probabilities = self._probabilities(predictions, i, known)
        return max(probabilities, key=lambda label: probabilities[label])

    def _nothing(self, frames: int) -> None:  # noqa: ARG002
        return None


@dataclass(eq=False, repr=False)
class RNNSequenceRegressor(SequenceEstimator, base.Regressor):
    """Recurrent network that says which number belongs to a whole sequence: how long, how much, how worn.

    Parameters
    ----------
    loss
        ``"squared"``, ``"absolute"`` or ``"huber"``. None: squared.

    All other parameters, and what is raised, are those of ``RNNSequenceClassifier``.

    Examples
    --------
    >>> import numpy as np
    >>> from streamrnn import RNNSequenceRegressor
    >>> rng = np.random.default_rng(1)
    >>> model = RNNSequenceRegressor(hidden_size=8)
    >>> errors = []
    >>> for i in range(300):
    ...     x = {"frames": rng.normal(size=(int(rng.integers(5, 15)), 2))}
    ...     y = float(x["frames"][:, 0].mean())
    ...     errors.append(abs(model.predict_one(x) - y))
    ...     model.learn_one(x, y)
    >>> float(np.mean(errors[-100:])) < 0.5 * float(np.mean(errors[:50]))
    True
    """

    loss: str | None = None

    def _model_fields(self) -> dict[str, Any]:
        loss = checked(type(self).__name__, "loss", self.loss, Literal["squared", "absolute", "huber"] | None)
        return {"readout": "linear", "loss": loss}

    def _target(self) -> dict[str, Any]:
        return {"kind": "label"}

    def _answer(self, y: Any, frames: int) -> float:  # noqa: ARG002
        return number(y, "y")

    def _told(self, answers: Sequence[Any]) -> Told:
        return Told(np.array([[np.nan if answer is None else answer] for answer in answers]))

    def _said(self, predictions: Predictions, i: int, known: int) -> float:  # noqa: ARG002
        return predictions.value.item(i, 0)

    def _nothing(self, frames: int) -> float:  # noqa: ARG002
        return 0.0
