"""Whether a cluster answers: what its clients asked, what was answered when, and what failed.

All clients of a worker (consumer, producer, those of a moment) report to one :class:`Answers`, from their own threads,
at the moment it happens: requests as they go out and as they end, connections as they are tried. What is said while a
connection is made (versions, passwords) is no answer: a listener that refuses everybody has answered nobody.

An outage begins once something was asked and nothing has been answered for ``GRACE_S``: connections that are refused,
connections that stand while nothing comes over them, and tries to connect that hang look alike. One broker of several
that is away is none, while others answer. Nothing asked is nothing known: between two heartbeats there is no outage.

No call blocks, and none is made for a record: a fetch of thousands is one request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import kafka.errors as client_errors

from streamrnn.broker.protocol import CONNECTION_STATES, REQUESTS, Connectivity

GRACE_S = 5.0
"""How long nothing may be answered. A fetch is answered within half a second, a heartbeat at once; a broker that is
busy, or one that hands its partitions over, may take a second or two."""

_MISSED_S = 1.0  # what was not answered for so long was not going to be answered at once

AFTERMATH_S = 30.0
"""How long after a failure the client's own lines may still be about it."""

_KINDS = {
    "FetchRequest": "fetch",
    "ListOffsetsRequest": "fetch",
    "OffsetForLeaderEpochRequest": "fetch",
    "ProduceRequest": "send",
    "InitProducerIdRequest": "send",
    "OffsetCommitRequest": "commit",
    "OffsetFetchRequest": "commit",
    "FindCoordinatorRequest": "group",
    "JoinGroupRequest": "group",
    "SyncGroupRequest": "group",
    "HeartbeatRequest": "group",
    "LeaveGroupRequest": "group",
}
_PATIENT = ("JoinGroupRequest", "SyncGroupRequest")
"""What a healthy group may take minutes to answer."""

HANGS = (
    "connections stand or are tried, and nothing comes over them; the brokers hang, or a firewall drops what is sent"
)

_HANDED_OVER = ("Heartbeat failed for group %s: coordinator", "Marking the coordinator dead")
"""How the client's lines begin that tell of a group which another broker coordinates from now on."""

_EVERYBODY: WeakSet[Answers] = WeakSet()


def kind_of(request: Any) -> str:
    """Which of ``REQUESTS`` a request of the client's is."""
    return _KINDS.get(type(request).__name__.partition("_")[0], "other")


class Answers:
    """What the clients of one worker have met. Any thread may call any of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock, self._wall = clock, wall
        self._lock = threading.Lock()
        self._managers: WeakSet[Any] = WeakSet()
        self._waiting: dict[int, float] = {}  # of what was asked and is not answered, since when
        self._number = 0
        self._answered: tuple[float, float] | None = None  # the newest answer, by both clocks
        self._missed_since: float | None = None  # since when an answer is missed, none having come since
        self._newest_failure_at: float | None = None
        self._failures = Counter(dict.fromkeys(REQUESTS, 0))
        _EVERYBODY.add(self)

    def follow(self, manager: Any) -> None:
        """Have another client's connections counted, and asked why they fail, for as long as it lives."""
        with self._lock:
            self._managers.add(manager)

    def connecting(self, future: Any) -> None:
        """A connection is tried; ``future`` ends when it can be used, or cannot."""
        self._follow(future, "connect", answers=False)

    def asked(self, request: Any, future: Any) -> None:
        """A request went out over a connection that stands; ``future`` ends with its answer, or without one."""
        patient = type(request).__name__.startswith(_PATIENT)
        self._follow(future, kind_of(request), answers=True, missed=not patient)

    def gave_up(self, kind: str) -> None:
        """A client was asked for something, and nothing came of it in time."""
        self._failed(kind)

    def _follow(self, future: Any, kind: str, *, answers: bool, missed: bool = True) -> None:
        with self._lock:
            self._number += 1
            number = self._number
            if missed:
                self._waiting[number] = self._clock()

        def succeeded(_: Any) -> None:
            self._waiting.pop(number, None)
            if answers:
                self._answered, self._missed_since = (self._clock(), self._wall()), None

        def failed(error: BaseException) -> None:
            asked_at = self._waiting.pop(number, None)
            if not isinstance(error, client_errors.Cancelled):
                self._failed(kind, asked_at)
            elif asked_at is not None and self._clock() - asked_at > _MISSED_S:
                self._missed(asked_at)  # this side closed the connection over which no answer came

        future.add_callback(succeeded)
        future.add_errback(failed)

    def _failed(self, kind: str, asked_at: float | None = None) -> None:
        now = self._newest_failure_at = self._clock()
        with self._lock:
            self._failures[kind] += 1
        self._missed(now if asked_at is None else asked_at)

    def _missed(self, since: float) -> None:
        with self._lock:
            self._missed_since = since if self._missed_since is None else min(since, self._missed_since)

    def answered_after(self, moment: float) -> bool:
        """Whether anything was answered later than that, by the monotonic clock."""
        return self._answered is not None and self._answered[0] > moment

    @property
    def away(self) -> bool:
        """Whether there is an outage."""
        return self._away_since(self._clock()) is not None

    @property
    def troubled(self) -> bool:
        """Whether there is an outage, or something has failed of late."""
        now = self._clock()
        failed_at = self._newest_failure_at
        return (failed_at is not None and now - failed_at < AFTERMATH_S) or self._away_since(now) is not None

    def connectivity(self) -> Connectivity:
        """How it is at this moment."""
        now, answered = self._clock(), self._answered
        since = self._away_since(now)
        with self._lock:
            managers, failures = list(self._managers), dict(self._failures)
        told = dict.fromkeys(text for manager in managers if (text := manager.told()))
        connections = dict.fromkeys(CONNECTION_STATES, 0)
        for state in (state for manager in managers for state in manager.states()):
            connections[state] += 1
        at = None if answered is None else answered[1]
        begun = self._wall() - (now - since) if at is None and since is not None else at
        return Connectivity(
            answered_at=at,
            away_since=None if since is None else begun,
            cause="" if since is None else "; ".join(told) or HANGS,
            connections=connections,
            failures=failures,
        )

    def _away_since(self, now: float) -> float | None:
        """Since when nothing has been answered; None where that is not known, or no longer than usual."""
        waiting, answered = min(list(self._waiting.values()), default=None), self._answered
        missed = [at for at in (self._missed_since, waiting) if at is not None]
        if not missed:
            return None
        # Only what was missed since the newest answer counts: another broker's may have come meanwhile.
        unanswered_since = min(missed) if answered is None else max(answered[0], min(missed))
        return unanswered_since if now - unanswered_since > GRACE_S else None


class ClientsNoise(logging.Filter):
    """Keeps out what the client says of failures that we tell of ourselves, unless the log is for debugging.

    It says so in many ways, some of them ten times a second, which change from version to version: so whatever it says
    in an outage and shortly after one is left out. So is that a broker which is stopped in good order hands its group
    over, before anything has failed: the client asks for the next one at once.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or logging.getLogger().level <= logging.DEBUG:
            return True
        if str(record.msg).startswith(_HANDED_OVER):
            return False
        return not any(answers.troubled for answers in list(_EVERYBODY))


_CLIENTS_NOISE = ClientsNoise()


def keep_noise_out_of_logs() -> None:
    """Filter all of the client's loggers there are by now. Idempotent."""
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "kafka":
            logging.getLogger(name).addFilter(_CLIENTS_NOISE)
