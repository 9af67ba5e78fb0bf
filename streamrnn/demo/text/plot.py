"""Bits per byte over the bytes read, as a PNG: the model now and on average, and the compressors.

The axis of bytes is logarithmic, as most is learned early. Drawn by ``demo.plot``'s rules: a figure of its own,
Matplotlib's defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from streamrnn.demo.plot import COLOURS, MODEL_COLOUR, new_figure, save
from streamrnn.demo.text.account import MODEL, NEWEST, Result
from streamrnn.demo.text.writing import MILESTONES

POINTS: Final = 2_000
"""More points than pixels only blur the line."""


def plot_bits(path: Path, result: Result, *, title: str) -> None:
    """Draw what came of a run. Raises ConfigError where matplotlib is not installed, or the file cannot be written."""
    save(path, lambda: _draw(result, title))


def _draw(result: Result, title: str) -> Any:
    figure = new_figure(6, title)
    axes = figure.subplots()
    curve = result.curve
    # Evenly over the axis as it is drawn.
    wanted = np.geomspace(curve.ends[0], curve.ends[-1], POINTS)
    at = np.unique(np.searchsorted(curve.ends, wanted).clip(0, len(curve.ends) - 1))
    rivals = sorted(result.figures[curve.read], key=lambda name: result.figures[curve.read][name])
    for name, colour in zip(rivals, COLOURS, strict=False):
        sizes = list(result.figures)
        values = [result.figures[size][name] for size in sizes]
        axes.plot(sizes, values, color=colour, linewidth=1.3, label=f"{name}: {values[-1]:.3f}")
    style = {"color": MODEL_COLOUR, "zorder": 3}
    axes.plot(curve.ends[at], curve.now[at], linewidth=0.9, alpha=0.45, **style)
    axes.plot(curve.ends[at], curve.mean[at], linewidth=2.4, label=f"{MODEL}: {curve.mean[-1]:.3f}", **style)
    axes.plot([], [], linewidth=0.9, alpha=0.45, color=MODEL_COLOUR, label=f"{MODEL}, newest {NEWEST:,} bytes")
    _dress(axes, result)
    return figure


def _dress(axes: Any, result: Result) -> None:
    curve = result.curve
    axes.set_xscale("log")
    axes.set_xlim(curve.ends[0], max(curve.read, curve.ends[0] * 2))
    axes.set_ylim(0, min(8.0, 1.05 * float(np.nanmax(curve.mean))))
    axes.set_xlabel("bytes read")
    axes.set_ylabel("bits per byte")
    axes.xaxis.set_major_formatter(lambda size, _: shortened(int(size)))
    for mark in MILESTONES:
        if mark <= curve.read:
            axes.axvline(mark, color="#bbbbbb", linewidth=0.8, linestyle=":", zorder=1)
    title = f"On average over the {curve.read:,} bytes, each predicted before it is learned: lower is better"
    axes.set_title(title, loc="left", fontsize=10, color="#444444")
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right")


def shortened(size: int) -> str:
    """A round number of bytes in a few characters.

    >>> shortened(500), shortened(10_000), shortened(3_000_000)
    ('500 B', '10 kB', '3 MB')
    """
    for unit, worth in (("MB", 1_000_000), ("kB", 1_000)):
        if size >= worth:
            return f"{size / worth:g} {unit}"
    return f"{size} B"
