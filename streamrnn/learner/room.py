"""Room: how many streams there is room for, and who has to leave for a new one.

A stream is new until it has had ``ESTABLISHED`` records; from then on it has history. Those with history have a share
of the room to themselves, into which new streams cannot push: while they fill no more than it, a new stream takes the
place of the new one that is least recently seen. Beyond it, whoever is least recently seen leaves, new or not. So keys
that come once or twice, however many, drive out each other and nobody else, and honest newcomers find the rest of the
room. This is the segmented LRU of Karedla, Love and Wherry (1994, "Caching strategies to improve disk system
performance"), with one list for all streams and one for the new ones.

Who sends enough records for each of very many keys gets past it: then every key costs ``ESTABLISHED`` records, and
those with history leave in the order in which they were last seen.

Room is short when all slots are used, or when the bytes of all streams, their keys among them, would exceed
``max_bytes``. In either the share is of what is short. Nothing here depends on anything but keys in their order, each
record costs the same, and all of it follows from what ``StreamIndex`` saves.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

ESTABLISHED = 4
"""Records from which on a stream has history: more than a key that was mistyped, retried or made up usually gets, and
fewer than a stream has had when its window is first learned from (at the k1-th, by default the 8th)."""

INDEX_BYTES = 512
"""What the index itself takes for a stream besides its key's bytes: objects, entries and numbers of Python. Measured:
400 to 500."""


class Room:
    """Which streams are new, and the bytes of all.

    Parameters
    ----------
    max_streams
        Slots.
    protected_share
        Of slots or bytes, for streams with history alone; 0: everybody is treated alike.
    max_bytes
        Memory for streams, ``None`` = as much as ``max_streams`` of them take.
    stream_bytes
        What one takes, its key apart.
    """

    def __init__(self, max_streams: int, protected_share: float, max_bytes: int | None, stream_bytes: int) -> None:
        self.max_streams = max_streams
        self.protected_share = protected_share
        self.max_bytes = max_bytes
        self.stream_bytes = stream_bytes
        self.key_bytes = 0
        self._each = stream_bytes + INDEX_BYTES
        # One slot at least is open to all: otherwise no stream could ever come to have history.
        self._protected = min(int(protected_share * max_streams), max_streams - 1)
        self._protected_bytes = 0 if max_bytes is None else int(protected_share * max_bytes)
        self._new: OrderedDict[bytes, object] = OrderedDict()  # least recently seen first
        self._established = 0
        self._established_key_bytes = 0

    @property
    def established(self) -> int:
        """Streams with history."""
        return self._established

    def lacks(self, key: bytes) -> bool:
        """Whether somebody has to leave before a stream of this key can enter."""
        if self._established + len(self._new) >= self.max_streams:
            return True
        return self.max_bytes is not None and self._bytes + self._each + len(key) > self.max_bytes

    def first_to_leave(self) -> bytes | None:
        """The new stream that leaves, None where it is whoever is least recently seen of all."""
        if not self._new:
            return None
        if self._established + len(self._new) >= self.max_streams:
            protected = self._established <= self._protected
        else:
            protected = self._established * self._each + self._established_key_bytes <= self._protected_bytes
        return next(iter(self._new)) if protected else None

    @property
    def _bytes(self) -> int:
        return (self._established + len(self._new)) * self._each + self.key_bytes

    def enter(self, key: bytes) -> None:
        """A stream's first record."""
        self._new[key] = None
        self.key_bytes += len(key)

    def seen_again(self, key: bytes, times: int) -> None:
        """A new stream's record, its ``times``-th, up to the one with which it has history."""
        if times < ESTABLISHED:
            self._new.move_to_end(key)
        else:
            del self._new[key]
            self._established += 1
            self._established_key_bytes += len(key)

    def leave(self, key: bytes) -> None:
        """A stream is dropped, for whatever reason."""
        self.key_bytes -= len(key)
        if self._new.pop(key, self) is self:
            self._established -= 1
            self._established_key_bytes -= len(key)

    def resume(self, streams: Iterable[tuple[bytes, int]]) -> None:
        """Go on with these streams, least recently seen first, each with the number of its records."""
        # ``enter`` and ``seen_again`` of each, together: of a million they would take seconds.
        known = list(streams)
        new = [key for key, times in known if times < ESTABLISHED]
        self.key_bytes = sum([len(key) for key, _ in known])
        self._new = OrderedDict.fromkeys(new)
        self._established = len(known) - len(new)
        self._established_key_bytes = self.key_bytes - sum(map(len, new))


def survivors(streams: Iterable[tuple[bytes, int]], most: int, protected_share: float) -> set[bytes]:
    """Of these streams (least recently seen first, with the numbers of their records) who remain where there is room
    for ``most``: those that would if the others had left one by one."""
    room, order = Room(most, protected_share, None, 0), OrderedDict(streams)
    room.resume(order.items())
    while len(order) > most:
        leaving = room.first_to_leave() or next(iter(order))
        room.leave(leaving)
        del order[leaving]
    return set(order)
