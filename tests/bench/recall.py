"""How far back a lesson reaches: exact gradients, learned from at every event, beside windows that cover the lag.

    python -m tests.bench.recall                                     everything, about half an hour
    python -m tests.bench.recall --only recall-64 echo --seeds 3     some of it
    python -m tests.bench.recall --only adding-400 --cells elstm gru

One pass over each log (``tests/support/tasks.py``, ``grammars.py``), everything as by default but for what the table's
last column says, and that is the same for all seeds.

recall-T    A sign is asked for T steps after it was shown, noise between; 500,000 events. Mean squared error of the
            last tenth of the answers, of which always saying 0 has 1. Aim: below .1, 10 of 10 seeds (512: no aim).
echo        The input of 24 steps ago, at every step; 200,000 events. Error of the last tenth, variance 1. Aim: .02.
adding-T    Sequences learned until the newest 500 have a mean squared error of .01; "-": not within 10,000 for 100,
            5,000 for 400 steps. Aim: 2,500.
reber       The continual embedded Reber grammar; 500,000 symbols. Steps per 100,000, after the first 200,000, whose
            most probable symbol could not come. Aim: 10.
narma       NARMA10 from its input alone; 200,000 events. Root of the error over the variance, last tenth. Aim: .40.

Shown are the median over seeds and how many reach the aim, then the least microseconds of the processor per
event, and bytes per stream.
Windows (k1, k2) of LSTM and GRU cover the lag, (8, T + 8), and for sequences all of each; "32" has the default's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from streamrnn import Block, InputSpec, Learner, LearnerSpec, LearningSpec, ModelSpec, StreamSpec, TargetSpec
from streamrnn.learner.lowering import bytes_per_stream
from tests.support.grammars import REBER, stream
from tests.support.tasks import adding_block, echo_block, narma_block, recall_block

Floats = npt.NDArray[np.float64]
CELLS: Final = ("lru", "glru", "elstm", "lstm", "gru", "lstm 32", "gru 32")
WINDOWS: Final = ("lstm", "gru")
EVENTS, SHORT, SYMBOLS = 500_000, 200_000, 500_000
PIECE: Final = 50_000
"""Events between two looks at the clock: what is learned does not depend on it."""
ECHO: Final = 24
SOLVED, NEWEST = 0.01, 500
RARE: Final = 1e-2
"""The rate where there is a lesson once in tens or hundreds of events."""
LIMITS: Final = {100: 10_000, 400: 5_000}


class Log(NamedTuple):
    """What is learned in one pass; ``legal`` (n, K) are the symbols that could have stood there, of numbers empty."""

    block: Block
    legal: npt.NDArray[np.bool_] = np.zeros((0, 0), np.bool_)


class Task(NamedTuple):
    """``figure`` of what was said (n, O) about a log is to be at most ``aim``, over so many seeds."""

    draw: Callable[[int], Log]
    figure: Callable[[Log, Floats], float]
    aim: float
    seeds: int
    spec: Callable[[str], LearnerSpec]


# -- settings ----------------------------------------------------------------------------------------------------------


def specification(
    cell: str, lag: int, inputs: int, *, marks: Sequence[int] = (), ends: bool = False, **settings: Any
) -> LearnerSpec:
    """Numbers to be predicted with the record, from the task's inputs alone; ``marks`` are those not to be scaled."""
    model, learning = _settings(cell, lag, ends=ends, **settings)
    return LearnerSpec(
        n_features=inputs,
        indicator=tuple(k in marks for k in range(inputs)),
        target=TargetSpec(fields=("y",)),
        has_end=ends,
        model=model,
        learning=learning,
        streams=StreamSpec(max_streams=1),
        inputs=InputSpec(dt=False, previous_target=False),
    )


