"""Requests about a partition that is gone, as when its topic is deleted: they end, and say so.

kafka-python (3.0.12, sources read) asks again until time is up, which may be half a minute, and in it nothing is
polled: so the group takes away nothing of what is gone, and whoever asked took the broker for silent. A broker may only
not have heard of a partition yet, so the topic is looked at before; what is made anew meanwhile is not gone, nor is
what has an error that passes, such as no leader.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import kafka.errors as client_errors

GONE = "a partition is gone; was its topic deleted?"
_METADATA_S = 2.0
_UNKNOWN = client_errors.UnknownTopicOrPartitionError.errno


class GoneError(client_errors.KafkaError):  # type: ignore[misc]
    """What was asked for is not there any more."""


def end_what_asks_for_what_is_gone(consumer: Any) -> None:
    """Let commits of ``consumer``, and questions how far a log reaches, end by a :class:`GoneError`."""
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
