"""Labels that come later than their events: the state moves when an event is seen, the lesson comes with its label.

An estimator learns undelayed, as with the daemon's ``known: record``, until it knows better; from then on as with
``known: label``, whose kernel it shares: an event that is seen goes through the network at once, and its label finds
the prediction that was made of it and all it was made from (``core.arrivals``). So a target is fitted to what was known
when it was predicted, lags and state included, in training as in serving.

What makes an event seen, says the user (``event_key``, ``delayed``, ``observe_one``), or ``watch`` finds it out. Which
event a label belongs to, says ``awaited``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streamrnn.errors import ConfigError, RecordError
from streamrnn.estimators.awaited import Awaited, Found, Seen, Unlearned, mark_of
from streamrnn.estimators.base import RecurrentEstimator
from streamrnn.estimators.columns import Columns, Floats, is_name
from streamrnn.estimators.parameters import checked
from streamrnn.estimators.watch import CHECKED, Verdict, Watch, evaluation
from streamrnn.learner.block import EVENT, LABEL, PREDICT
from streamrnn.learner.features import canonical_text

if TYPE_CHECKING:
    import pandas as pd

LARGEST_MEMORY_BYTES = 2**28
"""What the learner may keep of events that wait, all streams together."""

_REMEDY = (
    "If labels come later than predictions, name the feature that names the event (event_key=...), or say that every "
    "prediction is an event (delayed=True), or call observe_one when an event comes. If they do not, say delayed=False."
)


class DelayedLabelsWarning(UserWarning):
    """Labels come later than their events, or seem to."""


@dataclass(eq=False, repr=False)
class LabelledEstimator(RecurrentEstimator):
    """What estimators have in common whose events get labels, now or later."""

    delayed: bool | None = None
    event_key: Hashable | None = None

    def __post_init__(self) -> None:
        owner = type(self).__name__
        checked(owner, "delayed", self.delayed, bool | None)
        if not is_name(self.event_key):
            raise ConfigError(f"{owner}: event_key: expected the name of a feature or None, got {self.event_key!r}")
        if self.event_key is not None and (self.delayed is False or self.event_key == self.stream_key):
            other = "delayed: False" if self.delayed is False else f"stream_key: {self.stream_key!r}"
            raise ConfigError(f"{owner}: event_key: names events whose labels come later; it does not go with {other}")
        self._awaited: Awaited | None = None
        if self.event_key is not None or self.delayed:
            self._awaited = Awaited(Seen.PREDICTED if self.event_key is None else Seen.NAMED, self._most_streams)
        self._watch = Watch() if self.event_key is None and self.delayed is None else None
        self._warned: set[str] = set()
        super().__post_init__()
        if self.event_key is not None:
            try:
                self._columns = self._columns.without(self.event_key)
            except ConfigError as error:
                raise ConfigError(f"{owner}: {error}") from None

    @property
    def _most_streams(self) -> int:
        return 1 if self.stream_key is None else int(self.max_streams)

    def _target_when(self) -> dict[str, Any]:
        if self._awaited is None:
            return {}
        return {
            "known": "label",
            "event_field": "event",
            "label_field": "event",
            "label_memory": self._awaited.memory,
        }

    def _is_ready(self) -> bool:
        """Whether a learner can be made: whether it is known what there is to predict."""
        return True

    def _own_state(self) -> dict[str, Any]:
        return {"awaited": None if self._awaited is None else self._awaited.state()}

    def _set_own_state(self, state: Mapping[str, Any]) -> None:
        saved = state.get("awaited")
        self._awaited = None if saved is None else Awaited.restored(saved, self._most_streams)
        if self._awaited is not None and self._awaited.mode is not Seen.EVALUATED:
            self._watch = None

    # ---- for users

    def observe_one(self, x: Mapping[Any, Any]) -> None:
        """Advance the stream's state by an event whose label will come later, by ``learn_one`` with the same x.

        From the first call on, ``learn_one`` advances the state only by events that were not observed. Predictions
        change nothing, unless ``delayed`` says so.
        """
        with self._lock:
            if self.delayed is False:
                raise ConfigError(
                    f"{type(self).__name__}: delayed: False says that labels come with their events; leave it out to "
                    "observe events without theirs"
                )
            columns, row = self._columns.with_row(x)
            key, name = columns.key(x), self._name_of(x)
            if self._awaited is None or self._awaited.mode is Seen.EVALUATED:
                self._begin(Seen.OBSERVED)
            assert self._awaited is not None
            if name is None or not self._knows(self._awaited, key, name):
                self._see(columns, x, key, row, name)

    def counters(self) -> dict[str, int]:
        """Running counts of what happened (events, updates, clipped, imputed, evictions ...); empty at first.

        Where labels are delayed, also how many events wait for theirs, how many were given up, and how many labels came
        for an event that had none to come.
        """
        with self._lock:
            counts = super().counters()
            return (
                counts if self._awaited is None else {**counts, "waiting": len(self._awaited), **self._awaited.counts}
            )

    # ---- predictions

    def _predict(self, x: Mapping[Any, Any]) -> Floats | None:
        if self._awaited is not None:
            return self._predict_event(self._awaited, x)
        key, row = self._columns.key(x), self._columns.row(x)
        if (watch := self._watch) is not None:
            if watch.single is None and not watch.asked:
                watch.single = dict(x)
            elif self._is_evaluated(watch):
                return self._see_one(x)
            else:
                watch.ask(self._columns, x)
        return None if self._learner is None else self._learner.step(key, PREDICT, row, np.nan)

    def _predict_event(self, awaited: Awaited, x: Mapping[Any, Any]) -> Floats | None:
        """The prediction where labels are delayed; the event is seen by it if that is the rule."""
        if awaited.mode is Seen.PREDICTED or (awaited.mode is Seen.EVALUATED and evaluation() is not None):
            return self._see_one(x)
        key, row = self._columns.key(x), self._columns.row(x)
        if awaited.mode is Seen.NAMED and (name := self._name_of(x)) is not None:
            if not self._knows(awaited, key, name):
                return self._see_one(x)
            number = awaited.number(key, name)
            if self._learner is not None and number is not None:
                return self._learner.prediction_of(key, number)
        elif (watch := self._watch) is not None:
            watch.ask(self._columns, x)
        return None if self._learner is None else self._learner.step(key, PREDICT, row, np.nan)

    def _predict_frame(self, frame: pd.DataFrame) -> Floats | None:
        if self._awaited is None:
            return super()._predict_frame(frame)
        # Encoded beforehand, so that a frame that is refused changes nothing.
        self._columns.keys(frame), self._columns.rows(frame)
        outputs = [self._predict_event(self._awaited, x) for x in _events(frame)]
        if any(output is None for output in outputs) or self._learner is None:
            return None
        return np.array(outputs, np.float64).reshape(len(frame), self._learner.spec.n_outputs)

    # ---- lessons

    def _teach(
        self, columns: Columns, x: Mapping[Any, Any], key: bytes, row: list[float], y: float | Sequence[float]
    ) -> None:
        if (watch := self._watch) is not None:
            if watch.single is not None:  # as a rule it is the one that is learned now
                watch.single, watch.checks = None, 0
            elif watch.asked and self._awaited is None:
                self._weigh(watch, key, row)
        if self._awaited is None:
            self._adopt_event(columns, x, row).step(key, EVENT, row, y)
        else:
            self._teach_event(self._awaited, columns, x, key, row, y)

    def _teach_event(
        self,
        awaited: Awaited,
        columns: Columns,
        x: Mapping[Any, Any],
        key: bytes,
        row: list[float],
        y: float | Sequence[float],
    ) -> None:
        """A lesson where labels are delayed: that of an event that waits, or of one that is seen only now."""
        name, known = self._name_of(x), _is_known(y)
        if name is None and awaited.mode is Seen.NAMED:
            raise RecordError("no_event", f"event_key: the event has no feature {self.event_key!r}, or it is None")
        if awaited.unlearned and self._is_ready():
            self._catch_up(awaited)
        if name is not None and awaited.has_finished(key, name):
            awaited.counts["repeated_labels"] += 1
            return
        if name is not None and not known:
            if awaited.number(key, name) is None:
                self._see(columns, x, key, row, name)
            return
        mark = mark_of(row)
        found = awaited.take(key, mark, name)
        if found is None and not known:
            awaited.pass_by(key)
            self._adopt_event(columns, x, row).step(key, EVENT, row, np.nan)
            return
        if found is None:
            if (watch := self._watch) is not None and watch.asked:
                self._weigh(watch, key, row)
            self._see(columns, x, key, row, name)
            found = awaited.take(key, mark, name)
        if known and found is not None:
            self._label(columns, key, row, y, found)

    def _label(self, columns: Columns, key: bytes, row: list[float], y: float | Sequence[float], found: Found) -> None:
        self._adopt(columns).step(key, LABEL, row, y, event=found.number)
        if found.age > self.k2 - self.k1:
            self._warn(
                "late",
                f"a label came {found.age} events of its stream after its event, and the network learns from labels up "
                f"to k2 - k1 = {self.k2 - self.k1} events late"
                + (" (the readout by least squares from all)" if self.readout == "rls" else "")
                + f"; for it to learn from this one, set k2={found.age + self.k1} or more",
            )

    def _learn_frame(
        self, frame: pd.DataFrame, targets: Callable[[int, int], Floats], cuts: Iterable[int] = ()
    ) -> None:
        if self._awaited is None:
            super()._learn_frame(frame, targets, cuts)
            return
        events, known = _events(frame), self._columns
        for x in events:  # what is refused must be so before anything changes
            known, _ = known.with_row(x)
            known.key(x)
            if self._name_of(x) is None and self._awaited.mode is Seen.NAMED:
                raise RecordError("no_event", f"event_key: a row has no value in column {self.event_key!r}")
        for i, x in enumerate(events):
            columns, row = self._columns.with_row(x)
            self._teach_event(self._awaited, columns, x, columns.key(x), row, targets(i, i + 1)[0])

    # ---- seeing

    def _see_one(self, x: Mapping[Any, Any]) -> Floats | None:
        columns, row = self._columns.with_row(x)
        return self._see(columns, x, columns.key(x), row, self._name_of(x))

    def _see(
        self,
        columns: Columns,
        x: Mapping[Any, Any],
        key: bytes,
        row: list[float],
        name: str | None,
    ) -> Floats | None:
        """An event whose label is to come goes through the network; returns its prediction, if it has one."""
        awaited = self._awaited
        assert awaited is not None
        self._make_room(awaited, key)
        number = awaited.add(key, mark_of(row), name)
        if not self._is_ready():
            self._columns = columns
            awaited.unlearned.append(Unlearned(key, row, number))
            return None
        if awaited.unlearned:
            self._catch_up(awaited)
        return self._adopt_event(columns, x, row).step(key, EVENT, row, np.nan, event=number)

    def _catch_up(self, awaited: Awaited) -> None:
        """Events from before there was a learner go through it."""
        unlearned, awaited.unlearned = awaited.unlearned, []
        learner = self._adopt(self._columns)
        for key, row, number in unlearned:
            learner.step(key, EVENT, row + self._columns.without_keys()[len(row) :], np.nan, event=number)

    def _make_room(self, awaited: Awaited, key: bytes) -> None:
        """Before an event: the oldest that waits stays remembered, or is given up."""
        if self._learner is not None and not self._learner.knows(key) and not awaited.unlearned:
            awaited.forget(key)  # dropped for others, it starts over
        while awaited.is_full(key):
            if awaited.deserves_memory(key) and self._memory_bytes(2 * awaited.memory) <= LARGEST_MEMORY_BYTES:
                awaited.memory *= 2
                if self._learner is not None:
                    self._make()
                continue
            awaited.give_up(key)
            awaited.unlearned = awaited.unlearned[1:]
            self._warn(
                "given up",
                f"an event waited for its label while its stream's next {awaited.memory} events came, and is given up; "
                "labels that come later than that are not learned from. counters() tells how many were given up",
            )

    def _memory_bytes(self, memory: int) -> int:
        if self._learner is None:
            return 0
        spec = self._learner.spec
        numbers = spec.n_regressors + 3 * spec.n_targets + 3 * spec.n_outputs + 2
        return 8 * numbers * memory * self._learner.streams.n_slots

    def _name_of(self, x: Mapping[Any, Any]) -> str | None:
        """The event's name, where events have names."""
        if self.event_key is None:
            return None
        value = x.get(self.event_key)
        if value is None or value != value:
            return None
        text = value.isoformat() if hasattr(value, "isoformat") else canonical_text(value, str(self.event_key))
        return text.encode("utf-8", "replace").decode()

    @staticmethod
    def _knows(awaited: Awaited, key: bytes, name: str) -> bool:
        return awaited.number(key, name) is not None or awaited.has_finished(key, name)

    # ---- finding out

    def _is_evaluated(self, watch: Watch) -> bool:
        """Whether this prediction is asked by River's evaluation with delayed labels; if so, all of its are events."""
        watch.checks += 1
        if watch.checks > CHECKED or (asks := evaluation()) is None:
            return False
        before = watch.events()
        self._begin(Seen.EVALUATED)
        assert self._awaited is not None
        self._awaited.in_order = asks.in_order
        for x in before[len(before) - min(asks.waiting, len(before)) :]:
            self._see_one(x)
        return True

    def _weigh(self, watch: Watch, key: bytes, row: list[float]) -> None:
        """Before a lesson: whether what was predicted before it were events."""
        verdict = watch.learn(key, row)
        if verdict is Verdict.LATE:
            self._warn(
                "found out",
                "events are learned in the order in which they were predicted, each after others that were predicted "
                "later: their labels are taken to be delayed, and from now on every prediction counts as seeing its "
                f"event and moves the state. {_REMEDY}",
            )
            before = watch.events()
            self._begin(Seen.PREDICTED)
            for x in before:
                self._see_one(x)
        elif verdict is Verdict.UNCLEAR:
            self._warn(
                "unclear",
                "predictions were made before earlier events were learned, and which of them were events whose labels "
                f"came later and which only questions cannot be told; they are taken for questions. {_REMEDY}",
            )

    def _begin(self, mode: Seen) -> None:
        """From now on labels are delayed."""
        if self._awaited is None:
            self._awaited = Awaited(mode, self._most_streams)
            if self._learner is not None:
                self._make()
        self._awaited.mode = mode
        if mode is not Seen.EVALUATED:
            self._watch = None
        elif self._watch is not None:
            self._watch.clear()

    def _warn(self, what: str, text: str) -> None:
        """Once for each estimator."""
        if what not in self._warned:
            self._warned.add(what)
            warnings.warn(f"{type(self).__name__}: {text}", DelayedLabelsWarning, stacklevel=2)


def _is_known(y: float | Sequence[float]) -> bool:
    return bool(y == y) if isinstance(y, float | int) else any(value == value for value in y)


def _events(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    names = list(frame.columns)
    return [dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None)]