def _settings(
    cell: str, lag: int, *, ends: bool = False, lr: float | None = None, memory: bool = True, **model: Any
) -> tuple[ModelSpec, LearningSpec]:
    """Of a cell for a lag, which windows cover unless the cell's name says 32."""
    schedule: Any = None if lr is None else "constant"
    name, _, default = cell.partition(" ")
    if name in WINDOWS:
        k1, k2 = (8, 32) if default else (lag, lag) if ends else (8, lag + 8)
        spread = "auto" if memory else None
        return ModelSpec(cell=name, memory=spread, **model), LearningSpec(k1=k1, k2=k2, lr=lr, schedule=schedule)
    gates = name != "lru"
    code = name if gates else "glru"
    return (
        ModelSpec(cell=code, gates=gates, memory=lag if memory else None, **model),
        LearningSpec(lr=lr, schedule=schedule),
    )


def of_symbols(cell: str) -> LearnerSpec:
    """A forecast of the next symbol, at a rate that falls; as LSTM and GRU, so that errors end."""
    name = cell.partition(" ")[0]
    exact = name not in WINDOWS
    return LearnerSpec(
        n_features=0,
        target=TargetSpec(fields=("symbol",), classes=tuple(REBER.symbols), known="forecast"),
        model=ModelSpec(
            cell="glru" if name == "lru" else name,
            gates=name != "lru",
            hidden_size=64 if name == "elstm" else 32,
            hidden_layer=32 if exact else None,
            memory=None if exact else "auto",
            readout="softmax",
        ),
        learning=LearningSpec(lr=1e-2, schedule="exponential", schedule_updates=10_000, schedule_least=1e-2),
        streams=StreamSpec(max_streams=1),
        inputs=InputSpec(dt=False),
    )


def different(spec: LearnerSpec) -> str:
    """What of model and learning is not as by default.

    >>> different(specification("lru", 64, 3, lr=3e-3))
    'memory: 64, lr: 0.003'
    """
    model = ModelSpec(cell=spec.model.cell, gates=spec.model.gates, readout=spec.model.readout)
    given = []
    for ours, plain in ((spec.model, model), (spec.learning, LearningSpec())):
        values = {name: getattr(ours, name) for name in ours.__struct_fields__}
        given += [f"{name}: {value}" for name, value in values.items() if value != getattr(plain, name)]
    return ", ".join(one for one in given if one != "schedule: constant")


# -- tasks -------------------------------------------------------------------------------------------------------------


