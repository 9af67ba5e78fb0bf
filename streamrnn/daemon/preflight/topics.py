"""May the topics be used, do they fit together, and will they take what is written to them?

Settings are under Kafka's names, and a broker may know fewer of them (older ones, other makes): what is not there is
not checked. Times are compared with those of the sampled records, sizes with records made for the purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from streamrnn.broker.protocol import Record, TopicDescription, missing_rights
from streamrnn.broker.rights import command
from streamrnn.daemon.outgoing import MAX_AHEAD_S
from streamrnn.daemon.preflight.facts import Facts
from streamrnn.daemon.preflight.findings import Finding, count, duration, fine, problem, share, warning
from streamrnn.errors import RecordError
from streamrnn.job.codec.dead_letters import encode_dead_letter
from streamrnn.job.codec.predictions import PredictionEncoder
from streamrnn.job.config import Config
from streamrnn.job.input_config import MAX_KEY_BYTES

BATCH_OVERHEAD_BYTES = 100
"""What a batch of one record takes beside key and value."""

_NEVER_MS = 10 * 365 * 86_400_000
"""A limit as long as this is none."""


def topics(config: Config, facts: Facts) -> Iterator[Finding]:
    """Rights, numbers of partitions, and the limits of what is written."""
    output = config.output
    written = (output.topic, output.dead_letter_topic)
    there = {name: found for name, found in facts.topics.items() if found is not None}
    # An embedded log makes what is missing.
    needed = there if config.embedded is not None else facts.topics
    read, write = ([name for name in names if name in needed] for names in ((config.input.topic,), written))
    missing = missing_rights(needed, read=read, write=write)
    yield from map(problem, missing)
    for name, found in there.items():
        yield from leaders(name, found)
    if config.embedded is not None and len(there) < len(facts.topics):
        yield fine("the embedded log's topics are made as needed")
    elif not missing:
        counts = ", ".join(f"{name} ({found.partitions})" for name, found in there.items())
        yield fine(f"topics are there and may be read and written; partitions: {counts}")
    yield from partition_counts(config, there)
    for name in there:
        if not facts.settings.get(name):
            unchecked = "what it refuses" if name in written else "whether it is compacted and for how long it keeps"
            yield warning(
                f"topic {name}: its settings may not be seen, so {unchecked} is not checked; grant DESCRIBE_CONFIGS: "
                f"{command('DESCRIBE_CONFIGS', 'topic', name)}"
            )
    yield from largest_input(config, facts)
    yield from sizes(config, facts)
    for name in written:
        if settings := facts.settings.get(name):
            yield from replicas(name, settings, there[name])
            yield from times(name, settings, facts, stamped=name == output.topic)
    yield from compacted_outputs(config, facts)


def leaders(name: str, found: TopicDescription) -> Iterator[Finding]:
    """Whether every partition can be reached."""
    if found.leaderless:
        which = ", ".join(map(str, found.leaderless[:10]))
        yield problem(f"topic {name}: partitions without a leader now: {which}; bring their brokers back")


def partition_counts(config: Config, there: Mapping[str, TopicDescription]) -> Iterator[Finding]:
    """Whether a prediction can have its record's partition number."""
    source = config.input.topic
    if source not in there:
        return
    wanted = there[source].partitions
    for name in (config.output.topic, config.output.dead_letter_topic):
        if name in there and there[name].partitions != wanted:
            has = count(there[name].partitions, "partition")
            yield warning(
                f"topic {name} has {has}, {source} has {wanted}: a stream's records stay in order there, but under "
                "another partition number, chosen by the key; give both as many"
            )


def largest_input(config: Config, facts: Facts) -> Iterator[Finding]:
    """Whether records may come that the job refuses for their size."""
    allowed = int(facts.settings.get(config.input.topic, {}).get("max.message.bytes", 0))
    if allowed > config.input.max_record_bytes + BATCH_OVERHEAD_BYTES:
        yield warning(
            f"topic {config.input.topic}: takes batches of {allowed:,} bytes (max.message.bytes), and records of more "
            f"than {config.input.max_record_bytes:,} become dead letters (input.max_record_bytes); raise that if such "
            "records come"
        )


def sizes(config: Config, facts: Facts) -> Iterator[Finding]:
    """Whether the largest records fit: what a topic refuses is cut short or lost."""
    output = config.output
    wanted = {
        output.topic: (largest_prediction(config, facts.sample()), "a prediction may have", ""),
        output.dead_letter_topic: (
            largest_dead_letter(config),
            "a dead letter may have",
            f", or lower output.dead_letter_value_bytes from {output.dead_letter_value_bytes}",
        ),
    }
    for name, (size, what, otherwise) in wanted.items():
        limit = int(facts.settings.get(name, {}).get("max.message.bytes", 0))
        if not limit:
            continue
        if size <= limit:
            yield fine(f"topic {name}: max.message.bytes {limit:,}, {what} {size:,} bytes")
            continue
        text = f"topic {name}: {what} {size:,} bytes, max.message.bytes is {limit:,}"
        if name == output.topic:
            yield problem(f"{text}, and a prediction that is refused becomes a dead letter; raise it")
        else:
            yield warning(f"{text}, so that long ones are shortened; raise it{otherwise}")


