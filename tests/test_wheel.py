"""A wheel brings the kernels along: an installed package compiles nothing, and needs no home and no Numba."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from streamrnn.core import compiled, object_file
from streamrnn.core.jit import JIT_DISABLED
from streamrnn.core.kinds import COMPILED
from tests.bench.startup import FIRST_PREDICTION, build_wheel
from tests.test_docs import ROOT

REPORT = """
import sys
from streamrnn.core import compiled
print(compiled.kernels("float32").path, compiled.kernels("float64").path, "numba" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
def test_an_installed_wheel_predicts_with_the_kernels_it_brought_and_they_are_the_same_bytes(tmp_path: Path) -> None:
    installed = build_wheel(tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    assert "-py3-none-linux_" in wheel.name
    folder = installed / "streamrnn" / "core" / "objects"
    brought = {(dtype, of): folder / object_file.name(dtype, family=of) for dtype, of in COMPILED}
    assert set(folder.iterdir()) == set(brought.values())
    for (dtype, of), path in brought.items():  # compiled here a second time, elsewhere, and reproducible
        assert path.read_bytes() == compiled.kernels(dtype, family=of).path.read_bytes()
    alone = {"PYTHONPATH": str(installed), "STREAMRNN_CACHE_DIR": os.devnull}
    script = FIRST_PREDICTION.format(directory=tmp_path) + REPORT
    printed = subprocess.check_output([sys.executable, "-c", script], env=alone, cwd=tmp_path, text=True)
    assert printed.split() == [str(brought["float32", "steps"]), str(brought["float64", "steps"]), "False"]
    shutil.rmtree(installed)


@pytest.fixture
def hook() -> Any:
    """The module that hatchling loads."""
    spec = importlib.util.spec_from_file_location("build_hook", ROOT / ".ci" / "build_hook.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a cache holds that nobody compiled, of the versions that are installed."""
    monkeypatch.setenv("STREAMRNN_CACHE_DIR", str(tmp_path))
    versions = {name: importlib.metadata.version(name) for name in ("numba", "llvmlite", "numpy")}
    path = tmp_path / "streamrnn" / object_file.cached_name("float32")
    path.parent.mkdir()
    object_file.write(path, object_file.ObjectFile(b"code", versions))
    return path


def test_a_wheel_takes_kernels_from_the_cache_only_where_that_is_asked_for(
    hook: Any, cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    monkeypatch.delenv("STREAMRNN_KERNELS_FROM_CACHE", raising=False)
    assert not hook.from_cache("float32", "steps", copy) and not copy.exists()
    monkeypatch.setenv("STREAMRNN_KERNELS_FROM_CACHE", "1")
    assert hook.from_cache("float32", "steps", copy)
    assert copy.read_bytes() == cached.read_bytes()
    assert not hook.from_cache("float64", "steps", tmp_path / "none")


@pytest.mark.parametrize("package", ["numba", "llvmlite", "numpy"])
def test_a_wheel_takes_no_kernels_that_other_versions_compiled(
    hook: Any, cached: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    content = object_file.read(cached)
    object_file.write(cached, object_file.ObjectFile(content.data, {**content.versions, package: "0.1"}))
    monkeypatch.setenv("STREAMRNN_KERNELS_FROM_CACHE", "1")
    assert not hook.from_cache("float32", "steps", tmp_path / "copy")
