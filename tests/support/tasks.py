"""Artificial sequence tasks of the recurrent-network literature, as blocks of whole sequences.

Every block belongs to one stream; the last record of each sequence carries the end mark, so each sequence starts from
the zero state. Targets are known with the record and NaN where nothing is asked.

- Embedded Reber grammar (Fahlman 1991; Hochreiter & Schmidhuber 1997): predict the next symbol of a string whose
  second symbol comes back as the last but one, a whole Reber string later.
- Adding problem (Hochreiter & Schmidhuber 1997; one marker in each half): the sum of the two marked numbers.
- Temporal order (Hochreiter & Schmidhuber 1997, task 6a): which of two symbols came first, tens of steps ago.
- Copying (Hochreiter & Schmidhuber 1997; Arjovsky et al. 2016, here three symbols): say again what was shown.
- Delay: the input of some steps ago.

Without ends and from one stream are

- Recall: a sign is shown and asked for a number of steps later, noise between.
- Echo: the input of some steps ago, at every step.
- NARMA10 (Atiya & Parlos 2000): a system that answers to its own last ten states and to the product of two inputs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamrnn import Block

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

REBER_SYMBOLS = "BTSXPVE"

# Node to its arcs: symbol and the node it leads to. The two arcs of a node are equally likely.
REBER_ARCS: tuple[dict[str, int], ...] = (
    {"B": 1},
    {"T": 2, "P": 3},
    {"S": 2, "X": 4},
    {"T": 3, "V": 5},
    {"X": 3, "S": 6},
    {"P": 4, "V": 6},
    {"E": 7},
)


def sequences_block(x: Floats, y: Floats, lengths: npt.NDArray[np.int64]) -> Block:
    """Sequences of the given lengths, one after the other in x (n, D) and y (n,), as one stream."""
    n = len(x)
    end = np.zeros(n, np.bool_)
    end[np.cumsum(lengths) - 1] = True
    return Block.events([b"s"] * n, x, y[:, None], time_ms=np.arange(n), end=end)


# -- embedded Reber grammar --------------------------------------------------------------------------------------------


def embedded_reber(rng: np.random.Generator) -> str:
    """One string of the embedded grammar; 12 symbols on average, one in a hundred has 24 or more."""
    inner, node = "", 0
    while node < len(REBER_ARCS):
        arcs = REBER_ARCS[node]
        symbol = list(arcs)[rng.integers(len(arcs))]
        inner, node = inner + symbol, arcs[symbol]
    branch = "TP"[rng.integers(2)]
    return "B" + branch + inner + branch + "E"


def distinct(rng: np.random.Generator, n: int, without: frozenset[str] = frozenset()) -> list[str]:
    """The first n different strings drawn from the embedded grammar that are not among ``without``."""
    strings: dict[str, None] = {}
    while len(strings) < n:
        string = embedded_reber(rng)
        if string not in without:
            strings[string] = None
    return list(strings)


def legal_next(string: str) -> list[str]:
    """After each symbol of an embedded string but the last: the symbols that may come next.

    >>> legal_next("BPBTXSEPE")
    ['TP', 'B', 'TP', 'SX', 'XS', 'E', 'P', 'E']
    """
    legal, node = ["TP"], 0
    for symbol in string[2:-2]:
        legal.append("".join(REBER_ARCS[node]))
        node = REBER_ARCS[node][symbol]
    return [*legal, string[1], "E"]


def reber_block(strings: list[str]) -> Block:
    """One record per symbol but the last of each string: one-hot input, index of the next symbol as target."""
    codes = [np.array([REBER_SYMBOLS.index(symbol) for symbol in string]) for string in strings]
    present = np.concatenate([code[:-1] for code in codes])
    following = np.concatenate([code[1:] for code in codes])
    lengths = np.array([len(code) - 1 for code in codes])
    return sequences_block(np.eye(len(REBER_SYMBOLS))[present], following.astype(np.float64), lengths)


def legal_mask(strings: list[str]) -> Bools:
    """(n, 7), row by row with ``reber_block``: whether the symbol may come next."""
    rows = [[symbol in legal for symbol in REBER_SYMBOLS] for string in strings for legal in legal_next(string)]
    return np.array(rows)


# -- numbers -----------------------------------------------------------------------------------------------------------


def adding_block(rng: np.random.Generator, n: int, length: int) -> Block:
    """n sequences of the adding problem: inputs are a number in [0, 1) and a mark, set once in each half.

    The target, at the last step, is the sum of the two marked numbers; its variance is 1/6.
    """
    x = np.zeros((n, length, 2))
    x[:, :, 0] = rng.uniform(size=(n, length))
    rows = np.arange(n)
    first, second = rng.integers(0, length // 2, n), rng.integers(length // 2, length, n)
    x[rows, first, 1] = x[rows, second, 1] = 1.0
    y = np.full((n, length), np.nan)
    y[:, -1] = x[rows, first, 0] + x[rows, second, 0]
    return sequences_block(x.reshape(-1, 2), y.ravel(), np.full(n, length))


def delay_block(rng: np.random.Generator, n: int, length: int, lag: int) -> Block:
    """n sequences of numbers in [-1, 1); the target is the number ``lag`` steps before, once there is one."""
    x = rng.uniform(-1.0, 1.0, (n, length))
    y = np.full((n, length), np.nan)
    y[:, lag:] = x[:, :-lag]
    return sequences_block(x.reshape(-1, 1), y.ravel(), np.full(n, length))


def temporal_order_block(rng: np.random.Generator, n: int, length: int) -> Block:
    """n sequences of the temporal order problem: which of X and Y came first, and which second, among other symbols?

    One-hot inputs: four symbols that mean nothing, X, Y, and marks of beginning and end. A sequence has ``length`` to
    1.1 ``length`` steps; the first of X or Y comes after a tenth to a fifth of it, the second after a half to six
    tenths. The target, at the last step, is one of four classes: XX, XY, YX, YY.
    """
    lengths = rng.integers(length, length + length // 10 + 1, n)
    ends = np.cumsum(lengths)
    starts, total = ends - lengths, int(ends[-1])
    symbols = rng.integers(0, 4, total)
    symbols[starts], symbols[ends - 1] = 6, 7
    pair = rng.integers(0, 2, (n, 2))
    symbols[starts + rng.integers(length // 10, length // 5 + 1, n)] = 4 + pair[:, 0]
    symbols[starts + rng.integers(length // 2, length // 2 + length // 10 + 1, n)] = 4 + pair[:, 1]
    y = np.full(total, np.nan)
    y[ends - 1] = 2 * pair[:, 0] + pair[:, 1]
    return sequences_block(np.eye(8)[symbols], y, lengths)


COPIED, COPIED_SYMBOLS = 3, 4


def copy_block(rng: np.random.Generator, n: int, length: int) -> Block:
    """n sequences of the copying problem: three symbols out of four are shown, and asked for ``length`` steps later.

    One-hot inputs: the four symbols, a blank, and a mark at the step before the first that is asked for. The targets
    are the symbols, at the last three steps.
    """
    steps = COPIED + length + COPIED
    symbols = np.full((n, steps), COPIED_SYMBOLS)
    symbols[:, :COPIED] = rng.integers(0, COPIED_SYMBOLS, (n, COPIED))
    symbols[:, -COPIED - 1] = COPIED_SYMBOLS + 1
    y = np.full((n, steps), np.nan)
    y[:, -COPIED:] = symbols[:, :COPIED]
    x = np.eye(COPIED_SYMBOLS + 2)[symbols]
    return sequences_block(x.reshape(n * steps, -1), y.ravel(), np.full(n, steps))


# -- without end -------------------------------------------------------------------------------------------------------


def endless_block(x: Floats, y: Floats) -> Block:
    """Events of one stream without ends, x (n, D) and y (n,)."""
    return Block.events([b"s"] * len(x), x, y[:, None], time_ms=np.arange(len(x)))


def recall_block(rng: np.random.Generator, n: int, lag: int) -> Block:
    """n events of the recall task; inputs are the sign (else 0), noise of variance 1, and a mark where it is asked for.

    The target is the sign of ``lag`` steps before. Up to a quarter of the lag passes until the next one is shown, so
    that nothing comes at a fixed period.
    """
    x, y = np.zeros((n, 3)), np.full(n, np.nan)
    x[:, 1] = rng.standard_normal(n)
    at = 0
    while at + lag < n:
        x[at, 0] = y[at + lag] = rng.choice([-1.0, 1.0])
        x[at + lag, 2] = 1.0
        at += lag + 1 + int(rng.integers(0, lag // 4 + 1))
    return endless_block(x, y)


def echo_block(rng: np.random.Generator, n: int, lag: int) -> Block:
    """n numbers in [-1, 1); the target is the one ``lag`` steps before, and not known before there was one."""
    x, y = rng.uniform(-1.0, 1.0, n), np.full(n, np.nan)
    y[lag:] = x[:-lag]
    return endless_block(x[:, None], y)


def narma_block(rng: np.random.Generator, n: int) -> Block:
    """n events of NARMA10: the input u is uniform in [0, .5), the target the system's next state.

    y(t+1) = .3 y(t) + .05 y(t) (y(t) + ... + y(t-9)) + 1.5 u(t-9) u(t) + .1, and no more than 1: over so many steps it
    would run away.
    """
    u, y = rng.uniform(0.0, 0.5, n).tolist(), [0.0] * (n + 1)
    for t in range(9, n):
        y[t + 1] = min(1.0, 0.3 * y[t] + 0.05 * y[t] * sum(y[t - 9 : t + 1]) + 1.5 * u[t - 9] * u[t] + 0.1)
    return endless_block(np.array(u)[:, None], np.array(y[1:]))
