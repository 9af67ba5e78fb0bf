"""Classification into classes that may appear at any time.

A class gets its output when its label is first seen; its weights start at zero and its bias at the lowest of the
others, so nothing that was learned about them moves. The classifier answers with classes it has seen, never with
others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from river import base

from streamrnn.errors import RecordError
from streamrnn.estimators.columns import Floats, in_rows
from streamrnn.estimators.delayed import LabelledEstimator
from streamrnn.estimators.events import same_length
from streamrnn.learner.learner import Learner
from streamrnn.learner.values import is_missing

if TYPE_CHECKING:
    import pandas as pd

Label = str | int | float | bool


@dataclass(eq=False, repr=False)
class RNNClassifier(LabelledEstimator, base.MiniBatchClassifier):
    """Recurrent network for binary and multiclass classification, with one hidden state per stream.

    Labels are text, numbers or booleans.

    Parameters
    ----------
    readout
        ``"softmax"``, or ``"logistic"`` for exactly two classes.
    previous_target
        Whether the network sees the class of the stream's newest labelled event. Off by default: it helps where
        classes persist and costs a little where they do not.

    All other parameters, and what is raised, are those of ``RNNRegressor``; ``loss`` is always the cross-entropy, and
    ``lags``, ``rls_forgetting``, ``rls_prior`` and ``quantiles`` have no effect.

    Examples
    --------
    >>> from river import datasets, evaluate, metrics
    >>> from streamrnn import RNNClassifier
    >>> model = RNNClassifier()
    >>> evaluate.progressive_val_score(datasets.Phishing(), model, metrics.Accuracy())
    Accuracy: 88...%
    >>> model.classes
    [True, False]
    """

    readout: str = "softmax"
    previous_target: bool | None = False

    def __post_init__(self) -> None:
        self._labels: dict[Label, int] = {}
        super().__post_init__()

    def _readouts(self) -> tuple[str, ...]:
        return ("softmax", "logistic")

    @property
    def _multiclass(self) -> bool:
        return self.readout == "softmax"

    @property
    def classes(self) -> list[Label]:
        """The classes seen so far, in the order in which they appeared."""
        with self._lock:
            return list(self._labels)

    def _target(self) -> dict[str, Any]:
        # Two outputs from the start: the kernels know no classifier of one class. One without a class is not shown.
        return {"fields": ("y",), "classes": list(range(max(2, len(self._labels))))}

    def _outgrown(self, learner: Learner) -> bool:
        return len(self._labels) > learner.spec.n_classes

    def _forget_unlearned(self) -> None:
        while len(self._labels) > (0 if self._learner is None else self._learner.spec.n_classes):
            self._labels.popitem()

    def _own_state(self) -> dict[str, Any]:
        return {**super()._own_state(), "labels": list(self._labels)}

    def _set_own_state(self, state: Mapping[str, Any]) -> None:
        super()._set_own_state(state)
        labels = msgspec.convert(state["labels"], list[str | int | float | bool])
        self._labels = {label: i for i, label in enumerate(labels)}
        if len(self._labels) != len(labels):
            raise ValueError(f"labels: must differ, got {labels}")

    def learn_one(self, x: Mapping[Any, Any], y: Label | None = None) -> None:
        """Advance the stream's state by x, then learn that its class is y; None: advance only."""
        with self._lock:
            self._teach(self._columns.encoded(x), self._index(y))

    def learn_many(self, X: pd.DataFrame, y: pd.Series) -> None:
        """Learn from the rows in order; the same result as ``learn_one`` for each.

        One call, and one more at each row whose class has no output yet: the rows before know nothing of it.
        """
        with self._lock:
            same_length(X, y)
            given = (None if missing else y for y, missing in zip(y.tolist(), y.isna().tolist(), strict=True))
            labels = in_rows(lambda label: None if label is None else checked_label(label), given, y.index)
            self._refuse_third(labels)
            first_seen = {label: i for i, label in reversed(list(enumerate(labels))) if label is not None}
            new = sorted(i for label, i in first_seen.items() if label not in self._labels)
            # Two classes have outputs from the start, and before row 0 there is nothing to learn.
            cuts = [i for n, i in enumerate(new, len(self._labels) + 1) if n > 2 and i > 0]
            self._learn_frame(X, lambda i, j: np.array([[self._index(label)] for label in labels[i:j]]), cuts)

    def predict_proba_one(self, x: Mapping[Any, Any], **kwargs: Any) -> dict[Label, float]:  # type: ignore[override] # noqa: ARG002
        """The probability of each class seen so far, none at first. Changes nothing.

        With ``readout="logistic"`` those of False and True until other classes are seen.
        """
        with self._lock:
            outputs = self._predict(x)
            labels, probabilities = self._probabilities(None if outputs is None else outputs[None, :], 1)
            return dict(zip(labels, probabilities[0].tolist(), strict=True))

    def predict_proba_many(self, X: pd.DataFrame) -> pd.DataFrame:
        """The probabilities for each row from the present state: no row advances it."""
        import pandas as pd

        with self._lock:
            labels, probabilities = self._probabilities(self._predict_frame(X), len(X))
            return pd.DataFrame(probabilities, index=X.index, columns=labels)

    def _probabilities(self, outputs: Floats | None, n: int) -> tuple[list[Label], Floats]:
        """The classes to show and their probabilities (n, classes), from the learner's outputs, if there are any."""
        labels = list(self._labels)
        if self.readout == "logistic":
            if len(labels) < 2 and all(label in (False, True) for label in labels):
                labels = [*labels, *({False, True}.difference(labels))]
            outputs = np.full((n, 2), 0.5) if outputs is None else np.column_stack([1.0 - outputs[:, 0], outputs[:, 0]])
        elif outputs is None:
            outputs = np.ones((n, max(1, len(labels))))
        shown = outputs[:, : len(labels)]
        probabilities: Floats = shown / shown.sum(axis=1, keepdims=True) if labels else shown
        return labels, probabilities

    def _index(self, y: Label | None) -> float:
        """The class's number, given out in order of appearance; NaN for an unknown label."""
        label = checked_label(y)
        if label is None:
            return np.nan
        if label not in self._labels:
            self._refuse_third([label])
            self._labels[label] = len(self._labels)
        return float(self._labels[label])

    def _refuse_third(self, labels: list[Label | None]) -> None:
        seen = {*self._labels, *(label for label in labels if label is not None)}
        if self.readout == "logistic" and len(seen) > 2:
            raise RecordError(
                "too_many_classes",
                f"y: readout='logistic' tells two classes apart, got a third: {sorted(seen, key=str)}; use "
                "readout='softmax'",
            )


def checked_label(y: Any) -> Label | None:
    """The label as a plain value, None for an unknown one. Raises RecordError for what cannot be a class."""
    label = y.item() if isinstance(y, np.generic) else y
    if is_missing(label) or (isinstance(label, float) and label != label):
        return None
    if not isinstance(label, str | int | float | bool):
        raise RecordError("wrong_type", f"y: a class is text, a number or a boolean, got {label!r}")
    return label
