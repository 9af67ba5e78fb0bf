"""Error rates over the words, and where the network looked in one of them, as a PNG.

Drawn by ``demo.plot``'s rules: a figure of its own, Matplotlib's defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from streamrnn.demo.plot import COLOURS, MODEL_COLOUR, new_figure, save
from streamrnn.demo.pronounce.account import NEWEST, Result
from streamrnn.demo.pronounce.words import SOUNDS

POINTS: Final = 2_000
"""More points than pixels only blur the line."""


def plot_pronunciation(path: Path, result: Result) -> None:
    """Draw what came of a run. Raises ConfigError where matplotlib is not installed, or the file cannot be written."""
    save(path, lambda: _draw(result))


def _draw(result: Result) -> Any:
    figure = new_figure(5.5, "Learning to pronounce")
    over_words, letters = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_rates(over_words, result)
    _draw_attention(letters, result)
    return figure


def _draw_rates(axes: Any, result: Result) -> None:
    at, sounds, words = result.tally.curve()
    some = np.unique(np.linspace(0, len(at) - 1, POINTS).astype(int))
    for name, rate, colour in (("words", words, COLOURS[0]), ("sounds", sounds, MODEL_COLOUR)):
        axes.plot(at[some], 100 * rate[some], color=colour, linewidth=2, label=f"{name}: {rate[-1]:.1%} at the end")
    axes.set_ylim(0, 100)
    axes.set_xlim(0, len(at))
    axes.set_xlabel("words, each said before it is learned")
    axes.set_ylabel("% wrong")
    axes.xaxis.set_major_formatter(lambda n, _: f"{n:,.0f}")
    axes.set_title(f"Of the newest {NEWEST:,} words: lower is better", loc="left", fontsize=10, color="#444444")
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper right")


def _draw_attention(axes: Any, result: Result) -> None:
    shown = result.shown
    if shown.said:
        axes.imshow(result.looked, cmap="Reds", vmin=0, vmax=1, aspect="auto")
    else:
        axes.text(0.5, 0.5, "it says nothing yet", ha="center", transform=axes.transAxes)
    axes.set_xticks(range(len(shown.word.spelling)), list(shown.word.spelling))
    axes.set_yticks(range(len(shown.said)), [SOUNDS[number] for number in shown.said])
    axes.tick_params(length=0)
    axes.set_xlabel("letters")
    axes.set_ylabel("sounds, as it says them")
    axes.set_title("Where it looks in a word it never learned", loc="left", fontsize=10, color="#444444")
