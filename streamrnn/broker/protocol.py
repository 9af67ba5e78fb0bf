"""The narrow seam between the service and a log: the values that cross it and the protocols both brokers keep.

Single records (``records``) and whole batches (``columns``) are values of their own, given out here as well. The loop
sees a log only through :class:`Broker`: poll, pause, seek, send, deliver. Two implementations exist, a real
cluster's (``kafka_client``) and one of files in a directory (``embedded``), and one contract suite runs over both.
:class:`Sender` is the half of it that only writes; :class:`Administration` makes and removes topics, and looks at
topics, groups and records from outside, without being a member of anything.

Kept by every implementation: offsets of a partition ascend strictly (gaps are allowed: transaction markers and
compaction leave them); bytes come back exactly as they were sent; nothing is committed that was not asked for; a newly
assigned partition stays paused until the loop has restored its learner and resumes it; every blocking call ends by its
timeout. Offsets are positions, never counts.

A record that cannot be read at all, or only at the price of too much memory, is returned as refused.

Left out: decoding, transactions. What a batch's outputs and offsets mean together is :meth:`Broker.deliver`'s business;
what to do when the outcome is in doubt is the worker's (``streamrnn.daemon.delivery``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

from streamrnn.broker.columns import Outputs, Records
from streamrnn.broker.records import Headers as Headers
from streamrnn.broker.records import Output as Output
from streamrnn.broker.records import Record as Record
from streamrnn.broker.records import Refused as Refused
from streamrnn.broker.records import TopicPartition as TopicPartition
from streamrnn.broker.rights import command
from streamrnn.errors import BrokerError, FencedError, UndeliveredError

MAX_READ_BYTES = 64 << 20
"""Values that are read from outside at once, so that a look at long records does not fill the memory."""


class Membership(NamedTuple):
    """A worker's place in its group at one moment. Whoever commits under a former one is refused."""

    generation: int
    member_id: str


class Polled(NamedTuple):
    """What a poll returned, and the membership it was returned under; None where a group has one member for ever.

    A commit takes the newest poll's membership and no later one. Whatever left this worker up to that poll is in
    :meth:`Broker.events`, so what it still works on has been its own all the time. While the group rebalances it is
    not ``stable``: work goes on, and its commits wait for a poll that finds it so. Partitions that a stable poll
    reports as :class:`Revoked` may still be committed under its membership, until the next poll: nobody has them yet.
    """

    records: Mapping[TopicPartition, Records]
    membership: Membership | None = None
    stable: bool = True


class Commit(NamedTuple):
    """A committed position: ``offset`` is the NEXT offset to read, ``metadata`` the loop's own text beside it."""

    offset: int
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Assigned:
    """These partitions are now this worker's, and paused: restore, :meth:`Broker.seek`, :meth:`Broker.resume`."""

    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class NothingAssigned:
    """The group answered, and has no partition for this worker; others may come later."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """These partitions were given up in an orderly way; they were still owned until just before this event.

    What was done for them can be committed until the next poll, see :class:`Polled`.
    """

    partitions: tuple[TopicPartition, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """These partitions belong to somebody else already: drop their learners, do not commit for them."""

    partitions: tuple[TopicPartition, ...]


Event: TypeAlias = Assigned | NothingAssigned | Revoked | Lost

REQUESTS = ("connect", "fetch", "send", "commit", "group", "other")
"""What a broker is asked, as far as failures are told apart."""
REFUSALS = ("too_large", "bad_timestamp", "invalid")
"""What a broker has against single records: the reasons of a ``RefusedError``."""
CONNECTION_STATES = ("connected", "connecting", "disconnected")
CONNECT_TIMEOUT_S = 10.0
"""How long a client waits for the first answer of all. A worker that gets none ends."""


class Connectivity(NamedTuple):
    """Whether the log answers, as known at one moment. Times are seconds since the epoch.

    ``answered_at``: the newest answer to anything, None before the first. ``away_since``: since when nothing was
    answered, where that is longer than usual although something was asked: an outage; ``cause`` is why, as far as it is
    known. Without either of the two times nothing is known yet. ``connections``: how many by ``CONNECTION_STATES``,
    ``failures``: requests that failed or got no answer so far, by ``REQUESTS``; both empty where there is nothing of
    the kind.
    """

    answered_at: float | None = None
    away_since: float | None = None
    cause: str = ""
    connections: Mapping[str, int] = {}
    failures: Mapping[str, int] = {}


@runtime_checkable
class Sender(Protocol):
    """A producer. Not thread-safe: one thread calls it."""

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """Hand one record over for sending; :meth:`flush` and :meth:`deliver` say whether it arrived.

        Without ``partition``, the same key always goes to the same partition. Without ``timestamp_ms``, now.
        Raises RefusedError for a record that no broker would take; it does not count as sent.
        """

    def send_all(self, outputs: Outputs, partition: int | None) -> None:
        """Hand a batch over for sending, in order, each of it as :meth:`send` does.

        Raises what that raises; ``place`` of the error is how many were handed over by then. None behind them was.
        """

    def flush(self, timeout_s: float) -> None:
        """Wait until every record sent so far is acknowledged.

        Raises UndeliveredError naming how many were not, and the first reason; the failed ones are then forgotten:
        send them again or stop. Where all that failed was refused, it says which they were.
        """

    def partitions(self, topic: str) -> list[int]:
        """Return the topic's partition numbers, ascending; ``[]`` when it does not exist."""

    def hurry(self, time_left: Callable[[], float]) -> None:
        """Let no call take longer than ``time_left`` says when it begins, in seconds, whatever it is given itself.

        That is infinite until a stop is asked for.
        """

    def close(self, timeout_s: float) -> None:
        """Leave and release everything. Sends nothing that was not flushed and commits nothing. Idempotent."""


