"""A real Kafka cluster behind the broker protocol; the only module that imports a Kafka client.

Kept: what kafka_settings.py lists; rebalance callbacks, which run on the client's IO thread, only pause new partitions
and queue events; records polled while the group is not stable are put back, since their offsets could not be committed
safely; a failed flush drops the producer, so that nothing given up on arrives later; every call ends by its timeout,
and every error of the client becomes a BrokerError with a remedy. Clients are made when first needed.

Left out: transactions; creating the topics a job reads or writes (the demo does, see :func:`create_topics`).
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, NoReturn

import kafka.errors as client_errors
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import TopicPartition as ClientTopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.net.compat import KafkaNetClient
from kafka.structs import MemberState, OffsetAndMetadata

from streamrnn.broker.kafka_settings import (
    KafkaConnection,
    KafkaGroup,
    client_kwargs,
    consumer_kwargs,
    keep_credentials_out_of_logs,
    producer_kwargs,
)
from streamrnn.broker.protocol import (
    Assigned,
    Commit,
    Event,
    Lost,
    Membership,
    NothingAssigned,
    Output,
    Polled,
    Record,
    Revoked,
    TopicPartition,
    send_and_flush,
)
from streamrnn.errors import BrokerError, FencedError, RebalanceError

_FENCED = (client_errors.FencedInstanceIdError, client_errors.ProducerFencedError)
_GROUP_CHANGED = (
    client_errors.CommitFailedError,
    client_errors.RebalanceInProgressError,
    client_errors.IllegalGenerationError,
    client_errors.UnknownMemberIdError,
)
# Of ConsumerRecord: topic, partition, offset, timestamp, key, value, headers.
_NEEDED_FIELDS = itemgetter(0, 1, 3, 4, 6, 7, 8)
# The least a poll waits for a join under way: the client drops an answer that comes between two polls and asks anew.
_JOIN_WAIT_S = 0.5
# A first answer of the group may be empty because its leader had not yet heard of the topic; it joins again at once.
_IDLE_AFTER_S = 2.0
_ACKNOWLEDGED_SWEEP = 4096  # sends between two sweeps of acknowledged ones, so that a long batch holds few of them


def _connect(kind: Callable[..., Any], connection: KafkaConnection, kwargs: dict[str, Any]) -> Any:
    """Make a client, or release what it had opened and raise a BrokerError that names the servers."""
    keep_credentials_out_of_logs()
    opened: list[Any] = []

    def remember(**config: Any) -> Any:
        opened.append(KafkaNetClient(**config))
        return opened[-1]

    try:
        return kind(**kwargs, kafka_client=remember)
    except client_errors.KafkaConfigurationError as error:
        raise BrokerError(f"Kafka client configuration refused: {error}") from error
    except (client_errors.KafkaError, OSError, ValueError) as error:
        for net in opened:
            net.close()
        raise BrokerError(
            f"no answer from Kafka at {', '.join(connection.servers)} within {connection.connect_timeout_s:g} s "
            f"({error}); check bootstrap_servers, that the brokers run and advertise reachable addresses, and the "
            f"security settings (protocol {connection.security.protocol})"
        ) from error


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Runs on the client's IO thread inside a poll: pauses what is new, queues the event, does nothing else."""

    def __init__(self, consumer: KafkaConsumer, queue: deque[Event], positioned: set[TopicPartition]) -> None:
        self._consumer = consumer
        self._queue = queue
        self._positioned = positioned

    def on_partitions_assigned(self, assigned: Iterable[ClientTopicPartition]) -> None:
        for tp in assigned:
            self._consumer.pause(tp)
            # A placeholder under the pause: without one, each poll would ask for a committed offset to start from.
            self._consumer.seek(tp, 0)
        self._put(Assigned, assigned)

    def on_partitions_revoked(self, revoked: Iterable[ClientTopicPartition]) -> None:
        self._put(Revoked, revoked)

    def on_partitions_lost(self, lost: Iterable[ClientTopicPartition]) -> None:
        self._put(Lost, lost)

    def _put(self, kind: type[Assigned | Revoked | Lost], tps: Iterable[ClientTopicPartition]) -> None:
        ours = tuple(sorted(TopicPartition(*tp) for tp in tps))
        self._positioned.difference_update(ours)
        if ours:
            self._queue.append(kind(ours))


