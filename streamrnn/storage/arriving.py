"""Segments that come one by one, from a learner that goes on, to the thread that writes them.

The loop's thread copies (``learner.copying``) and must never wait, so it only does while there is room for a segment
that has been written: what is copied and not yet written is at most ``ROOMS`` segments. The thread that writes waits
for the next one. Either side may end it: the learner's, because nobody feeds it any more or something newer is to be
written; the writer's, because writing failed or all is done.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping

from streamrnn.errors import CheckpointError
from streamrnn.learner.copying import ROOMS, StreamsCopy
from streamrnn.storage.segments import Segment
from streamrnn.storage.tensors import Arrays


class CopyGivenUpError(CheckpointError):
    """A copy was ended before it was complete; what it was for is not written."""


class ArrivingSegments(Mapping[int, Segment]):
    """The segments of ``copy``, by number, in order; each is there until the next is asked for."""

    def __init__(self, copy: StreamsCopy) -> None:
        self._copy = copy
        self._numbers = list(copy.left)
        self._changed = threading.Condition()
        self._come: dict[int, tuple[Segment, Arrays]] = {}
        self._rooms: list[Arrays] = []  # with nothing in them
        self._made = 0
        self._lent: Arrays | None = None  # to who writes
        self._given_up: CheckpointError | None = None
        self._done = False

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __getitem__(self, number: int) -> Segment:
        """Waits for it. Raises what it was given up for where it will not come."""
        with self._changed:
            if self._lent is not None:
                self._rooms.append(self._lent)
                self._lent = None
                self._changed.notify_all()
            self._changed.wait_for(lambda: number in self._come or self._given_up is not None)
            if self._given_up is not None:
                raise self._given_up
            segment, self._lent = self._come.pop(number)
            return segment

    # -- for the thread that copies -----------------------------------------------------------------------------------

    @property
    def copied(self) -> bool:
        """Whether nothing is left to copy."""
        return not self._copy.left

    def copy_next(self) -> bool:
        """Copy one more segment; False where none is left, or there is no room for it now."""
        if self.copied or (room := self._room()) is None:
            return False
        number, arrays, keys = self._copy.copy_next(room)
        with self._changed:
            self._come[number] = Segment(arrays, tuple(keys)), room
            self._changed.notify_all()
        return True

    def wait_for_room(self, timeout_s: float) -> None:
        """Until a segment can be copied again, or nobody asks for one any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._done or bool(self._rooms) or self._made < ROOMS, timeout_s)

    def give_up(self, error: CheckpointError | None = None) -> None:
        """Copy nothing more; who waits for more is told, by ``error`` where it is somebody's failure."""
        self._copy.end()
        with self._changed:
            self._given_up = error or CopyGivenUpError("the copy it was to be written from was given up")
            self._come, self._rooms = {}, []  # who writes may hang for long, and all of it is of no use
            self._changed.notify_all()

    def _room(self) -> Arrays | None:
        with self._changed:
            if self._done:
                self._copy.end()
                return None
            if self._rooms:
                return self._rooms.pop()
            if self._made == ROOMS:
                return None
            self._made += 1
        return self._copy.room()

    # -- for the thread that writes -----------------------------------------------------------------------------------

    def done(self) -> None:
        """No more will be asked for."""
        with self._changed:
            self._done = True
            self._come, self._rooms, self._lent = {}, [], None
            self._changed.notify_all()