@runtime_checkable
class Broker(Sender, Protocol):
    """A consumer of one group and a producer, as the loop needs them.

    Not thread-safe: one thread calls it, of which :meth:`connectivity` alone is excepted.
    """

    def connectivity(self) -> Connectivity:
        """Return whether the log answers. Any thread may ask, also while another call waits; never blocks."""

    def subscribe(self, topic: str) -> None:
        """Join the group for ``topic``. Partitions arrive later, as :class:`Assigned` events of :meth:`poll`."""

    def events(self) -> list[Event]:
        """Return and forget what happened to the assignment, in order. Call it before and after every poll."""

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """Return up to ``max_records`` records of resumed partitions, waiting at most ``timeout_s`` for the first.

        Offsets ascend within a partition; no records at all means that none came in time. Calling it is also what
        keeps a group member alive and lets assignments move, so call it even when every partition is paused.
        Raises BrokerError when the position of a partition is outside its log.
        """

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Make ``offset`` the next position of an assigned partition.

        Outside its log, this or the next poll raises BrokerError.
        """

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        """Stop returning records of these assigned partitions; positions stay."""

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        """Return records of these assigned partitions again."""

    def position(self, tp: TopicPartition) -> int:
        """Return the next offset :meth:`poll` would look at, already beyond gaps the client has passed.

        It equals the last returned offset + 1 right after a record, and moves on over transaction markers and
        compacted records once the client has read past them. Raises BrokerError before the first seek.
        """

    def committed(self, tp: TopicPartition) -> Commit | None:
        """Return the group's committed position, None when there is none. Need not be assigned."""

    def log_start(self, tp: TopicPartition) -> int:
        """Return the first offset still in the log. May ask the broker."""

    def log_end(self, tp: TopicPartition) -> int:
        """Return the last stable offset: one beyond the last record a consumer may see now. May ask the broker."""

    def newest_timestamp(self, tp: TopicPartition) -> int | None:
        """Return the latest timestamp among the partition's records; None where it has none, or nobody can say.

        Asks the broker, which may not know how (before Kafka 3.0).
        """

    def topic_id(self, topic: str) -> str:
        """Return what tells the subscribed topic from another one of its name, as this client has heard. Never blocks.

        "" where it has heard nothing. Whoever else is asked may know of the one before, or of none.
        """

    def lag(self, tp: TopicPartition) -> int | None:
        """Return log end minus position from what the client knows already. Never blocks.

        None while that is unknown, as it is while the log does not answer.
        """

    def commit(self, offsets: Mapping[TopicPartition, Commit], membership: Membership | None, timeout_s: float) -> None:
        """Store positions that no output belongs to, such as a start, and return once the broker has them.

        ``membership`` is that of the poll after which they were arrived at; None goes with a group of one member for
        ever and is refused by others. Raises FencedError when another worker holds this identity (stop, non-zero
        exit), RebalanceError when the group changed since that poll (see ``streamrnn.errors``), BrokerError when the
        outcome is unknown or refused: read :meth:`committed` to find out.
        """

    def deliver(
        self,
        outputs: Iterable[Outputs],
        offsets: Mapping[TopicPartition, Commit],
        membership: Membership | None,
        timeout_s: float,
    ) -> None:
        """Hand over these outputs and these offsets, together or in doubt, within ``timeout_s`` altogether.

        Keys decide to which partitions the outputs go; what is to go elsewhere is sent before.
        The offsets are stored only once these outputs, and all that was sent before, are acknowledged. A broker
        without transactions does one after the other (:func:`send_then_commit`), so that a crash
        between the two repeats outputs; one with transactions makes them visible at once.

        Raises UndeliveredError when outputs are missing: no offset was stored, and the broker has forgotten what it
        could not send, so deliver the whole batch again. Otherwise raises what :meth:`commit` raises: the outcome
        is in doubt, and :meth:`committed` tells. Without transactions the outputs are there in that case.
        """

    def leave(self, timeout_s: float) -> bool:
        """Give this worker's place in the group up, so that others have its partitions at once; closes the broker.

        False when the place is kept, because nobody else is there. Raises BrokerError when the group did not hear of
        it: the partitions then wait until it considers this worker dead.
        """


