"""The kernels' file is named by what produced it, found without a right to write, and written whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from streamrnn.core import object_file
from streamrnn.core.object_file import ObjectFile
from streamrnn.errors import StreamrnnError

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


def test_what_was_written_is_read_by_anyone_and_nothing_is_left_beside_it(home: Path) -> None:
    path = put(home / "a" / "kernels")
    assert object_file.read(path) == CODE
    assert path.stat().st_mode & 0o777 == 0o644
    assert [file.name for file in path.parent.iterdir()] == ["kernels"]


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
    monkeypatch.setattr(object_file, "source_digest", lambda: "0" * 12)
    names.add(object_file.name("float32"))
    monkeypatch.setattr(object_file, "cpu_features", lambda: "+avx512f")
    names.add(object_file.name("float32"))
    monkeypatch.setattr(object_file, "cpu_target", lambda: "znver4")
    names.add(object_file.name("float32"))
    assert len(names) == 6
    assert object_file.name("float32").startswith("float32-znver4-")


def test_a_file_that_came_with_the_package_is_found_first_and_whatever_numba_is_installed(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = put(home / "home" / ".cache" / "streamrnn" / object_file.cached_name("float32"))
    assert object_file.find("float32") == cached
    shipped = put(home / "objects" / object_file.name("float32"))
    monkeypatch.setattr(object_file, "cached_name", lambda dtype: 1 / 0)
    assert object_file.find("float32") == shipped


def test_an_explicit_directory_is_used_instead_of_all_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home / "home" / ".cache" / "streamrnn" / object_file.cached_name("float32"))
    monkeypatch.setenv("STREAMRNN_CACHE_DIR", str(home / "given"))
    assert object_file.find("float32") is None
    assert object_file.writable_directory() == home / "given" / "streamrnn"


def test_without_a_home_the_user_has_a_directory_among_the_temporary_ones(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(_path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nowhere)
    own = home / f"streamrnn-{os.getuid()}"
    assert object_file.find("float32") is None
    assert not own.exists()  # looking creates nothing
    assert object_file.writable_directory() == own
    assert own.stat().st_mode & 0o022 == 0
    assert put(own / object_file.cached_name("float32")) == object_file.find("float32")


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
def test_a_directory_that_everybody_can_write_to_is_not_trusted(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, named: bool
) -> None:
    root = home / "home" / ".cache"
    if named:
        monkeypatch.setenv("STREAMRNN_CACHE_DIR", str(root))
    path = put(root / "streamrnn" / object_file.cached_name("float32"))
    assert object_file.find("float32") == path
    path.parent.chmod(0o777)
    assert object_file.find("float32") is None
    assert "are not used, since other users can write there" in caplog.text
    assert object_file.writable_directory() == (None if named else home / f"streamrnn-{os.getuid()}")


def test_somebody_else_s_directory_is_trusted_where_it_is_named_only(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = home / "home" / ".cache"
    path = put(root / "streamrnn" / object_file.cached_name("float32"))
    monkeypatch.setattr(object_file, "TRUSTED_OWNERS", frozenset({4711}))
    assert object_file.find("float32") is None
    monkeypatch.setenv("STREAMRNN_CACHE_DIR", str(root))
    assert object_file.find("float32") == path


def test_a_link_among_the_temporary_directories_is_not_followed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/proc/nowhere")
    put(home / "elsewhere" / object_file.cached_name("float32"))
    (home / f"streamrnn-{os.getuid()}").symlink_to(home / "elsewhere")
    assert object_file.find("float32") is None
    assert object_file.writable_directory() is None


def test_a_package_without_its_sources_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda _path, _pattern: iter(()))
    with pytest.raises(StreamrnnError, match="holds no sources"):
        object_file.source_digest.__wrapped__()
