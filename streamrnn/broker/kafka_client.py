"""A real Kafka cluster behind the broker protocol.

Kept: what kafka_settings.py lists; rebalance callbacks, which run on the client's IO thread, only pause new partitions
and queue events; records go on coming while the group rebalances (kafka_group.py), and those polled by a member that
has no generation are put back; every call ends by its timeout, and every error of the client becomes a BrokerError with
a remedy. Clients are made when first needed.

Left out: transactions; creating the topics a job reads or writes (kafka_admin.py can, and the demo does).
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import kafka.errors as client_errors
from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka import TopicPartition as ClientTopicPartition
from kafka.structs import MemberState, OffsetAndMetadata

from streamrnn.broker import kafka_fetcher, kafka_group
from streamrnn.broker.columns import Outputs
from streamrnn.broker.instance_name import InstanceName
from streamrnn.broker.kafka_assignor import TellingAssignor
from streamrnn.broker.kafka_connect import connect, locked_out_s, told_by, translated
from streamrnn.broker.kafka_gone import end_what_asks_for_what_is_gone
from streamrnn.broker.kafka_group import GroupMember, followed
from streamrnn.broker.kafka_polls import SeldomPolls
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import TEXT_END, KafkaConnection, KafkaGroup, consumer_kwargs
from streamrnn.broker.protocol import (
    Assigned,
    Commit,
    Connectivity,
    Event,
    Lost,
    Membership,
    NothingAssigned,
    Polled,
    Revoked,
    TopicPartition,
    send_then_commit,
)
from streamrnn.broker.rights import absent
from streamrnn.errors import BrokerError, RebalanceError

_log = logging.getLogger(__name__)

# A first answer of the group may be empty because its leader had not yet heard of the topic; it joins again at once.
_IDLE_AFTER_S = 2.0

_BEYOND_THE_LOG = (client_errors.OffsetOutOfRangeError, client_errors.LogTruncationError)

GIVE_UP_S = 60.0
"""How long a worker that is refused wherever it connects (a password that was changed, a certificate that expired) goes
on trying. It would wait for ever, and look as if there were no records."""


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


class KafkaBroker(KafkaSender):
    """One worker's consumer and producer on a Kafka cluster: all of :class:`streamrnn.broker.protocol.Broker`.

    Static members do not leave on :meth:`close`: their partitions move on once the session timeout has passed, or come
    back to a process that starts before. :meth:`leave` is for those that are not expected back.
    """

    def __init__(self, connection: KafkaConnection, group: KafkaGroup) -> None:
        super().__init__(connection)
        self._name = None if group.instance_id else InstanceName(group.group_id)
        self.group = group if self._name is None else dataclasses.replace(group, instance_id=str(self._name))
        self._consumer: Any = None
        self._member: Any = None  # the consumer's life in its group, and when it is polled
        self._polls: Any = None
        self._assignor = TellingAssignor()
        self._topic = ""  # the subscribed one
        self._events: deque[Event] = deque()
        self._positioned: set[TopicPartition] = set()  # partitions the loop has sought since their assignment
        self._member_id = ""
        self._topic_id = ""  # what it was when the client heard of it last
        self._former, self._begun_anew = set[str](), False  # what it was before; whether it was with the last poll
        self._idle_since = time.monotonic()
        self._idle_generation = -1  # the newest in which this worker was told that it has no partition

    def __repr__(self) -> str:
        return f"KafkaBroker({self.connection!r}, {self.group!r})"

    def connectivity(self) -> Connectivity:
        """See :class:`streamrnn.broker.protocol.Broker`. All clients of this worker together."""
        return self._answers.connectivity()

    def subscribe(self, topic: str) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`. The topic must exist; polling completes the joining."""
        if not self.partitions(topic):
            raise BrokerError(absent(topic, self.connection.servers))
        consumer, self._topic = self._consuming(), topic
        consumer.subscribe([topic], listener=_Listener(consumer, self._events, self._positioned))

    def events(self) -> list[Event]:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        drained = []
        while self._events:
            drained.append(self._events.popleft())
        return drained

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """See :class:`streamrnn.broker.protocol.Broker`.

        Partitions that this member keeps bring records while the group rebalances. Those that arrive while it has no
        generation are put back and none are returned: it has been thrown out of the group.
        """
        consumer = self._consuming()
        if (seconds := locked_out_s(consumer)) > GIVE_UP_S:
            servers = ", ".join(self.connection.servers)
            raise BrokerError(f"no connection to Kafka at {servers} for {seconds:.0f} s: {told_by(consumer)}")
        with self._translated(f"reading topic {self._topic} failed"):
            try:
                self._ask_for_what_nobody_has()
                polled = self._polls.poll(timeout_s, max_records)
            except _BEYOND_THE_LOG:
                self._member.look_at_the_topic()
                if not self._begun_anew and self._member.topic_id(self._topic) in ("", self._topic_id):
                    raise
                polled = {}  # it is another one, whose log is shorter: all begins again below, or just has
            self._begun_anew = False
        group = consumer.group_metadata()
        if not polled:
            self._tell_of_nothing(consumer, group)
        elif group.generation_id < 0:
            still_ours = consumer.assignment()
            for tp, records in polled.items():
                if tp in still_ours:
                    consumer.seek(tp, int(records.offset[0]))
            polled = {}
        found = {TopicPartition(*tp): records for tp, records in polled.items()}
        for tp in (*self._taken_away_unnoticed(consumer, group.member_id), *self._made_anew_unnoticed(consumer)):
            found.pop(tp, None)
        stable = group.state == MemberState.STABLE and not self._member.joining()
        return Polled(found, Membership(group.generation_id, group.member_id), stable)

    def _taken_away_unnoticed(self, consumer: Any, member_id: str) -> tuple[TopicPartition, ...]:
        """Partitions that another member may have had in between; told as lost, and assigned anew.

        A member that is thrown out of its group while it joins gets another id and goes on with the partitions it had,
        and the client tells nobody.
        """
        before, self._member_id = self._member_id, member_id or self._member_id
        return () if before in ("", self._member_id) else self._begin_again(consumer)

    def _made_anew_unnoticed(self, consumer: Any) -> tuple[TopicPartition, ...]:
        """Partitions of a topic that was deleted and is another one by now; told as lost, and assigned anew.

        Where the client never finds the topic missing in between, it reads on behind the old one's last record.
        """
        before, heard = self._topic_id, self._member.topic_id(self._topic)
        if heard and heard not in self._former:  # of a former one tells a broker that has not heard of this one yet
            self._topic_id = heard
        if before in ("", self._topic_id):
            return ()
        self._former.add(before)
        begun = self._begin_again(consumer, self._member.partitions(self._topic))
        self._begun_anew = True  # what was found of the old log's end may be told with the next poll
        _log.warning("topic %s was deleted and made anew: its partitions begin again", self._topic)
        return begun

    def _begin_again(self, consumer: Any, count: float = math.inf) -> tuple[TopicPartition, ...]:
        """Tell all partitions that the loop has as lost, and as assigned anew, if the topic has so many."""
        if not (stale := tuple(sorted(self._positioned))):
            return ()
        for tp in stale:
            consumer.pause(ClientTopicPartition(*tp))
            consumer.seek(ClientTopicPartition(*tp), 0)
        self._positioned.difference_update(stale)
        self._events.append(Lost(stale))
        if left := tuple(tp for tp in stale if tp.partition < count):
            self._events.append(Assigned(left))
        return stale

    def _ask_for_what_nobody_has(self) -> None:
        """Join again where the topic has partitions that the group has not handed out, as kafka_assignor.py tells."""
        if self._member.joining() or not self._assignor.assigned:
            return
        if self._assignor.asks(self._member.partitions(self._topic)):
            self._member.join_again()

    def _tell_of_nothing(self, consumer: KafkaConsumer, membership: Any) -> None:
        """Once per generation: others have all partitions, and this worker has none. The client tells nobody."""
        if consumer.assignment() or membership.state != MemberState.STABLE or membership.generation_id < 0:
            self._idle_since = time.monotonic()
        elif not self._assignor.whole(self._member.partitions(self._topic)):
            return  # some are nobody's: this worker asks for them
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
            try:
                offset = consumer.position(ClientTopicPartition(*tp), timeout_ms=self._request_ms)
            except client_errors.LogTruncationError:  # which the client finds again for the next poll
                offset = consumer.position(ClientTopicPartition(*tp), timeout_ms=self._request_ms)
        if offset is None:
            raise BrokerError(f"the position of {tp} is unknown; seek() again")
        return int(offset)

    def committed(self, tp: TopicPartition) -> Commit | None:
        """See :class:`streamrnn.broker.protocol.Broker`. Waits for a pending transactional commit to be decided."""
        with self._translated(f"the committed offset of {tp} could not be read"):
            stored = self._consuming().committed(ClientTopicPartition(*tp), metadata=True, timeout_ms=self._request_ms)
        return None if stored is None else Commit(stored.offset, stored.metadata.rstrip(TEXT_END))

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

    def newest_timestamp(self, tp: TopicPartition) -> int | None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        client_tp = ClientTopicPartition(*tp)
        with self._translated(f"the newest timestamp of {tp} could not be read"):
            try:
                found = kafka_fetcher.newest_timestamp(self._consuming(), client_tp, self._request_ms)
            except client_errors.UnsupportedVersionError:
                return None
        return found if found is not None and found >= 0 else None

    def topic_id(self, topic: str) -> str:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self._topic_id if topic == self._topic else ""

    def lag(self, tp: TopicPartition) -> int | None:
        """See :class:`streamrnn.broker.protocol.Broker`. None until the partition's first fetch has been answered.

        Counted to the high watermark the client saw last, so records of an open transaction count; where that matters
        (has this partition stalled?), compare :meth:`position` with :meth:`log_end`.
        """
        client_tp = ClientTopicPartition(*tp)
        if self._consumer is None or tp not in self._positioned or client_tp not in self._consumer.assignment():
            return None
        if self._answers.away:
            return None
        end = self._consumer.highwater(client_tp)
        return None if end is None else max(0, end - self.position(tp))

    def commit(self, offsets: Mapping[TopicPartition, Commit], membership: Membership | None, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`.

        The client commits under the generation it has by now, whatever the records were polled under: another member
        may have had these partitions in between, so the two are compared here. Work polled under no membership, or
        before the group had given one, is refused as well: nothing would fence it.
        """
        consumer = self._consuming()
        now = consumer.group_metadata()
        if membership is None or membership.generation < 0:
            raise RebalanceError(f"commit of {_positions(offsets)} failed: it was arrived at outside the group")
        if membership != (now.generation_id, now.member_id):
            raise RebalanceError(
                f"commit of {_positions(offsets)} failed: the group changed meanwhile (polled in generation "
                f"{membership.generation}, now in {now.generation_id})"
            )
        timeout_s = self._within(timeout_s)
        stored = {ClientTopicPartition(*tp): OffsetAndMetadata(c.offset, c.metadata, -1) for tp, c in offsets.items()}
        with self._translated(f"commit of {_positions(offsets)} failed"):
            try:
                consumer.commit(stored, timeout_ms=timeout_s * 1000)
            except client_errors.KafkaTimeoutError as error:
                told = told_by(consumer)
                self._answers.gave_up("commit")
                raise BrokerError(
                    f"commit of {_positions(offsets)} was not answered within {timeout_s:g} s"
                    f"{told and f' ({told})'}; whether it took effect is unknown: read committed()"
                ) from error

    def deliver(
        self,
        outputs: Iterable[Outputs],
        offsets: Mapping[TopicPartition, Commit],
        membership: Membership | None,
        timeout_s: float,
    ) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        send_then_commit(self, outputs, offsets, membership, timeout_s)

    def leave(self, timeout_s: float) -> bool:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        if self._consumer is None:
            self.close(timeout_s)
            return False
        timeout_s = self._within(timeout_s)
        deadline = time.monotonic() + timeout_s
        group = self._consumer.group_metadata()
        self._close_consumer(timeout_s / 4)  # first, so that no heartbeat of its own finds it gone
        try:
            with self._translated("leaving the group failed"):
                left_s = max(0.1, deadline - time.monotonic())
                lasting = self._name is None
                return kafka_group.leave(self.connection, self.group, group.member_id, left_s, lasting=lasting)
        finally:
            self.close(timeout_s / 4)

    def close(self, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        super().close(timeout_s)
        self._close_consumer(timeout_s)
        if self._name is not None:
            self._name.close()

    def _close_consumer(self, timeout_s: float) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            try:
                with contextlib.suppress(client_errors.KafkaError):
                    consumer.close(autocommit=False, timeout_ms=self._within(timeout_s) * 1000)
            finally:
                consumer._client.close()  # where leaving the group failed, its connections are still open
        self._events.clear()
        self._positioned.clear()

    @property
    def _request_ms(self) -> float:
        return self._within(self.connection.request_timeout_s) * 1000

    def _consuming(self) -> Any:
        if self._consumer is None:
            if self._closed:
                raise BrokerError("this broker is closed; make a new one")
            hurried = self._hurried()
            kwargs = consumer_kwargs(hurried, self.group)
            kwargs["partition_assignment_strategy"] = (self._assignor,)
            consumer = connect(KafkaConsumer, hurried, kwargs, self._answers)
            try:
                kafka_fetcher.bound(consumer, self.group.limits)
                end_what_asks_for_what_is_gone(consumer)
                self._use(consumer, followed(consumer))
            except BaseException:
                consumer.close(autocommit=False)
                raise
        return self._consumer

    def _use(self, consumer: Any, member: GroupMember) -> None:
        self._consumer, self._member, self._polls = consumer, member, SeldomPolls(consumer, member)

    def _assigned(self, tp: TopicPartition) -> Any:
        consumer = self._consuming()
        if ClientTopicPartition(*tp) not in consumer.assignment():
            raise RebalanceError(f"{tp} is not assigned to this worker; drain events() after every poll()")
        return consumer

    def _check_positioned(self, tp: TopicPartition) -> None:
        if tp not in self._positioned:
            raise BrokerError(f"{tp} has no position yet; call seek() first")

    def _translated(self, what: str) -> contextlib.AbstractContextManager[None]:
        return translated(what, self.connection, repr(self.group.instance_id), self._consumer)


def _positions(offsets: Mapping[TopicPartition, Commit]) -> str:
    return ", ".join(f"{tp} at {commit.offset}" for tp, commit in sorted(offsets.items())) or "nothing"
