"""Prediction intervals whose long-run coverage holds whatever the series does.

The half-width of an interval is ``q * scale``: the scale is a stream's discounted mean absolute error at that horizon,
and q, one per horizon, moves up by a little whenever a value lay outside and down by less whenever it lay inside, so
that both balance at the wanted level. Adding up its steps, log q can only stay bounded if the share of values inside
tends to the level: after T values they differ by at most ``|log q_T - log q_0| / (STEP T)``, without any assumption on
the data (adaptive conformal inference, Gibbs & Candes 2021; the step on the logarithm keeps q positive and free of
units). Where errors are all but zero q stops at ``LOWEST``, and more values than wanted lie inside.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

STEP = 0.05
MEMORY = 0.98
"""What an older error still weighs in the scale after each newer one."""
LOWEST = 0.05
"""q does not fall below: after long without any error it must not take as long to grow again."""
OUTLIER = 10.0
"""An error counts in the scale as at most so many of it: one absurd value must not make intervals wide for long."""
START = 2.0
"""q at first: with errors that are normal, 90 % lie within 2.06 mean absolute errors."""


Sum = Annotated[float, Meta(ge=0)]


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """``AdaptiveIntervals.state``."""

    log_q: list[Annotated[float, Meta(ge=-700, le=700)]]  # of which there is an exponential
    scales: list[tuple[str, list[tuple[Sum, Sum]]]]


class AdaptiveIntervals:
    """Half-widths of intervals for several horizons and any number of streams.

    >>> intervals = AdaptiveIntervals(level=0.9, horizon=1, max_streams=1)
    >>> for t in range(1000):
    ...     intervals.observe("a", [(-1) ** t * (t % 10 + 1)])
    >>> 9.0 < intervals.half_widths("a")[0] < 10.5
    True
    """

    def __init__(self, level: float, horizon: int, max_streams: int) -> None:
        self.level = level
        self.max_streams = max_streams
        self._log_q = [math.log(START)] * horizon
        self._scales: OrderedDict[str, list[list[float]]] = OrderedDict()  # per horizon: sum, count; discounted

    def observe(self, stream: str, errors: Sequence[float]) -> None:
        """Errors of the forecasts made 1, 2, ... steps ago of the value that just came; NaN where there was none."""
        if not any(math.isfinite(error) for error in errors):
            return
        scales = self._scales.setdefault(stream, [[0.0, 0.0] for _ in self._log_q])
        self._scales.move_to_end(stream)
        while len(self._scales) > self.max_streams:
            self._scales.popitem(last=False)
        for j, error in enumerate(errors):
            if not math.isfinite(error):
                continue
            size, (total, count) = abs(error), scales[j]
            # Before the error enters the scale: it is judged by the half-width that was given for it.
            if count > 0.0:
                outside = size > math.exp(self._log_q[j]) * total / count
                step = STEP * (self.level if outside else self.level - 1.0)
                self._log_q[j] = max(math.log(LOWEST), self._log_q[j] + step)
                size = min(size, OUTLIER * total / count) if total > 0.0 else size
            scales[j][:] = MEMORY * total + size, MEMORY * count + 1.0

    def half_widths(self, stream: str) -> list[float]:
        """Half-width per horizon; infinite before the stream's first error at it."""
        scales = self._scales.get(stream)
        if scales is None:
            return [math.inf] * len(self._log_q)
        return [
            math.exp(log_q) * total / count if count else math.inf
            for log_q, (total, count) in zip(self._log_q, scales, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """Everything remembered, as JSON values."""
        return {"log_q": self._log_q, "scales": list(self._scales.items())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what ``state`` gave."""
        saved = msgspec.convert(state, _Saved)
        if {len(saved.log_q), *(len(pairs) for _, pairs in saved.scales)} != {len(self._log_q)}:
            raise ValueError(f"intervals: expected {len(self._log_q)} horizons for each stream")
        self._log_q = saved.log_q
        self._scales = OrderedDict((stream, [list(pair) for pair in pairs]) for stream, pairs in saved.scales)
