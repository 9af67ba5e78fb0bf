"""Do learners last? Regimes that come and go over a million events, and a run of ten million that is restored midway.

    python -m tests.bench.regimes                                    regimes, every cell, a minute
    python -m tests.bench.regimes --seeds 3 --cells lru elstm
    python -m tests.bench.regimes --restore                          ten million events of each cell, five minutes
    python -m tests.bench.regimes --restore --events 100000

Two regimes take turns, 10,000 events each. In one the target follows from a mean over about ten events of one input and
what the other was an event ago, in the other from a mean over about thirty and the opposite of it; noise has variance
.01 (the least that an error can be). "1-10" is the mean squared error of the first ten regimes, "11-20" that of the
next, "last" that of the last ten. "last/1-10" above 1 would say that a learner wears out; "last/11-20" is stricter,
since by then all has been learned once. Everything as by default, but for the bank, whose readout, rls, has no lags and
forgets half in 1,400 events.

With ``--restore`` a learner is stopped in the middle, and another goes on from its state: afterwards every array of
both must have the same bits, and all of them must be finite. It fails where one does not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from streamrnn import Block, InputSpec, Learner, LearnerSpec, ModelSpec, StreamSpec, TargetSpec

Floats = npt.NDArray[np.float64]
CELLS: Final[dict[str, dict[str, Any]]] = {
    "lru": {"cell": "glru", "gates": False},
    "glru": {"cell": "glru"},
    "glru, hidden 32": {"cell": "glru", "hidden_layer": 32},
    "elstm": {"cell": "elstm"},
    "elstm, hidden 32": {"cell": "elstm", "hidden_layer": 32},
    "bank": {"cell": "bank", "readout": "rls", "lags": 0, "rls_forgetting": 0.9995},
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "rnn": {"cell": "rnn"},
}
EVENTS: Final = 1_000_000
LONG: Final = 10_000_000
REGIME: Final = 10_000
NOISE: Final = 0.1
KEPT, SIZES, SIGNS = (0.9, 0.97), (4.0, -7.0), (-1.0, 1.0)
"""Of each regime: what its mean keeps from event to event, and the weights of the mean and of the event before."""


def specification(cell: str) -> LearnerSpec:
    """One stream and its two inputs."""
    return LearnerSpec(
        n_features=2,
        target=TargetSpec(fields=("y",)),
        model=ModelSpec(**CELLS[cell]),
        streams=StreamSpec(max_streams=1),
        inputs=InputSpec(dt=False, previous_target=False),
    )


def regimes(seed: int, events: int) -> Iterator[Block]:
    """The regimes, one block each."""
    rng = np.random.default_rng([13, seed])
    means, before = [0.0, 0.0], 0.0
    for number in range(events // REGIME):
        x, which = rng.standard_normal((REGIME, 2)), number % 2
        y = np.empty(REGIME)
        for t, (u, v) in enumerate(x.tolist()):
            for k, kept in enumerate(KEPT):
                means[k] = kept * means[k] + (1.0 - kept) * u
            y[t] = SIZES[which] * means[which] + SIGNS[which] * before
            before = v
        yield Block.events([b"s"] * REGIME, x, (y + NOISE * rng.standard_normal(REGIME))[:, None])


def errors(cell: str, seed: int, events: int) -> Floats:
    """Mean squared error of each regime, predicted as it was learned."""
    learner = Learner(specification(cell), seed)
    return np.array(
        [((learner.process(block).value[:, 0] - block.y[:, 0]) ** 2).mean() for block in regimes(seed, events)]
    )


def compared(of: Floats) -> tuple[float, float, float]:
    """Means of the first tenth of the regimes, of the second, and of the last.

    >>> compared(np.arange(100.0))
    (4.5, 14.5, 94.5)
    """
    n = len(of) // 10
    return float(of[:n].mean()), float(of[n : 2 * n].mean()), float(of[-n:].mean())


def differences(cell: str, seed: int, events: int) -> list[str]:
    """Arrays that are not finite at the end, or not the same in a run that was restored in the middle."""
    first, blocks = Learner(specification(cell), seed), list(regimes(seed, REGIME * 20))
    second: Learner | None = None
    for number in range(events // REGIME):
        if number == events // REGIME // 2:
            second = Learner(specification(cell), seed + 1)
            second.resume(first.state().copy())
        for learner in (first, second):
            if learner is not None:
                learner.process(blocks[number % len(blocks)])
    assert second is not None
    ours, theirs, found = first.state(), second.state(), []
    for here, there in ((ours.model, theirs.model), (ours.streams, theirs.streams)):
        for name, array in here.items():
            if array.tobytes() != there[name].tobytes():
                found.append(f"{name}: other bits")
            if array.dtype.kind == "f" and name not in OPEN and not np.isfinite(array).all():
                found.append(f"{name}: not finite")
    return found


OPEN: Final = frozenset({"y"})
"""Targets that are not known are NaN."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and each row as soon as it is known."""
    parser = argparse.ArgumentParser(description="Errors of regimes that come and go, and a run restored midway.")
    parser.add_argument("--cells", nargs="+", choices=tuple(CELLS), metavar="CELL", default=tuple(CELLS))
    parser.add_argument("--seeds", type=int, default=1, help="runs of each (default 1)")
    parser.add_argument("--events", type=int, help="of a run (default a million, with --restore ten)")
    parser.add_argument("--restore", action="store_true", help="stop in the middle and compare instead")
    options = parser.parse_args(arguments)
    if options.restore:
        _restore(options.cells, options.events or LONG)
        return
    events = options.events or EVENTS
    view = Table(title=f"Squared errors, {events // REGIME} regimes of {REGIME:,} events", title_justify="left")
    for header in ("cell", "1-10", "11-20", "last", "last/1-10", "last/11-20", "worst seed"):
        view.add_column(header, justify="left" if header == "cell" else "right")
    for cell in options.cells:
        runs = np.array([compared(errors(cell, seed, events)) for seed in range(options.seeds)])
        first, second, last = runs.mean(axis=0)
        worst = (runs[:, 2] / runs[:, 1]).max()
        row = (*(f"{e:.4f}" for e in (first, second, last)), *(f"{last / e:.2f}" for e in (first, second)))
        view.add_row(cell, *row, f"{worst:.2f}")
        print(cell, *row, f"{worst:.2f}", flush=True)
    Console(width=100).print(view)


def _restore(cells: Sequence[str], events: int) -> None:
    failed = False
    for cell in cells:
        found = differences(cell, 0, events)
        failed = failed or bool(found)
        print(f"{cell}, {events:,} events: {'; '.join(found) or 'finite, and the same bits as restored'}", flush=True)
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
