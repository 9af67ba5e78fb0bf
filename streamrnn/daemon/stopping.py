"""From a signal to the end of the process, within ``shutdown_timeout_s`` whatever the process is doing.

SIGTERM and SIGINT ask for a stop; a second one ends the process at once. The work has most of the time to come to its
end by itself: what it waits for is told how much is left. If it has not by then, because a disk hangs or a client does
not come back, a thread ends the process. Nothing is lost by that: the next start reads what is committed and replays.
While there is nothing to drain yet, as before the cluster has answered, the thread ends it at once, and that is clean.

The signal is noticed by that thread, over the pipe that Python writes to when a signal arrives: handlers written in
Python wait until the main thread is back from whatever it called.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
WORK_SHARE, LAST_SHARE = 0.9, 0.97
"""Shares of ``shutdown_timeout_s`` after which the work has to be done, and after which the process ends anyway."""
TAKE_BACK_SHARE = 0.1
"""Share of it that is kept for taking back what is in hand (see ``quarantine``), out of that of the work."""

GRACE_S = 1.0
"""How long the work may take to come to its end by itself where there is nothing to drain."""


@contextlib.contextmanager
def stopping(
    stop: threading.Event, timeout_s: float, status: int, nothing_begun: Callable[[], bool] = lambda: False
) -> Iterator[list[str]]:
    """Have signals set ``stop``, and end the process with ``status`` if this context is not left ``timeout_s`` later.

    Where ``nothing_begun`` it ends after a moment, with status 0. To be entered by the main thread. What it gives is
    empty until the signal comes, and has its name then.
    """
    names: list[str] = []
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    left = threading.Event()

    def watch() -> None:
        if (number := _received(reader)) is not None:
            names.append(signal.Signals(number).name)
            stop.set()
            _end(left, timeout_s, status, nothing_begun)
        os.close(reader)  # not before: Python writes there at a second signal as well, and would complain

    threading.Thread(target=watch, name="stopping", daemon=True).start()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        for each in SIGNALS:  # before it is said: whoever reads that may send the second one at once
            signal.signal(each, _at_once(each, before[each]))
        _log.info("%s received, draining; once more to stop at once", signal.Signals(number).name)

    for number in SIGNALS:
        signal.signal(number, handle)
    try:
        yield names
    finally:
        for number, action in before.items():
            signal.signal(number, action)
        signal.set_wakeup_fd(before_fd)
        left.set()
        os.close(writer)


def _at_once(number: int, before: Any) -> Any:
    """What a second signal does: as before, unless it was ignored, as of what a shell starts in the background."""
    if before is not signal.SIG_IGN:
        return before
    return signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL


def _received(reader: int) -> int | None:
    """Wait for one of the signals; None where the other end of the pipe is closed before one comes."""
    received = os.read(reader, 1)
    while received and received[0] not in SIGNALS:
        received = os.read(reader, 1)
    return received[0] if received else None


def _end(left: threading.Event, timeout_s: float, status: int, nothing_begun: Callable[[], bool]) -> None:
    """End the process if the work does not in time: soon where there is nothing to drain."""
    last_s = timeout_s * LAST_SHARE
    grace_s = min(GRACE_S, last_s)
    if left.wait(grace_s):
        return
    if nothing_begun():
        _log.info("stopped cleanly, exit status 0: nothing had been begun", extra={"fields": {"exit_status": 0}})
        os._exit(0)
    if not left.wait(last_s - grace_s):
        _log.error(
            "stopped, exit status %d: not done within %g s; leaving all the same, the next start replays",
            status, timeout_s, extra={"fields": {"exit_status": status}},
        )  # fmt: skip
        os._exit(status)
