"""A file is the old one or the whole new one, whatever happens while it is written."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from streamrnn.system.writing import (
    AS_USUAL,
    PRIVATE,
    create,
    make_directories,
    make_directory,
    open_or_create,
    write_atomically,
)


def test_an_interrupted_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old", mode=PRIVATE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new", mode=PRIVATE)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def modes(directory: Path) -> dict[str, str]:
    return {path.name: f"{path.stat().st_mode & 0o777:o}" for path in sorted(directory.rglob("*"))}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize(
    ("mode", "file", "directory"), [(PRIVATE, "600", "700"), (0o640, "640", "750"), (0o660, "660", "770")]
)
def test_files_and_directories_have_the_mode_that_is_asked_for_whatever_the_umask_says(
    tmp_path: Path, umask: int, mode: int, file: str, directory: str
) -> None:
    before = os.umask(umask)
    try:
        make_directories(tmp_path / "a" / "b", mode)
        write_atomically(tmp_path / "a" / "b" / "c", b"", mode=mode)
        os.close(open_or_create(tmp_path / "d", mode))
    finally:
        os.umask(before)
    assert modes(tmp_path) == {"a": directory, "b": directory, "c": file, "d": file}


def test_a_file_that_a_person_asked_for_is_made_as_their_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", b"", mode=AS_USUAL)
    finally:
        os.umask(before)
    assert modes(tmp_path) == {"a": "640"}


def test_nobody_can_read_a_file_of_state_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("os.fsync", lambda descriptor: seen.append(os.fstat(descriptor).st_mode & 0o777))
    before = os.umask(0)
    try:
        write_atomically(tmp_path / "a", b"secret", mode=PRIVATE, durable_name=False)
    finally:
        os.umask(before)
    assert seen == [0o600]


def test_what_is_there_keeps_its_mode_and_is_not_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    make_directory(tmp_path / "there", PRIVATE)
    (tmp_path / "file").touch(mode=0o644)
    os.close(open_or_create(tmp_path / "file", PRIVATE))
    assert modes(tmp_path) == {"file": "644", "there": "755"}
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for opened in (create, open_or_create):
        with pytest.raises(OSError, match="link"):
            opened(tmp_path / "link", PRIVATE)
    assert not (tmp_path / "elsewhere").exists()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is a pipe, expected a regular file"):
        open_or_create(tmp_path / "pipe", PRIVATE)


@pytest.mark.parametrize("umask", [0o277, 0o777])
def test_the_owner_can_read_what_is_made_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        make_directories(tmp_path / "a" / "b", PRIVATE)
        write_atomically(tmp_path / "a" / "b" / "file", b"x", mode=PRIVATE)
    finally:
        os.umask(before)
    assert modes(tmp_path) == {"a": "700", "b": "700", "file": "600"}


def test_a_group_that_a_directory_hands_down_is_handed_on(tmp_path: Path) -> None:
    tmp_path.chmod(0o2770)
    make_directories(tmp_path / "a" / "b", 0o660)
    for directory in (tmp_path / "a", tmp_path / "a" / "b"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o2770


def as_user(uid: int, group: int, do: Callable[[], object]) -> int:
    """The exit code of a child that does something as another user."""
    if (child := os.fork()) == 0:
        code = 1
        try:
            os.setgroups([group])
            os.setgid(uid)
            os.setuid(uid)
            os.umask(0o022)
            do()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_two_users_of_a_group_write_into_one_directory(tmp_path: Path) -> None:
    group = 4242 if os.geteuid() == 0 else os.getegid()
    os.chown(tmp_path, -1, group)
    tmp_path.chmod(0o2770)
    at = tmp_path / "job" / "in-0"

    def write(data: bytes) -> None:
        make_directories(at, 0o660)
        write_atomically(at / "file", data, mode=0o660)
        (at / "file").read_bytes()

    if os.geteuid() == 0:
        above = [path for path in tmp_path.parents if not path.stat().st_mode & stat.S_IXOTH]
        for path in above:  # pytest's own directories are for one user
            path.chmod(path.stat().st_mode | stat.S_IXOTH)
        try:
            assert as_user(10001, group, lambda: write(b"one")) == 0
            assert as_user(10002, group, lambda: write(b"other")) == 0
        finally:
            for path in above:
                path.chmod(path.stat().st_mode & ~stat.S_IXOTH)
        assert (at / "file").stat().st_uid == 10002
    else:
        write(b"other")
    assert (at / "file").read_bytes() == b"other"
    found = {
        path.name: (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) for path in (at.parent, at, at / "file")
    }
    assert found == {"job": (group, 0o2770), "in-0": (group, 0o2770), "file": (group, 0o660)}
