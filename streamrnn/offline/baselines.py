"""What a recurrent network has to beat: predictors so simple that losing to one is news.

All are progressive: each record is predicted from the records before it, scored, and only then learned. They share one
small protocol, `Baseline`, so that they are scored beside the model on the same targets: by
``streamrnn evaluate`` the mean, the median and the last value, by the demo these and two more.

Invariant: ``predict`` changes nothing, and a running median is the exact median of everything learned so far. River's
own running quantile (P2) is an approximation and is not used here for that reason: a baseline must not
be weakened by its implementation. Before anything has been learned every baseline predicts 0.

River is imported only when `LinearModel` is made (two seconds); none of the others needs it.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from heapq import heappush, heappushpop
from typing import Any, Final, Protocol

from streamrnn.errors import ConfigError

Record = Mapping[str, Any]
Key = Callable[[Record], Hashable]

# On the demo's first 100,000 departures SGD was tried with steps of 0.003 to 0.4 minutes, Adam with 0.01 to 0.3. Best
# was SGD with 0.1, both with and without the airport's recent delays among the features. In units of the target's
# mean absolute deviation, about 20 minutes, that is this.
LINEAR_LR: Final = 0.005


class Baseline(Protocol):
    """A progressive predictor of one number per record."""

    def predict(self, record: Record) -> float:
        """The prediction for a record whose target is not known yet; changes nothing."""
        ...

    def learn(self, record: Record, y: float) -> None:
        """Learns the record's finite target, after it was predicted."""
        ...


class RunningMean:
    """The mean of all targets so far.

    >>> mean = RunningMean()
    >>> for y in (1.0, 2.0, 6.0):
    ...     mean.learn({}, y)
    >>> mean.predict({})
    3.0
    """

    def __init__(self) -> None:
        self._n = 0
        self._mean = 0.0

    def predict(self, record: Record) -> float:  # noqa: ARG002 - the protocol's
        return self._mean

    def learn(self, record: Record, y: float) -> None:  # noqa: ARG002 - the protocol's
        self._n += 1
        self._mean += (y - self._mean) / self._n


class RunningMedian:
    """The exact median of all targets so far (mean of the two middle ones when their number is even), O(log n) each.

    Two heaps meet at the median: ``_low`` holds the lower half, negated so that its greatest comes first.

    >>> median = RunningMedian()
    >>> for y in (5.0, 1.0, 2.0, 100.0):
    ...     median.learn({}, y)
    >>> median.predict({})
    3.5
    """

    def __init__(self) -> None:
        self._low: list[float] = []
        self._high: list[float] = []

    def predict(self, record: Record) -> float:  # noqa: ARG002 - the protocol's
        if len(self._low) > len(self._high):
            return -self._low[0]
        return (self._high[0] - self._low[0]) / 2 if self._low else 0.0

    def learn(self, record: Record, y: float) -> None:  # noqa: ARG002 - the protocol's
        if len(self._low) > len(self._high):
            heappush(self._high, -heappushpop(self._low, -y))
        else:
            heappush(self._low, -heappushpop(self._high, y))


class LastValue:
    """The newest target of the record's stream; for a stream without one, the running median of all.

    ``key`` gives the stream of a record, or names the field that holds it.

    >>> last = LastValue("tailnum")
    >>> last.learn({"tailnum": "N1"}, 10.0)
    >>> last.learn({"tailnum": "N2"}, 20.0)
    >>> last.predict({"tailnum": "N1"}), last.predict({"tailnum": "N3"})
    (10.0, 15.0)
    """

    def __init__(self, key: Key | str) -> None:
        self._key = _as_key(key)
        self._last: dict[Hashable, float] = {}
        self._median = RunningMedian()

    def predict(self, record: Record) -> float:
        value = self._last.get(self._key(record))
        return self._median.predict(record) if value is None else value

    def learn(self, record: Record, y: float) -> None:
        self._last[self._key(record)] = y
        self._median.learn(record, y)


