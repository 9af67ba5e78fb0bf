"""What a symbol costs, by how many symbols there are: as an input and as an output, each by itself.

    python -m tests.bench.vocabularies

Microseconds of processor time per record inside the jitted block: LSTM, float32, Adam, one stream, symbols drawn at
random, all of them as likely. "input": a symbol is looked up and a number predicted from it. "output": a number comes
in, and the symbol is the class to predict. Rows of the input weights are looked up and the optimiser touches those in
use alone, so that a larger set costs an input nothing but memory; every output has its part in the softmax, and its row
in the optimiser's step. All cases are timed in turn, in one process; figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, Literal, NamedTuple
from unittest import mock

import numpy as np
from rich.console import Console
from rich.table import Table

from streamrnn import Block, InputSpec, Learner, LearnerSpec, LearningSpec, ModelSpec, StreamSpec, TargetSpec
from streamrnn.core.handle import Handle
from streamrnn.learner.symbols import Symbols

Side = Literal["input", "output"]
SIDES: Final[tuple[Side, ...]] = ("input", "output")
SIZES: Final = (64, 256, 5_000)
WINDOW: Final = 16
WORK: Final = {"predict": False, f"TBPTT({WINDOW},{WINDOW})": True}
RECORDS: Final = {64: 8_000, 256: 8_000, 5_000: 1_600}
"""Of a round, by the number of symbols: a round takes a second where all is well."""


def specification(side: Side, size: int, hidden_size: int) -> LearnerSpec:
    """A learner with one symbol, at the input or at the output, and one number at the other."""
    symbols = Symbols(values=tuple(str(number) for number in range(size)))
    looked_up = side == "input"
    return LearnerSpec(
        n_features=0 if looked_up else 1,
        symbols=(symbols,) if looked_up else (),
        target=TargetSpec(fields=("y",), classes=None if looked_up else symbols),
        model=ModelSpec(cell="lstm", hidden_size=hidden_size, readout="linear" if looked_up else "softmax"),
        learning=LearningSpec(k1=WINDOW, k2=WINDOW),
        streams=StreamSpec(max_streams=1),
        inputs=InputSpec(dt=False, previous_target=False),
    )


class Case(NamedTuple):
    """A learner, and the records it is timed with."""

    learner: Learner
    block: Block

    @classmethod
    def of(cls, side: Side, size: int, hidden_size: int) -> Case:
        """Symbols at one side, and normal numbers at the other."""
        rng, n = np.random.default_rng(1), RECORDS.get(size, 1_600)
        drawn, numbers = rng.integers(0, size, n), rng.standard_normal((n, 1))
        if side == "input":
            block = Block.events([b"s"] * n, np.zeros((n, 0)), numbers)
            block = replace(block, symbols=([str(number) for number in drawn.tolist()],))
        else:
            block = Block.events([b"s"] * n, numbers, drawn[:, None].astype(np.float64))
        return cls(Learner(specification(side, size, hidden_size), seed=0), block)

    def time(self, learns: bool) -> float:
        """Microseconds of processor time per record in the kernels."""
        walk, seconds = Handle.process, 0.0

        def timed(*arguments: Any) -> None:
            nonlocal seconds
            started = time.process_time()
            walk(*arguments)
            seconds += time.process_time() - started

        run: Callable[[Block], Any] = self.learner.process if learns else self.learner.predict
        with mock.patch.object(Handle, "process", timed):
            run(self.block)
        return 1e6 * seconds / len(self.block)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Cost of a symbol, by the number of symbols.")
    parser.add_argument("--hidden", type=int, default=64, help="units (default 64)")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="N", help="numbers of symbols")
    parser.add_argument("--rounds", type=int, default=7, help="(default 7)")
    options = parser.parse_args(arguments)
    cases = {(side, size): Case.of(side, size, options.hidden) for side in SIDES for size in options.sizes}
    times: dict[tuple[Side, int, str], list[float]] = {}
    for _ in range(options.rounds + 1):
        for (side, size), case in cases.items():
            for work, learns in WORK.items():
                times.setdefault((side, size, work), []).append(case.time(learns))
    view = Table(title=f"Microseconds per record, LSTM {options.hidden}", title_justify="left")
    view.add_column("symbols", justify="right")
    for side in SIDES:
        for work in WORK:
            view.add_column(f"{side}: {work}", justify="right")
    for size in options.sizes:
        # The first round warms up.
        medians = [statistics.median(times[side, size, work][1:]) for side in SIDES for work in WORK]
        view.add_row(f"{size:,}", *(f"{median:.2f}" for median in medians))
    Console(width=140).print(view)


if __name__ == "__main__":
    main()
