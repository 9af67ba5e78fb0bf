"""Kernels index arrays from the front: compiled, a negative index is no place counted from the end (``core.emit``).

Whole jobs are watched likewise, in ``tests/job/test_any_job.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from streamrnn.core.jit import JIT_DISABLED
from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec
from tests.support.from_the_front import arrays_from_the_front, require_within


@pytest.fixture
def from_the_front() -> Iterator[None]:
    with arrays_from_the_front():
        yield


CELLS: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru", "num_layers": 2},
    "rls": {"cell": "lstm", "readout": "rls"},
    "lru": {"cell": "glru", "gates": False},
    "glru": {"cell": "glru", "hidden_layer": 4},
    "elstm": {"cell": "elstm"},
}
TARGETS = {
    "record": TargetSpec(fields=("y",)),
    "forecast": TargetSpec(fields=("y",), known="forecast", horizon=(1, 3)),
    "classes": TargetSpec(fields=("y",), classes=("0", "1", "2")),
}


@pytest.mark.skipif(not JIT_DISABLED, reason="compiled arrays are addresses")
@pytest.mark.usefixtures("from_the_front")
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("cell", CELLS)
def test_no_kernel_counts_from_the_end_of_an_array(cell: str, target: str) -> None:
    if cell == "rls" and target == "classes":
        pytest.skip("the RLS readout is of regression")
    windows = {"k1": 2} if cell in ("lru", "glru", "elstm") else {"k1": 2, "k2": 8}
    readout = {"readout": "softmax"} if target == "classes" else {}
    model = ModelSpec(hidden_size=4, **CELLS[cell], **readout)
    spec = LearnerSpec(
        n_features=3, target=TARGETS[target], model=model, learning=LearningSpec(**windows),
        streams=StreamSpec(max_streams=2),
    )  # fmt: skip
    rng, n = np.random.default_rng(3), 60
    x, y = rng.standard_normal((n, 3)), rng.integers(0, 3, (n, 1)).astype(np.float64)
    x[rng.random((n, 3)) < 0.1] = np.nan
    keys = [b"%d" % stream for stream in rng.integers(0, 3, n)]  # one more than there is room for
    end = rng.random(n) < 0.1
    block = Block.events(keys, x, y, time_ms=np.arange(n, dtype=np.int64), end=end)
    assert np.isfinite(Learner(spec, seed=0).process(block).value).all()


@pytest.mark.parametrize(
    ("shape", "key", "within"),
    [
        ((3,), 2, True), ((3,), 3, False), ((3,), -1, False), ((3,), slice(1, 3), True), ((3,), slice(1, 4), False),
        ((3,), slice(-1, None), False), ((3,), slice(None, -1), False), ((0, 3), slice(None, 4), True),
        ((2, 3), (1, slice(None, 3)), True), ((2, 3), (1, 3), False), ((2, 3), (slice(None), -1), False),
    ],
)  # fmt: skip
def test_what_is_watched_for_is_seen(shape: tuple[int, ...], key: Any, within: bool) -> None:
    with contextlib.nullcontext() if within else pytest.raises(IndexError, match="a kernel asked for"):
        require_within(shape, key)
