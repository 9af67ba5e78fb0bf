"""What a function returned lately: called at most once in a while, on a thread of its own, however many ask.

For what is made of metrics: that is all Python, on the interpreter that the loop needs as well. Who asks within
``max_age_s`` of the beginning of a call gets what that call returns, and those that come while it goes on wait for it.
Where a call takes long, its answer stands for longer, so that calls have no more than a ``share`` of a processor. A
failure stands as long as a success.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Recent(Generic[T]):
    """Answers of ``make``, none older than ``max_age_s`` when another call could begin; to be asked by one event loop.

    ``name`` is what cannot be answered when the call fails, which is logged. ``worked`` tells the seconds of processor
    time that the thread has had.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], T],
        max_age_s: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        share: float = 1.0,
        worked: Callable[[], float] = time.thread_time,
    ) -> None:
        self._name, self._make = name, make
        self._max_age_s, self._clock = max_age_s, clock
        self._share, self._worked, self._took_s = share, worked, 0.0
        self._begun_at = 0.0
        self._answer: asyncio.Task[T | None] | None = None

    async def get(self) -> T | None:
        """What the newest call returned; None where it failed."""
        now = self._clock()
        if self._answer is None or (self._answer.done() and now - self._begun_at >= self._age_s()):
            self._begun_at = now
            self._answer = asyncio.create_task(asyncio.to_thread(self._call))
        return await asyncio.shield(self._answer)  # who is cut off meanwhile does not cut off the others

    def _age_s(self) -> float:
        return max(self._max_age_s, self._took_s / self._share)

    def _call(self) -> T | None:
        before = self._worked()
        try:
            return self._make()
        except Exception:
            _log.exception("cannot answer %s", self._name)
            return None
        finally:
            self._took_s = self._worked() - before
