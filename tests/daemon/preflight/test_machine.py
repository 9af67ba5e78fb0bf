"""What the preflight says of the machine on which it runs."""

from __future__ import annotations

import os
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest
from msgspec.structs import replace

from streamrnn.core import object_file
from streamrnn.daemon.pace import MOST_BYTES
from streamrnn.daemon.preflight import machine as checked
from streamrnn.daemon.preflight.findings import Finding, Kind
from streamrnn.job.config import Config, EmbeddedConfig
from streamrnn.job.http_config import HttpConfig
from streamrnn.job.job_file import parse
from streamrnn.learner.lowering import bytes_per_stream
from streamrnn.learner.room import INDEX_BYTES
from tests.support import certificates, jobs

Usage = namedtuple("Usage", "total used free")


def config(directory: Path, **sections: str) -> Config:
    return parse(jobs.yaml(checkpoint=f"{{directory: {directory}}}", **sections), {})


def kinds(found: list[Finding]) -> list[Kind]:
    return [finding.kind for finding in found]


def refuse(monkeypatch: pytest.MonkeyPatch, refused: Path) -> None:
    """Have this path and what is below it refuse writing: tests may run as a user whom nothing refuses."""
    access = os.access

    def asked(path: str | Path, mode: int) -> bool:
        return not (mode & os.W_OK and refused in (Path(path), *Path(path).parents)) and access(path, mode)

    monkeypatch.setattr(os, "access", asked)


def test_a_directory_that_is_there_or_can_be_made_is_fine(tmp_path: Path) -> None:
    assert kinds(list(checked.writable("x", tmp_path))) == [Kind.FINE]
    (found,) = checked.writable("x", tmp_path / "a" / "b")
    assert found == (Kind.FINE, f"x: {tmp_path / 'a' / 'b'} is not there yet and can be made")
    assert not (tmp_path / "a").exists()


def test_a_directory_below_a_file_or_without_rights_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    (found,) = checked.writable("x", tmp_path / "file" / "a")
    assert found == (Kind.PROBLEM, f"x: {tmp_path / 'file'} is a file, expected a directory")
    refuse(monkeypatch, tmp_path)
    (found,) = checked.writable("x", tmp_path / "a")
    assert found.kind is Kind.PROBLEM
    assert f"{tmp_path} may not be written by this user" in found.text


def test_folders_of_checkpoints_that_another_user_made_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for partition in range(2):
        (tmp_path / "delays" / f"departures-{partition}").mkdir(parents=True)
    assert list(checked.owned(tmp_path / "delays")) == []
    refuse(monkeypatch, tmp_path / "delays" / "departures-1")
    (found,) = checked.owned(tmp_path / "delays")
    assert found.kind is Kind.PROBLEM
    assert "departures-1 holds checkpoints of this job and may not be read and written" in found.text


@pytest.mark.parametrize(("free", "kind"), [(100_000, Kind.PROBLEM), (300_000_000, Kind.WARNING), (10**12, Kind.FINE)])
def test_space_is_compared_with_what_full_learners_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, kind: Kind
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, free))
    assert kinds(list(checked.space(config(tmp_path), 4))) == [kind]


@pytest.mark.parametrize(
    ("limit", "kind"), [(100_000_000, Kind.PROBLEM), (1_000_000_000, Kind.WARNING), (10**12, Kind.FINE)]
)
def test_memory_is_compared_with_what_full_learners_and_the_longest_names_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, kind: Kind
) -> None:
    monkeypatch.setattr(checked, "memory_limit", lambda: limit)
    job = config(tmp_path)
    (found,) = checked.memory(job, 4)
    assert found.kind is kind
    if kind is not Kind.PROBLEM:
        slot = bytes_per_stream(job.learner_spec()) + INDEX_BYTES
        each, copying = slot + 1024, (100_000 + 4 * 4096) * slot  # every stream once, and segments on their way
        assert f"{(4 * 100_000 * each + copying + (100 << 20)) / 1e9:.1f} GB" in found.text
        assert "(105 MB of it to read records" in found.text
        assert f"{copying / 1e6:.3g} MB of it for a checkpoint" in found.text
    (little,) = checked.memory(config(tmp_path, streams="{max_bytes: 20000000}"), 4)
    assert little.kind is (Kind.WARNING if limit < 4 * 20_000_000 + (100 << 20) else Kind.FINE)


