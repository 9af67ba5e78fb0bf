"""Whatever somebody wrote into a model file or a checkpoint and signed: it is refused, or a learner that runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.forgeries import SPECS, try_checkpoint, try_model_file

KINDS = sorted(SPECS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_forged_model_file_is_refused_or_is_a_learner_that_runs(kind: str, tmp_path: Path) -> None:
    outcomes = Counter(try_model_file(kind, seed, tmp_path) for seed in range(60))
    assert min(outcomes["refused"], outcomes["ran"]) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_forged_checkpoint_is_passed_over_or_is_a_learner_that_runs(kind: str) -> None:
    outcomes = Counter(try_checkpoint(kind, seed) for seed in range(60))
    assert min(outcomes["refused"], outcomes["ran"]) > 5


def test_interpreted_kernels_stay_inside_their_arrays_whatever_a_file_holds() -> None:
    # Compiled, an index out of range reads what stands there; interpreted, it is an IndexError.
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.forgeries", "0", "30"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, cwd=Path(__file__).parents[2],
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    lines = run.stdout.splitlines()
    assert [line.split(" ", 1)[1] for line in lines[:-1]] == [
        "checkpoint ran", "checkpoint refused", "model file ran", "model file refused"
    ], run.stdout  # fmt: skip
