"""Microseconds per record inside the jitted block, and bytes per stream.

    python -m tests.bench.kernels            all cells and sizes, a few minutes
    python -m tests.bench.kernels --quick    one cell and size, a few seconds
    python -m tests.bench.kernels --exact    cells with exact gradients beside LSTM 32, all in turn
    python -m tests.bench.kernels --beside ../before --streams 1
                                             another checkout and this one in turn, the least of all rounds

What is timed is the one call that walks a block: decoding, the lookup of slots and everything else in Python stays
outside. One thread. Every figure is the median over runs of blocks of thousands of records, in CPU time. ``predict``
scores nothing and changes nothing; the others predict, score, advance and learn from every record, with Adam. With
10,000 streams each record belongs to another stream than the one before, as far apart in memory as can be.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest import mock

import numpy as np

from streamrnn.core.handle import Handle
from streamrnn.learner import lowering
from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec

Cell = Literal["lstm", "gru", "rnn"]
FEATURES = 8
CELLS: tuple[Cell, ...] = ("lstm", "gru", "rnn")
HIDDEN = (16, 32, 64, 128)
STREAMS = (1, 10_000)
WINDOWS = {"predict": None, "TBPTT(16,16)": (16, 16), "TBPTT(1,16)": (1, 16)}
DEFAULT_WINDOW = (8, 32)
EXACT: dict[str, dict[str, Any]] = {
    "lru": {"cell": "glru", "gates": False},
    "glru": {"cell": "glru"},
    "elstm": {"cell": "elstm"},
    "elstm, layer of 32": {"cell": "elstm", "hidden_layer": 32},
}
AHEAD = 8
"""Steps that the targets of the last column are ahead: a second state learns them, so many events behind."""


class Row(NamedTuple):
    """One line of the table: microseconds per record by what is done, in the order of ``WINDOWS``."""

    cell: Cell
    hidden: int
    streams: int
    microseconds: tuple[float, ...]


def learner(cell: Cell, hidden: int, k1: int, k2: int, streams: int) -> Learner:
    """A learner with ``FEATURES`` raw inputs, one target and nothing derived."""
    spec = LearnerSpec(
        n_features=FEATURES,
        target=TargetSpec(fields=("y",)),
        model=ModelSpec(cell=cell, hidden_size=hidden),
        learning=LearningSpec(k1=k1, k2=k2),
        inputs=InputSpec(dt=False, previous_target=False),
        streams=StreamSpec(max_streams=max(streams, 2)),
    )
    return Learner(spec, seed=0)


def exact_learner(name: str, k1: int, ahead: int = 0) -> Learner:
    """The same with a cell of ``EXACT`` of 32 units, whose target may be the series' own values so far ahead."""
    spec = LearnerSpec(
        n_features=FEATURES,
        target=TargetSpec(fields=("y",), known="forecast", horizon=(ahead,)) if ahead else TargetSpec(fields=("y",)),
        model=ModelSpec(hidden_size=32, **EXACT[name]),
        learning=LearningSpec(k1=k1),
        inputs=InputSpec(dt=False, previous_target=False),
        streams=StreamSpec(max_streams=2),
    )
    return Learner(spec, seed=0)


def block(streams: Iterable[int], known: bool = True) -> Block:
    """One record per entry of ``streams``, in that order, its target known or not."""
    keys = [b"%d" % stream for stream in streams]
    rng, n = np.random.default_rng(1), len(keys)
    x, y = rng.standard_normal((n, FEATURES)), rng.standard_normal((n, 1)) if known else np.full((n, 1), np.nan)
    return Block.events(keys, x, y, time_ms=np.arange(n, dtype=np.int64))


def fill(subject: Learner, streams: int) -> None:
    """Fill every stream's window, and spread the streams over the k1 steps between windows.

    Streams in step with each other would all learn from the same records and not at all from those between. Where
    every record learns anyway, targets stay unknown meanwhile, which saves the time.
    """
    k1, k2 = subject.spec.learning.k1, subject.spec.learning.k2
    for turn in range(k2 + k1):
        subject.process(block([s for s in range(streams) if turn >= s % k1], known=k1 > 1))


