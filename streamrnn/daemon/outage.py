"""What is told of an outage of the broker: in the log, by the metrics, to the probes.

Once a second a thread of its own asks how the broker answers, since the loop may be waiting in a call just then. Of an
outage the log has a line when it begins, one every minute, one when it ends and one when what came meanwhile has been
read; whatever else would be said of it, by the client or by us, is left to these. A lag is unknown while nothing is
answered, so it is shown as such.

A look that comes late, because the whole process was halted, is left out: answers are waiting then to be read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from streamrnn.broker.protocol import CONNECT_TIMEOUT_S, Broker, Connectivity, TopicPartition
from streamrnn.daemon.delivery import ATTEMPTS, REQUEST_TIMEOUT_S
from streamrnn.daemon.health import Health
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.partition import Partition

_log = logging.getLogger(__name__)

_KEPT = (
    f"what waits is tried {ATTEMPTS} times, each for {REQUEST_TIMEOUT_S:g} s at most, then this process ends with "
    "status 1, and the next one reads it again"
)
LOOK_S = 1.0
AGAIN_S = 60.0
"""How often an outage that goes on is told."""
_LATE_S = 2.0


class Outages:
    """Follows whether ``broker``, which is known as ``name``, answers. ``partitions`` are those that are held now.

    ``look`` is what the thread does between entering the context and leaving it; a test calls it itself.
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        metrics: Metrics,
        health: Health,
        partitions: Callable[[], Mapping[TopicPartition, Partition]],
    ) -> None:
        self._broker, self._name, self._metrics, self._health = broker, name, metrics, health
        self._partitions = partitions
        self._since: float | None = None  # the present outage
        self._told_at = 0.0
        self._counted: dict[str, int] = {}  # failures, as far as the metric has them
        self._positions: dict[TopicPartition, int] = {}  # at its beginning
        self._back_at: float | None = None  # its end, until all that came meanwhile is read
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outages", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(LOOK_S)

    def _run(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(LOOK_S):
            late_s, due = time.monotonic() - due, time.monotonic() + LOOK_S
            if late_s < _LATE_S:
                self.look(time.time())

    def look(self, now: float) -> None:
        """See how it is ``now``, in seconds since the epoch."""
        found = self._broker.connectivity()
        if found.away_since is None and self._since is not None:
            self._ends(found, now)
        elif found.away_since is not None and self._since is None:
            self._begins(found, found.away_since, now)
        elif self._since is not None and now - self._told_at >= AGAIN_S:
            self._goes_on(found, self._since, now)
        if self._back_at is not None:
            self._catches_up(self._back_at, now)
        self._show(found)

    # -- the story ----------------------------------------------------------------------------------------------------

    def _begins(self, found: Connectivity, since: float, now: float) -> None:
        self._since, self._told_at, self._back_at = since, now, None
        self._positions = self._reached()
        self._metrics.count("streamrnn_broker_outages_total")
        if found.answered_at is None:
            text = (
                f"has not answered since this process asked it first, {_span(now - since)} ago: {found.cause}. A "
                f"start is given up after {CONNECT_TIMEOUT_S:g} s without an answer, with status 1"
            )
        else:
            text = (
                f"has not answered since {_utc(since)}: {found.cause}. Nothing is read or predicted until it does. "
                f"{self._undelivered()}; {_KEPT}"
            )
        self._tell(logging.WARNING, f"{self._name} {text}", now - since)

    def _goes_on(self, found: Connectivity, since: float, now: float) -> None:
        self._told_at = now
        self._tell(
            logging.WARNING,
            f"{self._name} has not answered for {_span(now - since)}, since {_utc(since)}: {found.cause}. "
            f"{self._undelivered()}",
            now - since,
        )

    def _ends(self, found: Connectivity, now: float) -> None:
        assert self._since is not None
        lasted_s = (found.answered_at or now) - self._since
        self._since, self._back_at = None, now
        self._tell(logging.INFO, f"{self._name} answers again after {_span(lasted_s)}. {self._undelivered()}", lasted_s)

    def _catches_up(self, back_at: float, now: float) -> None:
        if not self._health.caught_up(now - back_at):
            return
        self._back_at = None
        read = sum(max(0, at - self._positions.get(tp, at)) for tp, at in self._reached().items())
        if read:
            text = f"caught up after the outage: {read:,} offsets were read within {_span(now - back_at)}"
            self._tell(logging.INFO, text, None)

    def _undelivered(self) -> str:
        held = list(self._partitions().values())
        waiting = sum(partition.waiting for partition in held)
        kept = f"{waiting:,} predictions wait" if waiting else "nothing waits"
        return f"Partitions held: {len(held)}; {kept} to be delivered"

    def _reached(self) -> dict[TopicPartition, int]:
        return {tp: partition.position for tp, partition in self._partitions().items()}

    def _tell(self, level: int, text: str, away_s: float | None) -> None:
        fields: dict[str, Any] = {"broker": self._name}
        if away_s is not None:
            fields["away_s"] = round(away_s, 1)
        _log.log(level, text, extra={"fields": fields})

    # -- the metrics --------------------------------------------------------------------------------------------------

    def _show(self, found: Connectivity) -> None:
        metrics = self._metrics
        if found.answered_at is not None:
            metrics.set("streamrnn_broker_last_answer_timestamp_seconds", found.answered_at)
        if found.answered_at is not None or found.away_since is not None:
            metrics.set("streamrnn_broker_connected", 1 if found.away_since is None else 0)
        for state, count in found.connections.items():
            metrics.set("streamrnn_broker_connections", count, state)
        for request, count in found.failures.items():
            metrics.count("streamrnn_broker_failures_total", count - self._counted.get(request, 0), request)
        self._counted = dict(found.failures)
        if found.away_since is not None:
            metrics.forget_lag()
        metrics.ready(self._health.ready()[0])


def _utc(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s, UTC):%H:%M:%S} UTC"


def _span(seconds: float) -> str:
    """A length of time for people.

    >>> _span(7.4), _span(126), _span(7_261)
    ('7 s', '2 min 6 s', '2 h 1 min')
    """
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
