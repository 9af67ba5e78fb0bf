"""Numbers such as the demo measures, made up: quick to have, and unlike the true ones where a test wants that."""

from __future__ import annotations

import numpy as np

from streamrnn.demo.memory.explosion import CLIPS, STEPS, Course
from streamrnn.demo.memory.findings import Measured
from streamrnn.demo.memory.gradients import SPAN, Shares
from streamrnn.demo.memory.lags import LAYERS, WINDOWS
from streamrnn.demo.memory.lengths import JUDGED_LAGS, KINDS, Learned
from streamrnn.demo.memory.networks import NETWORKS, Network


def fading(share: float) -> Shares:
    """Geometrically, down to ``share`` at 128 steps back."""
    return {back: share ** (back / SPAN) for back in (0, 1, 2, 4, 8, 16, 32, 64, SPAN)}


def starts(*at_128: float) -> dict[Network, Shares]:
    """One share for each network."""
    return {network: fading(share) for network, share in zip(NETWORKS, at_128, strict=True)}


def everywhere(value: int) -> dict[Network, int]:
    return dict.fromkeys(NETWORKS, value)


def course(growth: float, unusable: float, error: float) -> Course:
    assert STEPS == 64
    return Course(loss=np.linspace(1.0, error, 20), growth=growth, unusable=unusable, error=error)


def learned(right: float, gradient: float) -> Learned:
    return Learned(
        right={network: dict.fromkeys(JUDGED_LAGS, right) for network in NETWORKS},
        gradient={network: fading(gradient) for network in NETWORKS},
    )


def measured() -> Measured:
    """All parts, each number another one."""
    return Measured(
        start=starts(2e-8, 3e-18, 4e-5, 0.2, 0.11),
        lags={k2: everywhere(2 * k2) for k2 in WINDOWS},
        learned={kind: learned(right, 0.05) for kind, right in zip(KINDS, (0.26, 0.97), strict=True)},
        explosion={clip: {n: course(7e3, 0.9 if clip is None else 0.0, 0.03) for n in NETWORKS} for clip in CLIPS},
        layers={n: everywhere(32 // n) for n in LAYERS},
        cpu_us={n: dict.fromkeys(NETWORKS, 1.5 * n) for n in LAYERS},
    )