@contextmanager
def timed_walk() -> Iterator[list[float]]:
    """Collects the seconds each call of the jitted block takes."""
    walk, seconds = Handle.process, []

    def timed(*arguments: Any) -> None:
        started = time.process_time()
        walk(*arguments)
        seconds.append(time.process_time() - started)

    with mock.patch.object(Handle, "process", timed):
        yield seconds


class Case:
    """One cell, size and number of streams, ready to be timed."""

    def __init__(self, cell: Cell, hidden: int, streams: int, budget_s: float) -> None:
        self.cell, self.hidden, self.streams = cell, hidden, streams
        self._runs: list[tuple[Callable[[Block], Any], Block]] = []
        for window in WINDOWS.values():
            k1, k2 = window or (16, 16)
            subject = learner(cell, hidden, k1, k2, streams)
            fill(subject, streams)
            run = subject.process if window else subject.predict
            with timed_walk() as seconds:
                run(block(np.arange(800) % streams))
            # A whole number of rounds for one stream: as many records learn in one block as in another. Never only a
            # few, which a learner hands to the kernels in another way.
            n = 16 * max(8, round(min(40_000, budget_s * 800 / seconds.pop()) / 16))
            self._runs.append((run, block(np.arange(n) % streams)))

    def round(self) -> list[float]:
        """Microseconds per record, one block of each window."""
        figures = []
        for run, sample in self._runs:
            with timed_walk() as seconds:
                run(sample)
            figures.append(1e6 * seconds.pop() / len(sample))
        return figures

    def row(self, rounds: Sequence[Sequence[float]], kind: Callable[[Sequence[float]], float]) -> Row:
        """A line of the table: the median or the least of the rounds."""
        return Row(self.cell, self.hidden, self.streams, tuple(kind(figures) for figures in zip(*rounds, strict=True)))


class Checkout:
    """A process that times the kernels of the checkout at ``path`` when told to."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, __file__, "--serve"]
        environment = {**os.environ, "PYTHONPATH": str(path.resolve())}
        self._process = subprocess.Popen(
            command, cwd=path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, question: Sequence[Any]) -> Any:
        """Send a line, wait for one."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        """Let the process end."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def serve() -> None:
    """Answer lines from the standard input: a case to prepare, or an empty list for a round of it."""
    case: Case | None = None
    for line in sys.stdin:
        if question := json.loads(line):
            case = Case(*question)
        print(json.dumps(case.round() if case else []), flush=True)


def compare(path: Path, cases: Sequence[tuple[Cell, int, int]], rounds: int, budget_s: float) -> None:
    """Print the least of ``rounds`` of the checkout at ``path`` and of this one, which take turns."""
    checkouts = [Checkout(path), Checkout(Path(__file__).parents[2])]
    columns = [f"{name}{when}" for name in WINDOWS for when in (" before", ", us")]
    print("| cell | hidden | streams |" + "".join(f" {c} |" for c in columns) + "\n|---|" + "--:|" * (2 + len(columns)))
    for case in cases:
        for checkout in checkouts:
            checkout.ask([*case, budget_s])
        times = np.array([[checkout.ask([]) for checkout in checkouts] for _ in range(rounds)]).min(axis=0)
        figures = "".join(f" {figure:.3g} |" for figure in times.T.flatten())
        print(f"| {case[0]} | {case[1]} | {case[2]:,} |{figures}", flush=True)
    for checkout in checkouts:
        checkout.stop()


def exact_runs(name: str) -> list[tuple[Callable[[Block], Any], Block]]:
    """What is timed of one cell: predict, learn at every event, at every eighth, and with targets that come later."""
    n = 16_000
    subjects = [exact_learner(name, 1), exact_learner(name, 1), exact_learner(name, 8), exact_learner(name, 1, AHEAD)]
    runs = [(subject.process, block([0] * n)) for subject in subjects]
    subjects[0].process(block([0] * 800))  # of a stream nobody knows less would be asked
    runs[0] = (subjects[0].predict, runs[0][1])
    return runs


