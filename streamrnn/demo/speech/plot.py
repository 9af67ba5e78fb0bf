"""Digit error over the strings heard, as a PNG: the newcomer's jump and fall, beside the same model frozen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np

from streamrnn.demo.plot import COLOURS, MODEL_COLOUR, new_figure, save
from streamrnn.demo.speech.account import FROZEN, KEPT_OUT, KNOWN, NEWCOMER, NEWEST, Account

STYLES: Final[dict[str, dict[str, Any]]] = {
    KNOWN: {"color": COLOURS[0], "linewidth": 1.6},
    KEPT_OUT: {"color": COLOURS[1], "linewidth": 1.6},
    FROZEN: {"color": COLOURS[5], "linewidth": 1.8, "linestyle": "--"},
    NEWCOMER: {"color": MODEL_COLOUR, "linewidth": 2.4, "zorder": 3},
}
LABELS: Final = {
    KNOWN: "voices it learns from",
    KEPT_OUT: "voices kept out of learning",
    FROZEN: "newcomer, heard by the model frozen when they came",
    NEWCOMER: "newcomer, with an accent never heard before",
}
LEAST: Final = 5
"""Strings that a rate is drawn of."""


def plot_errors(path: Path, account: Account, title: str) -> None:
    """Draw what came of a run. Raises ConfigError where matplotlib is not installed, or the file cannot be written."""
    save(path, lambda: _draw(account, title))


def _draw(account: Account, title: str) -> Any:
    figure = new_figure(6, title)
    axes = figure.subplots()
    for name, style in STYLES.items():
        curve = account.curves[name]
        if len(curve) >= LEAST:
            rates = 100 * curve.rolling()[LEAST - 1 :]
            axes.plot(np.array(curve.at[LEAST - 1 :]), rates, label=f"{LABELS[name]}: {rates[-1]:.1f} %", **style)
    if account.learned > account.joined:
        axes.axvline(account.joined, color="#999999", linewidth=0.9, linestyle=":", zorder=1)
        axes.annotate(
            " a newcomer joins", (account.joined, 0.98), xycoords=("data", "axes fraction"), va="top", color="#666666"
        )
    axes.set_xlim(0, max(1, account.learned))
    axes.set_ylim(0, 60)
    axes.set_xlabel("strings learned")
    axes.set_ylabel("digit error, %")
    subtitle = f"Each string is transcribed before its truth is seen; over the newest {NEWEST} strings of each kind"
    axes.set_title(subtitle, loc="left", fontsize=10, color="#444444")
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    return figure
