"""A real Kafka cluster behind the broker protocol, with confluent-kafka (librdkafka) as its client.

Kept: what confluent_settings.py lists; the rebalance as confluent_group.py has it; every call ends by its timeout, and
every error of the client becomes a BrokerError with a remedy. Records come as columns. Clients are made when needed.
What librdkafka fetches it fetches and unpacks in its own threads, which Python's lock does not hold up.

Left out: transactions; refusing single records of a batch that cannot be read, since librdkafka hands out none of it:
such a batch is an error. Whatever is only looked at (topics, groups, ends of logs, what is committed) is asked by
kafka-python, which says better what is wrong. It has to be for commits: this client reads the text that another one
stored with a commit beyond its end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, Message
from confluent_kafka import TopicPartition as ClientTopicPartition

from streamrnn.broker import kafka_client, kafka_group
from streamrnn.broker.columns import Outputs
from streamrnn.broker.confluent_calls import Calls
from streamrnn.broker.confluent_commits import commit_and_wait, positions
from streamrnn.broker.confluent_connect import let_go, made
from streamrnn.broker.confluent_errors import PASSING, fail, translated
from streamrnn.broker.confluent_group import Rebalances, forget_a_stale_share, membership_of
from streamrnn.broker.confluent_records import handed_out
from streamrnn.broker.confluent_seeking import seek
from streamrnn.broker.confluent_sender import ConfluentSender
from streamrnn.broker.confluent_settings import consumer_properties
from streamrnn.broker.confluent_topic import DOUBTFUL, State, Topic
from streamrnn.broker.instance_name import InstanceName
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_connect import translated as translated_by_the_other
from streamrnn.broker.kafka_hurry import LEAST_S
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.protocol import (
    Commit,
    Connectivity,
    Event,
    Lost,
    Membership,
    NothingAssigned,
    Polled,
    TopicDescription,
    TopicPartition,
    send_then_commit,
)
from streamrnn.broker.rights import absent
from streamrnn.errors import BrokerError, FencedError, RebalanceError

_log = logging.getLogger(__name__)

_PAUSE_S, _FEW = 0.02, 500  # as with the other client
_IDLE_AFTER_S = 2.0
_LARGEST_POLL = 100_000
_SLICE_S = 0.1  # a rebalance that happens while records are waited for is told after no more than that


class ConfluentBroker(ConfluentSender):
    """One worker's consumer and producer on a Kafka cluster: all of :class:`streamrnn.broker.protocol.Broker`.

    Static members do not leave on :meth:`close`, see :class:`streamrnn.broker.kafka_client.KafkaBroker`.
    """

    def __init__(self, connection: KafkaConnection, group: KafkaGroup) -> None:
        super().__init__(connection)
        self._name = None if group.instance_id else InstanceName(group.group_id)
        self.group = group if self._name is None else dataclasses.replace(group, instance_id=str(self._name))
        self._consumer: Any = None
        self._observer: kafka_client.KafkaBroker | None = None
        self._calls = Calls(self._unanswered)
        self._topic_read = ""
        self._source: Topic | None = None
        self._passed_over = False  # what was polled while the topic was gone
        self._events: deque[Event] = deque()
        self._rebalances = Rebalances(self._events)
        self._membership = Membership(-1, "")
        self._raised: KafkaError | None = None  # came behind records that were handed out
        self._next_poll_at = 0.0
        self._idle_since = time.monotonic()
        self._idle_generation = -1  # the newest in which this worker was told that it has no partition

    def __repr__(self) -> str:
        return f"ConfluentBroker({self.connection!r}, {self.group!r})"

    def hurry(self, time_left: Callable[[], float]) -> None:
        """See :class:`streamrnn.broker.protocol.Sender`."""
        super().hurry(time_left)
        if self._observer is not None:
            self._observer.hurry(time_left)

    def connectivity(self) -> Connectivity:
        """See :class:`streamrnn.broker.protocol.Broker`. All clients of this worker together."""
        return self._standing.connectivity()

    def subscribe(self, topic: str) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`. The topic must exist; polling completes the joining."""
        if not (partitions := self.partitions(topic)):
            raise BrokerError(absent(topic, self.connection.servers))
        with translated_by_the_other("joining the group failed", self.connection, repr(self.group.instance_id)):
            forget_a_stale_share(self._hurried(), self.group, topic, partitions)
        self._topic_read, consumer = topic, self._consuming()
        self._source = Topic(self._described, after=self._source)
        with self._translated(f"topic {topic} could not be looked up"):
            # Known by now, it is read from as soon as it is assigned; it would be looked up a second later.
            consumer.list_topics(topic, timeout=self._request_s)
        consumer.subscribe([topic], **self._rebalances.callbacks())

    def events(self) -> list[Event]:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        drained = list(self._events)
        self._events.clear()
        return drained

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        deadline = time.monotonic() + timeout_s
        if (seconds := self._standing.locked_out_s()) > kafka_client.GIVE_UP_S:
            servers = ", ".join(self.connection.servers)
            raise BrokerError(f"no connection to Kafka at {servers} for {seconds:.0f} s: {self._standing.told()}")
        if not self._calls.settled(timeout_s) or (consumer := self._free()) is None:
            return Polled({}, self._membership, stable=False)
        self._raise_what_came()
        with self._translated(f"reading topic {self._topic_read} failed"):
            self._rebalances.go_on(consumer)
            messages = self._messages(consumer, deadline, min(max_records, _LARGEST_POLL))
        if self._producer is not None:
            self._producer.poll(0)  # its account of its connections, too
        if self._topic_is_another():
            return Polled({}, self._membership, stable=False)
        found = handed_out(messages, self._rebalances.positions, self.group.limits.max_record_bytes)
        before, self._membership = self._membership, membership_of(consumer)
        if self._rebalances.lost:  # the client gave them up by itself, and keeps the generation until it has joined
            self._rebalances.lost, self._idle_generation = False, self._membership.generation
        if found or self._membership.generation not in (-1, before.generation):
            self._standing.answered()
        if not found:
            self._raise_what_came()
            self._tell_of_nothing(consumer)
        elif self._membership.generation < 0:  # out of the group: what is lost is told by the next poll
            for tp, records in found.items():
                self.seek(tp, int(records.offset[0]))
            found = {}
        return Polled(found, self._membership, stable=self._membership.generation >= 0)

    def _messages(self, consumer: Any, deadline: float, max_records: int) -> list[Message]:
        """What has come, or the first that comes until then and what is there with it. Rebalances happen in here.

        A poll follows one that brought few records after a moment only.
        """
        pause_s = min(deadline, self._next_poll_at) - time.monotonic()
        if pause_s > 0:
            time.sleep(pause_s)
        messages = self._without_errors(consumer.consume(max_records, 0))
        while not (messages or self._raised or self._events) and (left_s := deadline - time.monotonic()) > 0:
            first = consumer.poll(min(left_s, _SLICE_S))
            if first is not None:
                messages = self._without_errors(
                    [first, *(consumer.consume(max_records - 1, 0) if max_records > 1 else ())]
                )
        self._next_poll_at = time.monotonic() + _PAUSE_S if 0 < len(messages) < min(_FEW, max_records) else 0.0
        return messages

    def _without_errors(self, messages: list[Message]) -> list[Message]:
        """The records up to the first error, which is kept; the client tells the end of a log and passing ones, too."""
        if not any(map(Message.error, messages)):
            return messages
        records: list[Message] = []
        for message in messages:
            if (error := message.error()) is None:
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._rebalances.positions.ended(TopicPartition(message.topic(), message.partition()), message.offset())
            else:
                self._doubt(error)
                if error.fatal() or error.code() not in PASSING:
                    self._raised = self._raised or error
        return records

    def _raise_what_came(self) -> None:
        error, self._raised = self._raised or self._standing.fatal, None
        if error is not None:
            about = {"topic": self._topic_read, "group": self.group.group_id}
            fail(
                f"reading topic {self._topic_read} failed",
                error,
                self.connection,
                repr(self.group.instance_id),
                **about,
            )

    def _doubt(self, error: KafkaError) -> None:
        if error.code() in DOUBTFUL and self._source is not None:
            self._source.doubt()

    def _topic_is_another(self) -> bool:
        """Whether the topic is not the one that was subscribed to; a new one is subscribed to here."""
        state = State.THE_SAME if self._source is None else self._source.state()
        if state is State.THE_SAME and not self._passed_over:
            return False
        self._raised = None  # what is said of the old one's offsets
        if state is State.GONE:
            if not self._passed_over:
                _log.warning("topic %s is gone: nothing is read until it is made anew", self._topic_read)
            self._passed_over = True
        elif state is State.THE_SAME:
            self._passed_over = False
            self._rebalances.late |= self._rebalances.assigned
        else:
            self._begin_with_the_new_topic()
        return True

    def _begin_with_the_new_topic(self) -> None:
        _log.warning("topic %s was deleted and made anew: joining its group again", self._topic_read)
        lost, known = tuple(sorted(self._rebalances.assigned)), list(self._events)
        self._close_consumer(self._request_s)
        self._passed_over, self._membership = False, Membership(-1, "")
        self._events += [*known, *([Lost(lost)] if lost else [])]
        try:
            self.subscribe(self._topic_read)
        except FencedError:
            raise
        except BrokerError as error:  # asked of one that has not heard of it yet
            _log.warning("topic %s cannot be subscribed to yet, trying again: %s", self._topic_read, error)
            assert self._source is not None
            self._source.missing()

    def _described(self) -> TopicDescription | None:
        return KafkaAdministration(self._hurried()).describe_topics([self._topic_read])[self._topic_read]

    def _tell_of_nothing(self, consumer: Any) -> None:
        """Once per generation: others have all partitions, and this worker has none. The client tells nobody."""
        generation = self._membership.generation
        if generation < 0 or consumer.assignment():
            self._idle_since = time.monotonic()
        elif generation != self._idle_generation and time.monotonic() - self._idle_since >= _IDLE_AFTER_S:
            self._idle_generation = generation
            self._events.append(NothingAssigned())

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        self._check_assigned(tp)
        if (consumer := self._free()) is None:
            self._rebalances.late.add(tp)
        else:
            with self._translated(f"seeking {tp} failed"):
                seek(consumer, tp, offset, paused=tp not in self._rebalances.resumed)
        self._rebalances.positions[tp] = offset

    def pause(self, tps: Iterable[TopicPartition]) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        for tp in tps:
            self._check_assigned(tp)
            if (consumer := self._free()) is None:
                self._rebalances.late.add(tp)
            else:
                with self._translated(f"pausing {tp} failed"):
                    consumer.pause([ClientTopicPartition(*tp)])
            self._rebalances.resumed.discard(tp)

    def resume(self, tps: Iterable[TopicPartition]) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`. A partition has to be positioned by a seek first."""
        for tp in tps:
            self._check_positioned(tp)
            if tp in self._rebalances.resumed:
                continue
            self._check_assigned(tp)
            if (consumer := self._free()) is not None:
                with self._translated(f"resuming {tp} failed"):
                    consumer.resume([ClientTopicPartition(*tp)])
            self._rebalances.resumed.add(tp)
            self.seek(tp, self._rebalances.positions[tp])  # wakes the thread that fetches; it would sleep for a second

    def position(self, tp: TopicPartition) -> int:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        self._check_assigned(tp)
        self._check_positioned(tp)
        return self._rebalances.positions[tp]

    def committed(self, tp: TopicPartition) -> Commit | None:
        """See :class:`streamrnn.broker.protocol.Broker`. Waits for a pending transactional commit to be decided."""
        return self._looking().committed(tp)

    def log_start(self, tp: TopicPartition) -> int:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self._looking().log_start(tp)

    def log_end(self, tp: TopicPartition) -> int:
        """See :class:`streamrnn.broker.protocol.Broker`. Records of open transactions lie beyond it."""
        return self._looking().log_end(tp)

    def newest_timestamp(self, tp: TopicPartition) -> int | None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        return self._looking().newest_timestamp(tp)

    def topic_id(self, topic: str) -> str:
        """See :class:`streamrnn.broker.protocol.Broker`. Known of one that was found to be another."""
        return "" if self._source is None or topic != self._topic_read else self._source.known()

    def lag(self, tp: TopicPartition) -> int | None:
        """See :class:`streamrnn.broker.protocol.Broker`. None until the partition's first fetch has been answered.

        Counted to the high watermark, as with the other client: records of an open transaction count.
        """
        if self._consumer is None or tp not in self._rebalances.positions or not self._calls.settled(0.0):
            return None
        if self._standing.away:
            return None
        found = self._consumer.get_watermark_offsets(ClientTopicPartition(*tp), cached=True)
        return None if found is None or found[1] < 0 else max(0, found[1] - self._rebalances.positions[tp])

    def commit(self, offsets: Mapping[TopicPartition, Commit], membership: Membership | None, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`.

        The client commits under the generation it has by now, so the two are compared here. Between the comparison and
        the commit it may change only for a member that keeps its partitions: what is taken away is told by a poll.
        """
        what, timeout_s = f"commit of {positions(offsets)} failed", self._within(timeout_s)
        if not self._calls.settled(timeout_s) or (consumer := self._free()) is None:
            raise BrokerError(f"{what}: an earlier one has not been answered yet; whether that took effect is unknown")
        now = membership_of(consumer)
        if membership is None or membership.generation < 0:
            raise RebalanceError(f"{what}: it was arrived at outside the group")
        if membership != now:
            raise RebalanceError(
                f"{what}: the group changed meanwhile (polled in generation {membership.generation}, now in "
                f"{now.generation})"
            )
        if not offsets:
            return
        assert self._source is not None  # as there is a membership
        with self._translated(what):
            commit_and_wait(consumer, offsets, self._calls, self._standing, timeout_s, self._source.lacks)

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
        deadline, member_id = time.monotonic() + timeout_s, self._membership.member_id
        self._close_consumer(timeout_s / 4)  # first, so that no heartbeat of its own finds it gone
        try:
            with translated_by_the_other("leaving the group failed", self.connection, repr(self.group.instance_id)):
                left_s = max(0.1, deadline - time.monotonic())
                return kafka_group.leave(self.connection, self.group, member_id, left_s, lasting=self._name is None)
        finally:
            self.close(timeout_s / 4)

    def close(self, timeout_s: float) -> None:
        """See :class:`streamrnn.broker.protocol.Broker`."""
        super().close(timeout_s)
        if self._observer is not None:
            self._observer.close(self._within(timeout_s))
        self._close_consumer(self._within(timeout_s))
        if self._name is not None:
            self._name.close()

    def _close_consumer(self, timeout_s: float) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        leaving, self._rebalances = self._rebalances, Rebalances(self._events)
        leaving.closing = True

        def release() -> None:
            leaving.go_on(consumer)
            consumer.close()

        let_go(release, timeout_s)
        self._standing.dropped("consumer")
        self._events.clear()

    @property
    def _request_s(self) -> float:
        return max(LEAST_S, self._within(self.connection.request_timeout_s))

    def _consuming(self) -> Any:
        if self._consumer is None:
            if self._closed:
                raise BrokerError("this broker is closed; make a new one")
            hurried = self._hurried()
            properties = consumer_properties(hurried, self.group)
            self._consumer = made(Consumer, "consumer", properties, hurried, self._standing)
            self._standing.also(self._rebalances.positions.account, self._doubt)
        return self._consumer

    def _free(self) -> Any | None:
        """The consumer; None while a commit that nobody waits for any longer holds it.

        Partitions that were moved meanwhile are moved before anything else is asked of it.
        """
        if not self._calls.settled(0.0):
            return None
        consumer, late = self._consuming(), self._rebalances.late
        while late:
            tp = late.pop()
            resumed, place = tp in self._rebalances.resumed, [ClientTopicPartition(*tp)]
            with self._translated(f"seeking {tp} failed"):
                (consumer.resume if resumed else consumer.pause)(place)
                if tp in self._rebalances.positions:
                    seek(consumer, tp, self._rebalances.positions[tp], paused=not resumed)
        return consumer

    def _unanswered(self) -> None:
        """While a call runs that is waited for: nobody polls, so its clients tell nothing by themselves."""
        self._standing.unanswered()
        if self._producer is not None:
            self._producer.poll(0)

    def _looking(self) -> kafka_client.KafkaBroker:
        """Who asks what is committed and how far a log reaches: the other client, which joins no group for it."""
        if self._observer is None:
            self._consuming()  # refuses where this broker is closed
            self._observer = kafka_client.KafkaBroker(self.connection, self.group)
            self._observer.hurry(self._time_left)
        return self._observer

    def _check_assigned(self, tp: TopicPartition) -> None:
        self._consuming()
        if tp not in self._rebalances.assigned:
            raise RebalanceError(f"{tp} is not assigned to this worker; drain events() after every poll()")

    def _check_positioned(self, tp: TopicPartition) -> None:
        if tp not in self._rebalances.positions:
            raise BrokerError(f"{tp} has no position yet; call seek() first")

    def _translated(self, what: str) -> contextlib.AbstractContextManager[None]:
        about = {"topic": self._topic_read, "group": self.group.group_id, "told": self._standing.told()}
        return translated(what, self.connection, repr(self.group.instance_id), **about)
