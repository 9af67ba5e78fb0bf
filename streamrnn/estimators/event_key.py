"""Whether the events that ``event_key`` names can be meant: a transformer in front may have changed the name.

``StandardScaler() | RNNRegressor(event_key="id")`` standardises a numeric id with everything else, and differently
when the label comes than when the event was predicted. Then no label finds its event: each event is seen twice, once
without a label and once too late. Such names give themselves away as changed stream keys do (``stream_key``): they have
as many digits as only a computation has, and hardly a label's name was predicted, though predictions named events. A
backlog that is learned while other events are predicted has labels of unknown events, too, but not such names.
"""

from __future__ import annotations

from streamrnn.estimators.stream_key import is_computed

LABELS = 32
"""Labels that are judged together."""
SHARE = 0.9
"""Of them, those that name no event that was predicted, from which on the names cannot be meant."""


class EventKeyWatch:
    """Counts the events of one estimator whose name is a computed number.

    >>> watch = EventKeyWatch()
    >>> for number in range(1, LABELS + 1):
    ...     watch.see(number / 97)
    ...     is_changed = watch.label(number / 97 + 1e-9, is_known=False)
    >>> is_changed
    True
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._seen, self._labels, self._unknown = 0, 0, 0

    def see(self, name: object) -> None:
        """An event with this name is seen before its label."""
        self._seen += is_computed(name)

    def label(self, name: object, is_known: bool) -> bool:
        """A label comes for an event with this name; returns whether such names cannot be meant."""
        self._labels += 1
        self._unknown += not is_known and is_computed(name)
        if self._labels < LABELS:
            return False
        is_changed = min(self._unknown, self._seen) >= SHARE * LABELS
        self._begin()
        return is_changed
