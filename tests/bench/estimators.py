"""Microseconds per event of the estimators' methods, beside those of the learner beneath them.

    python -m tests.bench.estimators            every cell and readout, about a minute
    python -m tests.bench.estimators --quick    one of them, a second

All work on the same rows: 8 features in a dict (``predict_one``, ``learn_one``), a data frame (``learn_many``) or a
block (``Learner.process``; "one by one" is the same with a block for each row). A hidden state of 32 and TBPTT(16, 16),
except for the estimator's own defaults. Processor time, one thread, one stream; every figure is the median of repeats,
each of which goes over all rows. Before that each model has learned them once.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from streamrnn import Learner, RNNRegressor
from streamrnn.learner.block import Block

FEATURES, HIDDEN, WINDOW = 8, 32, 16
CELLS = ("lstm", "gru", "rnn")
READOUTS = ("linear", "rls")
COLUMNS = ("predict_one", "learn_one", "both", "learn_many", "Learner.process", "one by one")
NAMES = [f"f{i}" for i in range(FEATURES)]
SIZED: dict[str, Any] = {"hidden_size": HIDDEN, "k1": WINDOW, "k2": WINDOW}
CASES: dict[str, dict[str, Any]] = {
    f"{cell} {HIDDEN}, {readout}": {**SIZED, "cell": cell, "readout": readout}
    for cell, readout in itertools.product(CELLS, READOUTS)
}
CASES["defaults"] = {}


class Timing(NamedTuple):
    """One line of the table: microseconds per event, in the order of ``COLUMNS``."""

    name: str
    microseconds: tuple[float, ...]


def data(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, FEATURES) and targets (n,) that depend on this row and the one before."""
    x = np.random.default_rng(0).normal(size=(n, FEATURES))
    return x, x[:, 0] - 0.5 * np.roll(x[:, 1], 1)


def calls(parameters: dict[str, Any], rows: int) -> dict[str, Callable[[], object]]:
    """What is timed, by column; each goes over all rows."""
    x, y = data(rows)
    pairs = list(zip((dict(zip(NAMES, row, strict=True)) for row in x.tolist()), y.tolist(), strict=True))
    X, target = pd.DataFrame(x, columns=NAMES), pd.Series(y)
    # Predictions of many events before any is learned are no delayed labels here.
    single, batched = (RNNRegressor(**parameters, features=NAMES, delayed=False) for _ in range(2))
    learner = Learner(single._spec(), seed=0)
    block = Block.events([b""] * rows, x, y[:, None].copy())
    blocks = [Block.events([b""], x[i : i + 1], y[i : i + 1, None]) for i in range(rows)]

    def predict() -> None:
        for row, _ in pairs:
            single.predict_one(row)

    def learn() -> None:
        for row, value in pairs:
            single.learn_one(row, value)

    def both() -> None:
        for row, value in pairs:
            single.predict_one(row)
            single.learn_one(row, value)

    def one_by_one() -> None:
        for each in blocks:
            learner.process(each)

    return {
        "predict_one": predict,
        "learn_one": learn,
        "both": both,
        "learn_many": lambda: batched.learn_many(X, target),
        "Learner.process": lambda: learner.process(block),
        "one by one": one_by_one,
    }


def measure(name: str, parameters: dict[str, Any], rows: int, repeats: int) -> Timing:
    """Medians over ``repeats``. The columns take turns, so that a slow moment of the machine meets all of them."""
    timed = calls(parameters, rows)
    seconds: dict[str, list[float]] = {column: [] for column in COLUMNS}
    for call in (timed["learn_one"], timed["learn_many"], timed["Learner.process"]):
        call()
    for _ in range(repeats):
        for column in COLUMNS:
            started = time.process_time()
            timed[column]()
            seconds[column].append(time.process_time() - started)
    return Timing(name, tuple(1e6 * statistics.median(seconds[column]) / rows for column in COLUMNS))


def table(timings: Sequence[Timing], title: str) -> Table:
    """The figures for people to read."""
    shown = Table(title=title, title_justify="left")
    shown.add_column("model", no_wrap=True)
    for column in COLUMNS:
        shown.add_column(column, justify="right", no_wrap=True)
    for timing in timings:
        shown.add_row(timing.name, *(f"{value:.2f}" for value in timing.microseconds))
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time the estimators: microseconds per event, one thread.")
    parser.add_argument("--quick", action="store_true", help="LSTM 32 with a linear readout only, few rows")
    parser.add_argument("--rows", type=int, default=4_000, help="events per repeat (default 4000)")
    parser.add_argument("--repeats", type=int, default=7, help="repeats per figure (default 7)")
    options = parser.parse_args(arguments)
    rows = min(options.rows, 200) if options.quick else options.rows
    names = list(CASES)[:1] if options.quick else list(CASES)
    timings = [measure(name, CASES[name], rows, options.repeats) for name in names]
    title = f"microseconds per event; {FEATURES} features, medians of {options.repeats} repeats over {rows:,} events"
    # Off a terminal the width is 80, which would cut the figures.
    Console(width=max(100, Console().width)).print(table(timings, title))


if __name__ == "__main__":
    main()
