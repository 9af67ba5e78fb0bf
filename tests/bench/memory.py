"""Long memory: how many sequences it takes to learn what matters a hundred steps later, by cell and by start.

    python -m tests.bench.memory                         everything, about ten minutes
    python -m tests.bench.memory --only order-100        some of it

Sequences are learned in one pass, each as it comes and a step of the optimiser for each: 32 units, Adam at 3e-3 and
everything else as by default, windows that cover whole sequences. "as is" is the start without ``model.memory``,
"memory" that with ``memory: auto``, which is the length of the window. Figures are the sequences that were needed until
the newest 500 were solved, seed by seed, the median in front: at most 1 % of the answers wrong, for adding a mean
squared error of 0.01 (always answering the mean costs 0.167). "-" is not solved within ``--limit`` sequences.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from streamrnn import Block, InputSpec, Learner, LearnerSpec, LearningSpec, ModelSpec, StreamSpec, TargetSpec
from tests.support.tasks import COPIED_SYMBOLS, adding_block, copy_block, temporal_order_block

Cell = Literal["lstm", "gru", "rnn"]
CELLS: Final[tuple[Cell, ...]] = ("lstm", "gru", "rnn")
STARTS: Final[dict[str, Literal["auto"] | None]] = {"as is": None, "memory": "auto"}
HIDDEN, LR = 32, 3e-3
SOLVED_ERROR = 0.01
NEWEST = 500
BLOCK = 250
"""Sequences between two looks at the error."""


class Task(NamedTuple):
    """A task: its sequences, how long they are at most, how many inputs and, where it asks for one, classes it has."""

    draw: Callable[[np.random.Generator, int, int], Block]
    length: int
    window: int
    inputs: int
    classes: int


TASKS: Final = {
    "order-100": Task(temporal_order_block, 100, 110, 8, 4),
    "order-200": Task(temporal_order_block, 200, 220, 8, 4),
    "adding-100": Task(adding_block, 100, 100, 2, 0),
    "adding-200": Task(adding_block, 200, 200, 2, 0),
    "copy-50": Task(copy_block, 50, 56, COPIED_SYMBOLS + 2, COPIED_SYMBOLS),
    "copy-100": Task(copy_block, 100, 106, COPIED_SYMBOLS + 2, COPIED_SYMBOLS),
}


def specification(task: Task, cell: Cell, memory: Literal["auto"] | None) -> LearnerSpec:
    """One stream of marked sequences; the learner sees the task's own inputs only."""
    return LearnerSpec(
        n_features=task.inputs,
        indicator=(task.classes > 0,) * task.inputs,  # one-hot inputs where classes are asked for
        target=TargetSpec(fields=("answer",), classes=tuple(range(task.classes)) if task.classes else None),
        has_end=True,
        model=ModelSpec(cell=cell, hidden_size=HIDDEN, memory=memory, readout="softmax" if task.classes else "linear"),
        learning=LearningSpec(k1=task.window, k2=task.window, lr=LR),
        streams=StreamSpec(max_streams=1),
        inputs=InputSpec(dt=False, previous_target=False),
    )


def sequences_until_solved(task: Task, cell: Cell, memory: Literal["auto"] | None, seed: int, limit: int) -> int | None:
    """Sequences learned until the newest ``NEWEST`` are solved, to the next ``BLOCK``; None: they are not."""
    learner, rng = Learner(specification(task, cell, memory), seed), np.random.default_rng([7, seed])
    errors: list[float] = []
    while len(errors) < limit:
        block = task.draw(rng, BLOCK, task.length)
        predictions = learner.process(block)
        asked = np.isfinite(block.y[:, 0])
        wrong = predictions.error if task.classes else (predictions.value[:, 0] - block.y[:, 0]) ** 2
        errors.extend(wrong[asked].reshape(BLOCK, -1).mean(axis=1).tolist())
        if len(errors) >= NEWEST and np.mean(errors[-NEWEST:]) <= SOLVED_ERROR:
            return len(errors)
    return None


def shown(needed: Sequence[int | None]) -> str:
    """The median, and every seed's figure.

    >>> shown([2000, None, 1750])
    '2,000 (2,000 - 1,750)'
    """
    figures = [f"{n:,}" if n is not None else "-" for n in needed]
    median = statistics.median_high([float("inf") if n is None else n for n in needed])
    return f"{'-' if median == float('inf') else f'{int(median):,}'} ({' '.join(figures)})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description="Sequences until tasks of long memory are solved.")
    parser.add_argument("--only", nargs="+", choices=tuple(TASKS), metavar="NAME", default=tuple(TASKS))
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--limit", type=int, default=30_000, help="most sequences of a run (default 30,000)")
    options = parser.parse_args(arguments)
    output = Console(width=140)
    view = Table(title="Sequences until solved: median (each seed)", title_justify="left")
    for header in ("task", "cell", *STARTS):
        view.add_column(header)
    for name in options.only:
        for cell in CELLS:
            row = []
            for start, memory in STARTS.items():
                if cell == "rnn" and memory is not None:
                    row.append("has no gates")
                    continue
                needed = [
                    sequences_until_solved(TASKS[name], cell, memory, seed, options.limit)
                    for seed in range(options.seeds)
                ]
                row.append(shown(needed))
                print(name, cell, start, row[-1], flush=True)
            view.add_row(name, cell, *row)
        view.add_section()
    output.print(view)


if __name__ == "__main__":
    main()
