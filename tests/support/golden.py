"""The golden runs of ``tests/data`` as specs, weights and logs, for the oracle and for the package alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from streamrnn.learner.block import Block
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.target_spec import TargetSpec

DATA = Path(__file__).parents[1] / "data"
CELL_CASES = sorted(path.stem for path in DATA.glob("cells_*_l?.npz"))
BOTH_WAYS_CASES = sorted(path.stem for path in DATA.glob("cells_*_bi.npz"))
RUN_FAMILIES = ("tbptt", "log", "loss", "optimizer", "symbols")
RUN_CASES = sorted(path.stem for family in RUN_FAMILIES for path in DATA.glob(f"{family}_*.npz"))

EXACT_CASES = sorted(path.stem for path in DATA.glob("exact_*.npz"))

PARAMETERS = {
    ModelSpec: ("huber_delta", "quantiles"),
    LearningSpec: ("momentum", "rmsprop_alpha", "betas", "eps", "weight_decay"),
}
"""What a run may say of its loss and its optimiser, under the spec's names; what it leaves out is PyTorch's default."""


def load(name: str) -> dict[str, Any]:
    with np.load(DATA / f"{name}.npz") as file:
        return dict(file)


def tensors(case: dict[str, Any], prefix: str) -> dict[str, np.ndarray]:
    """The tensors whose keys start with ``prefix/``, by PyTorch name."""
    return {key.removeprefix(f"{prefix}/"): value for key, value in case.items() if key.startswith(f"{prefix}/")}


def run_spec(name: str, case: dict[str, Any]) -> LearnerSpec:
    """The spec of an online run: raw inputs and targets, float64, the loss and the optimiser that the case names."""
    weights = tensors(case, "w")
    n_outputs, hidden = weights["head.weight"].shape
    loss = str(case.get("loss", "squared"))
    classes = {"softmax": tuple(range(n_outputs)), "logistic": (0, 1)}.get(loss)
    return LearnerSpec(
        n_features=case["x"].shape[1],
        target=TargetSpec(fields=fields_of(case), classes=classes, known=str(case.get("known", "record"))),
        symbols=tuple(Symbols(values=tuple(map(str, range(size)))) for size in case.get("sizes", ())),
        has_end="end" in case,
        inputs=InputSpec(dt=False, previous_target="symbols" in case),
        model=ModelSpec(
            cell=name.split("_")[1],
            hidden_size=hidden,
            num_layers=sum(key.startswith("rnn.weight_hh") for key in weights),
            dtype="float64",
            readout=loss if classes else "linear",
            loss="cross_entropy" if classes else loss,
            **parameters_of(case, ModelSpec),
        ),
        learning=LearningSpec(
            k1=int(case["k1"]),
            k2=int(case["k2"]),
            batch_size=int(case.get("batch_size", 1)),
            optimizer=str(case["optimizer"]),
            lr=float(case["lr"]),
            clip_norm=float(case["clip_norm"]),
            polyak_bound=None,
            scale=False,
            **{"betas": (0.9, 0.999), **parameters_of(case, LearningSpec)},
        ),
    )


def exact_spec(case: dict[str, Any]) -> LearnerSpec:
    """The same of a run of a cell whose units hear only themselves."""
    weights, kind, loss = tensors(case, "w"), str(case["kind"]), str(case["loss"])
    classify = loss == "softmax"
    return LearnerSpec(
        n_features=case["x"].shape[1],
        target=TargetSpec(fields=fields_of(case), classes=(0, 1, 2) if classify else None, known=str(case["known"])),
        has_end=True,
        inputs=InputSpec(dt=False, previous_target=False),
        model=ModelSpec(
            cell="elstm" if kind == "elstm" else "glru",
            gates=kind != "lru",
            hidden_size=len(weights["rnn.bias_f" if kind == "elstm" else "rnn.nu_log"]),
            hidden_layer=len(weights.get("hidden.bias", ())),
            dtype="float64",
            readout=loss if classify else "linear",
        ),
        learning=LearningSpec(
            k1=int(case["k1"]),
            lr=float(case["lr"]),
            betas=(0.9, 0.999),
            clip_norm=float(case["clip_norm"]),
            polyak_bound=None,
            scale=False,
        ),
    )


def fields_of(case: dict[str, Any]) -> tuple[str, ...]:
    columns = case["y"].reshape(len(case["x"]), -1).shape[1]
    return tuple(f"y{i}" for i in range(columns))


def parameters_of(case: dict[str, Any], group: type) -> dict[str, Any]:
    """Those of a group's parameters that the case gives, as plain numbers and tuples."""
    given = {name: case[name] for name in PARAMETERS[group] if name in case}
    return {name: tuple(value.tolist()) if value.ndim else float(value) for name, value in given.items()}


def last_states(case: dict[str, Any]) -> dict[str, np.ndarray]:
    """The state that the last record's stream was left in, by "h" and "c": (L, H). Only some families hold it."""
    return {key.removeprefix("last_"): value for key, value in case.items() if key.startswith("last_")}


def last_stream(case: dict[str, Any]) -> bytes:
    """The key of the last record's stream."""
    return run_block(case).keys[-1]


def run_block(case: dict[str, Any]) -> Block:
    """The run's log, one second between records."""
    n = len(case["x"])
    symbols = case.get("symbols", np.zeros((n, 0), np.int64))
    streams = case.get("stream", np.zeros(n, np.int64))
    return Block(
        keys=[f"stream-{s}".encode() for s in streams],
        time_ms=np.arange(n, dtype=np.int64) * 1000,
        x=np.ascontiguousarray(case["x"], np.float64),
        y=np.ascontiguousarray(case["y"], np.float64).reshape(n, -1),
        end=np.array(case.get("end", np.zeros(n, bool)), bool),
        kind=np.zeros(n, np.uint8),
        event=np.zeros(n, np.uint64),
        symbols=tuple([None if k < 0 else str(k) for k in numbers] for numbers in symbols.T),
    )