class TrailingMedian:
    """The exact median of the newest ``size`` targets of the record's group; for a new group, that of all targets.

    >>> trailing = TrailingMedian("origin", size=3)
    >>> for y in (90.0, 1.0, 3.0, 2.0):
    ...     trailing.learn({"origin": "JFK"}, y)
    >>> trailing.predict({"origin": "JFK"})
    2.0
    """

    def __init__(self, key: Key | str, size: int = 30) -> None:
        if size < 1:
            raise ConfigError(f"size: must be at least 1, got {size}")
        self._key = _as_key(key)
        self._size = size
        # Per group the targets by age and the same ones sorted: in a few dozen elements a shifted list beats any tree.
        self._groups: dict[Hashable, tuple[deque[float], list[float]]] = {}
        self._median = RunningMedian()

    def predict(self, record: Record) -> float:
        group = self._groups.get(self._key(record))
        if group is None:
            return self._median.predict(record)
        ordered = group[1]
        half = len(ordered) // 2
        return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2

    def learn(self, record: Record, y: float) -> None:
        by_age, ordered = self._groups.setdefault(self._key(record), (deque(), []))
        if len(by_age) == self._size:
            del ordered[bisect_left(ordered, by_age.popleft())]
        by_age.append(y)
        insort(ordered, y)
        self._median.learn(record, y)


class LinearModel:
    """River's linear regression with absolute loss, on the inputs the network is given.

    Per record these are the encoded features and, as the network has it too, the stream's previous target with a flag
    that there is one. Numbers are standardised by River's running scaler; indicator columns are used as they
    are; a missing number is left out, which after standardising is the mean.

    Parameters:
        encode: the features of a record, always in the same order and number; NaN = missing.
        indicator: for each of them, whether it is 0/1 or bounded and therefore not standardised.
        key: gives the stream of a record, or names the field that holds it.
        lr: learning rate of SGD. The gradient of the absolute loss knows no units, so a step is this fraction of the
            target's mean absolute deviation so far.

    Raises:
        ConfigError: ``encode`` gives another number of features than ``indicator`` has flags.
    """

    def __init__(
        self,
        encode: Callable[[Record], Iterable[float]],
        indicator: Sequence[bool],
        key: Key | str,
        lr: float = LINEAR_LR,
    ) -> None:
        from river.linear_model import LinearRegression
        from river.optim import SGD
        from river.optim.losses import Absolute
        from river.optim.schedulers import Constant
        from river.preprocessing import StandardScaler

        self._encode = encode
        self._indicator = tuple(indicator)
        self._key = _as_key(key)
        self._scaler: Any = StandardScaler()
        self._lr = lr
        self._mean, self._deviation = RunningMean(), RunningMean()
        self._rate = Constant(0.0)
        self._model: Any = LinearRegression(optimizer=SGD(self._rate), intercept_lr=self._rate, loss=Absolute())
        self._previous: dict[Hashable, float] = {}

    def predict(self, record: Record) -> float:
        numbers, flags = self._inputs(record)
        return float(self._model.predict_one(self._scaler.transform_one(numbers) | flags))

    def learn(self, record: Record, y: float) -> None:
        numbers, flags = self._inputs(record)
        self._deviation.learn(record, abs(y - self._mean.predict(record)))
        self._mean.learn(record, y)
        self._rate.learning_rate = self._lr * self._deviation.predict(record)
        self._scaler.learn_one(numbers)
        self._model.learn_one(self._scaler.transform_one(numbers) | flags, y)
        self._previous[self._key(record)] = y

    def _inputs(self, record: Record) -> tuple[dict[str, float], dict[str, float]]:
        numbers: dict[str, float] = {}
        flags: dict[str, float] = {}
        row = tuple(self._encode(record))
        if len(row) != len(self._indicator):
            raise ConfigError(f"indicator: encode gave {len(row)} features, expected {len(self._indicator)}")
        for i, (value, is_flag) in enumerate(zip(row, self._indicator, strict=True)):
            # Zeros of a one-hot change neither prediction nor gradient; leaving them out is three times as fast.
            if is_flag:
                if value:
                    flags[f"x{i}"] = value
            elif not math.isnan(value):
                numbers[f"x{i}"] = value
        previous = self._previous.get(self._key(record))
        if previous is not None:
            numbers["previous_target"] = previous
            flags["previous_target_known"] = 1.0
        return numbers, flags


def _as_key(key: Key | str) -> Key:
    if callable(key):
        return key
    return lambda record: record[key]
