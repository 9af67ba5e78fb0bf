"""What the endpoint's thread asks of the loop's, which alone may look at a learner.

A question for one stream waits until the loop is between two turns, some tenths of a second at most; where the loop is
busy for longer, as with a batch that the broker does not take, whoever asked is told so. For a page that somebody has
open the loop leaves what a few streams do, once a second, and stops following them a minute after the last look.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.newest import Said
from streamrnn.daemon.partition import Partition
from streamrnn.job.codec.predictions import PredictionEncoder
from streamrnn.learner.lookahead.waiting import waiting_events
from streamrnn.learner.one_stream import described
from streamrnn.learner.vocabulary import Vocabulary

DEADLINE_S = 2.0
"""How long an answer is waited for."""
MOST_WAITING = 32
"""Questions that may wait at once."""
MOST_A_TURN = 8
"""Questions that the loop answers before it goes on with records."""
INTEREST_S = 60.0
"""How long after a look streams are followed."""
MOST_FOLLOWED = 4


Partitions = Mapping[TopicPartition, Partition]
T = TypeVar("T")


class BusyError(Exception):
    """The loop has no time to answer."""


class Found(NamedTuple):
    """What partitions know of a stream; those that are not restored yet may know it too."""

    streams: list[dict[str, Any]]
    predicting: list[TopicPartition]
    restoring: list[TopicPartition]


class Followed(NamedTuple):
    """What a few streams do, as of ``at`` on the clock of ``Questions``."""

    at: float
    streams: list[dict[str, Any]]


class Questions:
    """``look``, ``stream`` and ``ask`` are for other threads, ``answer`` and ``show`` for the loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, deadline_s: float = DEADLINE_S) -> None:
        self._clock, self._deadline_s = clock, deadline_s
        self._asked: deque[tuple[Callable[[Partitions, Iterable[TopicPartition]], Any], Future[Any]]] = deque()
        self._looked_at: float | None = None
        self._followed: Followed | None = None

    # -- the endpoint's thread ----------------------------------------------------------------------------------------

    def look(self) -> list[dict[str, Any]] | None:
        """What the followed streams do; None before the loop has seen that somebody looks."""
        self._looked_at = now = self._clock()
        followed = self._followed
        return None if followed is None or now - followed.at > INTEREST_S else followed.streams

    async def stream(self, key: bytes) -> Found:
        """What is known of a stream. Raises BusyError."""
        answer = self.enqueue(key)
        try:
            async with asyncio.timeout(self._deadline_s):
                return await asyncio.wrap_future(answer)
        except TimeoutError:
            raise BusyError from None

    def enqueue(self, key: bytes) -> Future[Found]:
        """Have the loop say what is known of a stream. Raises BusyError where too many wait already."""
        return self._ask(partial(_found, key))

    def ask(self, look: Callable[[Partitions], T]) -> Future[T]:
        """Have the loop call ``look`` with its partitions, between two turns. Raises BusyError as ``enqueue`` does."""
        return self._ask(lambda partitions, _: look(partitions))

    def _ask(self, look: Callable[[Partitions, Iterable[TopicPartition]], T]) -> Future[T]:
        if len(self._asked) >= MOST_WAITING:
            raise BusyError
        answer: Future[T] = Future()
        self._asked.append((look, answer))
        return answer

    # -- the loop's thread --------------------------------------------------------------------------------------------

    def answer(self, partitions: Partitions, restoring: Iterable[TopicPartition]) -> None:
        """Answer those who wait; ``restoring`` are partitions without a learner yet."""
        for _ in range(min(MOST_A_TURN, len(self._asked))):
            look, answer = self._asked.popleft()
            if not answer.set_running_or_notify_cancel():
                continue  # whoever asked did not wait
            try:
                answer.set_result(look(partitions, restoring))
            except Exception as error:  # a question must not end the learning
                answer.set_exception(error)

    def show(self, partitions: Collection[Partition]) -> None:
        """Leave what a few streams do, for whoever looks."""
        now, looked_at = self._clock(), self._looked_at
        looking = looked_at is not None and now - looked_at <= INTEREST_S
        if not looking and self._followed is None:
            return
        shown: list[dict[str, Any]] = []
        predicting = [partition for partition in partitions if partition.caught_up][:MOST_FOLLOWED]
        for partition in partitions:
            if not looking or partition not in predicting:
                partition.traces.stop()
                continue
            # One each, and what is left over for the first.
            most = MOST_FOLLOWED // len(predicting) + (partition is predicting[0]) * (MOST_FOLLOWED % len(predicting))
            partition.traces.choose(partition.learner.streams, most)
            where = {"topic": partition.tp.topic, "partition": partition.tp.partition}
            shown += [where | trace for trace in partition.traces.shown(partition.learner.classes)]
        self._followed = Followed(now, shown) if looking else None


def _found(key: bytes, partitions: Partitions, restoring: Iterable[TopicPartition]) -> Found:
    predicting = [partition for partition in partitions.values() if partition.caught_up]
    return Found(
        [stream_of(p, key) for p in predicting if p.learner.knows(key)],
        [p.tp for p in predicting],
        sorted({*restoring, *(p.tp for p in partitions.values() if not p.caught_up)}),
    )


def _named(encoder: PredictionEncoder, said: Said, classes: Vocabulary | None) -> Any:
    """What was said last, as it stands in an output record."""
    if not encoder.says_several:
        return encoder.named(said.value, classes)
    return None if said.sequence is None else encoder.named_sequence(*said.sequence, classes)


def stream_of(partition: Partition, key: bytes) -> dict[str, Any]:
    """What a partition knows of a stream: its newest prediction, what came last, its state and where it is."""
    learner, encoder = partition.learner, partition.job.encoder
    slot, kept = learner.streams.find(key), described(learner.row_of(key), learner.spec)
    said = partition.newest.of(slot, key)
    if said is None and (forecast := learner.newest_forecast(key)) is not None:
        # A forecast is remembered over restarts.
        said = Said(kept["last_record_ms"], None, encoder.condensed(forecast[np.newaxis])[0].tolist())
    actual = [math.nan if value is None else value for value in kept["previous_target"]]
    waits: dict[str, Any] = {}
    if learner.spec.looks_ahead:
        waiting = len(waiting_events(learner.row_of(key), learner.spec).event)
        waits = {"offset": None if said is None else said.offset, "waiting": waiting}
    return {
        "topic": partition.tp.topic,
        "partition": partition.tp.partition,
        "prediction": None if said is None else _named(encoder, said, learner.classes),
        "timestamp": None if said is None else said.time_ms,
        **waits,
        "updates": None if said is None else said.updates,
        "last_target": None if encoder.says_several else encoder.named_target(actual, learner.classes),
        "steps": kept["steps"],
        "last_seen_ms": learner.streams.last_seen_ms(slot),
        "state_norms": kept["state_norms"],
        "targets": kept["targets"],
        "model_updates": learner.counters()["updates"],
    }
