"""Learners that had learned and lose it: every cell at the estimators' default rate, with and without a bound on steps.

    python -m tests.bench.collapse               ten seeds of everything, about two minutes
    python -m tests.bench.collapse --seeds 3     a quick look

Online, one gradient over a cliff is enough to undo what was learned. Each run is an estimator over 20,000 events, with
its defaults but for what the row names. "sign" asks an ``RNNClassifier`` whether the input four events ago was above
zero, "sum" an ``RNNRegressor`` with a linear readout for the sum of the newest four inputs, and "rls" the same with its
default readout. Scores are of the last quarter: accuracy, or mean absolute error where the mean always answers costs
1.6. Shown are the mean over seeds and the worst of them, and how many collapsed: below 90 %, or above 0.5.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich.console import Console
from rich.table import Table

from streamrnn import RNNClassifier, RNNRegressor

CELLS: Final = ("lstm", "gru", "rnn")
EVENTS: Final = 20_000
LAG: Final = 4
BOUNDS: Final = {"bounded": {}, "polyak_bound=None": {"polyak_bound": None}}
"""The default, and what it was before there was a bound."""


class Case(NamedTuple):
    """A task and the arguments that the row is about."""

    task: str
    arguments: dict[str, Any]


CASES: Final = (
    Case("sign", {}),
    Case("sign", {"hidden_size": 32}),
    Case("sign", {"hidden_size": 32, "optimizer": "adam"}),
    Case("sign", {"hidden_size": 32, "optimizer": "adam", "lr": 3e-3}),
    Case("sum", {"readout": "linear"}),
    Case("sum", {"readout": "linear", "hidden_size": 32}),
    Case("rls", {}),
    Case("rls", {"hidden_size": 32}),
)


def events(task: str, seed: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Inputs and targets, (n,) each."""
    x = np.random.default_rng(seed).standard_normal(EVENTS)
    past = np.zeros(EVENTS)
    if task == "sign":
        past[LAG:] = x[:-LAG] > 0.0
    else:
        past = np.convolve(x, np.ones(LAG))[:EVENTS]
    return x, past


def last_quarter(case: Case, cell: str, seed: int, bound: dict[str, Any]) -> float:
    """Mean 0/1 or absolute error over the last quarter of the events, each predicted before it is learned."""
    kind = RNNClassifier if case.task == "sign" else RNNRegressor
    model = kind(cell=cell, features=["x"], seed=seed, **case.arguments, **bound)
    x, y = events(case.task, seed)
    before = EVENTS - EVENTS // 4
    model.learn_many(pd.DataFrame({"x": x[:before]}), pd.Series(y[:before]))
    errors = []
    for value, target in zip(x[before:].tolist(), y[before:].tolist(), strict=True):
        prediction = model.predict_one({"x": value})
        errors.append(float(prediction != target) if case.task == "sign" else abs(prediction - target))
        model.learn_one({"x": value}, target)
    return float(np.mean(errors))


def figures(case: Case, cell: str, bound: dict[str, Any], seeds: int) -> str:
    """Mean, worst and number of collapsed runs."""
    errors = np.array([last_quarter(case, cell, seed, bound) for seed in range(seeds)])
    classify = case.task == "sign"
    collapsed = int((errors > (0.1 if classify else 0.5)).sum())
    mean, worst = errors.mean(), errors.max()
    shown = f"{1 - mean:.3f}, worst {1 - worst:.3f}" if classify else f"{mean:.3f}, worst {worst:.3f}"
    return f"{shown}" + (f", [bold red]{collapsed} collapsed[/]" if collapsed else "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Learners that lose what they had learned, with and without a bound.")
    parser.add_argument("--seeds", type=int, default=10, help="runs of each (default 10)")
    options = parser.parse_args(arguments)
    view = Table(title=f"Last quarter of {EVENTS:,} events, {options.seeds} seeds", title_justify="left")
    for header in ("task", "arguments", "cell", *BOUNDS):
        view.add_column(header)
    for case in CASES:
        shown = ", ".join(f"{name}={value}" for name, value in case.arguments.items()) or "defaults"
        for cell in CELLS:
            row = [figures(case, cell, bound, options.seeds) for bound in BOUNDS.values()]
            view.add_row(case.task, shown, cell, *row)
        view.add_section()
    Console(width=150).print(view)


if __name__ == "__main__":
    main()
