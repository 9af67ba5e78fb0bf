"""Do learners last? Regimes that come and go over a million events, and a run of ten million that is restored midway.

    python -m tests.bench.regimes                                    regimes, every cell, a minute
    python -m tests.bench.regimes --seeds 3 --cells lru elstm
    python -m tests.bench.regimes --change                           regimes that are new after half a million
    python -m tests.bench.regimes --restore                          ten million events of each cell, five minutes
    python -m tests.bench.regimes --restore --events 100000

Two regimes take turns, 10,000 events each. In one the target follows from a mean over about ten events of one input and
what the other was an event ago, in the other from a mean over about thirty and the opposite of it; noise has variance
.01 (the least that an error can be). "1-10" is the mean squared error of the first ten regimes, "11-20" that of the
next, "last" that of the last ten. "last/1-10" above 1 would say that a learner wears out; "last/11-20" is stricter,
since by then all has been learned once. Everything as by default, but for the bank, whose readout, rls, has no lags and
forgets half in 1,400 events.

With ``--change`` other regimes come after half a million events: means of the other input, over five and twenty events,
with other weights. Shown are errors of the ten regimes before, and of the first four and the last ten of twenty after,
beside a learner that knows only these twenty: one that was worn out could not learn them as fast.

With ``--restore`` a learner is stopped in the middle, and another goes on from its state: afterwards every array of
both must have the same bits, and all of them must be finite. It fails where one does not.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

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


class Kind(NamedTuple):
    """Of each regime: what its mean keeps from event to event, and the weights of the mean and of the event before;
    and which input the mean is of."""

    kept: tuple[float, float] = (0.9, 0.97)
    sizes: tuple[float, float] = (4.0, -7.0)
    signs: tuple[float, float] = (-1.0, 1.0)
    of: int = 0


USUAL: Final = Kind()
OTHER: Final = Kind((0.8, 0.95), (-3.0, 6.0), (1.0, -1.0), 1)
SETTLED, AFTER, SOON = 50, 20, 4
"""Regimes before those of the other kind, regimes of it, and how many of these are its beginning."""


def specification(cell: str) -> LearnerSpec:
    """One stream and its two inputs."""
    return LearnerSpec(
        n_features=2,
        target=TargetSpec(fields=("y",)),
        model=ModelSpec(**CELLS[cell]),
        streams=StreamSpec(max_streams=1),
        inputs=InputSpec(dt=False, previous_target=False),
    )


def regimes(seed: int, events: int, kind: Kind = USUAL) -> Iterator[Block]:
    """The regimes, one block each."""
    rng = np.random.default_rng([13, seed])
    means, before = [0.0, 0.0], 0.0
    for number in range(events // REGIME):
        x, which = rng.standard_normal((REGIME, 2)), number % 2
        y = np.empty(REGIME)
        for t, (u, v) in enumerate((x[:, ::-1] if kind.of else x).tolist()):
            for k, kept in enumerate(kind.kept):
                means[k] = kept * means[k] + (1.0 - kept) * u
            y[t] = kind.sizes[which] * means[which] + kind.signs[which] * before
            before = v
        yield Block.events([b"s"] * REGIME, x, (y + NOISE * rng.standard_normal(REGIME))[:, None])


def errors(cell: str, seed: int, blocks: Iterable[Block]) -> Floats:
    """Mean squared error of each regime, predicted as it was learned."""
    learner = Learner(specification(cell), seed)
    return np.array([((learner.process(block).value[:, 0] - block.y[:, 0]) ** 2).mean() for block in blocks])


def changed(cell: str, seed: int) -> tuple[float, ...]:
    """Errors of the ten regimes before others come, of the first and the last of these, and of a new learner's."""
    new = list(regimes(seed, REGIME * AFTER, OTHER))
    old = errors(cell, seed, itertools.chain(regimes(seed, REGIME * SETTLED), new))
    fresh = errors(cell, seed, new)
    parts = (old[SETTLED - 10 : SETTLED], old[SETTLED : SETTLED + SOON], old[-10:], fresh[:SOON], fresh[-10:])
    return tuple(float(part.mean()) for part in parts)


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
    parser.add_argument("--change", action="store_true", help="other regimes after half a million events instead")
    parser.add_argument("--restore", action="store_true", help="stop in the middle and compare instead")
    options = parser.parse_args(arguments)
    if options.restore:
        _restore(options.cells, options.events or LONG)
        return
    if options.change:
        _change(options.cells, options.seeds)
        return
    events = options.events or EVENTS
    view = Table(title=f"Squared errors, {events // REGIME} regimes of {REGIME:,} events", title_justify="left")
    for header in ("cell", "1-10", "11-20", "last", "last/1-10", "last/11-20", "worst seed"):
        view.add_column(header, justify="left" if header == "cell" else "right")
    for cell in options.cells:
        runs = np.array([compared(errors(cell, seed, regimes(seed, events))) for seed in range(options.seeds)])
        first, second, last = runs.mean(axis=0)
        worst = (runs[:, 2] / runs[:, 1]).max()
        row = (*(f"{e:.4f}" for e in (first, second, last)), *(f"{last / e:.2f}" for e in (first, second)))
        view.add_row(cell, *row, f"{worst:.2f}")
        print(cell, *row, f"{worst:.2f}", flush=True)
    Console(width=100).print(view)


def _change(cells: Sequence[str], seeds: int) -> None:
    print(f"cell, ten before, first {SOON} after, last ten after, the same of a new learner")
    for cell in cells:
        runs = np.array([changed(cell, seed) for seed in range(seeds)])
        print(cell, *(f"{e:.4f}" for e in runs.mean(axis=0)), flush=True)


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
