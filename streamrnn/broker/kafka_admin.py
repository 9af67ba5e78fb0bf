"""Topics of a Kafka cluster: creating and deleting them, and looking at them, at groups and at records from outside.

Each call opens a client of its own. Nothing here joins a group or commits.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import kafka.errors as client_errors
from kafka import KafkaAdminClient, KafkaConsumer
from kafka import TopicPartition as ClientTopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, MemberToRemove

from streamrnn.broker import kafka_fetcher
from streamrnn.broker.kafka_answers import Answers
from streamrnn.broker.kafka_connect import connect, told_by
from streamrnn.broker.kafka_rights import missing_right
from streamrnn.broker.kafka_settings import READER_LIMITS, TEXT_END, KafkaConnection, client_kwargs, reader_kwargs
from streamrnn.broker.protocol import (
    MAX_READ_BYTES,
    Bounds,
    Commit,
    GroupDescription,
    Member,
    Record,
    TopicDescription,
    TopicPartition,
)
from streamrnn.broker.rights import command
from streamrnn.errors import BrokerError

_EARLIEST, _LATEST = -2, -1
_NO_COORDINATOR_NOW = (
    client_errors.CoordinatorNotAvailableError,
    client_errors.CoordinatorLoadInProgressError,
    client_errors.NotCoordinatorError,
)
_COORDINATOR_PAUSE_S = 0.2


class KafkaAdministration:
    """A cluster's topics, seen from outside: the whole :class:`streamrnn.broker.protocol.Administration` protocol."""

    def __init__(self, connection: KafkaConnection, answers: Answers | None = None) -> None:
        self.connection, self._answers = connection, answers

    def create_topics(self, topics: Mapping[str, int], *, keep_forever: bool = False) -> None:
        """See :class:`streamrnn.broker.protocol.Administration`. There will be as many replicas as the cluster sets."""
        existing = self.describe_topics(topics)
        for name, found in existing.items():
            if found is not None and found.partitions != topics[name]:
                raise BrokerError(
                    f"topic {name} has {found.partitions} partitions, not {topics[name]}; delete it or use another name"
                )
        configs = {"retention.ms": "-1"} if keep_forever else {}
        wanted = {
            name: {"num_partitions": count, "replication_factor": -1, "configs": configs}
            for name, count in topics.items()
            if existing[name] is None
        }
        if wanted:
            with self._client(f"creating the topics {', '.join(wanted)}", "CREATE", wanted) as admin:
                admin.create_topics(wanted)
                admin.wait_for_topics(list(wanted), timeout_ms=self.connection.request_timeout_s * 1000)

    def delete_topics(self, topics: Iterable[str]) -> None:
        """See :class:`streamrnn.broker.protocol.Administration`."""
        names = [name for name, found in self.describe_topics(topics).items() if found is not None]
        if names:
            with self._client(f"deleting the topics {', '.join(names)}", "DELETE", names) as admin:
                admin.delete_topics(names)

    def describe_topics(self, topics: Iterable[str]) -> dict[str, TopicDescription | None]:
        """See :class:`streamrnn.broker.protocol.Administration`. Topics that must not be seen do not exist."""
        described: dict[str, TopicDescription | None] = dict.fromkeys(topics)
        with self._client(f"describing the topics {', '.join(described)}") as admin:
            for topic in admin.describe_topics(list(described)) if described else ():
                name, error = topic["name"], client_errors.for_code(topic["error_code"])
                if error is client_errors.NoError:
                    described[name] = _topic(topic)
                elif not issubclass(
                    error, (client_errors.UnknownTopicOrPartitionError, client_errors.AuthorizationError)
                ):
                    raise error(name)
        return described

    def topic_configs(self, topics: Iterable[str]) -> dict[str, Mapping[str, str]]:
        """See :class:`streamrnn.broker.protocol.Administration`. It takes the right DESCRIBE_CONFIGS."""
        wanted = list(topics)
        with self._client(f"reading the settings of the topics {', '.join(wanted)}") as admin:
            resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted]
            found = admin.describe_configs(resources, config_filter="all").get("topic", {}) if wanted else {}
        return {
            name: {key: entry["value"] for key, entry in found.get(name, {}).items() if entry["value"] is not None}
            for name in wanted
        }

    def describe_group(self, group: str) -> GroupDescription:
        """See :class:`streamrnn.broker.protocol.Administration`."""

        def ask(admin: Any) -> tuple[Mapping[str, Any], Sequence[str]]:
            found = admin.describe_groups([group])[group]
            if "Coordinator" in (found["error"] or ""):  # as text, where other requests raise it
                raise client_errors.NotCoordinatorError(found["error"])
            operations = found["authorized_operations"]
            if operations is None:  # of a group that does not exist yet brokers say no rights
                operations = ["READ"] if _may_leave(admin, group) else []
            return found, operations

        try:
            found, operations = self._ask_coordinator(f"describing the group {group}", ask)
        except client_errors.GroupAuthorizationFailedError as error:
            return GroupDescription(frozenset(), refused=f"not authorized to describe it ({type(error).__name__})")
        reason = found["error"] or ""
        if "not a classic group" in reason:
            reason = "it is a group of Kafka's newer consumer protocol, which streamrnn does not speak"
        refused = "" if "GroupIdNotFound" in reason else reason
        if found["protocol_type"] not in ("", "consumer"):
            refused = f"it is a group of {found['protocol_type']!r}, not of consumers"
        members = tuple(_member(member) for member in found["members"])
        return GroupDescription(frozenset(operations), members, found["protocol_data"], refused)

    def commits(self, group: str) -> dict[TopicPartition, Commit]:
        """See :class:`streamrnn.broker.protocol.Administration`."""
        what = f"reading the offsets of the group {group}"
        try:
            found = self._ask_coordinator(what, lambda admin: admin.list_group_offsets({group: None})[group])
        except client_errors.GroupAuthorizationFailedError as error:
            raise BrokerError(f"{what} failed: {error}; grant READ: {command('READ', 'group', group)}") from error
        return {
            TopicPartition(*tp): Commit(stored.offset, stored.metadata.rstrip(TEXT_END))
            for tp, stored in found.items()
            if stored.offset >= 0
        }

    def bounds(self, topic: str) -> dict[TopicPartition, Bounds]:
        """See :class:`streamrnn.broker.protocol.Administration`. The end is the last stable offset."""
        described = self.describe_topics([topic])[topic]
        tps = [ClientTopicPartition(topic, p) for p in range(0 if described is None else described.partitions)]
        if not tps:
            return {}
        with self._client(f"reading the bounds of {topic}") as admin:
            starts = admin.list_partition_offsets(dict.fromkeys(tps, _EARLIEST))
            ends = admin.list_partition_offsets(dict.fromkeys(tps, _LATEST), isolation_level="read_committed")
        return {TopicPartition(*tp): Bounds(starts[tp].offset, ends[tp].offset) for tp in tps}

    def read(
        self, offsets: Mapping[TopicPartition, int], max_records: int, timeout_s: float
    ) -> dict[TopicPartition, list[Record]]:
        """See :class:`streamrnn.broker.protocol.Administration`."""
        found: dict[TopicPartition, list[Record]] = {tp: [] for tp in offsets}
        if not offsets:
            return found
        deadline = time.monotonic() + timeout_s
        topics = ", ".join(sorted({tp.topic for tp in offsets}))
        consumer = connect(KafkaConsumer, self.connection, reader_kwargs(self.connection), self._answers)
        kafka_fetcher.bound(consumer, READER_LIMITS)
        try:
            ends = consumer.end_offsets([ClientTopicPartition(*tp) for tp in offsets], timeout_ms=timeout_s * 1000)
            open_ = {ClientTopicPartition(*tp) for tp, offset in offsets.items() if offset < ends[tp]}
            consumer.assign(list(open_))
            for tp in open_:
                consumer.seek(tp, offsets[TopicPartition(*tp)])
            size = 0
            while open_ and size <= MAX_READ_BYTES and (left := deadline - time.monotonic()) > 0:
                for tp, polled in consumer.poll(timeout_ms=1000 * min(left, 0.5)).items():
                    records = kafka_fetcher.records_of(polled)
                    found[TopicPartition(*tp)] += records
                    size += int(records.values.sizes.sum())
                for tp in list(open_):
                    if len(found[TopicPartition(*tp)]) >= max_records or consumer.position(tp) >= ends[tp]:
                        open_.remove(tp)
                        consumer.pause(tp)
        except (client_errors.KafkaError, OSError) as error:
            raise BrokerError(f"records of {topics} could not be read: {error}") from error
        finally:
            consumer.close(autocommit=False)
        return {tp: records[:max_records] for tp, records in found.items()}

    def _ask_coordinator(self, what: str, ask: Callable[[Any], Any]) -> Any:
        """Ask a group's coordinator, which a new cluster makes when it is first asked for, and which may move.

        Each try has a client of its own: clients remember who the coordinator was. Raises GroupAuthorizationFailedError
        as it is.
        """
        deadline = time.monotonic() + self.connection.request_timeout_s
        while True:
            with self._client(what) as admin:
                try:
                    return ask(admin)
                except client_errors.GroupAuthorizationFailedError as error:
                    refused = error
                    break
                except _NO_COORDINATOR_NOW:
                    if time.monotonic() > deadline:
                        raise
            time.sleep(_COORDINATOR_PAUSE_S)
        raise refused

    @contextlib.contextmanager
    def _client(self, what: str, operation: str = "DESCRIBE", topics: Iterable[str] = ()) -> Iterator[Any]:
        admin = connect(KafkaAdminClient, self.connection, client_kwargs(self.connection), self._answers)
        try:
            yield admin
        except (client_errors.KafkaError, OSError) as error:
            if right := missing_right(error, operation, topics):
                raise BrokerError(f"{what} failed: {right}") from error
            told = told_by(admin)
            raise BrokerError(
                f"{what} failed: {told or error} (Kafka at {', '.join(self.connection.servers)}){_hint(error)}"
            ) from error
        finally:
            admin.close()


