"""The golden runs of ``tests/data`` as specs, weights and logs, for the oracle and for the package alike."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, ModelSpec, TargetSpec

DATA = Path(__file__).parents[1] / "data"
CELL_CASES = sorted(p.stem for p in DATA.glob("cells_*.npz"))
RUN_CASES = sorted(p.stem for p in DATA.glob("*.npz") if p.stem.startswith(("tbptt_", "log_")))


def load(name: str) -> dict[str, Any]:
    with np.load(DATA / f"{name}.npz") as file:
        return dict(file)


def tensors(case: dict[str, Any], prefix: str) -> dict[str, np.ndarray]:
    """The tensors whose keys start with ``prefix/``, by PyTorch name."""
    return {key.removeprefix(f"{prefix}/"): value for key, value in case.items() if key.startswith(f"{prefix}/")}


def run_spec(name: str, case: dict[str, Any]) -> LearnerSpec:
    """The spec of a ``tbptt_*`` or ``log_*`` run: raw inputs and targets, squared loss, float64."""
    weights = tensors(case, "w")
    n_outputs, hidden = weights["head.weight"].shape
    return LearnerSpec(
        n_features=case["x"].shape[1],
        target=TargetSpec(fields=tuple(f"y{i}" for i in range(n_outputs))),
        has_end="end" in case,
        inputs=InputSpec(dt=False, previous_target=False),
        model=ModelSpec(
            cell=name.split("_")[1],
            hidden_size=hidden,
            num_layers=sum(key.startswith("rnn.weight_hh") for key in weights),
            dtype="float64",
        ),
        learning=LearningSpec(
            k1=int(case["k1"]),
            k2=int(case["k2"]),
            batch_size=int(case.get("batch_size", 1)),
            optimizer=str(case["optimizer"]),
            lr=float(case["lr"]),
            clip_norm=float(case["clip_norm"]),
            scale=False,
        ),
    )


def run_arrays(case: dict[str, Any]) -> SimpleNamespace:
    """The run's log as the arrays of a block, one second between records."""
    n = len(case["x"])
    streams = case.get("stream", np.zeros(n, np.int64))
    return SimpleNamespace(
        keys=[f"stream-{s}".encode() for s in streams],
        time_ms=np.arange(n, dtype=np.int64) * 1000,
        x=np.ascontiguousarray(case["x"], np.float64),
        y=np.ascontiguousarray(case["y"], np.float64).reshape(n, -1),
        end=np.array(case.get("end", np.zeros(n, bool)), bool),
        kind=np.zeros(n, np.uint8),
        event=np.zeros(n, np.uint64),
    )
