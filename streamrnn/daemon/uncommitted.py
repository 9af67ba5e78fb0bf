"""A partition without a committed offset: is it new, was it always there, or were its offsets lost?

*Lost* is what checkpoints tell: but for the genesis of a lineage, they are only written where something was committed.
Brokers drop the offsets of a group that was away for a week, and people delete groups. ``checkpoint.on_lost_offsets``
then decides; to resume is to go on from the newest checkpoint, with nothing to replay, in its lineage: the state there
is that of the log, so under unchanged settings what was written behind it before is written again with the same bytes.

*Not begun* is a partition that has nothing but a genesis checkpoint behind which nothing was learned: a first start was
interrupted before its commit. The next start is the first one, and goes on at that position, so that nothing is passed
over which came since. Whether that commit was made and lost makes no difference: there is nothing that could be.

*New* is what the other partitions tell: their commits, and failing those their checkpoints, carry how many partitions
the group began with. One beyond them was added later, and everything in it came after the group began.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from streamrnn.broker.protocol import Broker, TopicPartition
from streamrnn.daemon import restored
from streamrnn.daemon.mark import Mark
from streamrnn.errors import CorruptCheckpoint
from streamrnn.job.job import Job
from streamrnn.storage.checkpoints import CheckpointStore, Rejected, Used
from streamrnn.storage.manifest import Manifest

_T = TypeVar("_T")


def newest_of_all(store: CheckpointStore, make: Callable[[Manifest], _T]) -> Used[_T]:
    """What ``make`` gives for the newest usable checkpoint of the newest lineage, or of the one before where none of
    it can be used.

    The newest lineage is the one in which a checkpoint was written last: their names tell no more than the day.
    """
    dated = [
        (manifests[-1].created, lineage)
        for lineage in store.lineages()
        if (manifests := list(_readable(store, lineage, store.positions(lineage))))
    ]
    rejected: list[Rejected] = []
    for _, lineage in sorted(dated, reverse=True):
        made, more = store.use_newest(lineage, make)
        rejected += more
        if made is not None:
            return Used(made, rejected)
    every = (each for lineage in store.lineages() for each in store.use_newest(lineage, make).rejected)
    return Used(None, rejected or list(every))


def way_back(rejected: Sequence[Rejected], otherwise: str) -> str:
    """What to do where none of these can be used, which is what an update leaves behind or ``otherwise`` damage."""
    if any(each.earlier for each in rejected):
        return "Go back to the version of streamrnn that wrote them"
    return otherwise


def lineages_of(store: CheckpointStore) -> dict[str, list[int]]:
    """The positions of the checkpoints in each lineage that has any: segments alone are of one that was interrupted."""
    found = {lineage: store.positions(lineage) for lineage in store.lineages()}
    return {lineage: positions for lineage, positions in found.items() if positions}


def not_begun(store: CheckpointStore, lineages: Mapping[str, Sequence[int]], *, anew: bool = False) -> Manifest | None:
    """The newest genesis checkpoint, where there is nothing but such and nothing was learned behind them; else None.

    ``anew``: only the newest lineage counts, as what was learned before is to be forgotten.
    """
    found: list[Manifest] = []
    for lineage, positions in lineages.items():
        try:
            found.append(store.read(lineage, positions[-1]))
        except CorruptCheckpoint:
            return None  # nobody can say what was learned
    newest = max(found, key=lambda manifest: manifest.created, default=None)
    asked = [newest] if anew and newest is not None else found
    # Ordinals, not updates: what begins with a trained model has been updated. A second checkpoint follows a commit.
    if all(each.progress.ordinal == 0 and len(lineages[each.progress.lineage]) == 1 for each in asked):
        return newest
    return None


def began_with(job: Job, broker: Broker, tp: TopicPartition) -> int:
    """How many partitions the group began with; as many as there are now where it begins only now."""
    numbers = broker.partitions(tp.topic)
    others = [TopicPartition(tp.topic, number) for number in numbers if number != tp.partition]
    before = []
    for other in others:
        commit = broker.committed(other)
        mark = None if commit is None else Mark.from_metadata(commit.metadata)
        if mark is not None and mark.began_with:
            return mark.began_with
        if mark is not None and mark.partitions:
            before.append(mark.partitions)  # by an earlier version: as many as there were when its worker started
    if before:
        return min(before)
    if job.config.checkpoint.on_lost_offsets == "restart":
        return len(numbers)  # whatever checkpoints tell is to be forgotten
    for other in others:
        store = job.checkpoints(other)
        for lineage in store.lineages():
            for manifest in _readable(store, lineage, store.positions(lineage)):
                with contextlib.suppress(CorruptCheckpoint):
                    if found := restored.began_with(manifest):
                        return found
    return len(numbers)


def newest_readable(store: CheckpointStore, lineages: Mapping[str, Sequence[int]]) -> Manifest | None:
    """What the checkpoint that was written last says of itself, of the newest of each lineage that can be read."""
    found = [
        manifest for lineage, positions in lineages.items() for manifest in _readable(store, lineage, [positions[-1]])
    ]
    return max(found, key=lambda manifest: manifest.created, default=None)


def _readable(store: CheckpointStore, lineage: str, positions: list[int]) -> Iterator[Manifest]:
    for position in positions:
        with contextlib.suppress(CorruptCheckpoint):
            yield store.read(lineage, position)
