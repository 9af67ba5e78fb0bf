"""What the log of files adds to the broker contract: crashes, neighbours, gaps, bytes and names of every kind."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import tempfile
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrnn.broker.embedded import EmbeddedBroker
from streamrnn.broker.embedded_log import SPILL_RECORDS, EmbeddedLog, partition_of
from streamrnn.broker.partition_file import READ_BYTES
from streamrnn.broker.protocol import Commit, TopicPartition
from streamrnn.errors import BrokerError, ConfigError
from tests.support.rebalancing import append_gap, delete_before, fill

TP = TopicPartition("t", 0)


def offsets(log: EmbeddedLog, start: int | None = None) -> list[int]:
    return [record.offset for record in log.read("t", 0, start)]


def path_of(log: EmbeddedLog) -> Path:
    return log.directory / "topics" / "t" / "0.jsonl"


texts = st.one_of(st.none(), st.binary(max_size=40), st.text(max_size=40).map(str.encode))


@settings(deadline=None, max_examples=100)
@given(records=st.lists(st.tuples(texts, texts, st.integers(0, 2**60)), max_size=30), cut=st.integers(1, 7))
def test_any_bytes_round_trip_however_they_are_polled(
    records: list[tuple[bytes | None, bytes | None, int]], cut: int
) -> None:
    with tempfile.TemporaryDirectory() as directory, EmbeddedLog(directory) as log:
        log.create_topic("t")
        for key, value, timestamp_ms in records:
            log.append("t", key, value, timestamp_ms=timestamp_ms)
        log.flush()
        reader = log.reader(TP, 0)
        read = []
        while polled := reader.next_records(cut):
            assert len(polled) <= cut
            read += polled
        reader.file.close()
        assert [(r.key, r.value, r.timestamp_ms) for r in read] == records
        assert [r.offset for r in read] == list(range(len(records)))


def test_lines_are_readable_json_with_base64_only_where_needed(log: EmbeddedLog) -> None:
    log.append("t", b"N14228", b'{"delay":2}', timestamp_ms=5)
    log.append("t", None, b"\xff", timestamp_ms=6, headers=[("reason", b"\xfe")])
    log.flush()
    assert [json.loads(line) for line in path_of(log).read_text().splitlines()] == [
        {"offset": 0, "timestamp_ms": 5, "key": "N14228", "value": '{"delay":2}'},
        {"offset": 1, "timestamp_ms": 6, "value_base64": "/w==", "headers": [["reason", "/g=="]]},
    ]


@pytest.mark.parametrize(
    "torn",
    [
        b'{"offset":3,"times',
        b'{"offset":3,"timestamp_ms":1,"value":"x"}',
        b'{"offset":3,"value":"' + b"longer than what the next writer appends" * 100,
        b"\x00\x00\xff",
        b"{",
    ],
)
def test_a_torn_last_line_is_unseen_by_readers_and_cut_by_the_next_writer(log: EmbeddedLog, torn: bytes) -> None:
    fill(log, 3)
    log.close()
    with path_of(log).open("ab") as file:
        file.write(torn)
    after = EmbeddedLog(log.directory)
    assert offsets(after) == [0, 1, 2]
    assert after.log_end(TP) == 3
    assert path_of(log).read_bytes().endswith(torn)  # reading changes nothing
    fill(after, 2)
    assert offsets(after) == [0, 1, 2, 3, 4]
    assert [json.loads(line)["offset"] for line in path_of(log).read_text().splitlines()] == [0, 1, 2, 3, 4]


def test_a_file_holding_only_a_torn_line_is_empty(log: EmbeddedLog) -> None:
    path_of(log).write_bytes(b'{"offset":0,"timest')
    assert (log.log_start(TP), log.log_end(TP), offsets(log)) == (0, 0, [])
    fill(log, 1)
    assert offsets(log) == [0]


def test_a_reader_standing_in_a_torn_line_reads_what_replaces_it(log: EmbeddedLog) -> None:
    fill(log, 2)
    with path_of(log).open("ab") as file:
        file.write(b'{"offset":2,"timestamp_ms":0,"key":"gone')
    reader = log.reader(TP, 0)
    assert len(reader.next_records(10) or ()) == 2
    assert reader.next_records(10) is None
    log.append("t", b"kept", b"v")
    log.flush()
    assert [r.key for r in reader.next_records(10) or ()] == [b"kept"]


def test_a_line_that_is_no_record_names_the_file(log: EmbeddedLog) -> None:
    fill(log, 2)
    with path_of(log).open("ab") as file:
        file.write(b"not a record\n")
    with pytest.raises(BrokerError, match=r"0\.jsonl.*not a record"):
        offsets(log)


def test_every_offset_is_found_by_seeking(log: EmbeddedLog) -> None:
    for i in range(400):
        log.append("t", b"k", b"x" * (i * 37 % 900), timestamp_ms=i)
    append_gap(log, "t", 0, 5)
    fill(log, 20)
    for start in range(426):
        found = offsets(log, start)
        assert found == [o for o in [*range(400), *range(405, 425)] if o >= start]
    for outside in (-1, 426):
        with pytest.raises(BrokerError, match="not in the log; expected 0 to 425"):
            offsets(log, outside)


def test_lines_longer_than_the_read_buffer_are_read(log: EmbeddedLog) -> None:
    values = [b"a" * (3 * READ_BYTES), b"small", b"b" * (READ_BYTES - 50), b"c" * READ_BYTES]
    for value in values:
        log.append("t", b"k", value)
    log.flush()
    assert [r.value for r in log.read("t", 0)] == values


def test_deleting_moves_the_log_start_and_the_writer_goes_on(log: EmbeddedLog) -> None:
    fill(log, 10)
    delete_before(log, TP, 4)
    assert (log.log_start(TP), log.log_end(TP), offsets(log)) == (4, 10, [4, 5, 6, 7, 8, 9])
    delete_before(log, TP, 99)
    assert (log.log_start(TP), log.log_end(TP), offsets(log)) == (10, 10, [])
    fill(log, 1)
    assert offsets(log) == [10]
    with pytest.raises(BrokerError, match="offset 3 of t/0 is not in the log"):
        offsets(log, 3)


def test_unflushed_records_are_not_there_and_long_batches_spill(log: EmbeddedLog) -> None:
    log.append("t", b"k", b"v")
    assert (offsets(log), log.unflushed()) == ([], 1)
    for _ in range(SPILL_RECORDS):
        log.append("t", b"k", b"v")
    assert log.unflushed() == 1
    log.flush()
    assert (log.log_end(TP), log.unflushed()) == (SPILL_RECORDS + 1, 0)


def test_a_failed_flush_names_how_many_records_are_missing(log: EmbeddedLog) -> None:
    log.append("t", b"k", b"v")
    log.append("t", b"k", b"v")
    path_of(log).unlink()
    with pytest.raises(BrokerError, match="2 records were not written"):
        log.flush()
    assert log.unflushed() == 0


def _append_many(directory: str, name: str, count: int) -> None:
    with EmbeddedLog(directory) as log:
        for i in range(count):
            log.append("t", name.encode(), str(i).encode())
            if i % 10 == 9:
                log.flush()


def test_a_reader_and_two_writing_processes_share_a_partition(log: EmbeddedLog) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_append_many, args=(str(log.directory), name, 500)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    reader = log.reader(TP, 0)
    read = []
    deadline = time.monotonic() + 60
    while len(read) < 1000 and time.monotonic() < deadline:
        read += reader.next_records(64) or ()
    for writer in writers:
        writer.join(10)
        assert writer.exitcode == 0
    assert [r.offset for r in read] == list(range(1000))
    for name in (b"a", b"b"):  # each writer's own order is kept
        assert [r.value for r in read if r.key == name] == [str(i).encode() for i in range(500)]


def test_a_writer_waits_for_the_one_writing_now(log: EmbeddedLog) -> None:
    log.append("t", b"k", b"v")
    writer = threading.Thread(target=log.flush)
    with path_of(log).open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        held.write(b'{"offset":0,"timestamp_ms":1,"value":"first"}\n')
    writer.join(10)
    assert [(r.offset, r.value) for r in log.read("t", 0)] == [(0, b"first"), (1, b"v")]


def test_a_broken_commit_file_is_named_and_a_crashed_rewrite_leaves_the_old_one(log: EmbeddedLog) -> None:
    log.store_commits("g", {TP: Commit(5, "five")})
    path = log.directory / "groups" / "g.json"
    path.with_suffix(".tmp.1").write_bytes(b'{"t":{"0":[9')
    assert log.commits("g") == {TP: Commit(5, "five")}
    path.write_bytes(b'{"t":{"0":[9')
    with pytest.raises(BrokerError, match=r"g\.json: not a commit file"):
        log.commits("g")


def test_creating_a_topic_again_keeps_it_and_another_size_is_refused(log: EmbeddedLog) -> None:
    fill(log, 1)
    log.create_topic("t", 1)
    assert (log.topics(), offsets(log)) == (["t"], [0])
    with pytest.raises(BrokerError, match="has 1 partitions, not 2"):
        log.create_topic("t", 2)
    with pytest.raises(ConfigError, match="expected at least 1"):
        log.create_topic("u", 0)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "sp ace", "x" * 250])
def test_names_that_could_leave_the_directory_are_refused(log: EmbeddedLog, name: str) -> None:
    with pytest.raises(ConfigError, match="is not a name"):
        log.create_topic(name)
    with pytest.raises(ConfigError, match="is not a name"):
        EmbeddedBroker(log, name)


def test_unknown_topics_and_partitions_say_what_there_is(log: EmbeddedLog) -> None:
    with pytest.raises(BrokerError, match=r"topic u does not exist.*\['t'\]"):
        log.append("u", None, b"v")
    with pytest.raises(BrokerError, match="t/1 does not exist; topic t has partitions 0 to 0"):
        log.append("t", None, b"v", partition=1)


def test_keys_spread_over_partitions_by_crc32() -> None:
    assert partition_of(b"123456789", 2**32) == 0xCBF43926  # the published check value of CRC-32
    counts = [0] * 4
    for i in range(4000):
        counts[partition_of(f"key-{i}".encode(), 4)] += 1
    assert min(counts) > 800


def test_records_without_a_key_take_turns(tmp_path: Path) -> None:
    with EmbeddedLog(tmp_path) as log:
        log.create_topic("t", 3)
        for _ in range(9):
            log.append("t", None, b"v")
        log.flush()
        assert [log.log_end(TopicPartition("t", p)) for p in range(3)] == [3, 3, 3]


def test_fsync_is_asked_for_only_when_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for fsync, expected in ((False, 0), (True, 2)):
        with EmbeddedLog(tmp_path / str(fsync), fsync=fsync) as log:
            log.create_topic("t")
            fill(log, 3)
            log.store_commits("g", {TP: Commit(1)})
        assert len(synced) == expected


def test_a_group_is_forgotten_with_its_commits_but_not_while_it_has_a_member(log: EmbeddedLog) -> None:
    for group in ("g", "other"):
        log.store_commits(group, {TP: Commit(1)})
    broker = EmbeddedBroker(log, "g")
    broker.subscribe("t")
    with pytest.raises(BrokerError, match=f"group g of .* by process {os.getpid()} already"):
        log.delete_group("g")
    assert log.commits("g") == {TP: Commit(1)}
    broker.close(1.0)
    log.delete_group("g")
    assert log.commits("g") == {}
    assert log.commits("other") == {TP: Commit(1)}
    assert [path.name for path in (log.directory / "groups").iterdir()] == ["other.json"]
    log.delete_group("g")  # one that is not there is none to forget
    with pytest.raises(ConfigError, match="is not a name"):
        log.delete_group("../topics")


def test_an_empty_log_can_be_removed_and_one_with_anything_in_it_stays(log: EmbeddedLog) -> None:
    log.remove_if_empty()
    assert log.partitions("t") == [0]
    log.delete_topic("t")
    (log.directory / "note").touch()
    log.remove_if_empty()
    assert [path.name for path in log.directory.iterdir()] == ["note"]
    (log.directory / "note").unlink()
    log.remove_if_empty()
    assert not log.directory.exists()
