"""What a learner says of itself: its whole state, how far it has come, and what it knows of its targets.

``LearnerState`` is the one value that checkpoints, model files, growth and pickling share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from streamrnn.core.arrays import I1, I2, Model, Streams
from streamrnn.core.declarations import DTYPES, Stored, declared, stored
from streamrnn.learner.axes import AXES
from streamrnn.learner.lowering import dtype_of, sizes_of
from streamrnn.learner.relations import require_order
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.validity import require_sound, require_sound_model
from streamrnn.learner.vocabulary import require_vocabularies, symbols_in

Array = npt.NDArray[Any]


class Beside(NamedTuple):
    """What a learner keeps beside the arrays of its kernels, and not per stream; it tells of the log so far."""

    clock: I1 = stored("18", learned=False)  # see ``StreamClock.state``
    # Records seen; streams dropped for ttl, for capacity, by tombstones; of those for capacity, how many were in use.
    arrivals: I1 = stored("5", learned=False)
    digest: I1 = stored("1", learned=False)  # CRC-32 over all predictions of ``process``


class Slots(NamedTuple):
    """The same per slot."""

    # When the stream was last seen: stream time, the record's number, time lived through. How many records it had, as
    # long as it is new, and the time lived through when it came first.
    seen: I2 = stored("5")


MODEL: Mapping[str, Stored] = {**declared(Model), **declared(Beside)}
"""Everything in a state that is not kept per stream, by name."""

STREAMS: Mapping[str, Stored] = {**declared(Streams), **declared(Slots)}
"""Everything that is: one row for each slot."""


@dataclass(frozen=True, eq=False)
class LearnerState:
    """What a learner of ``spec`` goes on from.

    Attributes
    ----------
    spec
        Its specification.
    model
        The arrays of ``MODEL``, and those of open sets of symbols, which are as long as they have symbols
        (``vocabulary``).
    streams
        The arrays of ``STREAMS``.
    keys
        The stream of each slot, None = the slot is free.
    """

    spec: LearnerSpec
    model: Mapping[str, Array]
    streams: Mapping[str, Array]
    keys: list[bytes | None]

    @property
    def digest(self) -> int:
        """The learner's running digest."""
        return int(self.model["digest"][0])

    def copy(self) -> LearnerState:
        """The same in arrays of its own, so that the learner may go on."""
        model = {name: array.copy() for name, array in self.model.items()}
        streams = {name: array.copy() for name, array in self.streams.items()}
        return LearnerState(self.spec, model, streams, list(self.keys))

    def require_fit(self, spec: LearnerSpec, *, beginning: bool = False, rows_are_sound: bool = False) -> None:
        """Raise ValueError, saying what is wrong, unless a learner of ``spec`` can go on from this.

        The specifications are compared as well as the shapes: another loss, optimiser or order of fields gives what
        was learned another meaning in arrays of the same shape. Only ``streams.max_streams`` may differ. Whatever was
        read from a file passes here on its way to a kernel, so what the arrays hold is looked at, too (``validity``).
        ``beginning``: it was handed over by somebody, and a learner must be able to go a long way from it.
        ``rows_are_sound``: what each row holds was looked at before, as by who read it piece by piece.
        """
        self.require_spec(spec)
        slots = len(self.keys)
        used = [key for key in self.keys if key is not None]
        if len(set(used)) != len(used):
            raise ValueError("the state gives one stream two slots")
        require_shapes(self.model, MODEL, spec)
        require_shapes(self.streams, STREAMS, spec, slots)
        require_vocabularies(spec, self.model)
        if rows_are_sound:
            require_sound_model(spec, self.model, beginning=beginning)
            require_order(self.model, self.streams["seen"], self.keys)
        else:
            require_sound(spec, self.model, self.streams, self.keys, beginning=beginning)

    def require_spec(self, spec: LearnerSpec) -> None:
        """Raise ValueError unless it is of this specification, and there is room for it."""
        if lines := spec_differences(self.spec, spec):
            raise ValueError(f"the state is of another specification: {'; '.join(lines)}")
        slots, capacity = len(self.keys), spec.streams.max_streams
        if slots > capacity:
            raise ValueError(f"the state has {slots} slots, the learner has {capacity}; raise streams.max_streams")


def spec_differences(old: LearnerSpec, new: LearnerSpec) -> list[str]:
    """What ``new`` says otherwise than the state's ``old``, one line a field, ``streams.max_streams`` apart.

    >>> from streamrnn.learner.target_spec import TargetSpec
    >>> spec = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)))
    >>> spec_differences(spec, msgspec.structs.replace(spec, has_end=True))
    ['has_end: False in the state, True here']
    """
    before, now = _leaves(_as_json(old)), _leaves(_as_json(new))
    return [
        f"{name}: {before.get(name)!r} in the state, {now.get(name)!r} here"
        for name in {**before, **now}
        if before.get(name) != now.get(name) and name != "streams.max_streams"
    ]


