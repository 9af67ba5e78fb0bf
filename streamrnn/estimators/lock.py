"""The lock that makes an estimator safe to call from several threads.

Calls of one estimator run one after the other; those of different estimators do not wait for each other. Without it a
prediction would overwrite the record that a kernel is learning from, for kernels let other threads run.

A lock belongs to its process, not to what was learned: pickles and files leave it out, and a copy gets one of its own.
A fork waits for calls that are under way. Otherwise the child might inherit a half-learned record, and a lock that
nobody there will release. For a moment a fork holds the locks of all estimators, so nobody may make an estimator, or
wait for one, while holding another's lock.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import weakref


class EstimatorLock(_thread.RLock):  # type: ignore[misc]  # CPython lets it be a base; only the stubs do not
    """Held while an estimator is at work; the thread that holds it may take it again."""

    __slots__ = ()

    def __init__(self) -> None:
        with _making:
            _all.add(self)

    def __reduce__(self) -> tuple[type[EstimatorLock], tuple[()]]:
        return EstimatorLock, ()  # River's clone(include_attributes=True) copies whatever an estimator holds


_all: weakref.WeakSet[EstimatorLock] = weakref.WeakSet()
_making = threading.Lock()
_held: list[EstimatorLock] = []
"""By the fork that is under way; ``_making`` lets one at a time."""


def _before_fork() -> None:
    _making.acquire()
    _held.extend(_all)
    for lock in _held:
        lock.acquire()


def _after_fork() -> None:
    while _held:
        _held.pop().release()
    _making.release()


if sys.platform != "win32":
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
