"""Does one thing to many, by several threads, where most of the time goes into what lets other threads run.

Reading, hashing, flushing and copying large arrays do. The threads are daemons: a disk that hangs must not keep the
process from leaving.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

MOST_THREADS = 4
"""More would wait for the same disk, and hold more in memory."""


def threads() -> int:
    """As many as pay: one more than processors, since each waits for the disk now and then."""
    return min(MOST_THREADS, len(os.sched_getaffinity(0)) + 1)


def side_by_side(work: Callable[[T], R], items: Iterable[T], count: int) -> list[R]:
    """What ``work`` gives for each item, in order, by ``count`` threads, this one among them.

    Once one fails no further item is begun; of all errors that of the first item is raised.
    """
    numbered, lock = enumerate(items), threading.Lock()
    done: dict[int, R] = {}
    failed: dict[int, BaseException] = {}

    def run() -> None:
        while True:
            with lock:
                if failed or (item := next(numbered, None)) is None:
                    return
            try:
                done[item[0]] = work(item[1])
            except BaseException as error:
                with lock:
                    failed[item[0]] = error
                return

    others = [threading.Thread(target=run, name="side by side", daemon=True) for _ in range(count - 1)]
    for thread in others:
        thread.start()
    run()
    for thread in others:
        thread.join()
    if failed:
        raise failed[min(failed)]
    return [done[number] for number in sorted(done)]
