"""The embedded log's files may be anything and hold anything: then the broker's documented error says so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamrnn.broker import partition_file
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import Commit, TopicPartition
from streamrnn.errors import BrokerError, UndeliveredError

TP = TopicPartition("t", 0)


@pytest.fixture
def log(tmp_path: Path) -> EmbeddedLog:
    log = EmbeddedLog(tmp_path / "log")
    log.create_topic("t")
    log.append("t", b"k", b"v", timestamp_ms=0)
    log.flush()
    log.store_commits("g", {TP: Commit(1)})
    os.close(log.lock_group("g"))
    return log


@pytest.mark.parametrize(("mode", "file", "directory"), [(0o600, 0o600, 0o700), (0o660, 0o660, 0o770)])
def test_the_log_is_for_its_owner_alone_unless_more_is_asked_for(
    tmp_path: Path, mode: int, file: int, directory: int
) -> None:
    before = os.umask(0o022)
    try:
        log = EmbeddedLog(tmp_path / "log", mode=mode)
        log.create_topic("t")
        log.store_commits("g", {TP: Commit(1)})
        os.close(log.lock_group("g"))
    finally:
        os.umask(before)
    found = [tmp_path / "log", *(tmp_path / "log").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in found if path.is_dir()} == {directory}
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {file}
    assert len(found) == 7


COMMITS = [
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b'{"t": {"0": ["x"]}}',
    b'{"t": {"x": [1, ""]}}',
    b'{"t": {"' + b"9" * 5_000 + b'": [1, ""]}}',
    b'{"t": {"0": [-1, ""]}}',
    b'{"t": {"0": [' + b"9" * 400 + b', ""]}}',
    b'{"t": {"0": [1, "\xff"]}}',
    b"",
]


@pytest.mark.parametrize("data", COMMITS, ids=range(len(COMMITS)))
def test_a_file_of_commits_that_is_none_is_told(log: EmbeddedLog, data: bytes) -> None:
    (log.directory / "groups" / "g.json").write_bytes(data)
    with pytest.raises(BrokerError, match=r"g\.json: not a commit file .*restore it or remove it"):
        log.commits("g")


LINES = [
    b'{"offset":' + b"9" * 400 + b"}\n",
    b'{"offset":' + str(2**63).encode() + b"}\n",
    b'{"offset":-1}\n',
    b'{"offset":0,"timestamp_ms":' + b"9" * 30 + b"}\n",
    b'{"offset":0,"x":' + b"[" * 200_000 + b"\n",
    b'{"offset":0,"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}\n",
    b'{"offset":0,"key_base64":"x"}\n',
    b'{"offset":0,"value":"\\ud800"}\n',
    b'{"offset":0,"headers":[["a","x"]]}\n',
]


@pytest.mark.parametrize("data", LINES, ids=range(len(LINES)))
def test_a_line_that_is_no_record_is_told(log: EmbeddedLog, data: bytes) -> None:
    (log.directory / "topics" / "t" / "0.jsonl").write_bytes(data)
    with pytest.raises(BrokerError, match=r"0\.jsonl: .*(is not a record|is not one that was written)"):
        list(log.read("t", 0))


def test_a_line_without_an_end_is_given_up(log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_file, "LONGEST_LINE", 1 << 21)
    path = log.directory / "topics" / "t" / "0.jsonl"
    os.truncate(path, 1 << 40)
    with pytest.raises(BrokerError, match=r"0\.jsonl: holds a line of more than 2097152 bytes"):
        log.log_end(TP)
    path.write_bytes(b"")
    os.truncate(path, 1 << 40)
    with pytest.raises(BrokerError, match=r"0\.jsonl: holds a line of more than 2097152 bytes"):
        log.log_start(TP)


def test_what_is_no_file_is_neither_waited_for_nor_followed(log: EmbeddedLog) -> None:
    log.close()
    outside = log.directory.parent / "outside"
    outside.write_bytes(b"untouched\n")
    paths = [log.directory / "topics" / "t" / "0.jsonl", log.directory / "groups" / "g.json"]
    for path in (*paths, log.directory / "groups" / "g.lock"):
        path.unlink()
        path.symlink_to(outside)
    for ask in (lambda: list(log.read("t", 0)), lambda: log.commits("g"), lambda: log.lock_group("g")):
        with pytest.raises(BrokerError, match="is a link, expected a regular file"):
            ask()
    log.append("t", b"k", b"v", timestamp_ms=0)
    with pytest.raises(UndeliveredError, match="is a link"):
        log.flush()
    assert outside.read_bytes() == b"untouched\n"
    for path in paths:
        path.unlink()
        os.mkfifo(path)
    for ask in (lambda: list(log.read("t", 0)), lambda: log.commits("g")):
        with pytest.raises(BrokerError, match="is a pipe, expected a regular file"):
            ask()


def test_a_file_beside_the_partitions_is_none_of_them(log: EmbeddedLog) -> None:
    for name in ("x.jsonl", "-1.jsonl", "9999999999.jsonl", "\u0663.jsonl"):
        (log.directory / "topics" / "t" / name).touch()
    assert log.partitions("t") == [0]
