"""Which checkpoints of a lineage may go, and which segments with them: a decision about names, without any disk.

Kept are the ``retain`` newest usable checkpoints, and the newest usable one at or below the committed position, since
that is the one a recovery loads. A checkpoint that cannot be used does not count as kept. It is evidence, too: it goes
only once all that is kept is newer.

A segment goes when no manifest that stays names it and it is old. Until then it may belong to a checkpoint that
another process is writing, whose manifest comes last.

Several checkpoints are not several copies. A segment that did not change since the oldest of them is one blob that all
of them name, and when that one rots none of them can be loaded. Against that helps what is below (a file system with
checksums and redundancy, an object store), or starting from the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streamrnn.storage.blobs import Blob

# An unreferenced segment younger than this may belong to a checkpoint that another process is writing right now.
GARBAGE_GRACE_S = 900.0


class Candidate(NamedTuple):
    """A manifest that is there. ``needs`` is the size of each segment it names; None when it cannot be read."""

    name: str
    position: int
    needs: Mapping[str, int] | None


class Superfluous(NamedTuple):
    """The names of what may go. The manifests have to go first: none may name a segment that is gone."""

    manifests: list[str]
    segments: list[str]


def superfluous(
    manifests: Sequence[Candidate],
    segments: Sequence[Blob],
    *,
    retain: int,
    committed: int | None,
    put_before: float,
) -> Superfluous:
    """What may go of the manifests and segments of one lineage.

    ``committed`` is the committed position. Without a usable checkpoint at or below it, or with None for "nothing is
    committed yet", all usable ones stay. Segments put at ``put_before`` or later stay.

    >>> there = [Blob(name, 9, modified=0.0) for name in "abcd"]
    >>> manifests = [Candidate("m1", 1, {"a": 9, "b": 9}), Candidate("m2", 2, {"a": 9, "c": 9})]
    >>> superfluous(manifests, there, retain=1, committed=2, put_before=900.0)
    Superfluous(manifests=['m1'], segments=['b', 'd'])
    >>> superfluous(manifests, there, retain=1, committed=1, put_before=900.0)
    Superfluous(manifests=[], segments=['d'])
    """
    usable = _usable(manifests, segments)
    kept = _kept(usable, retain, committed)
    gone = [m for m in manifests if m.position not in kept and (m.position in usable or _older_than_all(m, kept))]
    stay = [m for m in manifests if m not in gone]
    if any(m.needs is None for m in stay):
        # Perhaps written by a newer version. What it names is unknown, so nothing is known to be garbage.
        return Superfluous([m.name for m in gone], [])
    named = {name for m in stay for name in m.needs or ()}
    garbage = [blob.name for blob in segments if blob.name not in named and blob.modified < put_before]
    return Superfluous([m.name for m in gone], garbage)


def _usable(manifests: Sequence[Candidate], segments: Sequence[Blob]) -> list[int]:
    """The positions of the manifests all of whose segments are there in full length, ascending; bytes are not read."""
    sizes = {blob.name: blob.size for blob in segments}
    return sorted(
        m.position for m in manifests if m.needs is not None and all(sizes.get(n) == s for n, s in m.needs.items())
    )


def _kept(usable: Sequence[int], retain: int, committed: int | None) -> set[int]:
    at_or_below = [position for position in usable if committed is not None and position <= committed]
    if not at_or_below:  # a recovery finds nothing as it is: whatever can be read may be the way out
        return set(usable)
    return {*usable[-retain:], at_or_below[-1]}


def _older_than_all(manifest: Candidate, kept: set[int]) -> bool:
    # With nothing kept everything would be older; then the damaged ones are all there is to look into.
    return bool(kept) and manifest.position < min(kept)
