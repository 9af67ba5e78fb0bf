"""Regular files only, of a size that was asked for; links only where a person named the file."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from streamrnn.system import memory, reading
from streamrnn.system.reading import UnusableFileError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    return path


def test_a_file_is_read_up_to_the_bound_and_not_beyond(file: Path) -> None:
    assert reading.read(file, 5) == b"12345"
    with pytest.raises(UnusableFileError, match=rf"^{file} is a file of 5 bytes, expected at most 4$"):
        reading.read(file, 4)
    file.write_bytes(b"")
    assert reading.read(file, 0) == b""


def test_a_file_of_the_system_s_that_says_it_is_empty_is_bounded_all_the_same() -> None:
    path = Path("/proc/self/maps")
    assert path.stat().st_size == 0
    assert len(reading.read(path, 1 << 24)) > 4096
    with pytest.raises(UnusableFileError, match="of unknown size, expected at most 4096 bytes"):
        reading.read(path, 4096)


def test_a_link_is_followed_where_a_person_named_the_file_and_nowhere_else(file: Path) -> None:
    """As Kubernetes mounts a ConfigMap: the file is a link through another link to a directory."""
    versions = file.parent / "..2025"
    versions.mkdir()
    (versions / "job.yaml").write_text("job: x")
    (file.parent / "..data").symlink_to(versions.name)
    named = file.parent / "job.yaml"
    named.symlink_to("..data/job.yaml")
    assert reading.read(named, 100, links=True) == b"job: x"
    with reading.open_stream(named, links=True) as stream:
        assert stream.read() == b"job: x"
    for refused in (lambda: reading.read(named, 100), lambda: reading.read_below(file.parent, "job.yaml", 100)):
        with pytest.raises(UnusableFileError, match=r"job.yaml is a link, expected a regular file"):
            refused()
    with pytest.raises(UnusableFileError, match=r"..data is a link, expected a directory"):
        reading.read_below(file.parent, "..data/job.yaml", 100)


@pytest.mark.parametrize("links", [False, True])
def test_nothing_but_a_regular_file_is_read_or_waited_for(tmp_path: Path, links: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, kind in ((tmp_path / "pipe", "a pipe"), (tmp_path, "a directory"), (Path("/dev/zero"), "a device")):
        with pytest.raises(UnusableFileError, match=f"{path} is {kind}, expected a regular file"):
            reading.read(path, 100, links=links)
    (tmp_path / "link").symlink_to("/dev/zero")
    with pytest.raises(UnusableFileError, match=r"is a (link|device), expected a regular file"):
        reading.read(tmp_path / "link", 100, links=links)
    with pytest.raises(UnusableFileError, match="is a pipe"):
        reading.open_file(tmp_path / "pipe", writable=True)


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_no_descriptor_is_left_open_by_what_is_refused(file: Path) -> None:
    os.mkfifo(file.parent / "pipe")
    (file.parent / "folder").mkdir()
    before = descriptors()
    for name in ("pipe", "folder", "file/x", "nothing", "nothing/x", "folder/x"):
        with pytest.raises(OSError, match=name.partition("/")[0]):
            reading.read_below(file.parent, name, 100)
        with pytest.raises(OSError, match=name.partition("/")[0]):
            reading.read(file.parent / name, 100, links=True)
    with pytest.raises(UnusableFileError):
        reading.read(file, 1)
    assert descriptors() == before


def test_what_does_not_exist_is_told_as_ever(tmp_path: Path) -> None:
    for missing in (lambda: reading.read(tmp_path / "x", 1), lambda: reading.read_below(tmp_path / "x", "y", 1)):
        with pytest.raises(FileNotFoundError):
            missing()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        reading.read_below(tmp_path, "file/x", 1)


def test_a_file_of_several_pieces_is_in_memory_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes(range(256)) * (1 << 15)
    (tmp_path / "large").write_bytes(data)
    monkeypatch.setattr(reading, "_PIECE", 1 << 20)
    tracemalloc.start()
    try:
        found = reading.read(tmp_path / "large", len(data))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == data
    assert len(data) <= peak < 1.2 * len(data)


def test_how_much_fits_is_half_of_what_the_process_may_have() -> None:
    assert (
        memory.memory_limit() == 2 * memory.AS_MUCH_AS_FITS or memory.memory_limit() == 2 * memory.AS_MUCH_AS_FITS + 1
    )
