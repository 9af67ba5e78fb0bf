"""What it costs that labels come late, out of order, or never: error of every event, labelled or not.

    python -m tests.bench.late_labels                              every row, a minute
    python -m tests.bench.late_labels --cells elstm --seeds 3
    python -m tests.bench.late_labels --orders shuffled bulk --missing 0.5

Streams take turns; in all of them the target follows from a mean over about ten events of one input and what the other
was an event ago, and every ``REGIME`` events of a stream the signs of both turn round: whoever learns late stays wrong
for longer. Noise has variance .01. Of each event the label never comes with the probability "missing". The others come:

at once    before the stream's next event; ``known: record`` would say the same
in order   five events of their stream later
shuffled   none to eight events later, each by itself
straggling after an exponential time with a mean of 15 events, 60 at most: some far out of order
bulk       all labels of 50 events together, in the order of the events

Shown is the mean squared error over all but the first tenth of events, the mean of the seeds, and which share of the
labels came too late to teach anything. To compare with another checkout, run the same file there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from streamrnn import Block, InputSpec, Learner, LearnerSpec, ModelSpec, StreamSpec, TargetSpec
from streamrnn.learner.block import EVENT, LABEL

Floats = npt.NDArray[np.float64]
CELLS: Final[dict[str, dict[str, Any]]] = {
    "glru": {"cell": "glru"},
    "elstm": {"cell": "elstm"},
    "lstm": {"cell": "lstm"},
}
STREAMS: Final = 8
EVENTS: Final = 200_000
REGIME: Final = 2_500
NOISE: Final = 0.1
MEMORY: Final = 64
BULK: Final = 50
ORDERS: Final = ("at once", "in order", "shuffled", "straggling", "bulk")
MISSING: Final = (0.1, 0.5, 0.9)


def specification(cell: str) -> LearnerSpec:
    """Two inputs, and labels that may come until ``MEMORY`` newer events of their stream did."""
    return LearnerSpec(
        n_features=2,
        target=TargetSpec(fields=("y",), known="label", event_field="id", label_field="of", label_memory=MEMORY),
        model=ModelSpec(**CELLS[cell]),
        streams=StreamSpec(max_streams=STREAMS),
        inputs=InputSpec(dt=False, previous_target=False),
    )


def targets(rng: np.random.Generator, x: Floats) -> Floats:
    """What follows from the inputs (n, 2) of one stream."""
    y, mean, before = np.empty(len(x)), 0.0, 0.0
    for t, (u, v) in enumerate(x.tolist()):
        sign = 1.0 if t // REGIME % 2 else -1.0
        mean = 0.9 * mean + 0.1 * u
        y[t] = sign * (4.0 * mean + before)
        before = v
    return y + NOISE * rng.standard_normal(len(x))


def come(rng: np.random.Generator, order: str, n: int) -> Floats:
    """After which event of its stream, counted from 0, the label of each of n events comes."""
    t = np.arange(n, dtype=np.float64)
    if order == "bulk":
        return (t // BULK + 1) * BULK - 1
    late = {
        "at once": np.zeros(n),
        "in order": np.full(n, 5.0),
        "shuffled": rng.uniform(0.0, 8.99, n),
        "straggling": np.minimum(rng.exponential(15.0, n), 60.0),
    }
    return t + late[order]


def log(seed: int, order: str, missing: float, events: int) -> tuple[Block, Floats]:
    """The records, and the target of each event among them (NaN for labels)."""
    rng, n = np.random.default_rng([15, seed]), events // STREAMS
    rows: list[tuple[float, int, int, int, Floats, float]] = []  # turn, stream, kind, event, inputs, target
    for s in range(STREAMS):
        x = rng.standard_normal((n, 2))
        y = targets(rng, x)
        at, labelled = come(rng, order, n), rng.random(n) >= missing
        for t in range(n):
            number = 1 + t * STREAMS + s
            rows.append((t, s, EVENT, number, x[t], y[t]))
            if labelled[t] and at[t] < n:
                rows.append((at[t] + 1e-9 * (1 + t), s, LABEL, number, x[t] * np.nan, y[t]))
    rows.sort(key=lambda row: row[:2])
    turns, streams, kinds, numbers, inputs, y_known = zip(*rows, strict=True)
    kind, y = np.array(kinds), np.array(y_known)
    block = Block.events(
        [b"%d" % s for s in streams], np.array(inputs), np.where(kind == LABEL, y, np.nan)[:, None],
        time_ms=(1000 * np.array(turns)).astype(np.int64), kind=kind, event=np.array(numbers),
    )  # fmt: skip
    return block, np.where(kind == EVENT, y, np.nan)


def measured(cell: str, seed: int, order: str, missing: float, events: int) -> tuple[float, float]:
    """The mean squared error, and the share of labels that were too late to be learned."""
    block, y = log(seed, order, missing, events)
    learner = Learner(specification(cell), seed)
    squares = (learner.process(block).value[:, 0] - y) ** 2
    counters = learner.counters()
    too_late = counters["late_labels"] / max(1, counters["label_records"])
    return float(np.nanmean(squares[len(squares) // 10 :])), too_late


def table(cells: Sequence[str], orders: Sequence[str], missing: Sequence[float], seeds: int, events: int) -> Table:
    """A row for each order and share of missing labels, two columns for each cell."""
    result = Table("labels", "missing", *(f"{cell}, {what}" for cell in cells for what in ("MSE", "late")))
    for order in orders:
        for share in missing:
            row = []
            for cell in cells:
                found = np.mean([measured(cell, seed, order, share, events) for seed in range(seeds)], axis=0)
                row += [f"{found[0]:.3f}", f"{found[1]:.1%}"]
            result.add_row(order, f"{share:.0%}", *row)
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=CELLS, default=list(CELLS))
    parser.add_argument("--orders", nargs="+", choices=ORDERS, default=ORDERS)
    parser.add_argument("--missing", nargs="+", type=float, default=MISSING)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--events", type=int, default=EVENTS)
    given = parser.parse_args()
    Console(width=120).print(table(given.cells, given.orders, given.missing, given.seeds, given.events))


if __name__ == "__main__":
    main()
