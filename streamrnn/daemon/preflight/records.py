"""What are the sampled records to the job? Decoded as the daemon would, and nothing learned from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from streamrnn.broker.protocol import Record
from streamrnn.daemon.preflight.facts import Facts
from streamrnn.daemon.preflight.findings import Finding, count, duration, fine, problem, share, warning
from streamrnn.job.codec.records import Decoded, RecordCodec
from streamrnn.job.config import Config

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
    decoded = RecordCodec(config).decode(sample)
    yield from rejected(decoded, sample)
    yield from times(config, facts, decoded)
    yield from streams(config, decoded)


def rejected(decoded: Decoded, sample: Sequence[Record]) -> Iterator[Finding]:
    """Which of them would become dead letters, and why."""
    reasons = Counter(error.reason for _, error in decoded.rejected)
    if not reasons:
        yield fine(f"sample: {share(len(sample), len(sample))} records can be used")
    first = {error.reason: (record, error) for record, error in reversed(decoded.rejected)}
    for reason, n in reasons.most_common():
        record, error = first[reason]
        other = _REGISTERED if (record.value or b"").startswith(b"\0") else ""
        text = (
            f"sample: {share(n, len(sample))} records would become dead letters as {reason}; the first is "
            f"{record.topic}/{record.partition} at {record.offset}: {error.detail}{other}"
        )
        yield problem(text) if len(decoded.rejected) == len(sample) else warning(text)


def times(config: Config, facts: Facts, decoded: Decoded) -> Iterator[Finding]:
    """Times in another unit than meant are in 1970 or in the far future."""
    at = decoded.block.time_ms
    field = config.input.timestamp.field
    where = "record timestamps" if field is None else f"times in {field!r}"
    remedy = "set input.timestamp.field and unit" if field is None else "check input.timestamp.unit"
    for n, what in (
        (int((at < _YEAR_2000_MS).sum()), "before the year 2000"),
        (int((at > facts.now_ms + _FUTURE_MS).sum()), "more than an hour in the future"),
    ):
        if n:
            yield warning(f"sample: {where}: {share(n, len(at))} are {what}; {remedy}")
    if len(at):
        yield fine(f"sample: the newest record is {duration(max(0, facts.now_ms - int(at.max())))} old")


def streams(config: Config, decoded: Decoded) -> Iterator[Finding]:
    """A key that names every record for itself leaves no stream to learn from."""
    keys = decoded.block.keys
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
