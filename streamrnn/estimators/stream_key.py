"""Whether the streams that events name can be meant: a transformer in front may have changed the key.

``StandardScaler() | RNNRegressor(stream_key="id")`` standardises a numeric id with everything else. The key is then
another number at nearly every event, every event begins a stream, and no state is ever carried on. Such keys give
themselves away: numbers with as many digits as only a computation has, of which most never come back. Either alone is
ordinary life (a service begins, and every event is a new user's; places are named by their coordinates), so both have
to hold, for many events. The rows of a mini-batch are transformed alike, so equal keys stay equal within it; it is from
one to the next that a key is another. Each key counts once in a mini-batch, therefore.

The opposite, a transformer that makes one key of many (``Binarizer``), is not warned of: one stream, or two, are what
an estimator with a key has to begin with.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable

import numpy as np

from streamrnn.errors import StreamKeyWarning
from streamrnn.estimators.caller import level_of_the_caller
from streamrnn.learner.streams import StreamIndex

EVENTS = 100
"""Computed keys of events, or of the rows of mini-batches, that are judged together."""
SHARE = 0.5
"""Of them, those that began a stream, from which on this cannot be meant."""
DIGITS = 14
"""Significant digits that nobody writes by hand."""


class StreamKeyWatch:
    """Counts the computed keys that the events of one estimator have, and the streams that began meanwhile."""

    def __init__(self, owner: str, stream_key: Hashable) -> None:
        self._owner = owner
        self._name = stream_key
        self._warned = False
        self._begin(0)

    def _begin(self, streams: int) -> None:
        self._events, self._streams = 0, streams

    def note(self, keys: Iterable[object], index: StreamIndex) -> None:
        """Before an event, or a mini-batch, with these keys is learned. Warns with ``StreamKeyWarning``, once."""
        if self._warned:
            return
        streams = len(index) + index.evictions_capacity
        if self._events == 0:
            self._streams = streams
        elif self._events >= EVENTS:
            events = self._events
            begun = min(events, streams - self._streams)
            self._begin(streams)
            if begun >= SHARE * events:
                self._warned = True
                self._warn(begun, events, next(iter(keys)))
        self._events += len({key for key in keys if is_computed(key)})

    def _warn(self, begun: int, events: int, key: object) -> None:
        name = repr(self._name)
        warnings.warn(
            f"{self._owner}: stream_key={name}: {begun} of {events} keys began a stream of their own, the newest event "
            f"has the key {key!r}, so no state is carried on; a transformer in front probably "
            f"changes the key. Lead it past, for example: (Discard({name}) | StandardScaler()) + Select({name}) | "
            f"{self._owner}(stream_key={name}), with Discard and Select from river.compose",
            StreamKeyWarning,
            stacklevel=level_of_the_caller(),
        )


def is_computed(key: object) -> bool:
    """Whether a key is a number as only a computation gives it.

    >>> is_computed(-1.2247448713915892), is_computed(52.5163), is_computed(17), is_computed("0.12345678901234567")
    (True, False, False, False)
    """
    if not isinstance(key, float | np.floating):
        return False
    digits = repr(float(key)).partition("e")[0].lstrip("-0.").replace(".", "")
    return len(digits) >= DIGITS
