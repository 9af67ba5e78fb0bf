"""From a signal to the end of the process, within ``shutdown_timeout_s`` whatever the process is doing.

SIGTERM and SIGINT ask for a stop; a second one ends the process at once. The work has most of the time to come to its
end by itself: what it waits for is told how much is left. If it has not by then, because a disk hangs or a client does
not come back, a thread ends the process. Nothing is lost by that: the next start reads what is committed and replays.

The signal is noticed by that thread, over the pipe that Python writes to when a signal arrives: handlers written in
Python wait until the main thread is back from whatever it called.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
WORK_SHARE, LAST_SHARE = 0.9, 0.97
"""Shares of ``shutdown_timeout_s`` after which the work has to be done, and after which the process ends anyway."""


@contextlib.contextmanager
def stopping(stop: threading.Event, timeout_s: float, status: int) -> Iterator[None]:
    """Have signals set ``stop``, and end the process with ``status`` if this context is not left ``timeout_s`` later.

    To be entered by the main thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    left = threading.Event()

    def watch() -> None:
        received = os.read(reader, 1)
        while received and received[0] not in SIGNALS:
            received = os.read(reader, 1)
        os.close(reader)
        if received:
            stop.set()
            if not left.wait(timeout_s * LAST_SHARE):
                _log.error("stopping: not done within %g s; leaving all the same, the next start replays", timeout_s)
                os._exit(status)

    threading.Thread(target=watch, name="stopping", daemon=True).start()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        _log.info("%s received, draining; once more to stop at once", signal.Signals(number).name)
        for each in SIGNALS:
            signal.signal(each, before[each])

    for number in SIGNALS:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
        signal.set_wakeup_fd(before_fd)
        left.set()
        os.close(writer)
