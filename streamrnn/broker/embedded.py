"""A log of plain files that behaves like a broker, so that the same loop runs with none: demo, evaluation, tests.

    directory/topics/<topic>/<partition>.jsonl     one record a line, appended only (partition_file.py)
    directory/groups/<group>.json                  the group's commits, replaced atomically
    directory/groups/<group>.lock                  held (flock) by the group's one member, with its process id

Kept: what :mod:`streamrnn.broker.protocol` asks of every broker; records count once flushed; a process may write a
topic while others read it. Left out: retention, transactions, more than one member in a group.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

import msgspec

from streamrnn.broker.partition_file import PartitionFile, PartitionReader
from streamrnn.broker.protocol import (
    Assigned,
    Commit,
    Event,
    Headers,
    Membership,
    Output,
    Polled,
    Record,
    TopicPartition,
    send_and_flush,
)
from streamrnn.errors import BrokerError, ConfigError, RebalanceError

SPILL_RECORDS = 20_000
"""Unflushed records of one partition that are written ahead of the flush, so that a long batch stays off the heap."""

_IDLE_SLEEP_S = 0.002
_IDLE_SLEEP_MAX_S = 0.02
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_COMMITS = msgspec.json.Decoder(dict[str, dict[str, Commit]])
_ENCODER = msgspec.json.Encoder()


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: CRC-32 (zlib's) modulo their number. Stable across runs and machines.

    Not Kafka's murmur2, which costs microseconds a key in Python: the same keys meet in one partition either way.

    >>> partition_of(b"N14228", 4) == partition_of(b"N14228", 4)
    True
    """
    return zlib.crc32(key) % partitions


def _checked_name(kind: str, name: str) -> str:
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise ConfigError(f"{kind}: {name!r} is not a name; expected 1 to 249 of the characters a-z A-Z 0-9 . _ -")
    return name


