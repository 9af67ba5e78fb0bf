"""Records through the kernel: placed in their streams, spread to rows, and what came out gathered for each record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamrnn.learner.calls import Calls, Outputs
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.rows import Part, Placed, TextRows, inputs_of, looked_up, mean_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.vocabulary import Vocabulary


class Running:
    """Runs records of a learner, whose vocabularies and classes it gives numbers to."""

    def __init__(
        self, spec: LearnerSpec, calls: Calls, vocabularies: Sequence[Vocabulary], classes: Vocabulary | None
    ) -> None:
        self._spec, self._calls, self._vocabularies, self._classes = spec, calls, vocabularies, classes

    def predictions(self, records: Placed) -> Predictions:
        """What the learner says of the records, which it goes through in order."""
        value = np.empty((len(records.slot), self._spec.n_outputs))
        if records.block.texts is not None:
            return self._of_texts(records, value)
        outputs = self._calls.process(inputs_of(records, self._spec, self._vocabularies, self._classes), value)
        return Predictions(value, *outputs)

    def _of_texts(self, records: Placed, value: np.ndarray) -> Predictions:
        assert self._classes is not None
        symbols = looked_up(records.block.symbols, records.kind, self._vocabularies)
        rows = TextRows(records, symbols, self._spec, self._classes)
        gathered = Gathered(rows, len(value))
        for part in rows.parts():
            gathered.add(part, self._calls.process(part.inputs, value))
        return gathered.predictions(value)


class Gathered:
    """What comes out of the rows of n texts, as one line for each text."""

    def __init__(self, rows: TextRows, n: int) -> None:
        self._n, self._texts = n, rows.scores()
        units = len(self._texts.loss)
        self._of, self._error, self._rivals = np.zeros(units, np.int64), np.zeros(units), np.zeros((units, 2))
        self._updates, self._grad_norm = np.zeros(n, np.int64), np.full(n, np.nan)
        self._rank = np.full((n, 2), np.nan)

    def add(self, part: Part, outputs: Outputs) -> None:
        """Take up what came out of the next rows."""
        unit, is_unit, of = part.unit, part.is_unit, part.of
        self._of[unit] = of[is_unit]
        self._texts.loss[unit], self._error[unit] = outputs.loss[is_unit], outputs.error[is_unit]
        self._rivals[unit] = outputs.rivals[is_unit]
        learned = ~np.isnan(outputs.grad_norm)
        self._updates[of[part.asks]] = outputs.updates[part.asks]
        self._grad_norm[of[learned]] = outputs.grad_norm[learned]  # of several for one text the last stays
        self._rank[of[part.closes]] = outputs.rank[part.closes]

    def predictions(self, value: np.ndarray) -> Predictions:
        """All of it."""
        nothing = np.full(self._n, np.nan)
        rivals = np.stack([mean_of(column, self._of, self._n) for column in self._rivals.T], axis=1)
        return Predictions(
            value=value,
            updates=self._updates,
            loss=mean_of(self._texts.loss, self._of, self._n),
            error=mean_of(self._error, self._of, self._n),
            grad_norm=self._grad_norm,
            rivals=rivals,
            width=nothing,
            rank=self._rank,
            delay=nothing.copy(),
            texts=self._texts,
        )
