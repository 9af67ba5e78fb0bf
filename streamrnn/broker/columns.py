"""Records and outputs as columns: whole batches cross the broker's seam, and nothing is made for a single record.

A batch is a sequence of the values it stands for, so whoever wants to look at one record asks for it by its place and
has it made then; whoever works on all of them reads the columns. Slices share the columns of what they are cut from.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import overload

import numpy as np
import numpy.typing as npt

from streamrnn.broker.records import Headers, Output, Record, Refused

Integers = npt.NDArray[np.int64]

NOW = -1
"""The timestamp of an output that is to have the time at which it is sent."""


@dataclass(frozen=True, slots=True, eq=False)
class Strings(Sequence[bytes | None]):
    """n strings of bytes that lie in one buffer; a string may be missing, which is not the empty one.

    Attributes
    ----------
    buffer
        Read, never written.
    start, end : int64 [n]
        String i is ``buffer[start[i]:end[i]]``; it is missing where ``end[i] < start[i]``.

    >>> strings = Strings.of([b"a", None, b"", b"bc"])
    >>> strings.tolist(), strings[3], strings[1:3].tolist(), strings.sizes.tolist()
    ([b'a', None, b'', b'bc'], b'bc', [None, b''], [1, 0, 0, 2])
    """

    buffer: bytes
    start: Integers
    end: Integers

    @classmethod
    def of(cls, strings: Iterable[bytes | None]) -> Strings:
        """These strings, one behind the other."""
        strings = list(strings)
        known = [string for string in strings if string is not None]
        if len(known) == len(strings):
            return cls.of_all(known)
        end = np.cumsum(np.fromiter((0 if s is None else len(s) for s in strings), np.int64, len(strings)))
        start = np.concatenate([np.zeros(min(1, len(strings)), np.int64), end[:-1]])
        missing = np.fromiter((s is None for s in strings), np.bool_, len(strings))
        return cls(b"".join(known), start, np.where(missing, start - 1, end))

    @classmethod
    def of_all(cls, strings: Sequence[bytes]) -> Strings:
        """The same of strings none of which is missing, in a third of the time."""
        sizes = np.fromiter(map(len, strings), np.int64, len(strings))
        end = np.cumsum(sizes)
        return cls(b"".join(strings), end - sizes, end)

    def __len__(self) -> int:
        return len(self.start)

    @overload
    def __getitem__(self, place: int) -> bytes | None: ...
    @overload
    def __getitem__(self, place: slice) -> Strings: ...
    def __getitem__(self, place: int | slice) -> bytes | Strings | None:
        if isinstance(place, slice):
            return Strings(self.buffer, self.start[place], self.end[place])
        start, end = int(self.start[place]), int(self.end[place])
        return None if end < start else self.buffer[start:end]

    def __iter__(self) -> Iterator[bytes | None]:
        return iter(self.tolist())

    def tolist(self) -> list[bytes | None]:
        """All of them."""
        buffer, places = self.buffer, zip(self.start.tolist(), self.end.tolist(), strict=True)
        if not self.missing.any():
            return [buffer[start:end] for start, end in places]
        return [None if end < start else buffer[start:end] for start, end in places]

    def at(self, places: Integers) -> Strings:
        """Those at some places, in their order."""
        return Strings(self.buffer, self.start[places], self.end[places])

    @property
    def sizes(self) -> Integers:
        """Their lengths (n,); 0 where one is missing."""
        sizes: Integers = np.maximum(self.end - self.start, 0)
        return sizes

    @property
    def missing(self) -> npt.NDArray[np.bool_]:
        """Which are missing (n,)."""
        return self.end < self.start


@dataclass(frozen=True, slots=True, eq=False)
class Records(Sequence[Record]):
    """n records of one partition as delivered, in the order of their offsets.

    Attributes
    ----------
    offset, timestamp_ms : int64 [n]
        See ``Record``.
    headers
        Those of each record; empty where no record has any.
    refused
        Why a record was not read, by its place.
    """

    topic: str
    partition: int
    offset: Integers
    timestamp_ms: Integers
    keys: Strings
    values: Strings
    headers: Sequence[Headers] = ()
    refused: Mapping[int, Refused] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Sequence[Record]) -> Records:
        """These records, of which there is one at least; columns stay as they are."""
        if isinstance(records, Records):
            return records
        headers = [record.headers for record in records]
        return cls(
            records[0].topic,
            records[0].partition,
            np.array([record.offset for record in records], np.int64),
            np.array([record.timestamp_ms for record in records], np.int64),
            Strings.of([record.key for record in records]),
            Strings.of([record.value for record in records]),
            headers if any(headers) else (),
            {i: record.refused for i, record in enumerate(records) if record.refused is not None},
        )

    @classmethod
    def joined(cls, parts: Sequence[Records]) -> Records:
        """All records of some parts of one partition, of which there is one at least."""
        if len(parts) == 1:
            return parts[0]
        buffers: list[bytes] = []
        size, keys, values = 0, [], []
        for part in parts:
            together = part.keys.buffer is part.values.buffer
            for columns in ((part.keys, part.values),) if together else ((part.keys,), (part.values,)):
                low, high = _span(columns)
                moved = [(column.start + (size - low), column.end + (size - low)) for column in columns]
                buffers.append(columns[0].buffer[low:high])
                size += high - low
                keys += moved[:1] if columns[0] is part.keys else []
                values += moved[-1:] if columns[-1] is part.values else []
        buffer = b"".join(buffers)
        before = list(itertools.accumulate(map(len, parts), initial=0))
        return cls(
            parts[0].topic,
            parts[0].partition,
            np.concatenate([part.offset for part in parts]),
            np.concatenate([part.timestamp_ms for part in parts]),
            Strings(buffer, *map(np.concatenate, zip(*keys, strict=True))),
            Strings(buffer, *map(np.concatenate, zip(*values, strict=True))),
            _headers_of(parts, before),
            {at + i: why for at, part in zip(before, parts, strict=False) for i, why in part.refused.items()},
        )

    def __len__(self) -> int:
        return len(self.offset)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> Records: ...
    def __getitem__(self, place: int | slice) -> Record | Records:
        if isinstance(place, slice):
            return self._rows(place)
        place = range(len(self))[place]
        return Record(
            self.topic,
            self.partition,
            int(self.offset[place]),
            int(self.timestamp_ms[place]),
            self.keys[place],
            self.values[place],
            self.headers[place] if self.headers else (),
            self.refused.get(place),
        )

    def at(self, places: Integers) -> Records:
        """Those at some places, in their order."""
        rows = places.tolist() if self.headers or self.refused else ()
        return Records(
            self.topic, self.partition, self.offset[places], self.timestamp_ms[places],
            self.keys.at(places), self.values.at(places),
            [self.headers[row] for row in rows] if self.headers else (),
            {i: self.refused[row] for i, row in enumerate(rows) if row in self.refused} if self.refused else {},
        )  # fmt: skip

    def __iter__(self) -> Iterator[Record]:
        return map(
            Record,
            itertools.repeat(self.topic),
            itertools.repeat(self.partition),
            self.offset.tolist(),
            self.timestamp_ms.tolist(),
            self.keys,
            self.values,
            self.headers or itertools.repeat(()),
            map(self.refused.get, range(len(self))),
        )

    def before(self, offset: int) -> int:
        """How many of them lie before an offset."""
        return int(np.searchsorted(self.offset, offset))

    def _rows(self, rows: slice) -> Records:
        kept = range(len(self))[rows]
        refused = self.refused
        if refused:
            refused = {i: self.refused[place] for i, place in enumerate(kept) if place in self.refused}
        return Records(
            self.topic, self.partition, self.offset[rows], self.timestamp_ms[rows], self.keys[rows], self.values[rows],
            self.headers[rows] if self.headers else (), refused,
        )  # fmt: skip


def _span(columns: Sequence[Strings]) -> tuple[int, int]:
    """From where to where the strings of these columns lie in their buffer."""
    low = min(int(column.start.min()) for column in columns)
    return low, max(low, *(int(column.end.max()) for column in columns))


class Lazy(Sequence[Headers]):
    """Headers that are read when somebody looks at them: those of record i by ``read(places[i])``."""

    __slots__ = ("_places", "_read")

    def __init__(self, read: Callable[[int], Headers], places: Sequence[int]) -> None:
        self._read, self._places = read, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Headers: ...
    @overload
    def __getitem__(self, place: slice) -> Lazy: ...
    def __getitem__(self, place: int | slice) -> Headers | Lazy:
        return Lazy(self._read, self._places[place]) if isinstance(place, slice) else self._read(self._places[place])


def _headers_of(parts: Sequence[Records], before: Sequence[int]) -> Sequence[Headers]:
    """Those of all parts, before each of which there are so many records, and so many in all."""
    if not any(part.headers for part in parts):
        return ()

    def read(i: int) -> Headers:
        of = bisect.bisect_right(before, i) - 1
        headers = parts[of].headers
        return headers[i - before[of]] if headers else ()

    return Lazy(read, range(before[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class Outputs(Sequence[Output]):
    """n records to send to one topic, in order.

    Attributes
    ----------
    timestamp_ms : int64 [n]
        ``NOW``: the time at which it is sent.
    offset : int64 [n]
        Those of the input records they were made from.
    """

    topic: str
    keys: Strings
    values: Strings
    timestamp_ms: Integers
    offset: Integers

    @classmethod
    def of(cls, outputs: Sequence[Output]) -> Outputs:
        """These outputs, of one topic; there is one at least."""
        return cls(
            outputs[0].topic,
            Strings.of([output.key for output in outputs]),
            Strings.of([output.value for output in outputs]),
            np.array([NOW if o.timestamp_ms is None else o.timestamp_ms for o in outputs], np.int64),
            np.array([output.offset for output in outputs], np.int64),
        )

    def __len__(self) -> int:
        return len(self.offset)

    @overload
    def __getitem__(self, place: int) -> Output: ...
    @overload
    def __getitem__(self, place: slice) -> Outputs: ...
    def __getitem__(self, place: int | slice) -> Output | Outputs:
        if isinstance(place, slice):
            return Outputs(
                self.topic, self.keys[place], self.values[place], self.timestamp_ms[place], self.offset[place]
            )
        sent_at = int(self.timestamp_ms[place])
        return Output(
            self.topic,
            self.keys[place],
            self.values[place],
            None if sent_at == NOW else sent_at,
            offset=int(self.offset[place]),
        )

    def at(self, places: Integers) -> Outputs:
        """Those at some places, in their order."""
        return Outputs(
            self.topic, self.keys.at(places), self.values.at(places), self.timestamp_ms[places], self.offset[places]
        )
