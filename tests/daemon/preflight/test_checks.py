"""What the preflight says of given facts. That facts are those of a cluster: test_preflight_kafka.py."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from streamrnn.broker.protocol import Bounds, Commit, GroupDescription, Member, Record, TopicDescription, TopicPartition
from streamrnn.broker.rights import command
from streamrnn.daemon.mark import Mark
from streamrnn.daemon.preflight.checks import checks
from streamrnn.daemon.preflight.facts import Facts
from streamrnn.daemon.preflight.findings import Kind
from streamrnn.job.job_file import parse
from tests.support import jobs

NOW = 1_700_000_000_000
DAY = 86_400_000
IN, OUT, DEAD = "departures", "predictions", "dead-letters"
TP = TopicPartition(IN, 0)
ALL = frozenset({"READ", "WRITE", "DESCRIBE"})
SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": str(7 * DAY),
    "retention.bytes": "-1",
    "max.message.bytes": "1048588",
    "min.insync.replicas": "2",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.before.max.ms": str((1 << 63) - 1),
    "message.timestamp.after.max.ms": "3600000",
}


def records(n: int = 100, *, timestamp_ms: int = NOW - 1000, key: bytes | None = b"N1", **fields: Any) -> list[Record]:
    """Records whose fields differ from one to the next, unless they are ``fields``."""
    values = [json.dumps({"distance": i % 7, "delay": i % 5} | fields).encode() for i in range(n)]
    return [Record(IN, 0, i, timestamp_ms + i, key, value) for i, value in enumerate(values)]


def facts(**changes: Any) -> Facts:
    """A job that would run: three replicas, one partition, a hundred records, a group that nobody is in."""
    base = Facts(
        topics=dict.fromkeys((IN, OUT, DEAD), TopicDescription(1, ALL, replicas=3)),
        settings=dict.fromkeys((IN, OUT, DEAD), SETTINGS),
        group=GroupDescription(frozenset({"READ", "DESCRIBE"})),
        bounds={TP: Bounds(0, 100)},
        commits={},
        newest={TP: records()},
        now_ms=NOW,
    )
    return replace(base, **changes)


def said(found: Facts, kind: Kind, **sections: str) -> list[str]:
    """What the preflight says of that kind; the job has these sections."""
    config = parse(jobs.yaml(**sections), {})
    return [finding.text for finding in checks(config, found) if finding.kind is kind]


def problems(found: Facts, **sections: str) -> list[str]:
    return said(found, Kind.PROBLEM, **sections)


def warnings(found: Facts, **sections: str) -> list[str]:
    return said(found, Kind.WARNING, **sections)


def settings(topic: str, **changes: str) -> Facts:
    """Facts in which these settings of a topic are others."""
    changed = SETTINGS | {name.replace("_", "."): value for name, value in changes.items()}
    return facts(settings={**dict.fromkeys((IN, OUT, DEAD), SETTINGS), topic: changed})


def committed(offset: int = 50, checkpoints: tuple[int, ...] = (0, 40), **changes: Any) -> Facts:
    """Facts in which the group has committed and left checkpoints."""
    commit = Commit(offset, Mark("one", 50, 7, 1).to_metadata())
    return facts(**{"commits": {TP: commit}, "checkpoints": {TP: {"one": checkpoints}}} | changes)


def test_a_job_that_can_run_is_told_what_was_looked_at() -> None:
    assert problems(facts()) == warnings(facts()) == []
    fine = " ".join(said(facts(), Kind.FINE))
    for text in (
        "topics are there and may be read and written",
        "max.message.bytes 1,048,588",
        "group delays may be joined; members now: 0",
        "first start of 1 partition, at the beginning of the log; offsets waiting: 100",
        "all 100 records can be used",
    ):
        assert text in fine


# -- topics -----------------------------------------------------------------------------------------------------------


def test_missing_topics_and_rights_are_problems() -> None:
    topics = {IN: TopicDescription(1, frozenset({"DESCRIBE"})), OUT: None, DEAD: TopicDescription(1, ALL)}
    found = problems(facts(topics=topics, bounds={}, newest={}, settings={}))
    assert found == [
        f"topic {IN}: this user may not read; grant READ: {command('READ', 'topic', IN)}",
        f"topic {OUT} does not exist, or this user may not see it: run `streamrnn topics`, or grant WRITE: "
        f"{command('WRITE', 'topic', OUT)}",
    ]


def test_a_partition_without_a_leader_is_a_problem() -> None:
    topics = {**facts().topics, OUT: TopicDescription(1, ALL, 3, leaderless=(0,))}
    assert problems(facts(topics=topics)) == [
        f"topic {OUT}: partitions without a leader now: 0; bring their brokers back"
    ]


def test_other_numbers_of_partitions_are_a_warning_for_each_topic_written() -> None:
    topics = {**facts().topics, OUT: TopicDescription(4, ALL, 3), DEAD: TopicDescription(2, ALL, 3)}
    found = warnings(facts(topics=topics))
    assert [text.split(":")[0] for text in found] == [
        f"topic {OUT} has 4 partitions, {IN} has 1",
        f"topic {DEAD} has 2 partitions, {IN} has 1",
    ]


def test_settings_that_may_not_be_seen_are_a_warning_and_checked_no_further() -> None:
    found = warnings(facts(settings={}))
    assert [text.split(",")[0] for text in found] == [
        f"topic {name}: its settings may not be seen" for name in (IN, OUT, DEAD)
    ]


def test_an_input_topic_that_takes_larger_records_than_the_job_is_a_warning() -> None:
    (found,) = warnings(settings(IN, max_message_bytes="10485760"))
    assert "records of more than 1,048,576 become dead letters (input.max_record_bytes)" in found
    assert (
        warnings(settings(IN, max_message_bytes="10485760"), input="{topic: departures, max_record_bytes: 10485760}")
        == []
    )


def test_a_topic_too_small_for_predictions_is_a_problem() -> None:
    (found,) = problems(settings(OUT, max_message_bytes="300"))
    assert found.startswith(f"topic {OUT}: a prediction may have ")
    assert found.endswith("max.message.bytes is 300, and a prediction that is refused becomes a dead letter; raise it")


def test_a_topic_too_small_for_dead_letters_is_a_warning_with_the_setting_that_shortens_them() -> None:
    (found,) = warnings(settings(DEAD, max_message_bytes="20000"))
    assert "max.message.bytes is 20,000, so that long ones are shortened" in found
    assert found.endswith("; raise it, or lower output.dead_letter_value_bytes from 65536")
    small = "{topic: predictions, dead_letter_topic: dead-letters, dead_letter_value_bytes: 100}"
    assert warnings(settings(DEAD, max_message_bytes="100000"), output=small) == []


def test_more_in_sync_replicas_than_there_are_is_a_problem_and_as_many_a_warning() -> None:
    (found,) = problems(settings(OUT, min_insync_replicas="4"))
    assert "min.insync.replicas is 4, and there are 3 replicas" in found
    (found,) = warnings(settings(DEAD, min_insync_replicas="3"))
    assert f"topic {DEAD}: all 3 replicas have to acknowledge" in found


def test_records_older_than_the_topic_of_predictions_takes_are_a_warning() -> None:
    old = {TP: records(25, timestamp_ms=NOW - 3 * DAY) + [r._replace(offset=100) for r in records(1)]}
    limited = settings(OUT, message_timestamp_before_max_ms=str(DAY))
    (found,) = warnings(replace(limited, newest=old))
    assert f"topic {OUT}: refuses records older than 1 day" in found
    assert "25 of 26 (96 %) of the sampled input records" in found
    appended = settings(OUT, message_timestamp_before_max_ms=str(DAY), message_timestamp_type="LogAppendTime")
    assert warnings(replace(appended, newest=old)) == []


def test_records_older_than_the_retention_of_predictions_are_a_warning() -> None:
    (found,) = warnings(facts(newest={TP: records(timestamp_ms=NOW - 30 * DAY)}))
    assert f"topic {OUT}: keeps 7 days (retention.ms), and all 100 of the sampled" in found


def test_records_further_ahead_than_the_topic_takes_are_a_warning() -> None:
    limited = settings(OUT, message_timestamp_after_max_ms="60000")
    (found,) = warnings(replace(limited, newest={TP: records(timestamp_ms=NOW + 600_000)}))
    assert "refuses records more than 1 minute in the future" in found


def test_compacted_topics_of_output_are_warnings() -> None:
    for topic, text in ((OUT, "newest prediction of each stream only"), (DEAD, "newest dead letter of each key only")):
        (found,) = warnings(settings(topic, cleanup_policy="compact"))
        assert found.startswith(f"topic {topic}: is compacted")
        assert text in found


# -- replay -----------------------------------------------------------------------------------------------------------


def test_a_compacted_input_topic_is_a_warning_unless_its_newest_part_is_kept_whole() -> None:
    (found,) = warnings(settings(IN, cleanup_policy="compact"))
    assert f"topic {IN}: is compacted, so records between a checkpoint and the committed offset may be gone" in found
    assert "checkpoint.on_inexact decides (fail)" in found
    assert warnings(settings(IN, cleanup_policy="compact,delete", min_compaction_lag_ms=str(DAY))) == []


def test_a_log_shorter_than_a_replay_is_a_warning() -> None:
    (found,) = warnings(settings(IN, retention_ms="30000"))
    assert "keeps 30 seconds (retention.ms), and a restart replays up to 30 seconds" in found
    (found,) = warnings(settings(IN, retention_bytes="1000"))
    assert "keeps 1,000 bytes of a partition (retention.bytes), and a restart replays up to 200,000 records" in found


def test_a_committed_partition_with_its_checkpoints_goes_on() -> None:
    assert problems(committed()) == warnings(committed()) == []
    text = "1 of 1 partitions have been committed by this group; offsets waiting: 50"
    assert text in said(committed(), Kind.FINE)


def test_a_commit_that_was_not_ours_is_a_problem() -> None:
    (found,) = problems(facts(commits={TP: Commit(5, "")}))
    assert f"{TP}: offset 5 of group delays was not committed by streamrnn" in found


def test_a_commit_beyond_the_log_is_a_problem() -> None:
    (found,) = problems(committed(offset=150))
    assert f"{TP}: offset 150 is committed, the log ends at 100" in found


@pytest.mark.parametrize("there", [{}, {"other": [0, 40]}, {"one": [60]}])
def test_a_commit_without_a_checkpoint_at_or_below_it_is_a_problem(there: dict[str, Any]) -> None:
    (found,) = problems(replace(committed(), checkpoints={TP: there}))
    assert f"{TP}: no usable checkpoint of lineage one at or below the committed offset 50" in found


def test_a_thousand_partitions_in_trouble_are_not_told_one_by_one() -> None:
    tps = [TopicPartition(IN, p) for p in range(1_000)]
    commits = {tp: Commit(50, Mark("one", 50, 7, 1_000).to_metadata()) for tp in tps}
    found = problems(committed(bounds=dict.fromkeys(tps, Bounds(0, 100)), commits=commits, checkpoints={}))
    assert len(found) == 6
    assert found[-1] == "and 995 more of this kind, of other partitions"


def test_a_damaged_checkpoint_is_a_warning_and_the_only_one_a_problem() -> None:
    damaged = replace(committed(), flaws={TP: {40: "rotten"}})
    assert problems(damaged) == []
    (found,) = warnings(damaged)
    assert found == f"{TP}: the checkpoint at 40 cannot be used, and an earlier one has to do: rotten"
    (found,) = problems(replace(damaged, flaws={TP: {40: "rotten", 0: "gone"}}))
    assert "no usable checkpoint of lineage one" in found


def test_a_log_that_no_longer_reaches_the_checkpoint_is_what_on_gap_says() -> None:
    gap = committed(bounds={TP: Bounds(45, 100)})
    (found,) = problems(gap)
    assert f"{TP}: the log begins at 45, the newest checkpoint is at 40" in found
    goes_on = "{directory: ./checkpoints, on_gap: continue}"
    assert problems(gap, checkpoint=goes_on) == []
    assert len(warnings(gap, checkpoint=goes_on)) == 1


def test_another_number_of_partitions_than_committed_is_a_warning() -> None:
    two = {TP: Bounds(0, 100), TopicPartition(IN, 1): Bounds(0, 0)}
    found = [text for text in warnings(committed(bounds=two)) if "keys" in text]
    assert len(found) == 1
    assert found[0].startswith(f"topic {IN}: had 1 partition when the group committed and has 2")


def test_checkpoints_without_a_commit_are_what_on_lost_offsets_says() -> None:
    (found,) = warnings(committed(commits={}))
    assert f"{TP}: group delays has no committed offset although checkpoints exist" in found
    assert "go on from the newest checkpoint (checkpoint.on_lost_offsets: resume)" in found
    (found,) = problems(committed(commits={}), checkpoint="{directory: ./checkpoints, on_lost_offsets: fail}")
    assert "set checkpoint.on_lost_offsets" in found
    (found,) = warnings(committed(commits={}), checkpoint="{directory: ./checkpoints, on_lost_offsets: restart}")
    assert "learn anew from input.start" in found


@pytest.mark.parametrize("policy", ["fail", "resume", "restart"])
def test_an_interrupted_first_start_is_told_as_a_first_start(policy: str) -> None:
    given = committed(commits={}, checkpoints={TP: {"one": (0,)}}, interrupted={TP: 40})
    settings = {"checkpoint": f"{{directory: ./checkpoints, on_lost_offsets: {policy}}}"}
    assert problems(given, **settings) == warnings(given, **settings) == []
    assert [text for text in said(given, Kind.FINE, **settings) if "first start" in text] == [
        "first start of 1 partition once more, where one was interrupted before its commit; offsets waiting: 60"
    ]


def test_of_two_partitions_without_a_commit_the_one_that_was_added_later_is_read_from_its_beginning() -> None:
    tps = [TP, TopicPartition(IN, 1), TopicPartition(IN, 2)]
    commits = {TP: Commit(50, Mark("one", 50, 7, 2, 2).to_metadata())}
    three = committed(commits=commits, bounds={tp: Bounds(0, 100) for tp in tps})
    found = [text for text in said(three, Kind.FINE, input=f"{{topic: {IN}, start: latest}}") if "first start" in text]
    assert found == [
        "first start of 1 partition, at the beginning of the log; offsets waiting: 100",
        "first start of 1 partition, at the end of the log, so what is there now is not read",
    ]


def test_a_first_start_says_where_it_begins() -> None:
    (found,) = [
        text for text in said(facts(), Kind.FINE, input="{topic: departures, start: latest}") if "start" in text
    ]
    assert found == "first start of 1 partition, at the end of the log, so what is there now is not read"


# -- group ------------------------------------------------------------------------------------------------------------


def member(instance: str | None, *topics: str) -> Member:
    return Member(instance, "streamrnn-delays", "/10.0.0.7", frozenset(topics))


def test_a_group_that_may_not_be_described_or_joined_is_a_problem() -> None:
    (found,) = problems(facts(group=GroupDescription(frozenset(), refused="not authorized"), commits=None))
    assert found.startswith("group delays could not be described: not authorized; grant READ and DESCRIBE")
    (found,) = problems(facts(group=GroupDescription(frozenset({"DESCRIBE"}))))
    assert found == (
        "group delays: this user may not join it or commit; grant READ on the group: "
        f"{command('READ', 'group', 'delays')}"
    )


def test_a_group_of_another_program_is_a_problem() -> None:
    described = GroupDescription(frozenset({"READ"}), (member("x", IN),), assignor="range")
    (found,) = problems(facts(group=described))
    assert "its members share partitions by 'range'" in found
    described = GroupDescription(frozenset({"READ"}), (member("x", "orders"),), assignor="cooperative-sticky")
    (found,) = problems(facts(group=described))
    assert f"streamrnn-delays at /10.0.0.7 reads orders in it and not {IN}" in found


def test_offsets_of_another_topic_are_a_warning() -> None:
    (found,) = warnings(committed(commits={**(committed().commits or {}), TopicPartition("orders", 0): Commit(1)}))
    assert "it also has committed offsets of orders" in found


def test_a_worker_of_the_same_name_is_a_warning_and_another_one_is_not() -> None:
    kafka = "{bootstrap_servers: 'localhost:9092', group_instance_id: one}"
    for instance, count in (("one", 1), ("two", 0)):
        described = GroupDescription(frozenset({"READ"}), (member(instance, IN),), assignor="cooperative-sticky")
        found = warnings(facts(group=described), kafka=kafka)
        assert len(found) == count
        assert all("(one) is in it now, from /10.0.0.7" in text for text in found)


# -- records ----------------------------------------------------------------------------------------------------------


def test_records_that_cannot_be_unpacked_are_a_problem() -> None:
    (found,) = problems(facts(newest={}, unreadable="no library for lz4"))
    assert found == f"topic {IN}: no library for lz4"


def test_dead_letters_to_come_are_a_warning_and_nothing_else_a_problem() -> None:
    broken = [record._replace(value=b"{", offset=1000 + record.offset) for record in records(25)]
    (found,) = warnings(facts(newest={TP: records(75) + broken}))
    assert "25 of 100 (25 %) records would become dead letters as malformed; the first is departures/0 at 1000" in found
    (found,) = problems(facts(newest={TP: broken}))
    assert "all 25 records would become dead letters as malformed" in found


def test_a_field_that_never_comes_is_a_warning_with_the_name_that_does() -> None:
    both = "[{field: distnace, encoder: numeric}, {field: distance, encoder: log1p}]"
    assert problems(facts(), features=both) == []
    (found,) = warnings(facts(), features=both)
    assert found.startswith("sample: feature 'distnace' came in none of 100 records")
    assert "'distance'" in found or "distance" in found.partition("records")[2]


def test_without_any_feature_or_target_it_is_a_problem() -> None:
    (found,) = problems(facts(), features="[{field: distnace, encoder: numeric}]")
    assert found == "sample: no feature of the job came in any of 100 records; the names are below"
    (found,) = problems(facts(), target="{fields: [dealy]}")
    assert found == "sample: no target came in any of 100 records; the names are below"
    few = facts(newest={TP: records(99)})
    assert problems(few, target="{fields: [dealy]}") == []


def test_the_share_of_a_missing_field_is_told() -> None:
    some = records(80) + [r._replace(offset=80 + r.offset, value=b'{"delay": 3}') for r in records(20)]
    assert "sample: fields of the job: missing in a share of the records: distance (0.2)" in said(
        facts(newest={TP: some}), Kind.FINE
    )
    assert "sample: fields of the job: each in every record" in said(facts(), Kind.FINE)


def test_tombstones_and_what_is_passed_over_are_told() -> None:
    others = [record._replace(offset=90 + record.offset, value=None) for record in records(10)]
    (found,) = [t for t in said(facts(newest={TP: records(90) + others}), Kind.FINE) if "can be used" in t]
    assert found.endswith("; 10 of 100 (10 %) are tombstones, which forget their stream")
    where = "{topic: departures, where: [{field: distance, equals: 0}]}"
    (found,) = [t for t in said(facts(), Kind.FINE, input=where) if "can be used" in t]
    assert found.endswith("; 85 of 100 (85 %) are passed over by input.where")


def test_values_of_a_schema_registry_are_told() -> None:
    registered = [record._replace(value=b"\0\0\0\0\7" + (record.value or b"")) for record in records()]
    (found,) = problems(facts(newest={TP: registered}))
    assert found.endswith("values begin with a zero byte, as formats of a schema registry do, which are not read yet")


def test_times_in_another_unit_are_a_warning() -> None:
    (found,) = [t for t in warnings(facts(newest={TP: records(timestamp_ms=NOW // 1000)})) if "sample:" in t]
    assert found.startswith(
        "sample: record timestamps: all 100 are before the year 2000; set input.timestamp.field and unit"
    )
    (found,) = [t for t in warnings(facts(newest={TP: records(timestamp_ms=NOW + 400 * DAY)})) if "sample:" in t]
    assert "all 100 are more than an hour in the future" in found


def test_times_of_a_wrong_clock_are_a_warning() -> None:
    wrong = [r._replace(offset=100 + r.offset) for r in records(3, timestamp_ms=NOW + 366 * DAY)]
    (found,) = warnings(facts(newest={TP: records() + wrong}))
    assert "3 of 103 (2.9 %) are more than an hour in the future; mend the clocks that gave them" in found


def test_a_key_of_single_events_is_a_warning() -> None:
    each = [record._replace(key=b"%d" % record.offset) for record in records()]
    (found,) = warnings(facts(newest={TP: each}))
    assert "100 streams in 100 records: nearly every record is a stream of its own" in found


def test_more_streams_than_are_remembered_are_a_warning() -> None:
    three = [record._replace(key=b"%d" % (record.offset % 3)) for record in records()]
    (found,) = warnings(facts(newest={TP: three}), streams="{max_streams: 2}")
    assert "3 streams in 100 records, streams.max_streams is 2" in found


def test_a_record_that_is_both_next_and_among_the_newest_counts_once() -> None:
    assert len(facts(next={TP: records(10)}).sample()) == 100
