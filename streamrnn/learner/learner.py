"""Learner: one partition's model of single steps, record by record; a pure function of its specification, seed and log.

Beside blocks (``foundation``) it takes single records, imagines, and tells what it said of records before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from streamrnn.core.exact.layout import ExactLayout
from streamrnn.core.handle import Handle
from streamrnn.core.kinds import CLOSE, IMAGINE
from streamrnn.core.layout import Layout
from streamrnn.core.scaler import ABSURD
from streamrnn.learner.block import PREDICT, Block
from streamrnn.learner.calls import Calls
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.lowering import hyper_of, new_scratch, plan_of
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.rows import Placed, bring_classes, ends, looked_up, require_class, require_classes, require_fit
from streamrnn.learner.running import Running
from streamrnn.learner.spec import LearnerSpec


class Learner(Foundation):
    """A recurrent network that predicts and learns record by record, with one hidden state per stream.

    Parameters
    ----------
    spec
        Everything that, with the log, determines the learner.
    seed
        Decides the initial weights, nothing else is random.

    Examples
    --------
    >>> from streamrnn import LearnerSpec, TargetSpec
    >>> learner = Learner(LearnerSpec(n_features=1, target=TargetSpec(fields=("y",))), seed=1)
    >>> learner.process(Block.events([b"a"], x=[[1.0]], y=[[2.0]])).value.shape
    (1, 1)
    >>> learner.counters()["records_predicted"]
    1
    """

    def __init__(self, spec: LearnerSpec, seed: int) -> None:
        super().__init__(spec, seed)
        assert isinstance(self.layout, Layout | ExactLayout)
        scratch = new_scratch(self.layout, spec, self._model.theta)
        calls = Calls(spec, Handle(plan_of(spec), hyper_of(spec), self._model, self._per_stream, scratch))
        self._running = Running(spec, calls, self.vocabularies, self.classes)
        self._may_end = ends(spec)
        self._one, self._process_one = calls.first(1)
        self._one_prediction: npt.NDArray[np.float64] = self._one.prediction[0]

    def _require_fit(self, block: Block) -> None:
        require_fit(block, self.spec, self.classes)

    def _predictions(self, records: Placed) -> Predictions:
        return self._running.predictions(records)

    # -- one record at a time -----------------------------------------------------------------------------------------

    def step(
        self, key: bytes, kind: int, x: Sequence[float], y: float | Sequence[float], time_ms: int = 0, *,
        end: bool = False, event: int = 0, symbols: Sequence[str | None] = (), label: str | None = None,
    ) -> npt.NDArray[np.float64]:  # fmt: skip
        """Process one record; returns its prediction (n_outputs,), valid until the next call.

        The same arithmetic as ``process``, at a fraction of the cost of its arrays; it does not enter ``digest``.
        ``kind`` may also be ``PREDICT``, which changes nothing.

        Parameters
        ----------
        x, y
            Encoded features (n_features,), NaN = missing; targets (n_targets,), or one number for all, NaN = unknown.
        time_ms, end, event, symbols
            As in ``Block``; of texts a step is one unit.
        label
            Where the set of classes is open, the class's text, instead of ``y``; None: ``y`` is a number in use.
        """
        # The arrays of one record, and their table, are made once: making them costs more than the record itself.
        one = self._one
        one.x[0], one.y[0], one.kind[0], one.out[0], one.closes[0] = x, y, kind, 0, True
        if self.classes is not None and label is None:
            require_class(one.y.item(0), self.classes)
        if self.vocabularies or label is not None:
            self._number_one(kind, symbols, label)
        if kind == PREDICT:
            one.slot[0], one.fresh[0], one.time_ms[0] = self.streams.find(key), False, time_ms
        else:
            one.slot[0], one.fresh[0], one.time_ms[0] = self.streams.assign_one(key, time_ms, kind)
            if self._copy is not None:  # a call less for single records
                self._rows_change(one.slot)
            if self.streams.returns:
                self._go_back(self.streams.pop_returns()[0][1])
        one.end[0], one.event[0] = end and self._may_end, event
        self._process_one()
        if self.streams.left:
            self._count_lost()
        return self._one_prediction

    def _number_one(self, kind: int, symbols: Sequence[str | None], label: str | None) -> None:
        """The numbers of the one record's symbols, and of its class where that is told by its text."""
        one = self._one
        if label is not None:
            if self.classes is None or self.classes.other is None:
                raise ValueError("label: goes with an open set of classes; those of others are numbers, in y")
            one.y[0] = self.classes.assign(label) if kind in bring_classes(self.spec) else math.nan
        if self.vocabularies:
            texts = symbols or (None,) * len(self.vocabularies)
            one.symbols[0] = looked_up([[text] for text in texts], one.kind, self.vocabularies)[0]

    def close(self, key: bytes) -> None:
        """End the stream's sequence: learn from what is left of it and go back to the zero state.

        The stream does not count as seen by that; for a stream that is not there nothing happens. Raises ValueError
        unless the specification ``has_end``, or has texts without ``carry``: only then is the state kept that a last
        window of any length starts from.
        """
        if not ends(self.spec):
            raise ValueError("a sequence can be closed where has_end says so: its last window may start at any step")
        one, slot = self._one, self.streams.find(key)
        one.slot[0], one.fresh[0], one.kind[0], one.end[0], one.out[0] = slot, False, CLOSE, False, 0
        self.streams.touch(slot)
        self._rows_change(one.slot)
        self._process_one()

    def imagine(self, key: bytes) -> None:
        """Make a copy of the stream to go on from with ``imagine_one``; the stream itself is not changed."""
        slot = self.streams.find(key)
        for array in self._per_stream:
            array[-1] = array[slot]

    def imagine_one(
        self, x: Sequence[float], y: float | Sequence[float] = math.nan, symbols: Sequence[str | None] = ()
    ) -> npt.NDArray[np.float64]:
        """Prediction (n_outputs,) as if a record of features x came next in the imagined stream, which it advances.

        As if no time passed (``inputs.dt``); nothing is learned. Of forecasts, y are the record's own values, known
        before the next ones are predicted: for classes, the one that it is. Where a target is known in its record it is
        known after the prediction only: tell ``turned_out``.
        """
        one = self._one
        one.x[0], one.y[0], one.kind[0], one.out[0], one.closes[0] = x, y, IMAGINE, 0, True
        if self.classes is not None:
            require_class(one.y.item(0), self.classes)
        self._number_one(IMAGINE, symbols, None)
        one.slot[0], one.fresh[0] = self.streams.blank + 1, False
        one.time_ms[0] = self._per_stream.last_ms[-1]
        self._process_one()
        return self._one_prediction

    def turned_out(self, y: float | Sequence[float]) -> None:
        """Say which values, or class, the record imagined last is to have had: the next one sees it as previous target.

        Without it, records go on being imagined after the newest value that the stream itself knew. A class that is
        not in use yet is refused with ValueError.
        """
        rows, values = self._per_stream, np.broadcast_to(np.asarray(y, np.float64), self.spec.n_targets)
        require_classes(values, self.classes)
        for f in np.flatnonzero(np.abs(values) <= ABSURD).tolist():  # others count as unknown, as everywhere
            rows.newest[-1, f] = values[f]
            if size := rows.history.shape[1]:
                rows.history[-1, rows.history_count[-1, f] % size, f] = values[f]
                rows.history_count[-1, f] += 1

    def prediction_of(self, key: bytes, event: int) -> npt.NDArray[np.float64] | None:
        """What was predicted of an event whose label has not come, (n_outputs,); None where that is not remembered."""
        slot = self.streams.find(key)
        places = np.flatnonzero(self._per_stream.event[slot] == event)
        return self._per_stream.remembered[slot, places[0]].copy() if event and len(places) else None

    def due(self, key: bytes) -> npt.NDArray[np.float64]:
        """Forecasts of the stream's next value made as many events before it as each of ``target.steps_ahead`` says.

        NaN where there was none. For one field and one output per number of steps ahead.
        """
        slot, target = self.streams.find(key), self.spec.target
        step = int(self._per_stream.steps[slot])
        forecasts = np.full(len(target.steps_ahead), np.nan)
        for column, j in enumerate(target.steps_ahead):
            if j <= step:
                forecasts[column] = self._per_stream.remembered[slot, (step - j) % target.furthest, column]
        return forecasts
