"""What there is, asked once, from outside: no group is joined, nothing is committed, created or written.

Every request ends by its timeout, and a topic of many partitions is sampled in some of them only, so that the whole
takes seconds. ``Facts`` is plain data: the checks are tested with facts that no cluster has to be brought into.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streamrnn.broker.protocol import (
    Administration,
    Bounds,
    Commit,
    GroupDescription,
    Record,
    TopicDescription,
    TopicPartition,
)
from streamrnn.daemon.mark import Mark
from streamrnn.daemon.opening import open_administration, topics_of
from streamrnn.daemon.uncommitted import lineages_of, not_begun
from streamrnn.errors import BlobError, BrokerError
from streamrnn.job.config import Config
from streamrnn.job.opening import open_blobs
from streamrnn.storage.checkpoints import CheckpointStore

NEWEST_RECORDS = 300
"""How many of a partition's newest records are looked at."""
NEXT_RECORDS = 50
"""How many of those are looked at that the job would read next: codecs and formats may have changed since."""
SAMPLED_PARTITIONS = 16
SAMPLE_TIMEOUT_S = 10.0

Tell = Callable[[str], None]
"""Is told what is being looked at."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was found.

    ``topics`` has None for those that do not exist, ``settings`` nothing for those that may not be seen, ``commits`` is
    None where the group may not be looked at. ``checkpoints`` are the positions of each lineage, by partition; of those
    that a restart would try, ``flaws`` says at which positions they cannot be used, and why. ``interrupted`` is where
    first starts were that did not come to their commit. ``newest`` and ``next`` are sampled records; ``unreadable``
    says why there are none, or "".
    """

    topics: Mapping[str, TopicDescription | None]
    group: GroupDescription
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    bounds: Mapping[TopicPartition, Bounds] = field(default_factory=dict)
    commits: Mapping[TopicPartition, Commit] | None = None
    checkpoints: Mapping[TopicPartition, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    flaws: Mapping[TopicPartition, Mapping[int, str]] = field(default_factory=dict)
    interrupted: Mapping[TopicPartition, int] = field(default_factory=dict)
    newest: Mapping[TopicPartition, Sequence[Record]] = field(default_factory=dict)
    next: Mapping[TopicPartition, Sequence[Record]] = field(default_factory=dict)
    unreadable: str = ""
    now_ms: int = 0

    def sample(self) -> list[Record]:
        """The records that were looked at, in the order of each partition's log, none of them twice."""
        found: dict[tuple[TopicPartition, int], Record] = {}
        for tp in sorted({*self.next, *self.newest}):
            for record in (*self.next.get(tp, ()), *self.newest.get(tp, ())):
                found[tp, record.offset] = record
        return [found[at] for at in sorted(found)]


def gather(config: Config, tell: Tell) -> Facts | None:
    """Look at everything; None where there is nothing yet, which an embedded log makes when it is first used.

    Raises BrokerError when the cluster does not answer.
    """
    if config.embedded is not None and not (Path(config.embedded.directory) / "topics").is_dir():
        return None
    administration = open_administration(config)
    tell("topics")
    topics = administration.describe_topics(topics_of(config))
    settings = administration.topic_configs([name for name, found in topics.items() if found is not None])
    tell("the group")
    group = administration.describe_group(config.group_id)
    commits = None if group.refused else administration.commits(config.group_id)
    bounds: Mapping[TopicPartition, Bounds] = {}
    newest: Mapping[TopicPartition, Sequence[Record]] = {}
    following: Mapping[TopicPartition, Sequence[Record]] = {}
    unreadable = ""
    if _readable(topics[config.input.topic]):
        tell("a sample of records")
        bounds = administration.bounds(config.input.topic)
        try:
            newest, following = _sampled(config, administration, bounds, commits or {})
        except BrokerError as error:
            unreadable = str(error)
    tell("checkpoints")
    checkpoints, flaws, interrupted = _kept(config, bounds, commits or {})
    return Facts(
        topics=topics, settings=settings, group=group, bounds=bounds, commits=commits, checkpoints=checkpoints,
        flaws=flaws, interrupted=interrupted, newest=newest, next=following, unreadable=unreadable,
        now_ms=time.time_ns() // 1_000_000,
    )  # fmt: skip


def _readable(described: TopicDescription | None) -> bool:
    return described is not None and "READ" in described.operations and not described.leaderless


def _sampled(
    config: Config,
    administration: Administration,
    bounds: Mapping[TopicPartition, Bounds],
    commits: Mapping[TopicPartition, Commit],
) -> tuple[Mapping[TopicPartition, Sequence[Record]], Mapping[TopicPartition, Sequence[Record]]]:
    """The newest records of some partitions, and the ones that are next to be read."""
    some = dict(list(bounds.items())[:SAMPLED_PARTITIONS])
    at = {tp: max(found.start, found.end - NEWEST_RECORDS) for tp, found in some.items()}
    newest = administration.read(at, NEWEST_RECORDS, SAMPLE_TIMEOUT_S)
    begin = {tp: commits[tp].offset if tp in commits else _first(config, found) for tp, found in some.items()}
    ahead = {tp: offset for tp, offset in begin.items() if some[tp].start <= offset < at[tp]}
    return newest, administration.read(ahead, NEXT_RECORDS, SAMPLE_TIMEOUT_S)


def _first(config: Config, bounds: Bounds) -> int:
    return bounds.start if config.input.start == "earliest" else bounds.end


def _kept(
    config: Config, partitions: Iterable[TopicPartition], commits: Mapping[TopicPartition, Commit]
) -> tuple[
    Mapping[TopicPartition, Mapping[str, Sequence[int]]],
    Mapping[TopicPartition, Mapping[int, str]],
    Mapping[TopicPartition, int],
]:
    """The checkpoints there are, by their names, the flaws of those that would be tried, and interrupted first starts.

    Reads no array.
    """
    blobs = open_blobs(config)
    checkpoints: dict[TopicPartition, Mapping[str, Sequence[int]]] = {}
    flaws: dict[TopicPartition, Mapping[int, str]] = {}
    interrupted: dict[TopicPartition, int] = {}
    anew = config.checkpoint.on_lost_offsets == "restart"
    for tp in partitions:
        store = CheckpointStore(blobs, config.job, tp.topic, tp.partition, build={})
        with contextlib.suppress(BlobError):  # the directory's own check says why it cannot be listed
            checkpoints[tp] = lineages_of(store)
            if tp in commits:
                flaws[tp] = dict(_flaws(store, checkpoints[tp], commits[tp]))
            elif (genesis := not_begun(store, checkpoints[tp], anew=anew)) is not None:
                interrupted[tp] = genesis.progress.position
    return checkpoints, flaws, interrupted


def _flaws(store: CheckpointStore, positions: Mapping[str, Sequence[int]], commit: Commit) -> Iterator[tuple[int, str]]:
    """Checkpoints at or below the committed offset that cannot be used, down to the first that can."""
    mark = Mark.from_metadata(commit.metadata)
    for position in reversed(positions.get(mark.lineage, ()) if mark else ()):
        if mark is not None and position <= commit.offset:
            if not (flaw := store.flaw(mark.lineage, position)):
                return
            yield position, flaw
