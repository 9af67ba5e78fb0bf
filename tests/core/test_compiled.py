"""Kernels come from the cache: filled by a child that runs this very package, and an error where they are not there."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamrnn.core import compiled
from streamrnn.errors import StreamrnnError


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that nothing was compiled into, whatever this process has loaded already."""
    monkeypatch.setattr(compiled, "CACHE_DIRECTORY", tmp_path)
    monkeypatch.setattr(compiled, "JIT_DISABLED", False)
    monkeypatch.setattr(compiled, "_ready", set())
    return tmp_path


def entry_point(misses: int) -> SimpleNamespace:
    """A stand-in for the kernels' entry point that found so many of its compilations missing from the cache."""
    stats = SimpleNamespace(cache_misses=Counter(signature=misses))
    return SimpleNamespace(compile=lambda signature: None, stats=stats)


def test_the_child_runs_this_package_whatever_stands_in_the_working_directory_or_on_the_path(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imposter = empty_cache / "streamrnn"
    imposter.mkdir()
    (imposter / "__init__.py").write_text("raise SystemExit('the wrong package')")
    monkeypatch.chdir(empty_cache)
    monkeypatch.setattr(sys, "path", [str(empty_cache), "", *sys.path])
    note = "open(f'{sys.path[0]}/{dtype}', 'w').write(sys.modules[compile_kernels.__module__].__file__)"
    monkeypatch.setattr(compiled, "CHILD", compiled.CHILD.replace("compile_kernels(dtype)", note))
    monkeypatch.setattr(compiled, "process", entry_point(misses=0))
    assert not compiled.is_compiled("float32")
    compiled.ensure_compiled("float32")
    assert (empty_cache / "float32").read_text() == compiled.__file__
    assert compiled.is_compiled("float32")


def test_a_child_that_fails_is_an_error_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "CHILD", "raise SystemExit('no compiler')")
    with pytest.raises(StreamrnnError, match="compiling the float64 kernels failed:\nno compiler"):
        compiled.ensure_compiled("float64")
    assert not compiled.is_compiled("float64")


def test_kernels_that_are_not_where_they_were_compiled_to_are_an_error(
    empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (empty_cache / "float32.compiled").touch()
    monkeypatch.setattr(compiled, "process", entry_point(misses=1))
    with pytest.raises(StreamrnnError, match="are not found there: remove that directory"):
        compiled.ensure_compiled("float32")
