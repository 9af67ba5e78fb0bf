"""The picture: six panels, each under the sentence that says what is to be seen in it.

A network has one colour everywhere; with long memory at the start it is drawn with broken lines. Drawn by
``demo.plot``'s rules: a figure of its own, Matplotlib's defaults.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from streamrnn.demo.memory import findings
from streamrnn.demo.memory.explosion import Course
from streamrnn.demo.memory.findings import Measured
from streamrnn.demo.memory.gradients import Shares
from streamrnn.demo.memory.lags import Lags
from streamrnn.demo.memory.lengths import KINDS, LONGEST, WINDOW, Kind, Learned
from streamrnn.demo.memory.networks import NETWORKS, Network
from streamrnn.demo.memory.tasks import CHANCE
from streamrnn.demo.plot import COLOURS, MODEL_COLOUR, new_figure, save

TITLE: Final = "The limits of recurrent networks, and what overcomes them"
_CELLS: Final = {"rnn": COLOURS[2], "gru": COLOURS[0], "lstm": MODEL_COLOUR}
_WIDTH: Final = 60
"""Characters of a line above a panel."""
_SHOWN: Final = 1e-30
"""Shares of a gradient below this are drawn at the bottom: what it was makes no difference any more."""


def plot_memory(path: Path, measured: Measured) -> None:
    """Draw all that was measured. Raises ConfigError where the file cannot be written, or matplotlib is missing."""
    save(path, lambda: _draw(measured))


def _draw(measured: Measured) -> Any:
    figure = new_figure(13, TITLE)
    (start, after), (lags, lengths), (explosion, depth) = figure.subplots(3, 2)
    assert measured.start is not None
    assert measured.lags is not None
    assert measured.learned is not None
    assert measured.explosion is not None
    assert measured.layers is not None
    assert measured.cpu_us is not None
    many = measured.learned["many"]
    _gradients(start, measured.start, findings.vanishing(measured.start))
    _gradients(after, many.gradient, findings.after_learning(measured.start, many))
    _bars(lags, measured.lags, "k2, steps in a window", findings.windows(measured.lags))
    _lengths(lengths, measured.learned, findings.lengths(measured.learned))
    _explosion(explosion, measured.explosion, findings.explosion(measured.explosion))
    _bars(depth, measured.layers, "layers", findings.depth(measured.layers, measured.cpu_us))
    handles, labels = start.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=5, frameon=False)
    return figure


def _gradients(axes: Any, shares: Mapping[Network, Shares], title: str) -> None:
    for network in NETWORKS:
        steps = [back for back in shares[network] if back]
        axes.plot(steps, [max(shares[network][back], _SHOWN) for back in steps], label=network.name, **_line(network))
    _powers(axes.xaxis, axes.set_xscale)
    axes.set_yscale("log")
    axes.set_ylim(_SHOWN, 100)
    _dress(axes, "steps back from the answer", "share of the gradient left", title)


def _bars(axes: Any, lags: Lags, unit: str, title: str) -> None:
    width = 0.8 / len(NETWORKS)
    for i, network in enumerate(NETWORKS):
        at = np.arange(len(lags)) + (i - (len(NETWORKS) - 1) / 2) * width
        values = [lags[key][network] for key in lags]
        bars = axes.bar(at, [max(value, 1) for value in values], width * 0.9, **_face(network))
        axes.bar_label(bars, [str(value) for value in values], fontsize=7, padding=1)
    _powers(axes.yaxis, axes.set_yscale)
    axes.set_ylim(1, 4 * max(max(row.values()) for row in lags.values()))
    axes.set_xticks(np.arange(len(lags)), [str(key) for key in lags])
    _dress(axes, unit, "longest lag bridged, steps", title)


def _lengths(axes: Any, learned: Mapping[Kind, Learned], title: str) -> None:
    for kind, alpha in zip(KINDS, (0.4, 1.0), strict=True):
        right = learned[kind].right
        for network in NETWORKS:
            axes.plot(right[network].keys(), right[network].values(), alpha=alpha, **_line(network))
    axes.axhline(CHANCE, color="#999999", linewidth=0.8, linestyle=":")
    _powers(axes.xaxis, axes.set_xscale)
    axes.set_ylim(0, 1.08)
    axes.axvspan(1, WINDOW, color="#f2f2f2", zorder=0)
    _note(axes, 0.03, 0.88, f"from lags of 1 to {LONGEST}")
    _note(axes, 0.03, 0.08, f"from lags of {LONGEST} alone (pale), and guessing (dotted)")
    _dress(axes, f"lag, steps (grey: within a window of {WINDOW})", "share of right answers", title)


def _explosion(axes: Any, found: Mapping[float | None, Mapping[Network, Course]], title: str) -> None:
    worst = max(found[None], key=lambda network: found[None][network].unusable)
    largest = 1.0
    for clip, colour, name in ((None, "#444444", "unclipped"), (1.0, _CELLS[worst.cell], "clipped at 1")):
        loss = np.where(np.isfinite(found[clip][worst].loss), found[clip][worst].loss, np.nan)
        axes.plot(np.arange(1, len(loss) + 1), loss, color=colour, linewidth=1.2, label=f"{worst.name}, {name}")
        largest = max(largest, float(np.nanmax(loss)))
    axes.axhline(1, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_yscale("log")
    axes.set_xscale("log")
    axes.set_ylim(1e-3, 100 * largest)
    axes.legend(frameon=False, fontsize=8, loc="center right")
    _dress(axes, "windows", "loss of a window (dotted: of the mean)", title)


def _powers(axis: Any, set_scale: Callable[..., None]) -> None:
    """A logarithmic axis with the powers of two as plain numbers."""
    set_scale("log", base=2)
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _line(network: Network) -> dict[str, Any]:
    style = "-" if network.memory is None else "--"
    return {"color": _CELLS[network.cell], "linestyle": style, "linewidth": 1.8, "marker": "o", "markersize": 3}


def _face(network: Network) -> dict[str, Any]:
    colour = _CELLS[network.cell]
    if network.memory is None:
        return {"color": colour}
    return {"facecolor": "white", "edgecolor": colour, "hatch": "////"}


def _note(axes: Any, x: float, y: float, text: str) -> None:
    axes.text(x, y, text, transform=axes.transAxes, fontsize=8, color="#444444")


def _dress(axes: Any, x: str, y: str, title: str) -> None:
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.set_title(textwrap.fill(title, _WIDTH), loc="left", fontsize=9.5, color="#222222")
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
