"""Endless streams of symbols whose grammar is known: how near to its entropy, and when the last error was made.

    python -m tests.bench.grammars                                 all of them, three seeds, about four minutes
    python -m tests.bench.grammars --only reber --symbols 500000   one of them, and fewer symbols

Streams are drawn from ``tests/support/grammars.py`` and learned online in one pass, with no mark between strings and no
reset: 32 units, TBPTT(8, 32) at a rate that falls exponentially. "Above the floor" are the bits per symbol, over that
run's last tenth, less the entropy rate of the grammar. A step is an error where not every symbol that could come next
was more probable than every one that could not: as strict as the criterion of Gers et al. 2000, who ask the same of the
two most active outputs. "Error-free from" is the symbol that the first million without an error begins with; "-" where
there was none, and the longest such stretch is what the run had.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from streamrnn import Block, InputSpec, Learner, LearnerSpec, LearningSpec, ModelSpec, StreamSpec, TargetSpec
from tests.support.grammars import GRAMMARS, Grammar, stream, wrong

SYMBOLS: Final = 2_500_000
STRETCH: Final = 1_000_000
BLOCK: Final = 20_000
UPDATES: Final = 30_000


class Run(NamedTuple):
    """What a run did: bits per symbol of its last tenth, errors, and stretches without one."""

    last_bits: float
    errors: int
    longest: int
    begins: int | None
    microseconds: float


def specification(grammar: Grammar, updates: int = UPDATES) -> LearnerSpec:
    """A forecast of one stream's next symbol from those before it; the rate falls after ``updates``."""
    return LearnerSpec(
        n_features=0,
        target=TargetSpec(fields=("symbol",), classes=tuple(grammar.symbols), known="forecast"),
        model=ModelSpec(cell="lstm", hidden_size=32, memory="auto", readout="softmax"),
        learning=LearningSpec(
            k1=8, k2=32, lr=1e-2, schedule="exponential", schedule_updates=updates, schedule_least=1e-3
        ),
        streams=StreamSpec(max_streams=1),
        inputs=InputSpec(dt=False),
    )


def stretches(errors: npt.NDArray[np.int64], symbols: int, asked: int) -> tuple[int, int | None]:
    """The longest stretch without an error, and where the first of at least ``asked`` symbols begins.

    >>> stretches(np.array([3, 10]), 100, 50)
    (89, 11)
    """
    bounds = np.concatenate([[-1], errors, [symbols]])
    lengths = np.diff(bounds) - 1
    long = np.flatnonzero(lengths >= asked)
    return int(lengths.max()), int(bounds[long[0]]) + 1 if len(long) else None


def run(grammar: Grammar, seed: int, symbols: int, stretch: int = STRETCH) -> Run:
    """Learn a stream of so many symbols."""
    learner, rng = Learner(specification(grammar), seed), np.random.default_rng([11, seed])
    losses, errors, done, seconds = [], [], 0, 0.0
    newest = np.ones((1, len(grammar.symbols)))  # what is said of the next block's first symbol
    while done < symbols:
        numbers, legal = stream(grammar, rng, min(BLOCK, symbols - done))
        block = Block.events([b"s"] * len(numbers), np.zeros((len(numbers), 0)), numbers[:, None].astype(np.float64))
        started = time.process_time()
        predictions = learner.process(block)
        seconds += time.process_time() - started
        losses.append(predictions.loss / np.log(2))
        said = np.concatenate([newest, predictions.value])
        errors.append(done + np.flatnonzero(wrong(said[:-1], legal)))
        newest = said[-1:]
        done += len(numbers)
    bits, at = np.concatenate(losses), np.concatenate(errors)
    longest, begins = stretches(at, done, stretch)
    return Run(float(bits[-done // 10 :].mean()), len(at), longest, begins, 1e6 * seconds / done)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and each run as soon as it is known."""
    parser = argparse.ArgumentParser(description="Bits above the floor and stretches without an error, by grammar.")
    parser.add_argument("--only", nargs="+", choices=tuple(GRAMMARS), metavar="NAME", default=tuple(GRAMMARS))
    parser.add_argument("--seeds", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--symbols", type=int, default=SYMBOLS, help=f"of a run (default {SYMBOLS:,})")
    options = parser.parse_args(arguments)
    view = Table(title=f"{options.symbols:,} symbols", title_justify="left")
    for header in ("grammar", "seed", "floor", "above it", "errors", "longest without", "error-free from", "us"):
        view.add_column(header, justify="left" if header == "grammar" else "right")
    for name in options.only:
        grammar = GRAMMARS[name]
        for seed in range(options.seeds):
            one = run(grammar, seed, options.symbols)
            above = f"{one.last_bits - grammar.floor:.4f}"
            begins = "-" if one.begins is None else f"{one.begins:,}"
            row = (
                f"{grammar.floor:.4f}",
                above,
                f"{one.errors:,}",
                f"{one.longest:,}",
                begins,
                f"{one.microseconds:.1f}",
            )
            view.add_row(name, str(seed), *row)
            print(name, seed, *row, flush=True)
        view.add_section()
    Console(width=140).print(view)


if __name__ == "__main__":
    main()