class EmbeddedLog:
    """Topics in a directory, written and read directly. :class:`EmbeddedBroker` is a group's view of it.

    ``fsync=True`` makes every flush and commit survive a power failure, not only a crash of the process.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory, EmbeddedLog(directory) as log:
    ...     log.create_topic("departures", partitions=1)
    ...     log.append("departures", b"N14228", b'{"delay":2}', timestamp_ms=0)
    ...     log.flush()
    ...     [(record.offset, record.key, record.value) for record in log.read("departures", 0)]
    [(0, b'N14228', b'{"delay":2}')]
    """

    def __init__(self, directory: str | Path, *, fsync: bool = False) -> None:
        self.directory = Path(directory)
        self.fsync = fsync
        self._files: dict[TopicPartition, PartitionFile] = {}
        self._partitions: dict[str, int] = {}
        self._turn = 0
        for kind in ("topics", "groups"):
            try:
                (self.directory / kind).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise BrokerError(f"embedded log {self.directory}: cannot be created ({error})") from error

    def __enter__(self) -> EmbeddedLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def create_topic(self, topic: str, partitions: int = 1) -> None:
        """Create a topic, or do nothing when it has that many partitions already; another number raises."""
        if partitions < 1:
            raise ConfigError(f"partitions of topic {topic}: got {partitions}, expected at least 1")
        existing = self.partitions(topic)
        if existing and len(existing) != partitions:
            raise BrokerError(
                f"topic {topic} has {len(existing)} partitions, not {partitions}, and keys would move: use another name"
            )
        if existing:
            return
        # Built aside and renamed, so that nobody ever sees a topic with some of its partitions.
        fresh = self.directory / "topics" / f"{topic}.tmp.{os.getpid()}"
        fresh.mkdir()
        for partition in range(partitions):
            (fresh / f"{partition}.jsonl").touch()
        fresh.rename(self._topic_directory(topic))

    def topics(self) -> list[str]:
        """Return the names of all topics, sorted."""
        return sorted(p.name for p in (self.directory / "topics").iterdir() if ".tmp." not in p.name)

    def partitions(self, topic: str) -> list[int]:
        """Return the topic's partition numbers, ``[]`` when it does not exist."""
        return sorted(int(p.stem) for p in self._topic_directory(topic).glob("*.jsonl"))

    def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        partition: int | None = None,
        headers: Headers = (),
    ) -> None:
        """Queue one record for :meth:`flush`. Without a key and a partition, records take turns."""
        if timestamp_ms is None:
            timestamp_ms = time.time_ns() // 1_000_000
        if partition is None:
            count = self._partition_count(topic)
            if key is not None:
                partition = partition_of(key, count) if count > 1 else 0
            else:
                self._turn += 1
                partition = self._turn % count
        file = self._file(TopicPartition(topic, partition))
        file.pending.append((key, value, timestamp_ms, headers))
        if len(file.pending) >= SPILL_RECORDS:
            self._write(file)

    def flush(self) -> None:
        """Write what is queued. Raises :class:`BrokerError` naming how many records did not reach their file."""
        first: Exception | None = None
        for file in self._files.values():
            try:
                file.write_pending(self.fsync)
            except (OSError, BrokerError) as error:
                first = first or error
        if first is not None:
            lost = self.unflushed()
            for file in self._files.values():
                file.pending.clear()
            raise BrokerError(f"{lost} records were not written to {self.directory}; first reason: {first}") from first

    def unflushed(self) -> int:
        """Return how many queued records are not in their files yet."""
        return sum(len(file.pending) for file in self._files.values())

    def read(self, topic: str, partition: int, start: int | None = None) -> Iterator[Record]:
        """Yield the records from offset ``start`` (None: the first one there) to the end as it is when reached."""
        tp = TopicPartition(topic, partition)
        reader = self.reader(tp, self.log_start(tp) if start is None else start)
        while records := reader.next_records(8192):
            yield from records

    def reader(self, tp: TopicPartition, offset: int) -> PartitionReader:
        """Return a reader standing at ``offset``, with a file descriptor of its own."""
        self._file(tp)
        return PartitionReader(tp, PartitionFile(self._path(tp)), offset)

    def log_start(self, tp: TopicPartition) -> int:
        """Return the first offset still there."""
        return self._file(tp).log_start()

    def log_end(self, tp: TopicPartition) -> int:
        """Return the offset after the last whole line."""
        return self._file(tp).log_end()

    def commits(self, group: str) -> dict[TopicPartition, Commit]:
        """Return a group's committed positions."""
        path = self.directory / "groups" / f"{_checked_name('group', group)}.json"
        try:
            stored = _COMMITS.decode(path.read_bytes())
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise BrokerError(
                f"{path}: not a commit file ({error}); restore it or remove it to start afresh"
            ) from error
        return {TopicPartition(t, int(p)): c for t, of_topic in stored.items() for p, c in of_topic.items()}

    def store_commits(self, group: str, offsets: Mapping[TopicPartition, Commit]) -> None:
        """Merge positions into a group's commits: written beside, then renamed over the old file."""
        merged = self.commits(group) | dict(offsets)
        stored: dict[str, dict[str, Commit]] = {}
        for tp in sorted(merged):
            stored.setdefault(tp.topic, {})[str(tp.partition)] = merged[tp]
        path = self.directory / "groups" / f"{group}.json"
        fresh = path.with_suffix(f".tmp.{os.getpid()}")
        try:
            with fresh.open("wb") as out:
                out.write(_ENCODER.encode(stored))
                if self.fsync:
                    out.flush()
                    os.fsync(out.fileno())
            fresh.replace(path)
        except OSError as error:
            raise BrokerError(f"commits of group {group} were not written to {path} ({error})") from error

    def close(self) -> None:
        """Close the files. Queued records that were not flushed are forgotten. Idempotent."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def _write(self, file: PartitionFile) -> None:
        try:
            file.write_pending(self.fsync)
        except OSError as error:
            raise BrokerError(f"{len(file.pending)} records were not written to {file.path} ({error})") from error

    def _topic_directory(self, topic: str) -> Path:
        return self.directory / "topics" / _checked_name("topic", topic)

    def _path(self, tp: TopicPartition) -> Path:
        return self._topic_directory(tp.topic) / f"{tp.partition}.jsonl"

    def _partition_count(self, topic: str) -> int:
        count = self._partitions.get(topic)
        if count is None:
            count = len(self.partitions(topic))
            if not count:
                raise BrokerError(
                    f"topic {topic} does not exist in {self.directory}; there are {self.topics()}: create it first"
                )
            self._partitions[topic] = count
        return count

    def _file(self, tp: TopicPartition) -> PartitionFile:
        file = self._files.get(tp)
        if file is None:
            count = self._partition_count(tp.topic)
            if not 0 <= tp.partition < count:
                raise BrokerError(f"{tp} does not exist; topic {tp.topic} has partitions 0 to {count - 1}")
            file = self._files[tp] = PartitionFile(self._path(tp))
        return file


class EmbeddedBroker:
    """A group's one member on an :class:`EmbeddedLog`: the whole :class:`streamrnn.broker.protocol.Broker` protocol.

    Every partition of the subscribed topics is assigned to it. A second member of the same group, in this or another
    process, is refused; the lock goes with the process that held it, however that ended. So nothing is ever revoked.
    """

    def __init__(self, log: EmbeddedLog, group: str) -> None:
        self.log = log
        self.group = _checked_name("group", group)
        self._lock_fd = -1
        self._readers: dict[TopicPartition, PartitionReader | None] = {}  # the assignment; None until the first seek
        self._resumed: set[TopicPartition] = set()
        self._events: list[Event] = []

    def __repr__(self) -> str:
        return f"EmbeddedBroker(directory={str(self.log.directory)!r}, group={self.group!r})"

    def subscribe(self, topic: str) -> None:
        """Take the group's lock and be assigned every partition of ``topic``."""
        partitions = self.partitions(topic)
        if not partitions:
            raise BrokerError(f"topic {topic} does not exist in {self.log.directory}: create it first")
        self._lock_group()
        self._assign([TopicPartition(topic, p) for p in partitions])

    def _lock_group(self) -> None:
        if self._lock_fd >= 0:
            return
        path = self.log.directory / "groups" / f"{self.group}.lock"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise BrokerError(
                f"group {self.group} of {self.log.directory} is consumed by process {holder} already; an embedded "
                "group has one member: stop that process or use another group"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._lock_fd = fd

    def _assign(self, tps: Iterable[TopicPartition]) -> None:
        fresh = tuple(tp for tp in tps if tp not in self._readers)
        self._readers.update(dict.fromkeys(fresh))
        if fresh:
            self._events.append(Assigned(fresh))

    def _unassign(self, tps: Iterable[TopicPartition]) -> tuple[TopicPartition, ...]:
        gone = tuple(tp for tp in tps if tp in self._readers)
        for tp in gone:
            reader = self._readers.pop(tp)
            if reader is not None:
                reader.file.close()
        self._resumed.difference_update(gone)
        return gone

    def events(self) -> list[Event]:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        drained, self._events = self._events, []
        return drained

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """See :class:`streamrnn.broker.protocol.Broker`. Partitions take turns in being read first."""
        deadline = time.monotonic() + timeout_s
        sleep_s = _IDLE_SLEEP_S
        while True:
            polled: dict[TopicPartition, list[Record]] = {}
            left = max_records
            for tp in [tp for tp in self._readers if tp in self._resumed]:
                reader = self._positioned(tp)
                records = reader.next_records(left)
                if records:
                    polled[tp] = records
                    left -= len(records)
                    self._readers[tp] = self._readers.pop(tp)  # to the back of the queue
                    if not left:
                        break
            remaining = deadline - time.monotonic()
            if polled or remaining <= 0:
                return Polled(polled)
            time.sleep(min(sleep_s, remaining))
            sleep_s = min(sleep_s * 1.5, _IDLE_SLEEP_MAX_S)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        reader = self._assigned(tp)
        fresh = self.log.reader(tp, offset)
        if reader is not None:
            reader.file.close()
        self._readers[tp] = fresh

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        for tp in tps:
            self._assigned(tp)
            self._resumed.discard(tp)

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`. A partition has to be positioned by a seek first."""
        for tp in tps:
            self._positioned(tp)
            self._resumed.add(tp)

    def position(self, tp: TopicPartition) -> int:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self._positioned(tp).offset

    def committed(self, tp: TopicPartition) -> Commit | None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self.log.commits(self.group).get(tp)

    def log_start(self, tp: TopicPartition) -> int:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self.log.log_start(tp)

    def log_end(self, tp: TopicPartition) -> int:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self.log.log_end(tp)

    def lag(self, tp: TopicPartition) -> int | None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        reader = self._readers.get(tp)
        return None if reader is None else max(0, self.log.log_end(tp) - reader.offset)

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        self.log.append(topic, key, value, timestamp_ms=timestamp_ms, partition=partition)

    def flush(self, timeout_s: float) -> None:  # noqa: ARG002 - local files do not keep anyone waiting
        """See :class:`streamrnn.broker.protocol.Broker`."""
        self.log.flush()

    def commit(self, offsets: Mapping[TopicPartition, Commit], membership: Membership | None, timeout_s: float) -> None:  # noqa: ARG002
        """See :class:`streamrnn.broker.protocol.Broker`."""
        if self._lock_fd < 0:
            raise RebalanceError(f"group {self.group} was not joined; call subscribe() before commit()")
        self.log.store_commits(self.group, offsets)

    def deliver(
        self,
        outputs: Iterable[Output],
        offsets: Mapping[TopicPartition, Commit],
        membership: Membership | None,
        timeout_s: float,
    ) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        deadline = time.monotonic() + timeout_s
        send_and_flush(self, outputs, timeout_s)
        self.commit(offsets, membership, max(0.0, deadline - time.monotonic()))

    def partitions(self, topic: str) -> list[int]:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self.log.partitions(topic)

    def close(self, timeout_s: float) -> None:  # noqa: ARG002
        """See :class:`streamrnn.broker.protocol.Broker`. The log stays open: it belongs to who made it."""
        self._unassign(list(self._readers))
        if self._lock_fd >= 0:
            os.close(self._lock_fd)  # releases the lock
            self._lock_fd = -1

    def _assigned(self, tp: TopicPartition) -> PartitionReader | None:
        if tp not in self._readers:
            raise BrokerError(f"{tp} is not assigned to group {self.group}; it has {[str(tp) for tp in self._readers]}")
        return self._readers[tp]

    def _positioned(self, tp: TopicPartition) -> PartitionReader:
        reader = self._assigned(tp)
        if reader is None:
            raise BrokerError(f"{tp} has no position yet; call seek() first")
        return reader
