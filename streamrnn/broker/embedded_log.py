"""A log of plain files that behaves like a broker, so that the same loop runs with none: demo, evaluation, tests.

    directory/topics/<topic>/<partition>.jsonl     one record a line, appended only (partition_file.py)
    directory/groups/<group>.json                  the group's commits, replaced atomically
    directory/groups/<group>.lock                  held (flock) by the group's one member, with its process id

Kept: what :mod:`streamrnn.broker.protocol` asks of every broker; records count once flushed; a process may write a
topic while others read it. Left out: retention, transactions, more than one member in a group.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np

from streamrnn.broker.columns import NOW, Outputs
from streamrnn.broker.partition_file import OFFSETS_END, Entry, PartitionFile, PartitionReader
from streamrnn.broker.protocol import Commit, Headers, Record, TopicPartition
from streamrnn.errors import BrokerError, ConfigError, UndeliveredError
from streamrnn.system.reading import open_file, read
from streamrnn.system.writing import PRIVATE, create, make_directories, make_directory, open_or_create, replace_file

_MOST_BYTES_OF_COMMITS = 1 << 24
SPILL_RECORDS = 20_000
"""Unflushed records of one partition that are written ahead of the flush, so that a long batch stays off the heap."""

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_PARTITION = re.compile(r"[0-9]{1,9}")
_COMMITS = msgspec.json.Decoder(dict[str, dict[str, Commit]])
_ENCODER = msgspec.json.Encoder()


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: CRC-32 (zlib's) modulo their number. Stable across runs and machines.

    Not Kafka's murmur2, which costs microseconds a key in Python: the same keys meet in one partition either way.

    >>> partition_of(b"N14228", 4) == partition_of(b"N14228", 4)
    True
    """
    return zlib.crc32(key) % partitions


def checked_name(kind: str, name: str) -> str:
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise ConfigError(f"{kind}: {name!r} is not a name; expected 1 to 249 of the characters a-z A-Z 0-9 . _ -")
    return name


