"""Labels that come later than their events: the state moves when an event is seen, the lesson comes with its label.

An estimator learns undelayed, as with the daemon's ``known: record``, until it knows better; from then on as with
``known: label``, whose kernel it shares: an event that is seen goes through the network at once, and its label finds
the prediction that was made of it and all it was made from (``core.arrivals``). So a target is fitted to what was known
when it was predicted, lags and state included, in training as in serving.

What makes an event seen, says the user (``event_key``, ``delayed``, ``observe_one``), or ``watch`` finds it out. Which
event a label belongs to, says ``awaited``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from streamrnn.errors import ConfigError, RecordError
from streamrnn.estimators.awaited import Awaited, Found, Seen, mark_of
from streamrnn.estimators.columns import Encoded, Floats, is_name
from streamrnn.estimators.event_key import EventKeyWatch
from streamrnn.estimators.seeing import SeeingEstimator
from streamrnn.estimators.watch import Verdict
from streamrnn.learner.block import EVENT, LABEL, PREDICT
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.values import canonical_text

if TYPE_CHECKING:
    import pandas as pd

    from streamrnn.learner.learner import Learner

LARGEST_MEMORY_BYTES = 2**28
"""What the learner may keep of events that wait, all streams together."""


@dataclass(eq=False, repr=False)
class LabelledEstimator(SeeingEstimator):
    """What estimators have in common whose events get labels, now or later."""

    event_key: Hashable | None = None

    remedy: ClassVar[str] = (
        "If labels come later than predictions, name the feature that names the event (event_key=...), or say that "
        "every prediction is an event (delayed=True), or call observe_one when an event comes. If they do not, say "
        "delayed=False."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._names = EventKeyWatch()
        self._has_ended = False  # whether a sequence ended since labels are delayed
        if self.event_key is None:
            return
        owner = type(self).__name__
        if not is_name(self.event_key):
            raise ConfigError(f"{owner}: event_key: expected the name of a feature or None, got {self.event_key!r}")
        if self.delayed is False or self.event_key == self.stream_key:
            other = "delayed: False" if self.delayed is False else f"stream_key: {self.stream_key!r}"
            raise ConfigError(f"{owner}: event_key: names events whose labels come later; it does not go with {other}")
        self._awaited, self._watch = Awaited(Seen.NAMED, self._most_streams), None
        try:
            self._columns = self._columns.without(self.event_key)
        except ConfigError as error:
            raise ConfigError(f"{owner}: {error}") from None

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
            event, name = self._columns.encoded(x), self._name_of(x)
            if self._awaited is None or self._awaited.mode is Seen.EVALUATED:
                self._begin(Seen.OBSERVED)
            assert self._awaited is not None
            if name is None or not self._knows(self._awaited, event.key, name):
                self._names.see(x.get(self.event_key))
                self._see(event, name)

    def end_sequence(self, key: Hashable | None = None) -> None:
        """End a stream's sequence: learn from what is left of it and go back to the zero state.

        ``key`` is the stream's value of ``stream_key``; without one there is a single stream. What was learned stays.
        From labels that come after the end of their event's sequence, only a readout by least squares learns.
        """
        with self._lock:
            super().end_sequence(key)
            self._has_ended = self._awaited is not None

    # ---- predictions

    def _predict(self, x: Mapping[Any, Any]) -> Floats | None:
        awaited, watch = self._awaited, self._watch
        if awaited is not None and awaited.mode is Seen.NAMED and (name := self._name_of(x)) is not None:
            key = self._columns.key(x)
            if not self._knows(awaited, key, name):
                self._names.see(x[self.event_key])
                return self._see_one(x)
            number = awaited.number(key, name)
            if self._learner is not None and number is not None:
                return self._learner.prediction_of(key, number)
        key, row = self._columns.key(x), self._columns.row(x)
        if awaited is None and watch is not None and watch.single is None and not watch.asked:
            watch.single = dict(x)  # the usual case, without a detour
        elif self._sees(x):
            return self._see_one(x)
        return None if self._learner is None else self._learner.step(key, PREDICT, row, np.nan)

    def _predict_frame(self, frame: pd.DataFrame) -> Floats | None:
        if self._awaited is None:
            if self._watch is not None and len(frame):
                self._frames.ask_frame(self._columns.rows(frame))
            return super()._predict_frame(frame)
        # Encoded beforehand, so that a frame that is refused changes nothing.
        self._columns.keys(frame), self._columns.rows(frame)
        # Copied, since an output is valid until the next one.
        outputs = [None if (said := self._predict(x)) is None else said.copy() for x in _events(frame)]
        if any(output is None for output in outputs) or self._learner is None:
            return None
        return np.array(outputs, np.float64).reshape(len(frame), self._learner.spec.n_outputs)

    # ---- lessons

    def _teach(self, event: Encoded, y: float | Sequence[float]) -> None:
        if (watch := self._watch) is not None:
            if watch.single is not None:  # as a rule it is the one that is learned now
                watch.single, watch.checks = None, 0
            elif watch.asked and self._awaited is None:
                self._weigh(watch, event.key, event.row)
        if self._awaited is None:
            self._adopt_event(event.columns, event.x, event.row).step(event.key, EVENT, event.row, y)
        else:
            self._teach_event(self._awaited, event, y)

    def _teach_event(self, awaited: Awaited, event: Encoded, y: float | Sequence[float]) -> None:
        """A lesson where labels are delayed: that of an event that waits, or of one that is seen only now."""
        columns, x, row, key = event
        name, known = self._name_of(x), _is_known(y)
        if name is None and awaited.mode is Seen.NAMED:
            raise RecordError("no_event", f"event_key: the event has no feature {self.event_key!r}, or it is None")
        if awaited.unlearned and self._is_ready():
            self._catch_up(awaited)
        if name is not None and awaited.has_finished(key, name):
            awaited.refuse(key, name)
            return
        if name is not None and not known:
            if awaited.number(key, name) is None:
                self._see(event, name)
            return
        found = self._take(awaited, key, row, name)
        if name is not None and self._names.label(x[self.event_key], found is not None):
            self._warn_of_names()
        if found is None and (watch := self._watch) is not None and watch.asked:
            self._weigh(watch, key, row)
            found = self._take(awaited, key, row, name)
        if found is None and known:
            self._see(event, name)
            found = self._take(awaited, key, row, name)
        elif found is None:
            awaited.pass_by(key)
            self._adopt_event(columns, x, row).step(key, EVENT, row, np.nan)
        if known and found is not None:
            self._label(event, y, found)

    def _take(self, awaited: Awaited, key: bytes, row: list[float], name: str | None) -> Found | None:
        found = awaited.take(key, mark_of(row), name)
        if awaited.is_guessing:
            self._warn(
                "guessing",
                "events are not met again by their features, which a transformer in front may have changed; their "
                "labels are taken to come in the order of the events, and those that do not, or that follow a label "
                "that was lost, may go to the wrong event. If that happens, give each event a name (event_key='id') "
                "and lead it past the transformer: "
                "compose.Select('id') + (compose.Discard('id') | StandardScaler())",
            )
        return found

    def _warn_of_names(self) -> None:
        owner, name = type(self).__name__, repr(self.event_key)
        self._warn(
            "names",
            f"event_key={name}: labels name events that were never predicted, and those predicted get none; a "
            "transformer in front probably changes the names, so that every event is seen twice. Lead them past, for "
            f"example: (Discard({name}) | StandardScaler()) + Select({name}) | {owner}(event_key={name}), with Discard "
            "and Select from river.compose",
        )

    def _label(self, event: Encoded, y: float | Sequence[float], found: Found) -> None:
        learner = self._adopt(event.columns)
        looks = self._has_ended and found.age < _learned_within(learner.spec) and "ended" not in self._warned
        before = _too_late(learner) if looks else 0
        learner.step(event.key, LABEL, event.row, y, event=found.number)
        if looks and _too_late(learner) > before:
            self._warn(
                "ended",
                "a label came after end_sequence() had ended the sequence of its event, and the network does not learn "
                "from such labels"
                + (" (the readout by least squares does)" if self.readout == "rls" else "")
                + ". End a sequence when its labels have come; for others not to wait for that, give each a stream of "
                "its own (stream_key=...), and call end_sequence(key) after its last label",
            )
        if found.age >= (within := _learned_within(learner.spec)):
            self._warn(
                "late",
                f"a label came {found.age} events of its stream after its event, and the network learns only from "
                f"labels that come less than k2 - k1 = {within} events late"
                + (" (the readout by least squares from all)" if self.readout == "rls" else "")
                + f"; for it to learn from this one, set k2={found.age + learner.spec.k1 + 1} or more",
            )

    def _learn_frame(
        self, frame: pd.DataFrame, targets: Callable[[int, int], Floats], cuts: Iterable[int] = ()
    ) -> None:
        if self._awaited is None:
            if self._watch is not None and self._frames.asked:
                self._weigh_frame(frame)
            super()._learn_frame(frame, targets, cuts)
            return
        events, known = _events(frame), self._columns
        for x in events:  # what is refused must be so before anything changes
            known, _ = known.with_row(x)
            known.key(x)
            if self._name_of(x) is None and self._awaited.mode is Seen.NAMED:
                raise RecordError("no_event", f"event_key: a row has no value in column {self.event_key!r}")
        for i, x in enumerate(events):
            self._teach_event(self._awaited, self._columns.encoded(x), targets(i, i + 1)[0])

    def _weigh_frame(self, frame: pd.DataFrame) -> None:
        """Before a frame is learned: whether frames are learned late. That is only told; no rows are kept."""
        if self._frames.learn_frame(self._columns.rows(frame)) is not Verdict.NOTHING:
            self._frames.clear()
            self._warn_of_doubt()

    # ---- seeing

    def _see_one(self, x: Mapping[Any, Any]) -> Floats | None:
        return self._see(self._columns.encoded(x), self._name_of(x))

    def _see(self, event: Encoded, name: str | None) -> Floats | None:
        """An event whose label is to come goes through the network; returns its prediction, if it has one."""
        columns, x, row, key = event
        awaited = self._awaited
        assert awaited is not None
        self._make_room(awaited, key)
        number = awaited.add(key, mark_of(row), name)
        if awaited.has_dropped:
            self._warn(
                "dropped",
                "a stream was dropped for others while its events waited for their labels, which are not learned from "
                f"when they come: max_streams is {awaited.max_streams}; set it to more than the streams that have "
                "events while a label takes to come",
            )
        if not self._is_ready():
            self._columns = columns
            awaited.put_off(number, key, row)
            return None
        if awaited.unlearned:
            self._catch_up(awaited)
        return self._adopt_event(columns, x, row).step(key, EVENT, row, np.nan, event=number)

    def _catch_up(self, awaited: Awaited) -> None:
        """Events from before there was a learner go through it."""
        unlearned, awaited.unlearned = awaited.unlearned, {}
        learner = self._adopt(self._columns)
        for number, (key, row) in unlearned.items():
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
            if "names" in self._warned:
                continue  # that is why
            self._warn(
                "given up",
                f"an event waited for its label while its stream's next {awaited.memory} events came, and is given up; "
                "labels that come later than that are not learned from. counters() tells how many were given up",
            )

    def _memory_bytes(self, memory: int) -> int:
        if self._learner is None:
            return 0
        spec = self._learner.spec
        numbers = spec.n_kept + 3 * spec.n_targets + 3 * spec.n_outputs + 2
        if spec.delay:  # whose inputs are kept until their labels come
            numbers += spec.n_multiplied
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


def _learned_within(spec: LearnerSpec) -> float:
    """Events of its stream after which the label of an event no longer teaches the network.

    Without a window that is as long as an event waits at all; a network that learns nothing misses nothing.
    """
    return spec.k2 - spec.k1 if spec.rule == "tbptt" else math.inf


def _too_late(learner: Learner) -> int:
    """Labels so far that came when their event's sequence had ended."""
    counters = learner.counters()
    return counters["late_labels"] - counters["passed_labels"]


def _is_known(y: float | Sequence[float]) -> bool:
    return bool(y == y) if isinstance(y, float | int) else any(value == value for value in y)


def _events(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    names = list(frame.columns)
    return [dict(zip(names, row, strict=True)) for row in frame.itertuples(index=False, name=None)]
