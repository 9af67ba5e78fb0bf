"""What a record costs where single steps look ahead, against how far and how many units; beside a forward network.

Streams without ends, windows as by default (k1 8, k2 32), eight numbers in, one out; microseconds of CPU per record
that goes through a learner, of which those of predicting alone are without any known target.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from streamrnn.learner.block import Block
from streamrnn.learner.lowering import bytes_per_stream
from streamrnn.learner.making import new_learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec
from streamrnn.learner.target_spec import TargetSpec

HIDDEN = (16, 32, 64)
LOOKAHEAD = (0, 1, 3, 10, 30)  # 0: forward
STREAMS, RECORDS = 20, 1_000


def spec_of(lookahead: int, hidden: int, dtype: str) -> LearnerSpec:
    """An LSTM."""
    direction = {"direction": "both", "lookahead": lookahead} if lookahead else {}
    return LearnerSpec(
        n_features=8,
        target=TargetSpec(fields=("y",)),
        inputs=InputSpec(previous_target=False),
        model=ModelSpec(hidden_size=hidden, dtype=dtype, **direction),
    )


def block_of(turn: int, *, known: bool) -> Block:
    """Records of all streams in turn, whose target is the sum of what came before and what comes behind."""
    rng = np.random.default_rng(turn)
    x = rng.normal(size=(RECORDS, 8))
    y = x[:, :1] + np.roll(x[:, 1:2], STREAMS) + np.roll(x[:, 2:3], -STREAMS)
    keys = [b"%d" % (i % STREAMS) for i in range(RECORDS)]
    times = 1000 * (turn * RECORDS + np.arange(RECORDS))
    return Block.events(keys, x=x, y=y if known else np.full_like(y, np.nan), time_ms=times)


def cost(spec: LearnerSpec, turns: int, *, known: bool) -> float:
    """Microseconds of CPU per record, the median of so many blocks behind the first two."""
    learner, spent = new_learner(spec, 1), []
    for turn in range(turns + 2):
        block = block_of(turn, known=known)
        started = time.process_time()
        learner.process(block)
        spent.append(time.process_time() - started)
    return 1e6 * float(np.median(spent[2:])) / RECORDS


def rows(hidden: Sequence[int], lookahead: Sequence[int], dtype: str, turns: int) -> Iterator[tuple[str, ...]]:
    """A row for each network: predicting alone, and learning, too; bytes per stream."""
    for units in hidden:
        for ahead in lookahead:
            spec = spec_of(ahead, units, dtype)
            costs = [cost(spec, turns, known=known) for known in (False, True)]
            name = f"both {units}+{units}, look-ahead {ahead}" if ahead else f"forward {units}"
            yield name, *(f"{each:.1f}" for each in costs), f"{bytes_per_stream(spec):,}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What a record costs where single steps look ahead.")
    parser.add_argument("--hidden", nargs="+", type=int, default=HIDDEN)
    parser.add_argument("--lookahead", nargs="+", type=int, default=LOOKAHEAD)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--turns", type=int, default=10, help="blocks of 1,000 records (default 10)")
    options = parser.parse_args(arguments)
    view = Table(title="us of CPU per record", title_justify="left")
    for header in ("network", "predict", "predict and learn", "bytes per stream"):
        view.add_column(header)
    for row in rows(options.hidden, options.lookahead, options.dtype, options.turns):
        print(*row, sep="  ", flush=True)
        view.add_row(*row)
    Console(width=100).print(view)


if __name__ == "__main__":
    main()