def _as_json(spec: LearnerSpec) -> dict[str, Any]:
    """The specification as it looks when read back from a manifest, where a tuple and a list are the same.

    What is in force is spelled out, since writing a default down changes nothing.
    """
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(spec))
    for path, value in spec.in_force.items():
        section, field = path.split(".")
        plain[section][field] = value
    return plain


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested mappings under dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return leaves


def no_streams(spec: LearnerSpec) -> dict[str, Array]:
    """``LearnerState.streams`` of a learner that saw no record yet."""
    return empty_streams(spec, 0)


def empty_streams(spec: LearnerSpec, n_slots: int) -> dict[str, Array]:
    """Arrays for the streams of so many slots, with nothing in them yet."""
    sizes, precision = sizes_of(spec), dtype_of(spec)
    return {name: np.empty((n_slots, *array.shape(sizes)), array.dtype(precision)) for name, array in STREAMS.items()}


def require_shapes(
    arrays: Mapping[str, Array], table: Mapping[str, Stored], spec: LearnerSpec, rows: int | None = None
) -> None:
    """Raise ValueError unless these are the arrays that are declared, all of them and no others, as ``spec`` has them.

    Those of open sets of symbols, which are of no certain length, may stand beside them.
    ``rows``: how many slots they are for, where there is a row for each.
    """
    of_symbols = () if rows is not None else symbols_in(spec, arrays)
    if lacking := [name for name in table if name not in arrays]:
        raise ValueError(f"the state lacks {', '.join(lacking)}")
    if unknown := [name for name in arrays if name not in table and name not in of_symbols]:
        raise ValueError(f"the state holds {', '.join(unknown)}, which no learner of this version keeps")
    sizes, precision = sizes_of(spec), dtype_of(spec)
    first = () if rows is None else (rows,)
    for name, declaration in table.items():
        array, dtype = arrays[name], np.dtype(declaration.dtype(precision))
        shape = (*first, *declaration.shape(sizes))
        if array.shape != shape or array.dtype != dtype:
            found = f"{array.dtype}{list(array.shape)}"
            raise ValueError(f"the state's {name!r} is {found}, expected {dtype}{list(shape)}")


@dataclass(frozen=True, slots=True)
class LearnerProgress:
    """How far a learner has come.

    Attributes
    ----------
    streams, capacity
        Streams remembered now, and how many there can be.
    established, key_bytes
        Of those remembered, how many have history (see ``learner.room``); the bytes of all their keys.
    stream_time_ms
        The clock all idle times are measured by, None before the first record.
    updates
        Optimiser steps taken.
    parameters
        Weights of the network, the RLS readout's not among them.
    counters
        Running counts by name (``core.counts``).
    digest
        CRC-32 over all predictions of ``process`` so far.
    skill
        1 - error / error of a naive rival, by rival (``learner.skill``).
    """

    streams: int
    established: int
    key_bytes: int
    capacity: int
    stream_time_ms: int | None
    updates: int
    parameters: int
    counters: dict[str, int]
    digest: int
    skill: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class TargetStatistics:
    """Of each target field (F,): how many values were known, their mean, their standard deviation (0 before two)."""

    count: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    deviation: npt.NDArray[np.float64]

    @classmethod
    def of(cls, count: Array, mean: Array, m2: Array) -> TargetStatistics:
        """From running sums (F,): ``m2`` are the summed squares around the mean. Copies.

        >>> TargetStatistics.of(np.array([2.0]), np.array([5.0]), np.array([8.0])).deviation.tolist()
        [2.0]
        """
        return cls(count.copy(), mean.copy(), np.sqrt(m2 / np.maximum(count, 1.0)))


_OF_SYMBOLS = (
    "Of each open set of symbols, as long as it has symbols by now (`vocabulary_symbols0_`, ... of inputs and",
    "`vocabulary_classes_` stand before the names):",
    "",
    "| array | type | holds |",
    "|---|---|---|",
    "| `texts` | uint8 | its symbols as UTF-8, one after the other, in the order of their numbers |",
    "| `ends` | int64 | where each ends |",
    "| `overflowed` | int64 | one number: how often a symbol came that there was no number for |",
)


def markdown() -> str:
    """All arrays of a state as Markdown tables: what stands in ``learner/ARRAYS.md``."""
    return "\n".join(
        [
            "Of the model:",
            "",
            *_rows(MODEL),
            "",
            "Of each stream, one row for its slot:",
            "",
            *_rows(STREAMS),
            "",
            *_OF_SYMBOLS,
            "",
            "| axis | counts |",
            "|---|---|",
            *(f"| `{name}` | {axis.meaning} |" for name, axis in AXES.items()),
        ]
    )


def _rows(table: Mapping[str, Stored]) -> list[str]:
    kinds = {letter: np.dtype(kind).name for letter, kind in DTYPES.items()} | {"T": "the model's precision"}
    rows = ["| array | type | axes | cleared | blank | grows by |", "|---|---|---|---|--:|---|"]
    for name, array in table.items():
        axes = " ".join(f"`{axis}`" for axis in array.axes)
        rows.append(
            f"| `{name}` | {kinds[array.letter]} | {axes} | {array.cleared} | {array.blank:g} | {array.growth} |"
        )
    return rows


if __name__ == "__main__":
    print(markdown())
