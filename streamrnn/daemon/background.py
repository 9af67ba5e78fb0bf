"""One thread beside the loop, for what takes long and does not need the broker: reading checkpoints.

Partitions that stay with a worker go on while those that were assigned to it are read; a checkpoint of 100,000 streams
takes most of a second. One thing at a time, since whatever runs beside the loop also takes turns with it.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Does what it is given, in order."""

    def __init__(self) -> None:
        self._given: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        # A daemon: a disk that hangs must not keep the process from leaving within its budget.
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have ``work`` done after what was given before; cancelled before it began, it is left out."""
        if not self._thread.is_alive():
            self._thread.start()
        future: Future[T] = Future()
        self._given.put((future, work))
        return future

    def _run(self) -> None:
        while True:
            future, work = self._given.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(work())
            except BaseException as error:  # whoever asks for the result gets it
                future.set_exception(error)
            del future, work  # a learner, which may be large
