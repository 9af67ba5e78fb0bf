"""Estimators whose events may have been seen before they are learned: how that is said, or found out.

As a rule ``learn_one`` sees an event, and a prediction is a question that changes nothing. ``delayed`` says otherwise,
or ``watch`` finds out; then a prediction sees its event, and ``awaited`` knows which events are still to be learned.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from streamrnn.errors import ConfigError, DelayedLabelsWarning
from streamrnn.estimators.awaited import Awaited, Seen
from streamrnn.estimators.caller import level_of_the_caller
from streamrnn.estimators.events import EventEstimator
from streamrnn.estimators.parameters import checked
from streamrnn.estimators.watch import CHECKED, Asker, Evaluation, Verdict, Watch, asker


@dataclass(eq=False, repr=False)
class SeeingEstimator(EventEstimator):
    """What estimators have in common whose events may be seen before they are learned."""

    delayed: bool | None = None

    remedy: ClassVar[str] = (
        "If every prediction is an event that is learned later, say delayed=True; if predictions are questions, "
        "delayed=False."
    )

    def __post_init__(self) -> None:
        checked(type(self).__name__, "delayed", self.delayed, bool | None)
        self._awaited = Awaited(Seen.PREDICTED, self._most_streams) if self.delayed else None
        self._watch = Watch() if self.delayed is None else None
        self._frames = Watch()
        self._warned: set[str] = set()
        super().__post_init__()

    @property
    def _most_streams(self) -> int:
        return 1 if self.stream_key is None or not isinstance(self.max_streams, int) else self.max_streams

    def _own_state(self) -> dict[str, Any]:
        return {"awaited": None if self._awaited is None else self._awaited.state()}

    def _set_own_state(self, state: Mapping[str, Any]) -> None:
        saved = state.get("awaited")
        self._awaited = None if saved is None else Awaited.restored(saved, self._most_streams)
        if self._awaited is not None and self._awaited.mode is not Seen.EVALUATED:
            self._watch = None

    def counters(self) -> dict[str, int]:
        """Running counts of what happened (events, updates, clipped, imputed, evictions ...); empty at first.

        Where events are seen before they are learned, also how many wait for that, how many were given up, and how many
        lessons came for an event that had none to come.
        """
        with self._lock:
            counts, awaited = super().counters(), self._awaited
            return counts if awaited is None else {**counts, "waiting": len(awaited), **awaited.counts}

    def _take_up(self, name: str) -> None:
        if name == "delayed":
            before = self._awaited, self._watch
            self._awaited = Awaited(Seen.PREDICTED, self._most_streams) if self.delayed else None
            self._watch = Watch() if self.delayed is None else None
            try:
                super()._take_up(name)
            except ConfigError:
                self._awaited, self._watch = before
                raise
        else:
            super()._take_up(name)
            if self._awaited is not None:
                self._awaited.max_streams = self._most_streams

    def _see_one(self, x: Mapping[Any, Any]) -> Any:
        """An event is seen; returns what is predicted of it."""
        raise NotImplementedError

    def _sees(self, x: Mapping[Any, Any]) -> bool:
        """Whether the prediction that is asked for now sees its event. Notes it where that may turn out later."""
        awaited, watch = self._awaited, self._watch
        if awaited is not None and awaited.mode is Seen.PREDICTED:
            return asker() is not Asker.LESSON
        if awaited is not None and awaited.mode is Seen.EVALUATED and (asks := asker()) is not Asker.ANYBODY:
            return asks is not Asker.LESSON
        if watch is None:
            return False
        if watch.single is None and not watch.asked:
            watch.single = dict(x)
            return False
        watch.checks += 1
        if awaited is None and watch.checks <= CHECKED and (asks := asker()) is not Asker.ANYBODY:
            if isinstance(asks, Evaluation):
                self._begin_evaluated(watch, asks)
            return asks is not Asker.LESSON
        watch.ask(self._columns, x)
        return False

    # ---- finding out

    def _begin_evaluated(self, watch: Watch, asks: Evaluation) -> None:
        """River's evaluation with delayed labels asks: all its predictions are events, those before this one, too."""
        before = watch.events()
        self._begin(Seen.EVALUATED)
        assert self._awaited is not None
        self._awaited.in_order = asks.in_order
        for x in before[len(before) - min(asks.waiting, len(before)) :]:
            self._see_one(x)

    def _weigh(self, watch: Watch, key: bytes, row: list[float]) -> None:
        """Before a lesson: whether what was predicted before it were events."""
        verdict = watch.learn(key, row)
        if verdict is Verdict.LATE:
            self._warn(
                "found out",
                "events are learned in the order in which they were predicted, each after others that were predicted "
                "later: their labels are taken to be delayed, and from now on every prediction counts as seeing its "
                f"event and moves the state. {self.remedy}",
            )
            before = watch.events()
            self._begin(Seen.PREDICTED)
            for x in before:
                self._see_one(x)
        elif verdict is Verdict.UNCLEAR:
            watch.clear()
            self._warn_of_doubt()

    def _warn_of_doubt(self) -> None:
        self._warn(
            "unclear",
            "predictions were made before earlier events were learned, and which of them were events whose labels came "
            f"later and which only questions cannot be told; they are taken for questions. {self.remedy}",
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
            message = f"{type(self).__name__}: {text}"
            warnings.warn(message, DelayedLabelsWarning, stacklevel=level_of_the_caller())