def last_tenth(log: Log, said: Floats) -> float:
    """Mean squared error of the last tenth of the answers over their variance."""
    y = log.block.y[:, 0]
    asked = np.flatnonzero(np.isfinite(y))
    last = asked[-(len(asked) // 10) :]
    return float(((said[last, 0] - y[last]) ** 2).mean() / y[last].var())


def until_solved(log: Log, said: Floats) -> float:
    """Answers until the newest ``NEWEST`` were right, inf = never; looked at after every 250."""
    y = log.block.y[:, 0]
    asked = np.flatnonzero(np.isfinite(y))
    total = np.concatenate([[0.0], np.cumsum((said[asked, 0] - y[asked]) ** 2)])
    ends = np.arange(NEWEST, len(asked) + 1, 250)
    solved = ends[total[ends] - total[ends - NEWEST] <= SOLVED * NEWEST]
    return float(solved[0]) if len(solved) else np.inf


def illegal(log: Log, said: Floats) -> float:
    """Per 100,000 steps after the first 200,000: those whose most probable symbol could not come."""
    n = len(said)
    wrong = ~log.legal[np.arange(1, n), said[:-1].argmax(axis=1)]
    return 1e5 * float(wrong[2 * n // 5 :].mean())


def grammar(seed: int) -> Log:
    """The continual embedded Reber grammar."""
    numbers, legal = stream(REBER, np.random.default_rng([11, seed]), SYMBOLS)
    x, y = np.zeros((SYMBOLS, 0)), numbers[:SYMBOLS, None].astype(np.float64)
    return Log(Block.events([b"s"] * SYMBOLS, x, y), legal[:SYMBOLS])


def recall(lag: int, events: int = EVENTS) -> Task:
    """A sign that is asked for so many steps later."""
    return Task(
        lambda seed: Log(recall_block(np.random.default_rng([lag, seed]), events, lag)),
        last_tenth,
        0.1,
        10,
        lambda cell: specification(cell, lag, 3, marks=(0, 2), lr=RARE),
    )


def adding(length: int) -> Task:
    """The adding problem."""
    return Task(
        lambda seed: Log(adding_block(np.random.default_rng([7, seed]), LIMITS[length], length)),
        until_solved,
        2_500,
        3,
        lambda cell: specification(cell, length, 2, marks=(1,), ends=True, lr=RARE),
    )


TASKS: Final = {
    **{f"recall-{lag}": recall(lag) for lag in (16, 64, 128, 256, 512)},
    "echo": Task(
        lambda seed: Log(echo_block(np.random.default_rng([ECHO, seed]), SHORT, ECHO)),
        last_tenth,
        0.02,
        3,
        lambda cell: specification(cell, ECHO, 1, memory=False),
    ),
    "adding-100": adding(100),
    "adding-400": adding(400),
    "reber": Task(grammar, illegal, 10, 3, of_symbols),
    "narma": Task(
        lambda seed: Log(narma_block(np.random.default_rng([10, seed]), SHORT)),
        lambda log, said: last_tenth(log, said) ** 0.5,
        0.4,
        3,
        lambda cell: specification(
            cell, 10, 1, memory=False, hidden_layer=None if cell.partition(" ")[0] in WINDOWS else 32
        ),
    ),
}


# -- running -----------------------------------------------------------------------------------------------------------


def run(task: Task, cell: str, seed: int, log: Log) -> tuple[float, float]:
    """The figure, and microseconds of the processor per event."""
    learner, said, spent, n = Learner(task.spec(cell), seed), [], 0.0, len(log.block)
    for a in range(0, n, PIECE):
        piece = log.block.rows(slice(a, min(n, a + PIECE)))
        before = time.process_time()
        said.append(learner.process(piece).value)
        spent += time.process_time() - before
    return task.figure(log, np.concatenate(said)), 1e6 * spent / n


def shown(figures: Sequence[float], aim: float) -> str:
    """Their median, and how many are at most the aim.

    >>> shown([0.013, 0.24, 0.02], 0.1)
    '.020  2/3'
    """
    median = float(np.quantile(figures, 0.5, method="higher"))
    text = "-" if median == np.inf else f"{median:,.0f}" if aim >= 1 else f"{median:.3f}".removeprefix("0")
    return f"{text}  {sum(figure <= aim for figure in figures)}/{len(figures)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and each row as soon as it is known."""
    parser = argparse.ArgumentParser(description="How far back a lesson reaches, by cell and rule.")
    parser.add_argument("--only", nargs="+", choices=tuple(TASKS), metavar="TASK", default=tuple(TASKS))
    parser.add_argument("--cells", nargs="+", choices=CELLS, metavar="CELL", default=CELLS)
    parser.add_argument("--seeds", type=int, help="runs of each (default 10 of recall, else 3)")
    options = parser.parse_args(arguments)
    view = Table(title="Median over seeds, and how many reach the aim", title_justify="left")
    for header in ("task", "aim", "cell", "figure", "us", "bytes", "settings"):
        view.add_column(header)
    for name in options.only:
        task = TASKS[name]
        logs = [task.draw(seed) for seed in range(options.seeds or task.seeds)]
        for cell in options.cells:
            figures, times = zip(*(run(task, cell, seed, log) for seed, log in enumerate(logs)), strict=True)
            spec = task.spec(cell)
            row = (
                name,
                f"{task.aim:g}",
                cell,
                shown(figures, task.aim),
                f"{min(times):.2f}",
                f"{bytes_per_stream(spec):,}",
            )
            view.add_row(*row, different(spec))
            print(*row, different(spec), "|", *(f"{figure:.4g}" for figure in figures), flush=True)
        view.add_section()
    Console(width=170).print(view)


if __name__ == "__main__":
    main()
