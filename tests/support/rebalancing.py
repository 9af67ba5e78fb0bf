"""What a real log and a real group do to a reader, on the embedded one: gaps, retention, partitions that move.

And records to begin with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from streamrnn.broker.embedded import EmbeddedBroker
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import Commit, Lost, Membership, Polled, Revoked, TopicPartition
from streamrnn.errors import RebalanceError


def fill(log: EmbeddedLog, count: int) -> None:
    """So many records, numbered, in the topic ``t``."""
    for i in range(count):
        log.append("t", b"k", str(i).encode(), timestamp_ms=i)
    log.flush()


def append_gap(log: EmbeddedLog, topic: str, partition: int, count: int = 1) -> None:
    """Pass ``count`` offsets without records, as a transaction's marker or compaction does in Kafka."""
    log.flush()
    end = log.log_end(TopicPartition(topic, partition)) + count
    with (log.directory / "topics" / topic / f"{partition}.jsonl").open("ab") as file:
        file.write(_gap_up_to(end - 1))


def delete_before(log: EmbeddedLog, tp: TopicPartition, offset: int) -> None:
    """Drop records below ``offset``, as retention would. Open readers notice at their next seek."""
    log.flush()
    offset = min(offset, log.log_end(tp))
    path = log.directory / "topics" / tp.topic / f"{tp.partition}.jsonl"
    kept = [line for line in path.read_bytes().splitlines(keepends=True) if json.loads(line)["offset"] >= offset]
    fresh = path.with_suffix(".tmp")
    fresh.write_bytes(b"".join([_gap_up_to(offset - 1), *kept]) if offset > 0 else b"".join(kept))
    fresh.replace(path)


def add_partitions(log: EmbeddedLog, topic: str, count: int) -> None:
    """Let a topic have ``count`` partitions, as an operator would while others read and write it."""
    for partition in range(count):
        (log.directory / "topics" / topic / f"{partition}.jsonl").touch()


def _gap_up_to(offset: int) -> bytes:
    return b'{"offset":%d,"gap":true}\n' % offset


class RebalancingBroker(EmbeddedBroker):
    """An embedded broker whose partitions are moved by hand, to show a loop what a real group would.

    Each move begins a generation, and work that was polled in a former one cannot be committed any more. What leads up
    to a move may take several polls, see :meth:`begin_rebalance`.
    """

    def __init__(self, log: EmbeddedLog, group: str) -> None:
        super().__init__(log, group)
        self._generation = 0  # the first needs no name: nothing came before it
        self._stable = True
        self._lost: set[TopicPartition] = set()

    def begin_rebalance(self) -> None:
        """Let the group wait for its members: nothing can be committed until partitions are reassigned or lost."""
        self._stable = False

    def reassign(self, tps: Iterable[TopicPartition]) -> None:
        """Make the assignment exactly ``tps``, as an orderly rebalance would: Revoked, then Assigned events."""
        wanted = list(tps)
        self._generation += 1
        self._stable = True
        if gone := tuple(tp for tp in self._readers if tp not in wanted):
            self._unassign(gone)
            self._events.append(Revoked(gone))
        self._lost.difference_update(wanted)
        if fresh := [tp for tp in wanted if tp not in self._readers]:
            self._assign(fresh)

    def lose(self, tps: Iterable[TopicPartition]) -> None:
        """Take these partitions away as an expired session would: a Lost event, and commits for them are refused."""
        self._generation += 1
        self._stable = True
        if gone := tuple(tp for tp in tps if tp in self._readers):
            self._unassign(gone)
            self._lost.update(gone)
            self._events.append(Lost(gone))

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """Records, and the generation they were polled in."""
        return super().poll(timeout_s, max_records)._replace(membership=self._membership(), stable=self._stable)

    def _membership(self) -> Membership | None:
        return Membership(self._generation, "by hand") if self._generation else None

    def commit(self, offsets: Mapping[TopicPartition, Commit], membership: Membership | None, timeout_s: float) -> None:
        """Store the positions, unless one is of a partition that was lost, or was arrived at in a former generation."""
        if not self._stable:
            raise RebalanceError("the group is rebalancing")
        if membership != self._membership():
            raise RebalanceError(f"the group changed meanwhile: {membership}, now {self._membership()}")
        if lost := sorted(self._lost.intersection(offsets)):
            raise RebalanceError(
                f"{', '.join(map(str, lost))} was lost to another member; drop its learner, do not commit"
            )
        super().commit(offsets, membership, timeout_s)
