"""The data of the quality bench, each in the order in which it is met: River's sets, two chaotic series, the
demo's flights.

Every set is an ``Events``: one dict of inputs and one target per event. Inputs that are no numbers (dates) are left
out, so River's models and ours see the same; a series whose only input is its date is left with none. Only the flights
keep text, which their encoders read. Their target and what gives it away, the time of departure, are not among the
inputs; the target of a cancelled flight is None: it is met, but neither scored nor learned from.

Mackey and Glass, "Oscillation and chaos in physiological control systems", Science 197 (1977): dx/dt =
0.2 x(t - tau) / (1 + x(t - tau)^10) - 0.1 x(t). Lorenz, "Deterministic nonperiodic flow", Journal of the Atmospheric
Sciences 20 (1963): dx/dt = 10 (y - x), dy/dt = x (28 - z) - y, dz/dt = x y - 8/3 z.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from numbers import Real
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from river import datasets

from streamrnn.demo.flights import UNASSIGNED, load_flights
from streamrnn.demo.log import job_text
from streamrnn.job.job_file import parse

SHUTTLE_EVENTS: Final = 6_000
MACKEY_GLASS_STEPS: Final = 10_000
TAU: Final = 17
STEPS_PER_UNIT: Final = 10
LORENZ_STEPS: Final = 10_000
LORENZ_SAMPLES_PER_UNIT: Final = 50
LORENZ_STEPS_PER_SAMPLE: Final = 4


class Events(NamedTuple):
    """``x[i]`` is known before ``y[i]`` is."""

    x: list[dict[str, Any]]
    y: list[Any]

    def first(self, n: int) -> Events:
        """The first ``n`` of them."""
        return Events(self.x[:n], self.y[:n])


def _numbers(dataset: Iterable[tuple[dict[str, Any], Any]]) -> Events:
    pairs = [({name: v for name, v in x.items() if isinstance(v, Real)}, y) for x, y in dataset]
    return Events([x for x, _ in pairs], [y for _, y in pairs])


def _regression(dataset: Iterable[tuple[dict[str, Any], Any]]) -> Events:
    events = _numbers(dataset)
    return events._replace(y=[float(y) for y in events.y])


RIVER: Final[dict[str, Callable[[], Events]]] = {
    "trump": lambda: _regression(datasets.TrumpApproval()),
    "water": lambda: _regression(datasets.WaterFlow()),
    "airline": lambda: _regression(datasets.AirlinePassengers()),
    "chick": lambda: _regression(datasets.ChickWeights()),
    "sp500": lambda: _regression(datasets.SP500Stocks()),
    "phishing": lambda: _numbers(datasets.Phishing()),
    "bananas": lambda: _numbers(datasets.Bananas()),
    "segments": lambda: _numbers(datasets.ImageSegments()),
    "shuttle": lambda: _numbers(islice(datasets.Shuttle(), SHUTTLE_EVENTS)),
}


def mackey_glass(steps: int = MACKEY_GLASS_STEPS) -> Events:
    """The series sampled once per unit of time, from the constant history 1.2.

    Runge-Kutta of order four with a step of 0.1; the delayed value half-way between two grid points is their mean.
    """
    dt = 1 / STEPS_PER_UNIT
    delay = TAU * STEPS_PER_UNIT
    x: npt.NDArray[np.float64] = np.full(steps * STEPS_PER_UNIT + delay + 1, 1.2)

    def slope(now: float, delayed: float) -> float:
        return 0.2 * delayed / (1 + delayed**10) - 0.1 * now

    for i in range(delay, len(x) - 1):
        now, old, new = float(x[i]), float(x[i - delay]), float(x[i - delay + 1])
        middle = (old + new) / 2
        k1 = slope(now, old)
        k2 = slope(now + dt / 2 * k1, middle)
        k3 = slope(now + dt / 2 * k2, middle)
        k4 = slope(now + dt * k3, new)
        x[i + 1] = now + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    y = x[delay::STEPS_PER_UNIT][:steps].tolist()
    return Events([{} for _ in y], y)


def lorenz(steps: int = LORENZ_STEPS) -> Events:
    """x, sampled fifty times per unit of time, from (1, 1, 1); the first 500 samples are left out.

    Runge-Kutta of order four with a step of 0.005.
    """
    dt, skipped = 1 / (LORENZ_SAMPLES_PER_UNIT * LORENZ_STEPS_PER_SAMPLE), 500
    state: npt.NDArray[np.float64] = np.ones(3)
    y: list[float] = []

    def slope(s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.array([10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]])

    for i in range((skipped + steps) * LORENZ_STEPS_PER_SAMPLE):
        k1 = slope(state)
        k2 = slope(state + dt / 2 * k1)
        k3 = slope(state + dt / 2 * k2)
        k4 = slope(state + dt * k3)
        state = state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        if i % LORENZ_STEPS_PER_SAMPLE == LORENZ_STEPS_PER_SAMPLE - 1:
            y.append(float(state[0]))
    return Events([{}] * steps, y[skipped:])


def flights(limit: int) -> Events:
    """The first ``limit`` departures, as the demo has them."""
    x: list[dict[str, Any]] = []
    y: list[float | None] = []
    for record in load_flights(limit):
        del record["timestamp"]
        y.append(record.pop("delay"))
        x.append(record | {"tailnum": record["tailnum"] or UNASSIGNED})
    return Events(x, y)


def flight_features() -> tuple[Any, ...]:
    """The encoders of the demo's job."""
    return parse(job_text(Path("nowhere"), None), env={}).features
