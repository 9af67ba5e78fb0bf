"""A consumer's life in its group: polls that go on through a rebalance, and leaving.

kafka-python (3.0.12, sources read) brings no records while a join is under way, drops an answer to it that arrives
between two polls, and then joins anew, which begins another round for everybody. Java's client does neither. So while a
join is under way, records of the partitions this member has are fetched beside it, and an answer is kept until a poll
takes it. Kept: an assignment changes inside a poll only, never between two of them.

Before a join begins the topic's metadata is fetched anew: whoever is elected to assign its partitions must know them.

A rebalance that takes partitions away has two rounds, and between them nobody owns what was given up. The client begins
the second round with the poll after the one that took the answer of the first, so whoever was told of partitions
given up has until then to commit what was done for them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from types import SimpleNamespace
from typing import Any

import kafka
import kafka.errors as client_errors
from kafka import KafkaAdminClient
from kafka.admin import MemberToRemove
from kafka.cluster import ClusterMetadata
from kafka.consumer.fetcher import Fetcher
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.future import Future
from kafka.net.manager import KafkaConnectionManager

from streamrnn.broker.kafka_connect import connect
from streamrnn.broker.kafka_inner import KNOWN, Waiting, differs, ended
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup, client_kwargs

_log = logging.getLogger(__name__)

# How long a poll waits for the group's answer before it looks for records: a healthy group answers in a few.
_JOIN_MS = 10
# How long it then waits for records: an answer should not have to wait for long until a poll takes it.
_FETCH_MS = 20
# How long a join waits for the topic's metadata, or half a session if that is less, since there is no heartbeat then.
# Without it a member may assign too few partitions, and sees that later.
_METADATA_S = 2.0
# Metadata that is no older needs not be asked for: the second round of a rebalance follows the first at once.
_FRESH_MS = 500


_METHODS = (
    (ConsumerCoordinator, "_do_join_and_sync_async", ()),
    (ConsumerCoordinator, "join_group_async", ("timeout_ms",)),
    (ConsumerCoordinator, "need_rejoin", ()),
    (ConsumerCoordinator, "request_rejoin", ()),
    (Fetcher, "fetch_records", ("max_records", "update_offsets", "timeout_ms")),
    (ClusterMetadata, "request_update", ()),
    (ClusterMetadata, "partitions_for_topic", ("topic",)),
    (ClusterMetadata, "topic_id", ("topic_name",)),
    (KafkaConnectionManager, "wait_for", ("future", "timeout_ms")),
    (KafkaConnectionManager, "call_soon", ("coro", "args")),
)
_PATHS = (
    "_coordinator._join_task",
    "_coordinator._manager.wait_for",
    "_coordinator._manager.call_soon",
    "_coordinator._net.run",
    "_coordinator._subscription.subscription",
    "_coordinator.config",
    "_cluster._last_successful_refresh_ms",
    "_cluster.request_update",
    "_cluster.partitions_for_topic",
    "_cluster.topic_id",
    "_fetcher.fetch_records",
)


def followed(consumer: Any) -> GroupMember:
    """The life of ``consumer``, which has joined nothing yet, in its group.

    Where the client is not made as expected, it is left as it is, which is said once.
    """
    if trouble := differs(consumer, _PATHS, _METHODS, _tried):
        _tell(trouble)
    else:
        _keep_answers(consumer._coordinator)
        _know_the_topic(consumer)
    return GroupMember(consumer, known=not trouble)


@functools.cache
def _tell(trouble: str) -> None:
    """Say it once in this process, however many consumers it makes."""
    _log.warning(
        "kafka-python %s joins its group in another way than the versions that streamrnn knows (%s), so it is left to "
        "itself: while the group rebalances no records come, a rebalance may take several rounds, and a topic that is "
        "deleted and made anew is only told from the old one where a partition is taken up. Install a version that is "
        "known: %s",
        kafka.__version__, trouble, KNOWN,
    )  # fmt: skip


class GroupMember:
    """A consumer and what its group is doing: by the client's inner parts where they are ``known``.

    Else as far as the client tells anybody: no rebalance is seen, and no topic's id.
    """

    def __init__(self, consumer: Any, *, known: bool) -> None:
        self._consumer, self._known = consumer, known

    def joining(self) -> bool:
        """Whether a join is under way, or its answer has not been taken."""
        return self._known and self._consumer._coordinator._join_task is not None

    def rebalancing(self) -> bool:
        """Whether this member has to join its group, or is joining it."""
        return self._known and (self.joining() or bool(self._consumer._coordinator.need_rejoin()))

    def join_again(self) -> None:
        """Join once more with the next poll."""
        if self._known:
            self._consumer._coordinator.request_rejoin()

    def partitions(self, topic: str) -> int:
        """How many partitions ``topic`` has, as far as the client has heard."""
        of = self._consumer._cluster if self._known else self._consumer
        return len(of.partitions_for_topic(topic) or ())

    def look_at_the_topic(self) -> None:
        """Have the client hear of its topic anew, if that takes no longer than a moment."""
        if not self._known:
            return
        coordinator, cluster = self._consumer._coordinator, self._consumer._cluster
        with contextlib.suppress(client_errors.KafkaError):
            coordinator._net.run(coordinator._manager.wait_for, cluster.request_update(), 1000 * _METADATA_S)

    def topic_id(self, topic: str) -> str:
        """What tells ``topic`` from another one of its name, as far as the client has heard; "" while it is missing."""
        found = self._consumer._cluster.topic_id(topic) if self._known else None
        return str(found) if found is not None and found.int else ""  # brokers before 2.8 give none

    def poll_rebalancing(self, timeout_s: float, max_records: int) -> dict[Any, list[Any]]:
        """Move the rebalance on by one step at most, and return records of the partitions this member has meanwhile."""
        coordinator = self._consumer._coordinator
        if not self.joining() or coordinator._join_task.is_done:
            if self.joining():
                # A join begun because the topic's metadata changed is forgotten by the client otherwise.
                coordinator.request_rejoin()
            coordinator.poll(timeout_ms=_JOIN_MS)
        fetch = self._consumer._fetcher.fetch_records
        records, idle = fetch(max_records, timeout_ms=min(1000 * timeout_s, _FETCH_MS))
        if idle and not records:
            time.sleep(min(timeout_s, _FETCH_MS / 1000))
        found: dict[Any, list[Any]] = records
        return found


def _know_the_topic(consumer: Any) -> None:
    """Let each join of ``consumer`` begin with the topic's metadata as it is.

    The first one waits until there is some. Later on, a topic without any is one that was deleted, and the group has
    to share out nothing: if it waited until the topic is made anew, nobody would notice that it is another one.
    """
    coordinator, cluster = consumer._coordinator, consumer._cluster
    join, joined = coordinator._do_join_and_sync_async, False

    def known() -> bool:
        return all(map(cluster.partitions_for_topic, coordinator._subscription.subscription))

    async def join_with_metadata() -> Any:
        nonlocal joined
        deadline = time.monotonic() + min(_METADATA_S, coordinator.config["session_timeout_ms"] / 2000)
        fresh = 1000 * time.monotonic() - cluster._last_successful_refresh_ms < _FRESH_MS
        while not (fresh if known() else joined) and (left_s := deadline - time.monotonic()) > 0:
            answer = cluster.request_update()
            with contextlib.suppress(client_errors.KafkaError):
                await coordinator._manager.wait_for(answer, 1000 * left_s)
            fresh = answer.is_done
        assignment = await join()
        joined = True
        return assignment

    coordinator._do_join_and_sync_async = join_with_metadata


def _keep_answers(coordinator: Any) -> None:
    """Let an answer to a join be taken by the next poll, however long after it came."""
    join_group = coordinator.join_group_async

    async def join_or_take_answer(timeout_ms: float | None = None) -> Any:
        answered = coordinator._join_task
        if answered is not None and answered.is_done:

            async def answer() -> Any:
                if answered.failed():
                    raise answered.exception
                return answered.value

            # The client asks anew when it finds its question answered. Under another task, which this very loop runs
            # only once the client waits for it, it finds the question open.
            coordinator._join_task = coordinator._manager.call_soon(answer)
        return await join_group(timeout_ms=timeout_ms)

    coordinator.join_group_async = join_or_take_answer


def _tried() -> str:
    """In what the client's own way to join is otherwise, with an answer kept and without one; "" if it is not."""
    questions, assignments = list[str](), list[Any]()

    async def at_once(**_: Any) -> bool:
        return True

    async def ask() -> str:
        questions.append("joins")
        return "asked for"

    async def complete(*found: Any) -> None:
        assignments.append(found[-1])

    for kept in (Future().success("kept"), None):
        member = SimpleNamespace(
            _use_group_apis=True, _join_task=kept, _manager=Waiting(), _lock=contextlib.nullcontext(), config={},
            rejoining=True, rejoin_needed=True, ensure_coordinator_ready_async=at_once,
            _generation=SimpleNamespace(generation_id=1, member_id="", protocol=""),
            _do_join_and_sync_async=ask, _on_join_complete_async=complete, _enable_heartbeat=lambda: None,
        )  # fmt: skip
        member.need_rejoin = functools.partial(getattr, member, "rejoin_needed")
        member.join_group_async = functools.partial(ConsumerCoordinator.join_group_async, member)
        _keep_answers(member)
        if not ended(member.join_group_async(timeout_ms=1000.0)) or member._join_task is not None:
            return "a join that was answered is not over"
    if (assignments, questions) != (["kept", "asked for"], ["joins"]):
        return f"of two joins, the first of them answered before, {assignments} came, and {len(questions)} were asked"
    return ""


