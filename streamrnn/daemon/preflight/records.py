"""What are the sampled records to the job? Decoded as the daemon would, and nothing learned from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from streamrnn.broker.protocol import Record
from streamrnn.daemon.preflight.facts import Facts
from streamrnn.daemon.preflight.findings import Finding, count, duration, fine, problem, share, warning
from streamrnn.job.codec.records import Decoded, RecordCodec
from streamrnn.job.config import Config
from streamrnn.job.sample import Sample
from streamrnn.learner.block import FORGET

_YEAR_2000_MS = 946_684_800_000
_FUTURE_MS = 3_600_000
_FEW = 100
"""Fewer records than this say nothing about how streams recur."""
_REGISTERED = "; values begin with a zero byte, as formats of a schema registry do, which are not read yet"


def records(config: Config, facts: Facts) -> Iterator[Finding]:
    """Whether they can be unpacked and decoded, and whether times and keys look as meant."""
    if facts.unreadable:
        yield problem(f"topic {config.input.topic}: {facts.unreadable}")
        return
    if not facts.bounds:
        return
    sample = facts.sample()
    if not sample:
        yield fine(f"topic {config.input.topic}: no records yet, so none could be tried")
        return
    codec = RecordCodec(config)
    decoded, counted = codec.decode(sample), Sample(config, codec)
    counted.add(sample, decoded)
    yield from rejected(decoded, sample)
    yield from kinds(counted)
    yield from fields(counted)
    yield from times(config, facts, decoded)
    yield from streams(config, decoded)


def rejected(decoded: Decoded, sample: Sequence[Record]) -> Iterator[Finding]:
    """Which of them would become dead letters, and why."""
    reasons = Counter(error.reason for _, error in decoded.rejected)
    first = {error.reason: (record, error) for record, error in reversed(decoded.rejected)}
    for reason, n in reasons.most_common():
        record, error = first[reason]
        other = _REGISTERED if (record.value or b"").startswith(b"\0") else ""
        text = (
            f"sample: {share(n, len(sample))} records would become dead letters as {reason}; the first is "
            f"{record.topic}/{record.partition} at {record.offset}: {error.detail}{other}"
        )
        yield problem(text) if len(decoded.rejected) == len(sample) else warning(text)


def kinds(counted: Sample) -> Iterator[Finding]:
    """How many are used, and what becomes of the others that are no dead letters."""
    others = {
        "are labels": counted.labels,
        "are tombstones, which forget their stream": counted.tombstones,
        "are passed over by input.where": counted.filtered,
    }
    told = "".join(f"; {share(n, counted.records)} {what}" for what, n in others.items() if n)
    yield fine(f"sample: {share(counted.used, counted.records)} records can be used{told}")


def fields(counted: Sample) -> Iterator[Finding]:
    """Which fields of the job they have. Without any feature, or any target, it is not what was meant."""
    never = set(counted.never()) if counted.used >= _FEW else set()
    for role in ("feature", "target"):
        named = {each.field for each in counted.shares() if each.field.role == role}
        if named and named <= never:
            what = "no feature of the job" if role == "feature" else "no target"
            yield problem(f"sample: {what} came in any of {counted.used:,} records; the names are below")
    for remark in counted.remarks():
        yield warning(f"sample: {remark}")
    missing = [f"{each.field.path} ({each.missing_share:.2g})" for each in counted.shares() if each.missing]
    told = f"missing in a share of the records: {', '.join(missing)}" if missing else "each in every record"
    yield fine(f"sample: fields of the job: {told}")


def times(config: Config, facts: Facts, decoded: Decoded) -> Iterator[Finding]:
    """Times in another unit than meant are in 1970 or in the far future."""
    at = decoded.block.time_ms[decoded.block.kind != FORGET]
    field = config.input.timestamp.field
    where = "record timestamps" if field is None else f"times in {field!r}"
    remedy = "set input.timestamp.field and unit" if field is None else "check input.timestamp.unit"
    for n, what in (
        (int((at < _YEAR_2000_MS).sum()), "before the year 2000"),
        (int((at > facts.now_ms + _FUTURE_MS).sum()), "more than an hour in the future"),
    ):
        if n:
            # A unit that was mistaken shows in all records, a clock that is wrong in a few.
            do = remedy if 2 * n > len(at) else "mend the clocks that gave them (see streams.max_time_jump_s)"
            yield warning(f"sample: {where}: {share(n, len(at))} are {what}; {do}")
    if len(at):
        yield fine(f"sample: the newest record is {duration(max(0, facts.now_ms - int(at.max())))} old")


def streams(config: Config, decoded: Decoded) -> Iterator[Finding]:
    """A key that names every record for itself leaves no stream to learn from."""
    keys = [key for key, kind in zip(decoded.block.keys, decoded.block.kind, strict=True) if kind != FORGET]
    distinct = len(set(keys))
    where = "record key" if config.input.stream_key is None else f"field {config.input.stream_key!r}"
    if distinct > config.streams.max_streams:
        yield warning(
            f"sample: {distinct:,} streams in {len(keys):,} records, streams.max_streams is "
            f"{config.streams.max_streams:,}: states are dropped before their stream comes again; raise it"
        )
    if len(keys) >= _FEW and distinct > 0.9 * len(keys):
        yield warning(
            f"sample: {distinct:,} streams in {len(keys):,} records: nearly every record is a stream of its own, and "
            f"its state never used again; does the {where} name a device, or a single event? See input.stream_key"
        )
    elif keys:
        yield fine(f"sample: {count(distinct, 'stream')} in {count(len(keys), 'record')}, named by the {where}")