class EmbeddedLog:
    """Topics in a directory, written and read directly; ``embedded.EmbeddedBroker`` is a group's view of it.

    ``fsync=True`` makes every flush and commit survive a power failure, not only a crash of the process. Files are made
    with ``mode``; what is there keeps its own. Nothing below the directory is a link.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory, EmbeddedLog(directory) as log:
    ...     log.create_topic("departures", partitions=1)
    ...     log.append("departures", b"N14228", b'{"delay":2}', timestamp_ms=0)
    ...     log.flush()
    ...     [(record.offset, record.key, record.value) for record in log.read("departures", 0)]
    [(0, b'N14228', b'{"delay":2}')]
    """

    def __init__(self, directory: str | Path, *, fsync: bool = False, mode: int = PRIVATE) -> None:
        self.directory = Path(directory)
        self.fsync = fsync
        self.mode = mode
        self._files: dict[TopicPartition, PartitionFile] = {}
        self._partitions: dict[str, int] = {}
        self._turn = 0
        for kind in ("topics", "groups"):
            try:
                make_directories(self.directory / kind, mode)
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
        make_directory(fresh, self.mode)
        for partition in range(partitions):
            os.close(create(fresh / f"{partition}.jsonl", self.mode))
        fresh.rename(self._topic_directory(topic))

    def delete_topic(self, topic: str) -> None:
        """Remove a topic with all its records; nothing happens when there is none."""
        directory = self._topic_directory(topic)
        if not directory.exists():
            return
        for tp in [tp for tp in self._files if tp.topic == topic]:
            self._files.pop(tp).close()
        self._partitions.pop(topic, None)
        # Renamed first, so that nobody ever sees a topic with some of its partitions.
        shutil.rmtree(directory.rename(directory.with_name(f"{topic}.tmp.{os.getpid()}")))

    def topics(self) -> list[str]:
        """Return the names of all topics, sorted."""
        return sorted(p.name for p in (self.directory / "topics").iterdir() if ".tmp." not in p.name)

    def partitions(self, topic: str) -> list[int]:
        """Return the topic's partition numbers, ``[]`` when it does not exist."""
        found = (p.stem for p in self._topic_directory(topic).glob("*.jsonl"))
        return sorted(int(stem) for stem in found if _PARTITION.fullmatch(stem))

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
        self._queue(TopicPartition(topic, partition), [(key, value, timestamp_ms, headers)])

    def append_all(self, outputs: Outputs, partition: int | None) -> None:
        """Queue a batch, each of it as :meth:`append` does."""
        topic, now = outputs.topic, time.time_ns() // 1_000_000
        stamps = np.where(outputs.timestamp_ms == NOW, now, outputs.timestamp_ms).tolist()
        rows = zip(outputs.keys.tolist(), outputs.values.tolist(), stamps, strict=True)
        if partition is None and self._partition_count(topic) == 1:
            partition = 0
        if partition is not None:
            self._queue(TopicPartition(topic, partition), [(*row, ()) for row in rows])
            return
        for key, value, timestamp_ms in rows:
            self.append(topic, key, value, timestamp_ms=timestamp_ms)

    def _queue(self, tp: TopicPartition, entries: Sequence[Entry]) -> None:
        file = self._file(tp)
        file.pending += entries
        if len(file.pending) >= SPILL_RECORDS:
            self._write(file)

    def flush(self) -> None:
        """Write what is queued. Raises :class:`UndeliveredError` naming how many records did not reach their file."""
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
            text = f"{lost} records were not written to {self.directory}; first reason: {first}"
            raise UndeliveredError(text) from first

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
        path = self._group_file(group, ".json")
        try:
            stored = _COMMITS.decode(read(path, _MOST_BYTES_OF_COMMITS))
            found = {TopicPartition(t, int(p)): c for t, of_topic in stored.items() for p, c in of_topic.items()}
            if not all(0 <= commit.offset < OFFSETS_END for commit in found.values()):
                raise ValueError("an offset that no log reaches")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            raise BrokerError(
                f"{path}: not a commit file ({error}); restore it or remove it to start afresh"
            ) from error
        return found

    def store_commits(self, group: str, offsets: Mapping[TopicPartition, Commit]) -> None:
        """Merge positions into a group's commits: written beside, then renamed over the old file."""
        merged = self.commits(group) | dict(offsets)
        stored: dict[str, dict[str, Commit]] = {}
        for tp in sorted(merged):
            stored.setdefault(tp.topic, {})[str(tp.partition)] = merged[tp]
        path = self._group_file(group, ".json")
        try:
            replace_file(path, _ENCODER.encode(stored), mode=self.mode, durable=self.fsync)
        except OSError as error:
            raise BrokerError(f"commits of group {group} were not written to {path} ({error})") from error

    def lock_group(self, group: str) -> int:
        """Become the group's one member; returns a file descriptor, and who closes it leaves.

        Raises BrokerError naming the process that is the member by now.
        """
        path = self._group_file(group, ".lock")
        try:
            fd = open_or_create(path, self.mode)
        except OSError as error:
            raise BrokerError(f"group {group} of {self.directory} cannot be joined ({error})") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise BrokerError(
                f"group {group} of {self.directory} is consumed by process {holder} already; an embedded "
                "group has one member: stop that process or use another group"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd

    def group_holder(self, group: str) -> str | None:
        """Return the id of the process that is the group's member, None when there is none. Changes nothing."""
        try:
            fd = open_file(self._group_file(group, ".lock"))
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.read(fd, 32).decode(errors="replace").strip() or "unknown"
        finally:
            os.close(fd)
        return None

    def delete_group(self, group: str) -> None:
        """Forget a group with its commits. Raises BrokerError naming the process while it has a member."""
        lock = self.lock_group(group)
        try:
            for suffix in (".json", ".lock"):
                self._group_file(group, suffix).unlink(missing_ok=True)
        finally:
            os.close(lock)

    def remove_if_empty(self) -> None:
        """Close the log and remove its directories, except those in which there is something."""
        self.close()
        for path in (self.directory / "topics", self.directory / "groups", self.directory):
            with contextlib.suppress(OSError):
                path.rmdir()

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
        return self.directory / "topics" / checked_name("topic", topic)

    def _group_file(self, group: str, suffix: str) -> Path:
        return self.directory / "groups" / f"{checked_name('group', group)}{suffix}"

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
            if tp.partition >= count:  # added since they were counted?
                del self._partitions[tp.topic]
                count = self._partition_count(tp.topic)
            if not 0 <= tp.partition < count:
                raise BrokerError(f"{tp} does not exist; topic {tp.topic} has partitions 0 to {count - 1}")
            file = self._files[tp] = PartitionFile(self._path(tp))
        return file
