"""Which number a symbol has: declared beforehand, or given to it when it comes first.

The numbers of an open set follow from the partition's records alone, in their order; so they are part of what a learner
knows, and its state holds the texts in the order of their numbers. Of an open set 0 is "other": whatever has no number
of its own; where texts mark their end, the end is 1 there, and the last number of a closed set. A symbol that was given
its number keeps it: to forget one would give another the weights that were learned for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.learner.block import Units
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.symbols import OTHER, Label, Symbols
from streamrnn.learner.values import canonical_text

UNDECLARED = -1
"""What stands for the number of a symbol that is not in a closed set."""

LONGEST_SYMBOL = 1_024
"""Bytes of UTF-8 that a symbol of an open set may have: what is longer shares the number of all others, so that no
record can make a learner's memory grow by more than that."""


class Vocabulary:
    """The numbers of the symbols of one set.

    Parameters
    ----------
    symbols
        The set.
    end
        Whether the end, of a text or of a sequence of symbols, is a symbol, too.

    Attributes
    ----------
    size
        How many numbers there can be: those of the set, and the end's.
    other, end
        The number of whatever has none of its own, of open sets; that of a text's end. None: there is no such number.
    overflowed
        How often a symbol came to an open set that had no number for it any more.

    Examples
    --------
    >>> pages = Vocabulary(Symbols(open=True, max=2))
    >>> [pages.assign(page) for page in ("home", "cart", "home", "help")], pages.overflowed
    ([1, 2, 1, 0], 1)
    >>> pages.number("cart"), pages.number("pay"), pages.label(2), pages.known, pages.size
    (2, 0, 'cart', 3, 3)
    >>> Vocabulary(Symbols(bytes=True), end=True).units(b"no", assign=True).tolist()
    [110, 111]
    """

    def __init__(self, symbols: Symbols, *, end: bool = False) -> None:
        self.symbols = symbols
        self.size = symbols.size + int(end)
        self.other = OTHER if symbols.open else None
        self.end = None if not end else OTHER + 1 if symbols.open else symbols.size
        self.overflowed = 0
        self._begin()

    def _begin(self) -> None:
        ends: list[Label | None] = [None] if self.end is not None else []
        declared = self.symbols.labels
        self._labels: list[Label | None] = [None, *ends] if declared is None else [*declared, *ends]
        self._first = len(self._labels)  # the first number that is given
        self._numbers: dict[str, int] = {}
        self._blob, self._ends = bytearray(), list[int]()
        for number, label in enumerate(declared or ()):
            self._numbers.setdefault(canonical_text(label, "symbols"), number)

    @property
    def known(self) -> int:
        """How many numbers are in use: all of a closed set; of an open one those given so far, "other", the end."""
        return len(self._labels)

    def number(self, text: str) -> int:
        """The symbol's number as it is; without one ``OTHER`` in an open set, ``UNDECLARED`` in a closed one."""
        return self._numbers.get(text, UNDECLARED if self.other is None else OTHER)

    def assign(self, text: str) -> int:
        """The same; in an open set a symbol that comes first is given its number, as long as there is one."""
        number = self._numbers.get(text)
        if number is not None or self.other is None:
            return UNDECLARED if number is None else number
        raw = _storable(text) if self.known < self.size else None
        if raw is None:
            self.overflowed += 1
            return OTHER
        self._add(text, raw)
        return self.known - 1

    def _add(self, text: str, raw: bytes) -> None:
        self._numbers[text] = self.known
        self._labels.append(text)
        self._blob += raw
        self._ends.append(len(self._blob))

    def take_back(self, known: int) -> None:
        """Forget the symbols whose numbers are ``known`` and more, of which nothing was learned yet."""
        self._numbers = {text: number for text, number in self._numbers.items() if number < known}
        del self._labels[known:]
        del self._ends[known - self._first :]
        del self._blob[self._ends[-1] if self._ends else 0 :]

    def units(self, units: Units, assign: bool) -> npt.NDArray[np.int64]:
        """The numbers of a text's units (n,), in one go; ``assign`` gives numbers to those that come first."""
        if isinstance(units, bytes):
            if not self.symbols.bytes:
                raise ValueError("units: bytes are symbols of the set of all bytes alone; expected text")
            return np.frombuffer(units, np.uint8).astype(np.int64)
        numbers = np.fromiter(map(self._numbers.get, units, repeat(UNDECLARED)), np.int64, len(units))
        if self.other is not None:
            of: Callable[[str], int] = self.assign if assign else self.number
            for at in np.flatnonzero(numbers == UNDECLARED).tolist():
                numbers[at] = of(units[at])
        return numbers

    def label(self, number: int) -> Label | None:
        """The symbol with this number, which is in use; None of "other" and of the end."""
        return self._labels[number]

    # -- saving -------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What has to be kept of an open set: its symbols' texts, where each ends, and what is counted; copies."""
        return {
            "texts": np.frombuffer(bytes(self._blob), np.uint8).copy(),
            "ends": np.array(self._ends, np.int64),
            "overflowed": np.array([self.overflowed], np.int64),
        }

    def resume(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from a state that ``require_vocabulary`` passed."""
        self._begin()
        for raw in _cut(state):
            self._add(raw.decode(), raw)
        self.overflowed = int(state["overflowed"][0])


_MOST_BYTES_BESIDE = 1 << 12
"""Of an open set: what a file says of its arrays, and its count."""

_KEPT = {"texts": np.uint8, "ends": np.int64, "overflowed": np.int64}
"""What is kept of an open set, each a vector: the UTF-8 of its symbols in the order of their numbers, where each ends,
and one count."""


def require_vocabulary(symbols: Symbols, state: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise ValueError for what no vocabulary of an open set can have come to."""
    for name, dtype in _KEPT.items():
        if name not in state or state[name].dtype != dtype or state[name].ndim != 1:
            found = f"{state[name].dtype}{list(state[name].shape)}" if name in state else "nothing"
            raise ValueError(f"{name} must be a vector of {np.dtype(dtype)}, found {found}")
    ends, overflowed = state["ends"], state["overflowed"]
    if len(ends) > symbols.max:
        raise ValueError(f"it has {len(ends)} symbols, the set takes {symbols.max}")
    if len(overflowed) != 1 or not 0 <= overflowed[0] <= 2**53:
        raise ValueError(f"overflowed: expected one count from 0 to 2^53, found {overflowed.tolist()[:4]}")
    # Compared, not subtracted: differences of the largest numbers would wrap around.
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    last = int(ends[-1]) if len(ends) else 0
    if last != len(state["texts"]) or (ends < starts).any():
        raise ValueError(f"the ends of its symbols do not match their {len(state['texts'])} bytes")
    if (ends - starts > LONGEST_SYMBOL).any():
        raise ValueError(f"it has a symbol of more than {LONGEST_SYMBOL} bytes")
    symbols_found = _cut(state)
    if len(set(symbols_found)) != len(symbols_found):
        raise ValueError("it gives one symbol two numbers")
    try:
        for raw in symbols_found:
            raw.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"it has a symbol that is not UTF-8: {error}") from None


