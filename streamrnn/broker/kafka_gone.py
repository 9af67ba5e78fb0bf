"""Requests about a partition that is gone, as when its topic is deleted: they end, and say so.

kafka-python (3.0.12, sources read) asks again until time is up, which may be half a minute, and in it nothing is
polled: so the group takes away nothing of what is gone, and whoever asked took the broker for silent. A broker may only
not have heard of a partition yet, so the topic is looked at before; what is made anew meanwhile is not gone, nor is
what has an error that passes, such as no leader. A client that is made otherwise is left as it is.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import kafka
import kafka.errors as client_errors
from kafka.cluster import ClusterMetadata
from kafka.consumer.fetcher import Fetcher
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.future import Future
from kafka.net.manager import KafkaConnectionManager
from kafka.structs import TopicPartition as ClientTopicPartition

from streamrnn.broker.kafka_inner import KNOWN, Waiting, differs, ended

_log = logging.getLogger(__name__)

GONE = "a partition is gone; was its topic deleted?"
_METADATA_S = 2.0
_UNKNOWN = client_errors.UnknownTopicOrPartitionError.errno


class GoneError(client_errors.KafkaError):  # type: ignore[misc]
    """What was asked for is not there any more."""


_METHODS = (
    (ConsumerCoordinator, "_send_offset_commit_request", ("offsets",)),
    (ConsumerCoordinator, "_commit_offsets_sync_async", ("offsets", "timeout_ms")),
    (Fetcher, "_send_list_offsets_requests", ("timestamps",)),
    (Fetcher, "_fetch_offsets_by_times_async", ("timestamps", "timeout_ms")),
    (ClusterMetadata, "update_metadata", ("metadata",)),
    (ClusterMetadata, "request_update", ()),
    (ClusterMetadata, "add_topic", ("topic",)),
    (ClusterMetadata, "partitions_for_topic", ("topic",)),
    (KafkaConnectionManager, "wait_for", ("future", "timeout_ms")),
)
_PATHS = (
    "_coordinator._send_offset_commit_request",
    "_coordinator._manager.wait_for",
    "_fetcher._send_list_offsets_requests",
    "_cluster.update_metadata",
    "_cluster.request_update",
    "_cluster.add_topic",
    "_cluster.partitions_for_topic",
)


def end_what_asks_for_what_is_gone(consumer: Any) -> bool:
    """Let commits of ``consumer``, and questions how far a log reaches, end by a :class:`GoneError`.

    Where the client is not made as expected, it is left as it is, which is said once, and False returned.
    """
    if trouble := differs(consumer, _PATHS, _METHODS, _tried):
        _tell(trouble)
        return False
    _replace(consumer)
    return True


@functools.cache
def _tell(trouble: str) -> None:
    """Say it once in this process, however many consumers it makes."""
    _log.warning(
        "kafka-python %s asks for offsets in another way than the versions that streamrnn knows (%s): where a topic is "
        "deleted while this runs, commits and questions how far its log reaches end only after "
        "kafka.request_timeout_s, as if the broker were silent. Install a version that is known: %s",
        kafka.__version__, trouble, KNOWN,
    )  # fmt: skip


def _replace(consumer: Any) -> None:
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    told = _told(consumer._cluster)
    commit, list_offsets = coordinator._send_offset_commit_request, fetcher._send_list_offsets_requests

    async def commit_unless_gone(offsets: Any) -> Any:
        try:
            return await commit(offsets)
        except client_errors.UnknownTopicOrPartitionError as error:
            await _require(consumer, told, offsets, error)
            raise

    async def list_unless_gone(timestamps: Any) -> Any:
        try:
            found, again = await list_offsets(timestamps)
        except client_errors.InvalidMetadataError as error:
            await _require(consumer, told, timestamps, error)
            raise
        if again:
            await _require(consumer, told, again)
        return found, again

    coordinator._send_offset_commit_request = commit_unless_gone
    fetcher._send_list_offsets_requests = list_unless_gone


def _told(cluster: Any) -> set[str]:
    """The topics of which the newest answer says that there are none such: kept up by ``cluster``."""
    unknown: set[str] = set()
    update = cluster.update_metadata

    def update_and_note(answer: Any) -> Any:
        unknown.clear()
        unknown.update(topic.name for topic in answer.topics if topic.error_code == _UNKNOWN)
        return update(answer)

    cluster.update_metadata = update_and_note
    return unknown


async def _require(consumer: Any, unknown: set[str], tps: Iterable[Any], error: Exception | None = None) -> None:
    """Raise where one of the partitions is not there by what the cluster says now."""
    cluster, manager = consumer._cluster, consumer._coordinator._manager
    for topic in {tp.topic for tp in tps}:
        cluster.add_topic(topic)
    for _ in range(2):  # the first answer may be to a question from before
        with contextlib.suppress(client_errors.KafkaError):
            await manager.wait_for(cluster.request_update(), 1000 * _METADATA_S)
    for tp in tps:
        listed = cluster.partitions_for_topic(tp.topic)
        if tp.topic in unknown or (listed is not None and tp.partition not in listed):
            raise GoneError(GONE) from error


def _tried() -> str:
    """What the client's own loops make of an error that is no reason to ask again; "" if they end by it."""
    cluster = _Deleted()

    async def at_once(**_: Any) -> bool:
        return True

    async def refused(_: Any) -> Any:
        raise client_errors.UnknownTopicOrPartitionError

    manager = Waiting()
    coordinator = SimpleNamespace(
        _manager=manager, ensure_coordinator_ready_async=at_once, _send_offset_commit_request=refused
    )
    fetcher = SimpleNamespace(_manager=manager, _send_list_offsets_requests=refused)
    _replace(SimpleNamespace(_coordinator=coordinator, _fetcher=fetcher, _cluster=cluster))
    asked = {ClientTopicPartition("t", 0): 0}
    for ask in (
        ConsumerCoordinator._commit_offsets_sync_async(coordinator, asked, 1000.0),
        Fetcher._fetch_offsets_by_times_async(fetcher, asked, 1000.0),
    ):
        try:
            ended(ask)
        except GoneError:
            continue
        return "what is gone is asked for again"
    return ""


class _Deleted:
    """A cluster that knows of no topic."""

    def __init__(self) -> None:
        self._answer = SimpleNamespace(topics=[SimpleNamespace(name="t", error_code=_UNKNOWN)])

    def add_topic(self, _: str) -> None:
        pass

    def request_update(self) -> Any:
        self.update_metadata(self._answer)
        return Future().success(self)

    def update_metadata(self, _: Any) -> None:
        pass

    def partitions_for_topic(self, _: str) -> None:
        pass