def send_each(sender: Sender, outputs: Outputs, partition: int | None) -> None:
    """:meth:`Sender.send_all` of a sender that can do no better than one after the other."""
    for place, (topic, key, value, timestamp_ms, _, _) in enumerate(outputs):
        try:
            sender.send(topic, key, value, timestamp_ms=timestamp_ms, partition=partition)
        except BrokerError as error:
            error.place = place
            raise


def send_then_commit(
    broker: Broker,
    outputs: Iterable[Outputs],
    offsets: Mapping[TopicPartition, Commit],
    membership: Membership | None,
    timeout_s: float,
) -> None:
    """:meth:`Broker.deliver` of a broker without transactions: the outputs, and once they are there the offsets."""
    deadline = time.monotonic() + timeout_s
    try:
        for batch in outputs:
            broker.send_all(batch, None)
        broker.flush(timeout_s)
    except (FencedError, UndeliveredError):  # to send again would not help; it says more than we could
        raise
    except BrokerError as error:
        raise UndeliveredError(str(error)) from error
    broker.commit(offsets, membership, max(0.0, deadline - time.monotonic()))


@dataclass(frozen=True)
class TopicDescription:
    """A topic as it is: how many partitions and copies of each, and what this user may do with it (READ, WRITE, ...).

    ``leaderless`` are the partitions that nobody can read or write at the moment. ``id`` is another one once the topic
    was deleted and made anew; "" where the log gives none.
    """

    partitions: int
    operations: frozenset[str]
    replicas: int = 1
    leaderless: tuple[int, ...] = ()
    id: str = ""


class Member(NamedTuple):
    """A process in a group, as the group knows it. ``topics`` are those it subscribed to; ``assigned`` is its share."""

    instance_id: str | None
    client_id: str
    host: str
    topics: frozenset[str]
    assigned: frozenset[TopicPartition] = frozenset()


@dataclass(frozen=True)
class GroupDescription:
    """A group as it is: its members, how they share partitions, and what this user may do with it (READ, ...).

    ``refused`` is why the broker did not describe it, "" where it did; a group that does not exist yet has no members.
    """

    operations: frozenset[str]
    members: tuple[Member, ...] = ()
    assignor: str = ""
    refused: str = ""


class Bounds(NamedTuple):
    """The first offset of a partition's log, and the one beyond its last record that a consumer may see."""

    start: int
    end: int


@runtime_checkable
class Administration(Protocol):
    """What happens to topics before and after a job. Everything here may ask the broker; BrokerError: no answer."""

    def create_topics(self, topics: Mapping[str, int], *, keep_forever: bool = False) -> None:
        """Create topics with these numbers of partitions and wait until they can be used.

        ``keep_forever`` keeps records however old their timestamps are. A topic that is there with that number is left
        alone; another number raises BrokerError.
        """

    def delete_topics(self, topics: Iterable[str]) -> None:
        """Delete topics with all their records; those that are not there are passed over."""

    def describe_topics(self, topics: Iterable[str]) -> dict[str, TopicDescription | None]:
        """Return what is known of each topic, None for those that do not exist."""

    def topic_configs(self, topics: Iterable[str]) -> dict[str, Mapping[str, str]]:
        """Return the settings in force for each topic, under Kafka's names; none where this user may not see them."""

    def describe_group(self, group: str) -> GroupDescription:
        """Return what is known of a group. Changes nothing in it and joins nothing."""

    def commits(self, group: str) -> dict[TopicPartition, Commit]:
        """Return all that a group has committed, of whatever topic."""

    def bounds(self, topic: str) -> dict[TopicPartition, Bounds]:
        """Return where the log of each partition of a topic begins and ends; ``{}`` when it does not exist."""

    def read(
        self, offsets: Mapping[TopicPartition, int], max_records: int, timeout_s: float
    ) -> dict[TopicPartition, list[Record]]:
        """Return up to ``max_records`` records of each partition from an offset on.

        Fewer where they do not come in time, or where all together have more than ``MAX_READ_BYTES``. Nothing is joined
        and nothing is committed. Raises BrokerError where an offset is outside its log or records cannot be unpacked.
        """


def check_topics(administration: Administration, *, read: Iterable[str], write: Iterable[str]) -> list[str]:
    """Return what would keep a job from reading and writing these topics, one sentence each; empty when all is well."""
    read, write = list(read), list(write)
    return missing_rights(administration.describe_topics(dict.fromkeys((*read, *write))), read=read, write=write)


def missing_rights(
    described: Mapping[str, TopicDescription | None], *, read: Iterable[str], write: Iterable[str]
) -> list[str]:
    """Return what would keep a job from reading and writing topics that are so described, one sentence each."""
    problems = []
    for name, operation in (*((name, "READ") for name in read), *((name, "WRITE") for name in write)):
        found = described[name]
        if found is None:
            way = f"run `streamrnn topics`, or grant {operation}: {command(operation, 'topic', name)}"
            problems.append(f"topic {name} does not exist, or this user may not see it: {way}")
        elif operation not in found.operations:
            grant = f"grant {operation}: {command(operation, 'topic', name)}"
            problems.append(f"topic {name}: this user may not {operation.lower()}; {grant}")
    return list(dict.fromkeys(problems))