class KafkaBroker:
    """One worker's consumer and producer on a Kafka cluster.

    ``group=None`` makes a broker that only sends and looks things up.
    Static members do not leave on :meth:`close`: their partitions move on once the session timeout has passed, or come
    back to a process that starts before.
    """

    def __init__(self, connection: KafkaConnection, group: KafkaGroup | None = None) -> None:
        self.connection = connection
        self.group = group
        self._consumer: Any = None
        self._producer: Any = None
        self._events: deque[Event] = deque()
        self._positioned: set[TopicPartition] = set()  # partitions the loop has sought since their assignment
        self._idle_since = time.monotonic()
        self._idle_generation = -1  # the newest in which this worker was told that it has no partition
        self._sent: deque[Any] = deque()  # futures in the order of sending
        self._failed = 0
        self._first_failure: BaseException | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"KafkaBroker({self.connection!r}, {self.group!r})"

    # consuming

    def subscribe(self, topic: str) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`. The topic must exist; polling completes the joining."""
        if not self.partitions(topic):
            raise BrokerError(f"topic {topic} does not exist on {', '.join(self.connection.servers)}: create it first")
        consumer = self._consuming()
        consumer.subscribe([topic], listener=_Listener(consumer, self._events, self._positioned))

    def events(self) -> list[Event]:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        drained = []
        while self._events:
            drained.append(self._events.popleft())
        return drained

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """See :class:`streamrnn.broker.protocol.Broker`.

        Records that arrive while this member's generation is unknown or the group is rebalancing are put back and none
        are returned: a commit for them could pass unfenced or be refused. While a join is under way, a
        poll may take half a second whatever its timeout.
        """
        consumer = self._consuming()
        if consumer._coordinator._join_task is not None:
            # A join begun because the topic's metadata changed is forgotten by the client when the poll that began it
            # times out: never assigned anything, never heartbeating. Asking again makes it wait for that join.
            consumer._coordinator.request_rejoin()
            timeout_s = max(timeout_s, _JOIN_WAIT_S)
        try:
            polled = consumer.poll(timeout_ms=timeout_s * 1000, max_records=max_records)
        except (client_errors.KafkaError, OSError) as error:
            self._fail("polling failed", error)
        group = consumer.group_metadata()
        membership = Membership(group.generation_id, group.member_id)
        if not polled:
            self._tell_of_nothing(consumer, group)
        elif group.generation_id < 0 or group.state != MemberState.STABLE:
            still_ours = consumer.assignment()
            for tp, records in polled.items():
                if tp in still_ours:
                    consumer.seek(tp, records[0].offset)
            polled = {}
        return Polled(
            {
                TopicPartition(*tp): list(map(Record._make, map(_NEEDED_FIELDS, records)))
                for tp, records in polled.items()
            },
            membership,
        )

    def _tell_of_nothing(self, consumer: KafkaConsumer, membership: Any) -> None:
        """Once per generation: the group has answered and this worker has no partition. The client tells nobody."""
        if consumer.assignment() or membership.state != MemberState.STABLE or membership.generation_id < 0:
            self._idle_since = time.monotonic()
        elif membership.generation_id != self._idle_generation and time.monotonic() - self._idle_since >= _IDLE_AFTER_S:
            self._idle_generation = membership.generation_id
            self._events.append(NothingAssigned())

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        self._assigned(tp).seek(ClientTopicPartition(*tp), offset)
        self._positioned.add(tp)

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        for tp in tps:
            self._assigned(tp).pause(ClientTopicPartition(*tp))

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`. A partition has to be positioned by a seek first."""
        for tp in tps:
            self._check_positioned(tp)
            self._assigned(tp).resume(ClientTopicPartition(*tp))

    def position(self, tp: TopicPartition) -> int:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        consumer = self._assigned(tp)
        self._check_positioned(tp)
        with self._translated(f"the position of {tp} is unknown"):
            offset = consumer.position(ClientTopicPartition(*tp), timeout_ms=self._request_ms)
        if offset is None:
            raise BrokerError(f"the position of {tp} is unknown; seek() again")
        return int(offset)

    def committed(self, tp: TopicPartition) -> Commit | None:
        """See :class:`streamrnn.broker.protocol.Broker`. Waits for a pending transactional commit to be decided."""
        with self._translated(f"the committed offset of {tp} could not be read"):
            stored = self._consuming().committed(ClientTopicPartition(*tp), metadata=True, timeout_ms=self._request_ms)
        return None if stored is None else Commit(stored.offset, stored.metadata)

    def log_start(self, tp: TopicPartition) -> int:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        client_tp = ClientTopicPartition(*tp)
        with self._translated(f"the start of {tp} could not be read"):
            return int(self._consuming().beginning_offsets([client_tp], timeout_ms=self._request_ms)[client_tp])

    def log_end(self, tp: TopicPartition) -> int:
        """See :class:`streamrnn.broker.protocol.Broker`. Records of open transactions lie beyond it."""
        client_tp = ClientTopicPartition(*tp)
        with self._translated(f"the end of {tp} could not be read"):
            return int(self._consuming().end_offsets([client_tp], timeout_ms=self._request_ms)[client_tp])

    def lag(self, tp: TopicPartition) -> int | None:
        """See :class:`streamrnn.broker.protocol.Broker`. None until the partition's first fetch has been answered.

        Counted to the high watermark the client saw last, so records of an open transaction count; where that matters
        (has this partition stalled?), compare :meth:`position` with :meth:`log_end`.
        """
        client_tp = ClientTopicPartition(*tp)
        if self._consumer is None or tp not in self._positioned or client_tp not in self._consumer.assignment():
            return None
        end = self._consumer.highwater(client_tp)
        return None if end is None else max(0, end - self.position(tp))

    def commit(self, offsets: Mapping[TopicPartition, Commit], membership: Membership | None, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`.

        The client commits under the generation it has by now, whatever the records were polled under: another member
        may have had these partitions in between, so the two are compared here.
        """
        now = self._consuming().group_metadata()
        if membership is not None and membership != (now.generation_id, now.member_id):
            raise RebalanceError(
                f"commit of {_positions(offsets)} failed: the group changed meanwhile (polled in generation "
                f"{membership.generation}, now in {now.generation_id})"
            )
        stored = {ClientTopicPartition(*tp): OffsetAndMetadata(c.offset, c.metadata, -1) for tp, c in offsets.items()}
        try:
            self._consuming().commit(stored, timeout_ms=timeout_s * 1000)
        except client_errors.KafkaTimeoutError as error:
            raise BrokerError(
                f"commit of {_positions(offsets)} was not answered within {timeout_s:g} s; whether it took effect is "
                "unknown: read committed()"
            ) from error
        except (client_errors.KafkaError, OSError) as error:
            self._fail(f"commit of {_positions(offsets)} failed", error)

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

    # producing

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`.

        Keys choose partitions by murmur2, as Java's clients do. Raises :class:`BrokerError` at once for a topic that
        is not there, a record above 1 MiB, and a record with neither key nor value, which this client does not send.
        """
        producer = self._producing()
        try:
            future = producer.send(topic, value=value, key=key, partition=partition, timestamp_ms=timestamp_ms)
        except (client_errors.KafkaError, ValueError) as error:
            self._fail(f"sending to topic {topic} failed", error)
        self._sent.append(future)
        if not len(self._sent) % _ACKNOWLEDGED_SWEEP:
            while self._sent and self._sent[0].is_done:
                self._note(self._sent.popleft())

    def flush(self, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`.

        When anything failed, the producer is dropped with all it still held, and the next send makes a new one.
        """
        deadline = time.monotonic() + timeout_s
        total = self._failed + len(self._sent)
        timed_out = False
        while self._sent:
            future = self._sent[0]
            if not future.is_done:
                # Errors are read from the future below; only its waiting for an answer counts here.
                with contextlib.suppress(Exception):
                    future.get(timeout=max(0.0, deadline - time.monotonic()))
                if not future.is_done:
                    timed_out = True
                    break
            self._note(self._sent.popleft())
        if not self._failed and not timed_out:
            return
        missing, first = self._failed + len(self._sent), self._first_failure
        self._drop_producer()
        reason = first if first is not None else f"no answer within {timeout_s:g} s"
        message = f"{missing} of the last {total} records were not acknowledged; first reason: {reason}"
        raise (FencedError if isinstance(first, _FENCED) else BrokerError)(message) from first

    def _note(self, done: Any) -> None:
        if done.failed():
            self._failed += 1
            self._first_failure = self._first_failure or done.exception

    def _drop_producer(self, timeout_s: float = 1.0) -> None:
        """Let go of the producer and of every record it has not sent."""
        producer, self._producer = self._producer, None
        self._sent.clear()
        self._failed, self._first_failure = 0, None
        if producer is not None:
            producer._sender.force_close()  # the public close() would first wait for the unsent records
            with contextlib.suppress(client_errors.KafkaError):
                producer.close(timeout=timeout_s)

    # looking things up, closing

    def partitions(self, topic: str) -> list[int]:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        found = describe_topics(self.connection, [topic])[topic]
        return [] if found is None else list(range(found.partitions))

    def close(self, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        self._closed = True
        if self._producer is not None:
            self._drop_producer(timeout_s)
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(client_errors.KafkaError):
                consumer.close(autocommit=False, timeout_ms=timeout_s * 1000)
        self._events.clear()
        self._positioned.clear()

    @property
    def _request_ms(self) -> float:
        return self.connection.request_timeout_s * 1000

    def _consuming(self) -> Any:
        if self._consumer is None:
            if self._closed:
                raise BrokerError("this broker is closed; make a new one")
            if self.group is None:
                raise BrokerError("this broker has no group, so it only sends; give it a KafkaGroup to consume")
            kwargs = consumer_kwargs(self.connection, self.group)
            kwargs["partition_assignment_strategy"] = (CooperativeStickyAssignor,)
            self._consumer = _connect(KafkaConsumer, self.connection, kwargs)
        return self._consumer

    def _producing(self) -> Any:
        if self._producer is None:
            if self._closed:
                raise BrokerError("this broker is closed; make a new one")
            kwargs = producer_kwargs(self.connection)
            self._producer = _connect(KafkaProducer, self.connection, kwargs)
        return self._producer

    def _assigned(self, tp: TopicPartition) -> Any:
        consumer = self._consuming()
        if ClientTopicPartition(*tp) not in consumer.assignment():
            raise RebalanceError(f"{tp} is not assigned to this worker; drain events() after every poll()")
        return consumer

    def _check_positioned(self, tp: TopicPartition) -> None:
        if tp not in self._positioned:
            raise BrokerError(f"{tp} has no position yet; call seek() first")

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (client_errors.KafkaError, OSError) as error:
            self._fail(what, error)

    def _fail(self, what: str, error: Exception) -> NoReturn:
        """Raise the client's error as one of ours, with what to do about it."""
        if isinstance(error, _FENCED):
            instance = self.group.instance_id if self.group else "this producer"
            raise FencedError(
                f"{what}: another process runs as {instance!r}; this one must stop. Give each worker its own "
                "kafka.group_instance_id"
            ) from error
        if isinstance(error, _GROUP_CHANGED):
            raise RebalanceError(f"{what}: the group changed meanwhile ({error})") from error
        if isinstance(error, client_errors.OffsetOutOfRangeError):
            raise BrokerError(
                f"{what}: an offset is no longer, or not yet, in the log ({error}); restore a checkpoint the log still "
                "reaches, or start afresh"
            ) from error
        if isinstance(error, client_errors.AuthorizationError):
            raise BrokerError(
                f"{what}: not allowed ({error}); run `streamrnn validate --connect` for the rights"
            ) from error
        raise BrokerError(f"{what}: {error} (Kafka at {', '.join(self.connection.servers)})") from error


