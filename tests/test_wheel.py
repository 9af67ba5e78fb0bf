"""A wheel brings the kernels along: an installed package compiles nothing, and needs no home and no Numba."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamrnn.core import compiled, object_file
from streamrnn.core.jit import JIT_DISABLED
from streamrnn.core.kinds import COMPILED
from tests.bench.startup import FIRST_PREDICTION, build_wheel

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