def open_sets(spec: LearnerSpec) -> dict[str, Symbols]:
    """The open sets of a learner, by the beginning of the names that their arrays have in its state."""
    sets = {f"symbols{i}": symbols for i, symbols in enumerate(spec.symbols)} | {"classes": spec.target.symbols}
    return {f"vocabulary_{name}_": symbols for name, symbols in sets.items() if symbols is not None and symbols.open}


def symbols_in(spec: LearnerSpec, model: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of all open sets among those of a state."""
    return {first + name: model[first + name] for first in open_sets(spec) for name in _KEPT if first + name in model}


def begun_with(spec: LearnerSpec, model: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The same for a learner whose log begins anew: the symbols keep their numbers, nothing is counted yet."""
    counts = {first + "overflowed": np.zeros(1, np.int64) for first in open_sets(spec)}
    return {**symbols_in(spec, model), **counts}


def most_kept(spec: LearnerSpec) -> int:
    """Bytes that they take at most."""
    sets = open_sets(spec).values()
    return sum(of.max * (LONGEST_SYMBOL + np.dtype(np.int64).itemsize) + _MOST_BYTES_BESIDE for of in sets)


class Vocabularies:
    """All of a learner's: those of its inputs that are symbols, and that of its classes."""

    def __init__(self, spec: LearnerSpec) -> None:
        self.of_inputs = tuple(map(Vocabulary, spec.symbols))
        marked = spec.has_end_symbol
        self.of_classes = None if spec.target.symbols is None else Vocabulary(spec.target.symbols, end=marked)
        classes = () if self.of_classes is None else (self.of_classes,)
        self._open = dict(
            zip(open_sets(spec), (of for of in (*self.of_inputs, *classes) if of.symbols.open), strict=True)
        )

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What has to be kept of them, by the names it has in a learner's state; copies."""
        return {first + name: array for first, of in self._open.items() for name, array in of.state().items()}

    def resume(self, model: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from the arrays of a state that ``require_vocabularies`` passed."""
        for first, of in self._open.items():
            of.resume({name: model[first + name] for name in _KEPT})


def require_vocabularies(spec: LearnerSpec, model: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise ValueError for open sets that no learner of ``spec`` can have come to, or that are not of its network."""
    for first, symbols in open_sets(spec).items():
        try:
            require_vocabulary(symbols, {name: model[first + name] for name in _KEPT if first + name in model})
        except ValueError as error:
            raise ValueError(f"the state's {first}...: {error}") from None
    if spec.target.is_open:
        known, in_use = (
            1 + int(spec.has_end_symbol) + len(model["vocabulary_classes_ends"]),
            int(model["outputs_in_use"][0]),
        )
        # A class that waits to be looked at has its number, and no output yet.
        if known < in_use or (known > in_use and not spec.looks_ahead):
            raise ValueError(f"the state has {in_use} classes in use, its vocabulary has {known}")


def _cut(state: Mapping[str, npt.NDArray[Any]]) -> list[bytes]:
    """The symbols one by one."""
    blob, ends = state["texts"].tobytes(), state["ends"].tolist()
    return [blob[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _storable(text: str) -> bytes | None:
    """The bytes to keep a symbol by; None for one that is too long, or that no file can hold: half a surrogate pair."""
    if len(text) > LONGEST_SYMBOL:
        return None
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return None
    return raw if len(raw) <= LONGEST_SYMBOL else None