def _positions(offsets: Mapping[TopicPartition, Commit]) -> str:
    return ", ".join(f"{tp} at {commit.offset}" for tp, commit in sorted(offsets.items())) or "nothing"


@dataclass(frozen=True)
class TopicDescription:
    """A topic as it is: partitions, ``cleanup.policy`` (None if unreadable), and what this user may do (READ, ...)."""

    partitions: int
    cleanup_policy: str | None
    operations: frozenset[str]


@contextlib.contextmanager
def _admin(connection: KafkaConnection, what: str) -> Iterator[Any]:
    admin = _connect(KafkaAdminClient, connection, client_kwargs(connection))
    try:
        yield admin
    except (client_errors.KafkaError, OSError) as error:
        raise BrokerError(f"{what} failed: {error} (Kafka at {', '.join(connection.servers)})") from error
    finally:
        admin.close()


def create_topics(
    connection: KafkaConnection,
    topics: Mapping[str, int],
    *,
    replication_factor: int = -1,
    settings: Mapping[str, str] | None = None,
) -> None:
    """Create topics with these numbers of partitions and wait until they can be used; -1 is the cluster's own factor.

    A topic that is there with that number is left alone; another number raises :class:`BrokerError`.
    """
    existing = describe_topics(connection, topics)
    for name, found in existing.items():
        if found is not None and found.partitions != topics[name]:
            raise BrokerError(
                f"topic {name} has {found.partitions} partitions, not {topics[name]}; delete it or use another name"
            )
    wanted = {
        name: {"num_partitions": count, "replication_factor": replication_factor, "configs": dict(settings or {})}
        for name, count in topics.items()
        if existing[name] is None
    }
    if wanted:
        with _admin(connection, f"creating the topics {', '.join(wanted)}") as admin:
            admin.create_topics(wanted)
            admin.wait_for_topics(list(wanted), timeout_ms=connection.request_timeout_s * 1000)


