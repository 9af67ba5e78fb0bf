"""Can a restart find its way back? It loads a checkpoint and replays the log from there to the committed offset.

What is checked here is what recovery decides at the start (``streamrnn.daemon.recovery``), told before it does, and
what may be missing from the log by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamrnn.broker.protocol import Bounds, Commit, TopicPartition
from streamrnn.daemon.mark import AFRESH, Mark
from streamrnn.daemon.preflight.facts import Facts
from streamrnn.daemon.preflight.findings import Finding, Kind, count, duration, fine, problem, warning
from streamrnn.job.config import Config

SHOWN = 5
"""Findings about single partitions that are told one by one: a topic may have a thousand."""


def replay(config: Config, facts: Facts) -> Iterator[Finding]:
    """The input topic's retention and compaction, and where each partition would begin."""
    yield from compaction(config, facts)
    yield from retention(config, facts)
    if facts.commits is not None and facts.bounds:
        yield from starts(config, facts)


def compaction(config: Config, facts: Facts) -> Iterator[Finding]:
    """A compacted log loses records that a replay needs."""
    settings = facts.settings.get(config.input.topic, {})
    if "compact" not in settings.get("cleanup.policy", ""):
        return
    lag_ms = int(settings.get("min.compaction.lag.ms", 0))
    needed_ms = 2000 * config.checkpoint.interval_s
    text = (
        f"topic {config.input.topic}: is compacted, so records between a checkpoint and the committed offset may be "
        "gone when a restart replays them; the state reached is then another one, and checkpoint.on_inexact decides "
        f"({config.checkpoint.on_inexact})"
    )
    if lag_ms >= needed_ms:
        yield fine(
            f"topic {config.input.topic}: is compacted, and min.compaction.lag.ms keeps the newest {duration(lag_ms)} "
            "whole for replays"
        )
        return
    yield warning(
        f"{text}; use a topic that is not compacted, or raise min.compaction.lag.ms to more than the time between "
        f"checkpoints and the longest the job may be down (now {duration(lag_ms)})"
    )


def retention(config: Config, facts: Facts) -> Iterator[Finding]:
    """The log has to reach back to the newest checkpoint, which is as old as the interval, or the job's absence."""
    settings, name = facts.settings.get(config.input.topic, {}), config.input.topic
    if "delete" not in settings.get("cleanup.policy", "delete"):
        return
    kept_ms, kept_bytes = (int(settings.get(key, -1)) for key in ("retention.ms", "retention.bytes"))
    needed_ms = 2000 * config.checkpoint.interval_s
    if 0 <= kept_ms < needed_ms:
        yield warning(
            f"topic {name}: keeps {duration(kept_ms)} (retention.ms), and a restart replays up to "
            f"{duration(needed_ms / 2)} (checkpoint.interval_s): records it needs may be gone, and then "
            f"checkpoint.on_gap decides ({config.checkpoint.on_gap}); raise the one or lower the other"
        )
    sample = facts.sample()
    mean = sum(len(r.value or b"") + len(r.key or b"") for r in sample) / max(1, len(sample))
    needed = mean * config.checkpoint.max_replay_records
    if 0 <= kept_bytes < needed:
        yield warning(
            f"topic {name}: keeps {kept_bytes:,} bytes of a partition (retention.bytes), and a restart replays up to "
            f"{config.checkpoint.max_replay_records:,} records (checkpoint.max_replay_records) of {mean:,.0f} bytes: "
            f"some may be gone, and then checkpoint.on_gap decides ({config.checkpoint.on_gap}); raise the one or "
            "lower the other"
        )


def starts(config: Config, facts: Facts) -> Iterator[Finding]:
    """Where each partition would begin, and what would keep it from it."""
    assert facts.commits is not None
    new, waiting, found = [], 0, list[Finding]()
    for tp, bounds in facts.bounds.items():
        commit = facts.commits.get(tp)
        if commit is None:
            new.append(tp)
            continue
        waiting += max(0, bounds.end - commit.offset)
        found += resumes(config, facts, tp, bounds, commit)
    for kind in Kind:
        of_kind = [finding for finding in found if finding.kind is kind]
        yield from of_kind[:SHOWN]
        if len(of_kind) > SHOWN:
            yield Finding(kind, f"and {len(of_kind) - SHOWN:,} more of this kind, of other partitions")
    yield from widened(config, facts)
    known = len(facts.bounds) - len(new)
    if known:
        yield fine(f"{known} of {len(facts.bounds)} partitions have been committed by this group; offsets waiting: "
                   f"{waiting:,}")  # fmt: skip
    yield from first_starts(config, facts, new)


