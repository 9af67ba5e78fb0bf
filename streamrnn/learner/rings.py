"""Rings of a stream, laid out anew where a learner remembers more or fewer steps, values or events than before.

A ring holds the newest entries of something that is counted: entry number n stands at place n modulo the ring's length.
Each axis says by which count. A ring that becomes shorter keeps the newest entries. In one that becomes longer there
are places that no entry ever stood in; the count then starts at what is there, so that nobody reads them. The
count of steps is the exception in ``before``: states are kept for the steps that can start a window, and after a change
others can. A window that needs a state which was not kept begins from the newest one kept before it.

Where exact gradients meet late targets, the state that learns stands behind the one that predicts, with the traces. It
can only be where a ring has the inputs that it is to take yet: where that one is too short by now, or there is no such
state any more, learning goes on from the state that predicts, and traces begin anew with zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.learner.axes import lookahead
from streamrnn.learner.lowering import plan_of, sizes_of
from streamrnn.learner.spec import LearnerSpec

Array = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]


class Relaying(NamedTuple):
    """From the rings of one specification to those of another; ``streams`` are the arrays of the former."""

    old: LearnerSpec
    new: LearnerSpec
    streams: Mapping[str, Array]

    @property
    def steps(self) -> Counts:
        """Of each stream's sequence, as the new learner counts them."""
        before: Counts = self.streams["steps"]
        if self.new.k2 <= self.old.k2:
            return before
        # As if the sequence had begun with the oldest step that is in the window; those that wait are behind it.
        return np.minimum(before, self.old.k2 + self.waiting)

    @property
    def waiting(self) -> Counts:
        """Of these, steps that nothing was said of yet."""
        waiting: Counts = np.minimum(self.streams["steps"], lookahead(self.old))
        return waiting

    def counts(self, axis: str) -> tuple[Counts, Counts]:
        """What a ring is counted by, before and now: (n,) each; (n, F) for the values of fields."""
        if axis == "Q":
            return self._capped("history_count", axis)
        if axis == "E" or (axis in "MN" and self.old.target.known == "label"):
            return self._capped("event_count", "M")
        before: Counts = self.streams["steps"]
        if axis == "K":  # the window's targets are of steps that something was said of
            return before - self.waiting, self.steps - self.waiting
        return before, self.steps

    def _capped(self, name: str, axis: str) -> tuple[Counts, Counts]:
        count, before, now = self.streams[name], sizes_of(self.old)[axis], sizes_of(self.new)[axis]
        return count, np.minimum(count, before) if now > before else count


RINGS = ("X", "K", "A", "B", "Q", "M", "N", "E")
"""Axes along which entries of a stream stand in a ring."""


def changed(old: LearnerSpec, new: LearnerSpec) -> bool:
    """Whether any ring is laid out in another way."""
    before, now = sizes_of(old), sizes_of(new)
    windows = [(plan.k1, plan.k2, plan.stride) for plan in (plan_of(old), plan_of(new))]
    return windows[0] != windows[1] or any(before[axis] != now[axis] for axis in RINGS)


def relaid(axis: str, array: Array, blank: float, of: Relaying) -> Array:
    """``array``, (n, ring, ...) with a ring along ``axis``, as the new learner has it; otherwise the same shape."""
    result = np.full((len(array), sizes_of(of.new)[axis], *array.shape[2:]), blank, array.dtype)
    if axis == "B":
        _states(array, result, of)
        return result
    before, now = of.counts(axis)
    if before.ndim == 1:
        _newest(array, result, before, now)
    else:
        for field in range(before.shape[1]):
            _newest(array[:, :, field], result[:, :, field], before[:, field], now[:, field])
    return result


def recounted(name: str, array: Array, of: Relaying) -> Array:
    """A stream's counts, and steps that are remembered, as the new learner counts; any other array as it is."""
    if name == "steps":
        return of.steps
    if name == "learned":  # what learns stays as far behind as it was
        return array - (of.streams["steps"] - of.steps)[:, None]
    if name == "answered":
        return np.maximum(0, array - (of.streams["steps"] - of.steps)[:, None])
    if name == "history_count":
        return of.counts("Q")[1]
    if name == "event_count":
        return of.counts("E")[1]
    if name == "event_step":
        earlier = (of.streams["steps"] - of.steps)[:, None]
        return np.where(array >= earlier, array - earlier, -1)
    return array


def late(arrays: Mapping[str, Array], of: Relaying) -> dict[str, Array]:
    """``behind``, ``traces``, ``learned`` and ``y`` of streams, whose counts and rings are laid out anew already."""
    behind, traces, learned, y = (arrays[name].copy() for name in ("behind", "traces", "learned", "y"))
    steps, state = arrays["steps"][:, None], arrays["state"][:, 0]
    if not of.old.delay:
        behind = state.copy()  # it has taken all steps
    ahead = np.flatnonzero(steps - learned > of.new.delay)  # one column each
    behind[ahead], traces[ahead], learned[ahead], y[ahead] = state[ahead], 0.0, steps[ahead], np.nan
    return {"behind": behind if of.new.delay else behind[:, :0], "traces": traces, "learned": learned, "y": y}


def _newest(old: Array, new: Array, before: Counts, now: Counts) -> None:
    """The newest entries, as many as there are places in both: entry ``before - 1 - ago`` gets the number of today."""
    for ago in range(min(old.shape[1], new.shape[1])):
        rows = np.flatnonzero(before > ago)
        new[rows, (now[rows] - 1 - ago) % new.shape[1]] = old[rows, (before[rows] - 1 - ago) % old.shape[1]]


def _states(old: Array, new: Array, of: Relaying) -> None:
    """States before the steps that can start a window, for each window that ends at this step or later.

    A state is kept under the end of its window, ``k2`` steps on: a multiple of the stride.
    """
    before, now = plan_of(of.old), plan_of(of.new)
    steps = of.steps - of.waiting
    shift = of.streams["steps"] - of.steps
    newest = _multiple(steps + shift + before.k2 - 1, before.stride)
    first = _multiple(steps + now.stride - 1, now.stride)
    for end in (first + k * now.stride for k in range(new.shape[1])):
        wanted = np.minimum(newest, _multiple(end - now.k2 + shift + before.k2, before.stride))
        # The others begin with their sequence, from the zero state, or belong to windows that other steps will start.
        rows = np.flatnonzero((now.k2 < end) & (end < steps + now.k2) & (wanted >= before.k2))
        chosen = np.maximum(wanted, newest - (old.shape[1] - 1) * before.stride)[rows]
        new[rows, end[rows] // now.stride % new.shape[1]] = old[rows, chosen // before.stride % old.shape[1]]


def _multiple(of: Counts, stride: int) -> Counts:
    """The largest multiple of the stride that is not larger."""
    result: Counts = of // stride * stride
    return result
