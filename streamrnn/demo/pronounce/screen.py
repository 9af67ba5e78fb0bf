"""What the demo prints: the introduction, the display while it learns, and the account at the end.

Everything is laid out for 80 columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamrnn.demo.pronounce.account import NEWEST, Attempt, Floats, Result, Tally
from streamrnn.demo.pronounce.words import SOUNDS, written

WIDTH: Final = 74
SHOWN: Final = 10
"""So many words are seen at once, the newest last."""
_SHADES: Final = " ░▒▓█"


def introduce(console: Console, words: int, of: int) -> None:
    """Say what is about to happen."""
    console.print(
        Text.assemble(
            ("How is this word pronounced? ", "bold"),
            f"A network that knows no letter reads {words:,} of the {of:,} words in CMU's dictionary, each once. It "
            "says each word, and only then learns how that is said. 39 sounds, without stress; where a word can be "
            "said in several ways, the nearest counts.",
        )
    )


def progress(tally: Tally, of: int, newest: Sequence[Attempt], cpu_seconds: float) -> RenderableType:
    """One frame of the display while it learns."""
    rate = f"{cpu_seconds / len(tally) * 1e3:.2f} ms of CPU a word" if len(tally) else ""
    rows = Table.grid()
    rows.add_row(ProgressBar(total=of, completed=len(tally), width=WIDTH))
    rows.add_row(Text.assemble((f"{len(tally):,}", "bold"), f" of {of:,} words   {rate}"))
    rows.add_row(Text())
    rows.add_row(_rates(tally))
    rows.add_row(Text())
    return Group(rows, latest(newest))


def plain_line(tally: Tally) -> Text:
    """One line for where no display can stand."""
    sounds, words = tally.rates(NEWEST)
    return Text(f"{len(tally):>9,} words   of the newest {NEWEST:,}: sounds {sounds:6.1%} wrong, words {words:6.1%}")


def conclude(console: Console, result: Result, places: dict[str, str]) -> None:
    """The account: error rates, the latest words, where it looked, where things are."""
    console.print()
    console.print(_rates(result.tally))
    console.print()
    console.print(Text("The latest words", "bold"))
    console.print(latest(result.newest))
    console.print()
    console.print(_attention(result.shown, result.looked))
    console.print()
    n = len(result.tally)
    console.print(
        Text.assemble(
            (f"{n:,} words in {result.seconds:.1f} s", "bold"),
            f": {result.cpu_seconds / n * 1e3:.2f} ms of CPU a word, said and learned",
        )
    )
    if n < result.of:
        console.print(Text(f"interrupted: {result.of - n:,} of {result.of:,} words were left", "yellow"))
    width = max(map(len, places))
    for name, place in places.items():
        console.print(Text.assemble((f"{name:{width}} ", "dim"), (place, "cyan")), soft_wrap=True)


def _rates(tally: Tally) -> Table:
    """Error rates, now and over all."""
    table = Table(show_header=True, show_edge=False, pad_edge=False, box=None)
    table.add_column("wrong", min_width=12)
    table.add_column(f"newest {NEWEST:,} words", justify="right", min_width=18)
    table.add_column(f"all {len(tally):,}", justify="right", min_width=12)
    table.add_column("")
    for name, now, whole in zip(("sounds", "words"), tally.rates(NEWEST), tally.rates(), strict=True):
        bar = "█" * round(24 * min(now, 1.0)) if len(tally) else ""
        cells = (f"{rate:.1%}" if len(tally) else "-" for rate in (now, whole))
        table.add_row(name, *cells, Text(bar, "bold red"))
    return table


def latest(attempts: Sequence[Attempt]) -> Table:
    """The newest words: as they are written, what was said, and what should have been where that was wrong."""
    table = Table(show_header=True, show_edge=False, pad_edge=False, box=None)
    table.add_column("", width=1)
    table.add_column("word", width=18, no_wrap=True)
    table.add_column("it said", width=27, no_wrap=True)
    table.add_column("right would have been", width=27, no_wrap=True)
    shown = list(attempts)[-SHOWN:]
    for one in shown:
        right = Text() if one.edits == 0 else Text(written(one.nearest), "dim")
        mark = Text("✓", "green") if one.edits == 0 else Text("✗", "red")
        table.add_row(mark, Text(one.word.spelling), _said(one), right)
    for _ in range(SHOWN - len(shown)):
        table.add_row("", "", "", "")
    return table


def _said(one: Attempt) -> Text:
    """What was said, with what is not in the right pronunciation in red."""
    text = Text()
    for what, start, stop, _, _ in SequenceMatcher(None, one.said, one.nearest, autojunk=False).get_opcodes():
        for number in one.said[start:stop]:
            text.append(f"{SOUNDS[number]} ", "" if what == "equal" else "bold red")
    return text


def _attention(shown: Attempt, looked: Floats) -> RenderableType:
    """The letters of a word across, the sounds down: the darker, the more it looked there."""
    spelling = shown.word.spelling
    rows = Table.grid(padding=(0, 1))
    found = "which it says right" if shown.edits == 0 else f"right would be {written(shown.nearest)}"
    title = Text.assemble((f"Where it looks in '{spelling}'", "bold"), f", which it never learned; {found}")
    rows.add_row("", Text("  ".join(spelling)))
    if not shown.said:
        rows.add_row("", Text("it says nothing yet", "dim"))
    for number, weights in zip(shown.said, looked.tolist(), strict=True):
        cells = "".join(2 * _SHADES[min(4, round(4 * weight + 0.25))] + " " for weight in weights)
        rows.add_row(Text(f"{SOUNDS[number]:>3}"), Text(cells, "red"))
    return Group(title, rows)
