"""The kernels' file is named by what produced it, found without a right to write, and written whole."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from streamrnn.core import object_file
from streamrnn.core.kinds import FAMILIES
from streamrnn.core.object_file import ObjectFile
from streamrnn.errors import StreamrnnError
from streamrnn.system import trusted

CODE = ObjectFile(b"\x7fELF\nand\x00so on", {"numba": "0.61"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of this machine's own is looked at."""
    monkeypatch.setattr(object_file, "SHIPPED", tmp_path / "objects")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("STREAMRNN_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    object_file.write(path, CODE)
    return path


def test_what_was_written_is_read_and_nothing_is_left_beside_it(home: Path) -> None:
    path = put(home / "a" / "kernels")
    assert object_file.read(path) == CODE
    assert [file.name for file in path.parent.iterdir()] == ["kernels"]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_user_s_cache_is_for_the_user_and_one_that_is_named_for_all_to_read(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image's cache is written by root and read by whoever runs."""
    before = os.umask(0)
    try:
        for given, expected in ((None, (0o700, 0o600)), (str(home / "given"), (0o755, 0o644))):
            if given is not None:
                monkeypatch.setenv("STREAMRNN_CACHE_DIR", given)
            directory = object_file.writable_directory()
            assert directory is not None
            path = put(directory / object_file.cached_name("float32"))
            assert (mode(directory.parent), mode(directory), mode(path)) == (expected[0], *expected)
            assert object_file.find("float32") == path
    finally:
        os.umask(before)


def test_a_write_that_fails_leaves_what_was_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(home / "kernels")
    monkeypatch.setattr(os, "fsync", lambda descriptor: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        object_file.write(path, CODE._replace(data=b"other"))
    assert object_file.read(path) == CODE
    assert list(home.glob(".kernels*")) == []


def test_the_name_depends_on_precision_sources_target_and_versions_and_on_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {object_file.name("float32"), object_file.name("float64"), object_file.name("float32", "0.61")}
    monkeypatch.setattr(object_file, "source_digest", lambda _family: "0" * 12)
    names.add(object_file.name("float32"))
    monkeypatch.setattr(object_file, "cpu_features", lambda: "+avx512f")
    names.add(object_file.name("float32"))
    monkeypatch.setattr(object_file, "cpu_target", lambda: "znver4")
    names.add(object_file.name("float32"))
    assert len(names) == 6
    assert object_file.name("float32").startswith("float32-znver4-")


def test_every_family_has_its_sources_and_what_reads_bytes_does_not_depend_on_a_network_s() -> None:
    """Who changes a cell compiles the networks' kernels anew, and not those."""
    assert set(object_file.SOURCES) == set(FAMILIES)
    assert len({object_file.source_digest(family) for family in FAMILIES}) == len(FAMILIES)
    script = (
        "from streamrnn.core import jit; jit.use_numba(); import sys, streamrnn.core.wire.handle; print(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", script], text=True).split()
    used = {name.removeprefix("streamrnn.core.") for name in loaded if name.startswith("streamrnn.core.")}
    files = {f"{name.replace('.', '/')}.py" for name in used - {"wire"}} | {
        "emit.py",
        "numba_tables.py",
        "wire/__init__.py",
    }
    core = Path(object_file.__file__).parent
    counted = {str(path.relative_to(core)) for pattern in object_file.SOURCES["wire"] for path in core.glob(pattern)}
    assert files - object_file.WITHOUT_CODE <= counted


def test_a_file_that_came_with_the_package_is_found_first_and_whatever_numba_is_installed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = put(home / "home" / ".cache" / "streamrnn" / object_file.cached_name("float32"))
    assert object_file.find("float32") == cached
    shipped = put(home / "objects" / object_file.name("float32"))
    monkeypatch.setattr(object_file, "cached_name", lambda *_: 1 / 0)
    assert object_file.find("float32") == shipped


def test_an_explicit_directory_is_used_instead_of_all_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home / "home" / ".cache" / "streamrnn" / object_file.cached_name("float32"))
    monkeypatch.setenv("STREAMRNN_CACHE_DIR", str(home / "given"))
    assert object_file.find("float32") is None
    assert object_file.writable_directory() == home / "given" / "streamrnn"


def test_without_a_home_nothing_is_looked_for_among_the_temporary_files(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is first could put something under a name that can be guessed."""

    def nowhere(_path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nowhere)
    put(home / f"streamrnn-{os.getuid()}" / object_file.cached_name("float32"))
    assert object_file.find("float32") is None
    assert object_file.writable_directory() is None


def test_a_machine_where_nothing_can_be_read_or_written_has_no_kernels_and_no_place_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    monkeypatch.setenv("HOME", "/proc/nowhere")
    assert object_file.find("float32") is None
    assert object_file.writable_directory() is None


@pytest.mark.parametrize("named", [False, True], ids=["the user's", "named"])
@pytest.mark.parametrize("writable_by", [0o020, 0o002], ids=["its group", "all"])
@pytest.mark.parametrize("ancestor", [0, 1, 2], ids=["directory", "parent", "parent of the parent"])
def test_a_directory_is_not_used_where_others_can_write_to_it_or_to_any_above_it(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    named: bool,
    writable_by: int,
    ancestor: int,
) -> None:
    root = home / "home" / ".cache"
    if named:
        monkeypatch.setenv("STREAMRNN_CACHE_DIR", str(root))
    path = put(root / "streamrnn" / object_file.cached_name("float32"))
    assert object_file.find("float32") == path
    open_one = path.parents[ancestor]
    open_one.chmod(0o755 | writable_by)
    assert object_file.find("float32") is None
    assert f"{open_one} is writable by others (mode {0o755 | writable_by:04o}), expected what belongs to root" in (
        caplog.text
    )
    assert object_file.writable_directory() is None
    with pytest.raises(trusted.UntrustedError):
        object_file.read(path)


def test_a_directory_where_all_may_write_is_passed_if_it_is_sticky_and_never_holds_kernels(home: Path) -> None:
    path = put(home / "home" / ".cache" / "streamrnn" / object_file.cached_name("float32"))
    (home / "home").chmod(0o1777)  # as /tmp is
    assert object_file.find("float32") == path
    path.parent.chmod(0o1777)
    assert object_file.find("float32") is None


@pytest.mark.parametrize("named", [False, True], ids=["the user's", "named"])
def test_what_belongs_to_neither_root_nor_the_user_is_not_used(
    home: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    root = home / "home" / ".cache"
    if named:
        monkeypatch.setenv("STREAMRNN_CACHE_DIR", str(root))
    path = put(root / "streamrnn" / object_file.cached_name("float32"))
    monkeypatch.setattr(trusted, "OWNERS", frozenset({4711}))
    assert object_file.find("float32") is None
    with pytest.raises(trusted.UntrustedError, match=r"/ is of user 0, expected what belongs to root or the user"):
        object_file.read(path)


@pytest.mark.parametrize("writable_by", [0o020, 0o002])
def test_a_file_that_others_can_write_to_is_not_read(home: Path, writable_by: int) -> None:
    path = put(home / "home" / ".cache" / "streamrnn" / object_file.cached_name("float32"))
    path.chmod(0o644 | writable_by)
    with pytest.raises(trusted.UntrustedError, match="writable by others"):
        object_file.read(path)


def test_neither_a_link_nor_a_pipe_is_read_for_kernels_and_nothing_is_waited_for(home: Path) -> None:
    path = put(home / "cache" / "kernels")
    link, pipe = path.with_name("link"), path.with_name("pipe")
    link.symlink_to(path)
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        object_file.read(link)
    with pytest.raises(OSError, match="is no regular file"):
        object_file.read(pipe)


def test_a_link_on_the_way_counts_as_where_it_leads(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Homes and caches stand behind links on many machines; what is looked at is every directory behind them."""
    path = put(home / "elsewhere" / "streamrnn" / object_file.cached_name("float32"))
    (home / "link").symlink_to(home / "elsewhere")
    monkeypatch.setenv("STREAMRNN_CACHE_DIR", str(home / "link"))
    assert object_file.find("float32") == home / "link" / "streamrnn" / path.name
    path.parents[1].chmod(0o777)
    assert object_file.find("float32") is None


@pytest.mark.parametrize("header", [b"", b"[]", b'{"numba": 1}', b"[" * 200_000, b'{"a": ' * 200_000])
def test_a_file_whose_second_line_names_no_versions_is_damaged(home: Path, header: bytes) -> None:
    path = put(home / "kernels")
    body = header + b"\n" + CODE.data
    path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    with pytest.raises(object_file.DamagedError, match="its second line names no versions"):
        object_file.read(path)


def test_a_file_that_is_far_too_large_is_not_read(home: Path) -> None:
    path = put(home / "kernels")
    os.truncate(path, 1 << 40)
    with pytest.raises(OSError, match=f"is a file of {1 << 40} bytes, expected at most"):
        object_file.read(path)


def test_a_package_without_its_sources_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda _path, _pattern: iter(()))
    with pytest.raises(StreamrnnError, match="holds no sources"):
        object_file.source_digest.__wrapped__()
