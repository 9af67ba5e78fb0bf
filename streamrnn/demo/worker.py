"""The daemon's own worker on a thread of the demo's, and what can be seen of it from outside.

Nothing in the worker knows that it is watched: all figures are read off its loop, its learners and its metrics.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from streamrnn.daemon.endpoint.http import HttpServer
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.questions import Questions
from streamrnn.daemon.run import run_worker
from streamrnn.job.config import Config


class Worker:
    """``run_worker`` on a thread until it has done ``records`` or ``stop`` is set.

    ``at_rest`` is called on that thread whenever all that is in the log so far was done, and may write more there.
    ``questions`` may be asked from others. ``look`` brings the figures up to date. ``began`` and ``ended`` are on
    ``time.perf_counter``'s clock and 0 while that has not happened; ``error`` is what ended the worker otherwise.
    """

    def __init__(self, config: Config, records: int, at_rest: Callable[[Loop], None] | None = None) -> None:
        self.records = records
        self.questions = Questions()
        self._at_rest = at_rest
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self.loop: Loop | None = None
        self.port: int | None = None
        self.done = 0
        self.streams = 0
        self.error_sum = 0.0
        self.scored = 0
        self.began = self.ended = 0.0
        self.phases: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._config = config
        self.thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def _run(self) -> None:
        try:
            run_worker(
                self._config, open_broker(self._config), self.stop,
                idle=self._idle, started=self._started, questions=self.questions,
            )  # fmt: skip
        except BaseException as error:
            self.error = error

    def _started(self, loop: Loop, server: HttpServer | None) -> None:
        self.port = None if server is None else server.port
        self.loop = loop

    def _idle(self) -> None:
        if self.loop is None:
            return
        if self._at_rest is not None:
            self._at_rest(self.loop)
        if sum(p.position for p in self.loop.partitions.values()) >= self.records:
            self.ended = time.perf_counter()
            self.look()
            self.stop.set()

    def look(self) -> None:
        """Bring what is shown up to date; what the loop has dropped at its end stays as it was last seen."""
        if self.loop is None:
            return
        partitions = list(self.loop.partitions.values())
        if not self.began:
            # A partition is listed once it is restored: joining a group, which takes a cluster seconds, is over.
            self._before = self._phase_seconds()
            if not partitions:
                return
            self.began = time.perf_counter()
        if partitions:
            gauges = [p.learner.gauges() for p in partitions]
            self.done = sum(p.position for p in partitions)
            self.streams = sum(p.learner.progress().streams for p in partitions)
            self.error_sum = sum(g["error_sum"] for g in gauges)
            self.scored = int(sum(g["scored"] for g in gauges))
        self.phases = {name: total - self._before.get(name, 0.0) for name, total in self._phase_seconds().items()}

    @property
    def mean_error(self) -> float:
        """Mean absolute error of the predictions so far; NaN before the first one was scored."""
        return self.error_sum / self.scored if self.scored else float("nan")

    def _phase_seconds(self) -> dict[str, float]:
        assert self.loop is not None
        return {
            sample.labels["phase"]: sample.value
            for family in self.loop.metrics.registry.collect()
            if family.name == "streamrnn_phase_duration_seconds"
            for sample in family.samples
            if sample.name.endswith("_sum")
        }
