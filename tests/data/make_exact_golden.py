"""Write what full backward differentiation makes of online runs of cells whose units hear only themselves, in float64.

    PYTHONPATH=. python tests/data/make_exact_golden.py DIRECTORY [--seed N]

The golden data are made with seed 0. PyTorch has no such cells, so the numbers are those of ``tests/oracle/exact``,
whose steps and gradients central differences hold (tests/oracle/test_exact.py). ``online_run`` is the executable
specification of their learning: predict, advance, learn, one record at a time. The gradient of a record's loss goes
back through every step of its sequence, each with the weights that it was lived with. Nothing is carried forwards but
states.

Cases ``exact_CELL_LOSS_KNOWN_HIDDEN``: interleaved streams, missing targets (NaN), sequence ends, an optimiser step for
every k1 records that were learned from, with Adam. A ``forecast`` is of the stream's next value: its step is lived a
second time, behind the predictions, once that value came. README.md lists the keys of a file. Dimensions: T records, D
inputs, N units.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.oracle import exact
from tests.oracle.network import (
    Array,
    Optimizer,
    Weights,
    class_loss,
    clip_by_global_norm,
    probabilities_in_use,
    read_out,
    read_out_backward,
    regression_loss,
)

Case = dict[str, Any]
T, D, N, STREAMS = 120, 3, 5, 3
LR, CLIP_NORM = 0.02, 1.0


@dataclass
class Sequence:
    """One stream since its beginning: the state that predicts, the one that learns, and inputs between them."""

    front: Array
    behind: Array
    life: exact.Life = field(default_factory=list)
    waiting: list[Array] = field(default_factory=list)


def case_of(kind: str, loss: str, known: str, hidden: int, seed: int) -> Case:
    """A log and weights, and what a run over them led to."""
    rng = np.random.default_rng([seed, *map(ord, f"{kind}{loss}{known}{hidden}")])
    outputs = 3 if loss == "softmax" else 2
    y = rng.integers(0, 3, (T, 1)).astype(float) if loss == "softmax" else rng.normal(size=(T, 2))
    y[rng.random(y.shape) < 0.2] = np.nan
    case: Case = {
        "kind": kind, "loss": loss, "known": known, "k1": 8 if loss == "softmax" else 1, "optimizer": "adam",
        "lr": LR, "clip_norm": CLIP_NORM, "x": rng.normal(size=(T, D)), "y": y,
        "stream": rng.integers(0, STREAMS, T), "end": rng.random(T) < 0.05,
    }  # fmt: skip
    weights = exact.random_weights(rng, kind, D, N, hidden, outputs)
    case |= {f"w/{name}": w.copy() for name, w in weights.items()}
    case |= online_run(case, weights)
    return case | {f"v/{name}": w for name, w in weights.items()}


def online_run(case: Case, weights: Weights) -> Case:
    """Changes the weights; what was said, the losses learned from, and the gradient norms of the optimiser's steps."""
    kind, classify, behind = case["kind"], case["loss"] == "softmax", int(case["known"] == "forecast")
    optimizer = Optimizer("adam", case["lr"], slow=exact.SLOW)
    sequences: dict[int, Sequence] = {}
    said, losses, norms = [], [], []
    batch: list[tuple[float, Weights]] = []
    exact.constrain(kind, weights, None)
    for x, y, stream, end in zip(case["x"], case["y"], case["stream"], case["end"], strict=True):
        zero = exact.zero(kind, N, np.float64)
        sequence = sequences.setdefault(stream, Sequence(zero, zero))
        sequence.front = exact.step(kind, weights, x, sequence.front)
        outputs, _ = read_out(weights, exact.handed_up(kind, weights, x, sequence.front), x)
        said.append(probabilities_in_use(outputs, len(outputs)) if classify else outputs)
        sequence.waiting.append(x)
        if len(sequence.waiting) > behind:
            loss_and_gradient = lived(kind, weights, sequence, sequence.waiting.pop(0), y, classify)
            batch += [] if loss_and_gradient is None else [loss_and_gradient]
            losses += [] if loss_and_gradient is None else [loss_and_gradient[0]]
        if len(batch) == case["k1"]:
            mean = {name: np.mean([g[name] for _, g in batch], axis=0) for name in weights}
            clipped, norm = clip_by_global_norm(mean, case["clip_norm"])
            norms.append(norm)
            optimizer.step(weights, clipped)
            exact.constrain(kind, weights, None)
            batch = []
        if end:
            del sequences[stream]
    return {"pred": np.array(said), "update_loss": np.array(losses), "grad_norm": np.array(norms)}


def lived(
    kind: str, weights: Weights, sequence: Sequence, x: Array, y: Array, classify: bool
) -> tuple[float, Weights] | None:
    """One more step of a sequence's life; its loss and the gradient of that, if anything of its target is known."""
    sequence.life.append(({name: w.copy() for name, w in weights.items()}, x, sequence.behind))
    sequence.behind = exact.step(kind, weights, x, sequence.behind)
    known = np.isfinite(y)
    if not known.any():
        return None
    up = exact.handed_up(kind, weights, x, sequence.behind)
    outputs = read_out(weights, up, x)[0]
    if classify:
        loss, d_outputs = class_loss("softmax", outputs[None], y, known)
    else:
        levels = np.full(len(outputs), 0.5)
        loss, d_outputs = regression_loss("squared", outputs[None], y[None], known[None], levels, 1.0)
    grads, d_up = read_out_backward(weights, up, x, d_outputs[0])
    return float(loss), grads | exact.gradient(kind, weights, sequence.life, sequence.behind, d_up)


def cases(seed: int) -> Iterator[tuple[str, Case]]:
    for kind, loss, known, hidden in itertools.product(
        ("lru", "glru", "elstm"), ("squared", "softmax"), ("record", "forecast"), (0, 4)
    ):
        yield f"exact_{kind}_{loss}_{known}_{hidden}", case_of(kind, loss, known, hidden, seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name, case in cases(arguments.seed):
        np.savez_compressed(arguments.directory / f"{name}.npz", **case)


if __name__ == "__main__":
    main()