@pytest.mark.parametrize(("longest", "reading"), [(1, 100), (2, 104), (64, 352)])
def test_memory_counts_what_records_take_while_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int, reading: int
) -> None:
    given = config(tmp_path, streams="{max_bytes: 20000000}")
    job = replace(given, input=replace(given.input, max_record_bytes=longest << 20))
    full = 3 * 20_000_000  # once more each, put aside and on its way to the disk
    for short, kind in ((0, Kind.FINE), (1, Kind.WARNING)):
        monkeypatch.setattr(checked, "memory_limit", lambda short=short: full + (reading << 20) - short)
        assert kinds(list(checked.memory(job, 1))) == [kind]
    embedded = replace(job, kafka=None, embedded=EmbeddedConfig(directory=str(tmp_path / "log")))
    assert kinds(list(checked.memory(embedded, 1))) == [Kind.FINE]


def test_memory_counts_the_units_of_texts_that_are_learned_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "memory_limit", lambda: 10**15)
    (found,) = checked.memory(jobs.text_job(), 1)
    assert found.kind is Kind.FINE
    assert f"({100 * MOST_BYTES / 1e6:.3g} MB of it to read records and learn their texts" in found.text


def test_memory_is_what_the_smallest_control_group_around_the_process_allows(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    group = tmp_path / "sys/fs/cgroup/a/b"
    group.mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/a/b\n")
    (group / "memory.max").write_text("max\n")
    machine = checked.memory_limit(tmp_path)
    assert machine == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    (group.parent / "memory.max").write_text("1000\n")
    assert checked.memory_limit(tmp_path) == 1000
    (tmp_path / "proc/self/cgroup").write_text("9:cpu,memory:/x\n8:memory:/docker/1\n")
    (tmp_path / "sys/fs/cgroup/memory").mkdir()
    (tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text("700\n")
    assert checked.memory_limit(tmp_path) == 700


def test_a_port_in_use_is_a_warning() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (found,) = checked.port(HttpConfig(port=port))
        assert found.kind is Kind.WARNING
        assert f"http: 127.0.0.1:{port} cannot be opened on this machine now" in found.text
    assert kinds(list(checked.port(HttpConfig(port=port)))) == [Kind.FINE]


def test_a_certificate_that_cannot_be_used_is_a_problem(tmp_path: Path) -> None:
    assert list(checked.certificate(HttpConfig())) == []
    pair, other = certificates.make(tmp_path), certificates.make(tmp_path, "other")
    used = HttpConfig(certfile=str(pair.certfile), keyfile=str(pair.keyfile))
    assert kinds(list(checked.certificate(used))) == [Kind.FINE]
    (found,) = checked.certificate(HttpConfig(certfile=str(pair.certfile), keyfile=str(other.keyfile)))
    assert found.kind is Kind.PROBLEM
    assert "does not hold the key of" in found.text


def test_kernels_that_are_not_compiled_are_a_warning_and_without_a_place_for_them_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_file, "find", lambda *_: None)
    monkeypatch.setattr("streamrnn.core.compiled.JIT_DISABLED", False)
    monkeypatch.setenv("STREAMRNN_CACHE_DIR", str(tmp_path / "cache"))
    found = list(checked.kernels(config(tmp_path)))
    assert kinds(found) == [Kind.WARNING, Kind.WARNING]
    assert ["float32" in found[0].text, "wire" in found[1].text] == [True, True]
    assert all("run `streamrnn warmup` before" in each.text for each in found)
    refuse(monkeypatch, tmp_path)
    found = list(checked.kernels(config(tmp_path)))
    assert kinds(found) == [Kind.PROBLEM, Kind.PROBLEM]
    assert all("STREAMRNN_CACHE_DIR" in each.text for each in found)