def delete_topics(connection: KafkaConnection, topics: Iterable[str]) -> None:
    """Delete topics with all their records; those that are not there are passed over."""
    names = [name for name, found in describe_topics(connection, topics).items() if found is not None]
    if names:
        with _admin(connection, f"deleting the topics {', '.join(names)}") as admin:
            admin.delete_topics(names)


def describe_topics(connection: KafkaConnection, topics: Iterable[str]) -> dict[str, TopicDescription | None]:
    """Return what is known of each topic, None for those that do not exist or must not be seen."""
    names = list(topics)
    with _admin(connection, f"describing the topics {', '.join(names)}") as admin:
        found = {}
        for topic in admin.describe_topics(names) if names else ():
            error = client_errors.for_code(topic["error_code"])
            if error is client_errors.NoError:
                found[topic["name"]] = topic
            elif not issubclass(error, (client_errors.UnknownTopicOrPartitionError, client_errors.AuthorizationError)):
                raise error(topic["name"])
        policies = _cleanup_policies(
            admin, [n for n in found if "DESCRIBE_CONFIGS" in found[n]["authorized_operations"]]
        )
    return {
        name: TopicDescription(
            len(found[name]["partitions"]), policies.get(name), frozenset(found[name]["authorized_operations"])
        )
        if name in found
        else None
        for name in names
    }


def _cleanup_policies(admin: Any, topics: list[str]) -> dict[str, str]:
    if not topics:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
    described = admin.describe_configs(resources, config_filter="all")["topic"]
    return {name: described[name]["cleanup.policy"]["value"] for name in topics}


def check_topics(connection: KafkaConnection, *, read: Iterable[str], write: Iterable[str]) -> list[str]:
    """Return what would keep a job from reading and writing these topics, one sentence each; empty when all is well.

    Raises :class:`BrokerError` when the cluster cannot be reached at all.
    """
    wanted = [(name, "READ") for name in read] + [(name, "WRITE") for name in write]
    described = describe_topics(connection, {name: None for name, _ in wanted})
    problems = []
    for name, operation in wanted:
        found = described[name]
        if found is None:
            problems.append(f"topic {name} does not exist, or this user may not see it: create it or grant DESCRIBE")
        elif operation not in found.operations:
            problems.append(f"topic {name}: this user may not {operation.lower()}; grant {operation}")
    return list(dict.fromkeys(problems))