def compare_exact(rounds: int) -> None:
    """Print the medians of ``rounds`` of each exact cell and of LSTM 32, which take turns."""
    lstm = Case("lstm", 32, 1, 0.01)
    runs = {name: exact_runs(name) for name in EXACT}
    seconds: list[dict[str, list[float]]] = []
    for _ in range(rounds):
        figures = {"lstm": lstm.round()}
        for name, ways in runs.items():
            with timed_walk() as taken:
                for run, sample in ways:
                    run(sample)
            figures[name] = [1e6 * s / len(sample) for s, (_, sample) in zip(taken, ways, strict=True)]
        seconds.append(figures)
    medians = {name: np.median([figures[name] for figures in seconds], axis=0) for name in seconds[0]}
    window = medians["lstm"][2]
    print(f"LSTM 32, TBPTT(16,16) {medians['lstm'][1]:.2f} us, TBPTT(1,16) {window:.2f} us")
    columns = "predict, us", "k1 = 1", "k1 = 8", f"{AHEAD} ahead, k1 = 1", "times LSTM TBPTT(1,16)", "bytes/stream"
    print(f"| cell, 32 units | {' | '.join(columns)} |")
    print("|---|" + "--:|" * 6)
    for name in EXACT:
        cells = " | ".join(f"{figure:.2f}" for figure in medians[name])
        size = lowering.bytes_per_stream(exact_learner(name, 1).spec)
        print(f"| {name} | {cells} | {window / medians[name][1]:.1f} | {size:,} |")


def bytes_per_stream(cell: Cell, hidden: int) -> int:
    """Array memory of one stream at the default window."""
    return lowering.bytes_per_stream(learner(cell, hidden, *DEFAULT_WINDOW, streams=2).spec)


def table(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table, with bytes per stream."""
    k1, k2 = DEFAULT_WINDOW
    lines = [
        f"| cell | hidden | streams | {' | '.join(f'{name}, us' for name in WINDOWS)} | bytes/stream ({k1},{k2}) |",
        "|---|--:|--:|" + "--:|" * (len(WINDOWS) + 1),
    ]
    for row in rows:
        figures = " | ".join(f"{value:.2f}" for value in row.microseconds)
        size = bytes_per_stream(row.cell, row.hidden)
        lines.append(f"| {row.cell} | {row.hidden} | {row.streams:,} | {figures} | {size:,} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time the jitted block: microseconds per record, one thread.")
    parser.add_argument("--quick", action="store_true", help="LSTM 32 only, short runs")
    parser.add_argument("--exact", action="store_true", help="cells with exact gradients beside LSTM 32")
    parser.add_argument("--runs", type=int, default=7, help="blocks per figure (default 7)")
    parser.add_argument("--beside", type=Path, help="another checkout, to be timed in turn with this one")
    parser.add_argument("--cells", nargs="+", default=CELLS, choices=CELLS, help="default: all")
    parser.add_argument("--hidden", nargs="+", default=HIDDEN, type=int, help="default: 16 32 64 128")
    parser.add_argument("--streams", nargs="+", default=STREAMS, type=int, help="default: 1 10000")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.serve:
        serve()
        return
    sizes = [("lstm", 32, s) for s in STREAMS]
    if not options.quick:
        sizes = [(cell, hidden, s) for cell in options.cells for hidden in options.hidden for s in options.streams]
    budget_s = 0.01 if options.quick or options.beside else 0.2
    kind = "least" if options.beside else "median"
    print(f"features {FEATURES}, float32, Adam, one thread; {kind} of {options.runs} runs", flush=True)
    if options.exact:
        compare_exact(options.runs)
        return
    if options.beside:
        compare(options.beside, sizes, options.runs, budget_s)
        return
    rows = []
    for size in sizes:
        case = Case(*size, budget_s)
        rows.append(case.row([case.round() for _ in range(options.runs)], statistics.median))
        if not options.quick:
            print(f"  {rows[-1]}", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