def resumes(config: Config, facts: Facts, tp: TopicPartition, bounds: Bounds, commit: Commit) -> Iterator[Finding]:
    """A committed partition: are its checkpoints there, and does the log reach from one to the commit?"""
    afresh = f"to start afresh, {AFRESH}"
    mark = Mark.from_metadata(commit.metadata)
    if mark is None:
        yield problem(
            f"{tp}: offset {commit.offset} of group {config.group_id} was not committed by streamrnn (its metadata is "
            f"{commit.metadata[:40]!r}); give the job a kafka.group_id of its own"
        )
        return
    if commit.offset > bounds.end:
        yield problem(
            f"{tp}: offset {commit.offset} is committed, the log ends at {bounds.end}: the topic was made anew or lost "
            f"its end; {afresh}"
        )
        return
    there = facts.checkpoints.get(tp, {}).get(mark.lineage, ())
    flaws = facts.flaws.get(tp, {})
    usable = [position for position in there if position <= commit.offset and position not in flaws]
    for position, flaw in flaws.items():
        yield warning(f"{tp}: the checkpoint at {position} cannot be used, and an earlier one has to do: {flaw}")
    if not usable:
        yield problem(
            f"{tp}: no usable checkpoint of lineage {mark.lineage} at or below the committed offset {commit.offset} in "
            f"{config.checkpoint.directory}; bring the directory back, or {afresh}"
        )
    elif usable[-1] < bounds.start:
        gone = f"{tp}: the log begins at {bounds.start}, the newest checkpoint is at {usable[-1]}: records are gone"
        if config.checkpoint.on_gap == "fail":
            yield problem(f"{gone}; set checkpoint.on_gap: continue to go on without them")
        else:
            yield warning(f"{gone} and are passed over (checkpoint.on_gap: continue)")


def widened(config: Config, facts: Facts) -> Iterator[Finding]:
    """Whether the topic has another number of partitions than when the group committed last."""
    commits = [facts.commits[tp] for tp in facts.bounds if tp in facts.commits] if facts.commits else []
    marks = [Mark.from_metadata(commit.metadata) for commit in commits]
    before = {mark.partitions for mark in marks if mark is not None and mark.partitions} - {len(facts.bounds)}
    if before:
        had, has = count(min(before), "partition"), len(facts.bounds)
        yield warning(
            f"topic {config.input.topic}: had {had} when the group committed and has {has}: keys moved, so streams go "
            "on in other partitions with a new hidden state"
        )


def first_starts(config: Config, facts: Facts, new: Sequence[TopicPartition]) -> Iterator[Finding]:
    """Partitions of which nothing is committed: their offsets were lost, or it is their first start."""
    again = [tp for tp in new if tp in facts.interrupted]
    left = [tp for tp in new if facts.checkpoints.get(tp) and tp not in again]
    if left:
        text = (
            f"{', '.join(map(str, left[:10]))}: group {config.group_id} has no committed offset although checkpoints "
            "exist: its offsets expired or were deleted, which a topic that is made anew does to them "
            f"(then checkpoint.on_new_topic decides, now {config.checkpoint.on_new_topic})"
        )
        policy = config.checkpoint.on_lost_offsets
        if policy == "fail":
            yield problem(f"{text}; set checkpoint.on_lost_offsets: resume or restart (now fail)")
        else:
            what = "go on from the newest checkpoint" if policy == "resume" else "learn anew from input.start"
            yield warning(f"{text}; they {what} (checkpoint.on_lost_offsets: {policy})")
    if again:
        waiting = sum(max(0, facts.bounds[tp].end - facts.interrupted[tp]) for tp in again)
        yield fine(
            f"first start of {count(len(again), 'partition')} once more, where one was interrupted before its commit; "
            f"offsets waiting: {waiting:,}"
        )
    blank = [tp for tp in new if tp not in left and tp not in again]
    at_end = [tp for tp in blank if config.input.start == "latest" and tp.partition < began_with(facts)]
    for tps, where in (([tp for tp in blank if tp not in at_end], "beginning"), (at_end, "end")):
        if tps:
            waiting = sum(facts.bounds[tp].end - facts.bounds[tp].start for tp in tps)
            behind = f"; offsets waiting: {waiting:,}" if where == "beginning" else ", so what is there now is not read"
            yield fine(f"first start of {count(len(tps), 'partition')}, at the {where} of the log{behind}")


def began_with(facts: Facts) -> int:
    """How many partitions the group began with, as far as its commits tell: what was added later is read whole."""
    assert facts.commits is not None
    marks = [Mark.from_metadata(facts.commits[tp].metadata) for tp in facts.bounds if tp in facts.commits]
    return min((mark.began_with or mark.partitions for mark in marks if mark is not None), default=len(facts.bounds))