def largest_prediction(config: Config, sample: Sequence[Record]) -> int:
    """Bytes of a prediction with the longest numbers and the longest of the sampled keys."""
    spec = config.learner_spec()
    key = max((record.key or b"" for record in sample), key=len, default=b"") or b"k" * 64
    record = Record(config.input.topic, 1 << 30, 1 << 62, 1 << 42, key, b"")
    value = PredictionEncoder(spec, config.output.top, config.unit).encode_longest(record, key)
    return len(value) + len(key) + BATCH_OVERHEAD_BYTES


def largest_dead_letter(config: Config) -> int:
    """Bytes of the dead letter of a record that is long, of characters that JSON has to escape, under a long key."""
    kept, key = config.output.dead_letter_value_bytes, b'"' * config.input.max_record_key_bytes
    record = Record(config.input.topic, 1 << 30, 1 << 62, 1 << 42, b'"' * MAX_KEY_BYTES, b'"' * (kept + 1))
    value = encode_dead_letter(record, RecordError("malformed", '"' * 2_000), kept)
    return len(value) + len(key) + BATCH_OVERHEAD_BYTES


def replicas(name: str, settings: Mapping[str, str], found: TopicDescription) -> Iterator[Finding]:
    """Whether enough copies can ever acknowledge: predictions count once all in-sync replicas have them."""
    needed = int(settings.get("min.insync.replicas", 1))
    if needed > found.replicas:
        yield problem(
            f"topic {name}: min.insync.replicas is {needed}, and there are {found.replicas} replicas, so nothing is "
            "ever acknowledged; lower the one or raise the other"
        )
    elif needed == found.replicas > 1:
        yield warning(
            f"topic {name}: all {needed} replicas have to acknowledge (min.insync.replicas), so one broker that is "
            "away stops the job; lower it by one"
        )


def times(name: str, settings: Mapping[str, str], facts: Facts, *, stamped: bool) -> Iterator[Finding]:
    """Whether the topic takes records with the input's timestamps, and keeps them. Dead letters carry the present."""
    ages = [facts.now_ms - record.timestamp_ms for record in facts.sample() if record.timestamp_ms >= 0]
    if not stamped or not ages or settings.get("message.timestamp.type") == "LogAppendTime":
        return
    limits = [
        int(settings[key])
        for key in ("message.timestamp.before.max.ms", "message.timestamp.difference.max.ms")
        if key in settings
    ]
    refused = sum(age > min(limits, default=_NEVER_MS) for age in ages)
    if refused:
        yield warning(
            f"topic {name}: refuses records older than {duration(min(limits))} (message.timestamp.before.max.ms), as "
            f"{share(refused, len(ages))} of the sampled input records are: their predictions are stamped with the "
            "present; raise it to have them keep their time"
        )
    ahead = int(settings.get("message.timestamp.after.max.ms", _NEVER_MS))
    early = sum(-age > ahead for age in ages)
    if early and ahead < 1000 * MAX_AHEAD_S:
        yield warning(
            f"topic {name}: refuses records more than {duration(ahead)} in the future "
            f"(message.timestamp.after.max.ms), as {share(early, len(ages))} of the sampled input records are: their "
            f"predictions are stamped with the present, as they are beyond {duration(1000 * MAX_AHEAD_S)} anyway"
        )
    kept = int(settings.get("retention.ms", -1))
    gone = sum(age > kept for age in ages)
    if kept >= 0 and gone and "delete" in settings.get("cleanup.policy", "delete"):
        yield warning(
            f"topic {name}: keeps {duration(kept)} (retention.ms), and {share(gone, len(ages))} of the sampled input "
            "records are older; their predictions carry their timestamps and are deleted soon after they are written; "
            "raise it, or set message.timestamp.type: LogAppendTime"
        )


def compacted_outputs(config: Config, facts: Facts) -> Iterator[Finding]:
    """What compaction does to predictions and dead letters."""
    output = config.output
    meaning = {
        output.topic: "keeps the newest prediction of each stream only",
        output.dead_letter_topic: "keeps the newest dead letter of each key only",
    }
    for name, text in meaning.items():
        if "compact" in facts.settings.get(name, {}).get("cleanup.policy", ""):
            yield warning(f"topic {name}: is compacted, so it {text}; set cleanup.policy: delete to keep all")