def leave(
    connection: KafkaConnection, group: KafkaGroup, member_id: str, timeout_s: float, *, lasting: bool = True
) -> bool:
    """Give up a closed consumer's place, if somebody may take its partitions over; False when it is kept.

    A static member does not leave by itself, and its partitions would wait for its session to run out. A member that is
    alone keeps its place if its name is ``lasting``: nobody waits for its partitions, and a group that has become empty
    makes the next member wait (``group.initial.rebalance.delay.ms``, three seconds). One that may return under another
    name would wait for its own place, for the whole session.
    """
    if not member_id:
        return False
    return _removed(connection, group, member_id, timeout_s, others_only=lasting)


def forget(connection: KafkaConnection, group: KafkaGroup, timeout_s: float) -> None:
    """Let the group forget the place that it keeps for this worker's name, so that the next join is that of a new one.

    Whoever runs under that name has to join again, too.
    """
    _removed(connection, group, None, timeout_s, others_only=False)


def _removed(
    connection: KafkaConnection, group: KafkaGroup, member_id: str | None, timeout_s: float, *, others_only: bool
) -> bool:
    """Take a member out of its group; False where nobody else is in it, and that was a condition."""
    each_s = timeout_s / 4  # finding the cluster, and three questions
    hurried = dataclasses.replace(connection, connect_timeout_s=each_s, request_timeout_s=each_s)
    with contextlib.closing(connect(KafkaAdminClient, hurried, client_kwargs(hurried))) as admin:
        if others_only and len(admin.describe_groups([group.group_id])[group.group_id]["members"]) < 2:
            return False
        # With both ids: should another process have taken this name, it is not the one that is removed.
        known = {} if member_id is None else {"member_id": member_id}
        member = MemberToRemove(**known, group_instance_id=group.instance_id, reason="stopped")
        for error in admin.remove_group_members(group.group_id, [member]).values():
            if error is not client_errors.NoError:
                raise error(f"{group.instance_id} could not leave the group {group.group_id}")
    return True
