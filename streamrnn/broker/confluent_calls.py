"""Calls of confluent-kafka that know no timeout (a commit that is waited for, a close), ended by one of ours.

Each runs on a thread of its own. One that takes longer goes on behind the caller's back, and until it has ended
nothing else can be asked of that client, which lets one caller in at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

_MEANWHILE_S = 0.5


class Calls:
    """The calls of one client, one after the other. ``meanwhile`` is called now and then while one is waited for."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._meanwhile = meanwhile
        self._running: threading.Thread | None = None

    def settled(self, timeout_s: float) -> bool:
        """Whether no call runs, having waited for one that does."""
        deadline = time.monotonic() + timeout_s
        while self._running is not None:
            left_s = deadline - time.monotonic()
            self._running.join(min(max(0.0, left_s), _MEANWHILE_S))
            if not self._running.is_alive():
                self._running = None
            else:
                self._meanwhile()
                if left_s <= _MEANWHILE_S:
                    return False
        return True

    def run(self, call: Callable[[], Any], timeout_s: float) -> Any:
        """What ``call`` returns or raises; TimeoutError where it takes longer."""
        outcome: list[Any] = []
        raised: list[BaseException] = []

        def caught() -> None:
            try:
                outcome.append(call())
            except BaseException as error:
                raised.append(error)

        if not self.settled(timeout_s):
            raise TimeoutError
        self._running = threading.Thread(target=caught, name="kafka-call", daemon=True)
        self._running.start()
        if not self.settled(timeout_s):
            raise TimeoutError
        if raised:
            raise raised[0]
        return outcome[0]
