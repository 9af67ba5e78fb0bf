"""Kernels come from an object file: written by a child that runs this very package, once, and checked when read."""

from __future__ import annotations

import logging
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from streamrnn.core import compiled, object_file
from streamrnn.core.object_file import ObjectFile
from streamrnn.errors import StreamrnnError
from tests.core.test_emit import emitted


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that nothing was compiled into, whatever this process has loaded already."""
    monkeypatch.setenv("STREAMRNN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(object_file, "cache_directories", lambda: iter([tmp_path / "streamrnn"]))
    monkeypatch.setattr(compiled, "JIT_DISABLED", False)
    monkeypatch.setattr(compiled, "_loaded", {})
    monkeypatch.setattr(compiled, "_load", lambda data: data)
    return tmp_path


IMPORTS = compiled.CHILD.partition("from streamrnn")[0]


def let_the_child(statement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it run this in place of the compiler."""
    monkeypatch.setattr(compiled, "CHILD", IMPORTS + statement)


WRITE = "from streamrnn.core import object_file as o; o.write(o.Path(output), o.ObjectFile({}, {{}}))"


def test_the_child_runs_this_package_whatever_stands_in_the_working_directory_or_on_the_path(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imposter = empty_cache / "streamrnn"
    imposter.mkdir()
    (imposter / "__init__.py").write_text("raise SystemExit('the wrong package')")
    monkeypatch.chdir(empty_cache)
    monkeypatch.setattr(sys, "path", [str(empty_cache), "", *sys.path])
    let_the_child(WRITE.format("o.__file__.encode()"), monkeypatch)
    assert not compiled.is_compiled("float32")
    assert compiled.kernels("float32").process == object_file.__file__.encode()  # type: ignore[comparison-overlap]
    assert compiled.is_compiled("float32")


def test_a_child_that_fails_is_an_error_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    let_the_child("raise SystemExit('no compiler')", monkeypatch)
    with pytest.raises(StreamrnnError, match="compiling the float64 kernels failed, with status 1:\nno compiler"):
        compiled.ensure_compiled("float64")
    assert not compiled.is_compiled("float64")


def test_a_child_that_ends_without_a_file_or_not_at_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    let_the_child("pass", monkeypatch)
    with pytest.raises(StreamrnnError, match="failed, with status 0"):
        compiled.ensure_compiled("float32")
    let_the_child("import time; time.sleep(60)", monkeypatch)
    monkeypatch.setattr(compiled, "TIMEOUT_S", 0.5)
    with pytest.raises(StreamrnnError, match="not done after 0 s; try when the machine is idle"):
        compiled.ensure_compiled("float32")
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(StreamrnnError, match="/nonexistent/python could not be started"):
        compiled.ensure_compiled("float32")


def test_it_is_said_that_something_is_compiled(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A program that makes its first prediction would otherwise be silent for half a minute."""
    let_the_child(WRITE.format("bytes()"), monkeypatch)
    compiled.kernels("float32")
    assert "compiling the float32 kernels, once on this machine: half a minute" in caplog.text
    compiled._loaded.clear()
    caplog.clear()
    compiled.kernels("float32")
    assert caplog.text == ""


def test_an_object_without_the_entry_point_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(StreamrnnError, match="holds no streamrnn_process; remove it"):
        compiled._load(emitted("define void @f() { ret void }"))


def test_two_that_start_at_once_compile_once(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = f"open({str(empty_cache / 'runs')!r}, 'a').write('compiled\\n')"
    let_the_child(f"{WRITE.format('bytes()')}; {note}", monkeypatch)
    both = [threading.Thread(target=compiled.compile_once, args=("float32",)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert (empty_cache / "runs").read_text() == "compiled\n"


def test_kernels_that_are_there_are_loaded_without_a_right_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    let_the_child(WRITE.format("b'machine code'"), monkeypatch)
    path, _ = compiled.compile_once("float32")
    before = {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()}
    monkeypatch.setattr(object_file, "writable_directory", lambda: None)
    assert compiled.kernels("float32").process == b"machine code"  # type: ignore[comparison-overlap]
    assert {file.name: file.stat().st_mtime_ns for file in path.parent.iterdir()} == before


def test_a_damaged_file_is_noticed_and_compiled_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    let_the_child(WRITE.format("b'machine code'"), monkeypatch)
    path, _ = compiled.compile_once("float32")
    content = path.read_bytes()
    for place in (0, 70, len(content) - 1):
        compiled._loaded.clear()
        caplog.clear()
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with caplog.at_level(logging.WARNING):
            assert compiled.kernels("float32").process == b"machine code"  # type: ignore[comparison-overlap]
        assert "is damaged: its SHA-256 is not the one it begins with; compiling anew" in caplog.text
        assert path.read_bytes() == content


def test_a_damaged_file_that_came_with_the_package_is_refused(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_file, "SHIPPED", empty_cache)
    (empty_cache / object_file.name("float32")).write_bytes(object_file.pack(ObjectFile(b"code", {}))[:-1])
    with pytest.raises(StreamrnnError, match=r"is damaged: .* install streamrnn again"):
        compiled.kernels("float32")


def test_where_nothing_can_be_kept_kernels_are_compiled_for_this_process_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(object_file, "cache_directories", lambda: iter([Path("/proc/streamrnn")]))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mode = "b'%o' % (o.os.stat('.').st_mode & 0o777)"
    let_the_child(WRITE.format(mode), monkeypatch)
    assert compiled.kernels("float32").process == b"700"  # type: ignore[comparison-overlap]
    assert "for this process alone" in caplog.text
    assert "name one in STREAMRNN_CACHE_DIR" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_at_all_or_not_safely_the_error_names_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_file, "cache_directories", lambda: iter([Path("/proc/streamrnn")]))
    let_the_child(WRITE.format("bytes()"), monkeypatch)
    tmp_path.chmod(0o777)  # where others can exchange a directory for theirs
    for nowhere in ("/proc", str(tmp_path)):
        monkeypatch.setattr(tempfile, "tempdir", nowhere)
        with pytest.raises(StreamrnnError, match=r"STREAMRNN_CACHE_DIR, or install a wheel"):
            compiled.kernels("float32")