def _hint(error: Exception) -> str:
    """What to look at: a client that was made has been answered by a bootstrap server, and told of other addresses."""
    if isinstance(error, client_errors.KafkaConnectionError | client_errors.NodeNotReadyError | OSError):
        return "; a server answered, and the addresses that it advertises (advertised.listeners) could not be reached"
    return ""


def _topic(found: Mapping[str, Any]) -> TopicDescription:
    partitions, operations = found["partitions"], found["authorized_operations"]
    return TopicDescription(
        partitions=len(partitions),
        # Some makes of broker do not say: then what is refused shows when it is tried.
        operations=frozenset(("READ", "WRITE", "DESCRIBE") if operations is None else operations),
        replicas=min((len(partition["replica_nodes"]) for partition in partitions), default=1),
        leaderless=tuple(sorted(p["partition_index"] for p in partitions if p["leader_id"] < 0)),
        id=str(found.get("topic_id") or ""),  # brokers before 2.8 have none
    )


def _member(found: Mapping[str, Any]) -> Member:
    subscribed = found["member_metadata"] or {}
    topics = subscribed.get("topics", ()) if isinstance(subscribed, Mapping) else ()
    given = found["member_assignment"] or {}
    shares = given.get("assigned_partitions", ()) if isinstance(given, Mapping) else ()
    assigned = (TopicPartition(share["topic"], number) for share in shares for number in share["partitions"])
    return Member(
        found["group_instance_id"], found["client_id"], found["client_host"], frozenset(topics), frozenset(assigned)
    )


def _may_leave(admin: Any, group: str) -> bool:
    """Whether this user may READ a group: somebody who is no member leaves it, which takes that right and no more."""
    nobody = MemberToRemove(member_id=f"nobody-{uuid.uuid4().hex}")
    try:
        admin.remove_group_members(group, [nobody])
    except client_errors.GroupAuthorizationFailedError:
        return False
    return True
