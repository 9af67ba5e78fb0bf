"""What the demo prints: the introduction, the display while it learns, and the account at the end, for 80 columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamrnn.demo.speech.account import CURVES, Account, GroupHeard
from streamrnn.demo.speech.recogniser import CHUNK_S, LONGEST_S, UNITS, Heard
from streamrnn.demo.speech.voices import LONGEST, NEWCOMER, Utterance

WIDTH: Final = 74
SHOWN: Final = 6
"""Newest strings that are shown."""

Transcript = tuple[int, ...]


@dataclass(frozen=True)
class Listening:
    """A string that is heard in chunks: what was understood after each, since a moment on the clock."""

    said: Utterance
    transcripts: Sequence[Transcript]
    since: float

    def at(self, now: float) -> int:
        """How many chunks have come by now."""
        return min(len(self.transcripts), 1 + int((now - self.since) / CHUNK_S))


def introduce(console: Console, n_voices: int) -> None:
    """Say what is about to happen."""
    console.print(
        Text.assemble(
            ("What was said? ", "bold"),
            f"{n_voices} voices of espeak-ng say strings of up to {LONGEST} digits at many speeds and pitches, half of "
            f"them in noise. A GRU of {UNITS} units that knows nothing hears each once, writes down the digits, and "
            "only then is told what they were, though not when each was said (CTC). Half-way a speaker joins whose "
            f"accent it has never heard ({NEWCOMER.name}), and a copy of the model stops learning, for comparison.",
        )
    )


def digits(transcript: Transcript) -> str:
    """Digits as they are shown.

    >>> digits((3, 1, 4)), digits(())
    ('3 1 4', '-')
    """
    return " ".join(map(str, transcript)) or "-"


def progress(
    account: Account, seconds: float, newest: Sequence[tuple[Utterance, Heard]], listening: Listening | None, now: float
) -> RenderableType:
    """One frame of the display."""
    rows = Table.grid()
    rows.add_row(ProgressBar(total=account.strings, completed=account.learned, width=WIDTH))
    rows.add_row(
        Text.assemble(
            (f"{account.learned:,}", "bold"), f" of {account.strings:,} strings learned   {seconds:.0f} s elapsed"
        )
    )
    rows.add_row(Text())
    rows.add_row(_rates(account))
    rows.add_row(Text())
    rows.add_row(_newest(newest))
    if listening is not None:
        chunks = listening.at(now)
        rows.add_row(Text())
        rows.add_row(
            Text.assemble(
                (f"while {listening.said.voice.name} is speaking, {chunks * CHUNK_S:4.1f} s   ", "dim"),
                (digits(listening.transcripts[chunks - 1]), "bold cyan"),
            )
        )
    return rows


def plain_line(account: Account) -> Text:
    """One line for where no display can stand."""
    rates = "  ".join(f"{name} {percent(account.curves[name].newest())}" for name in CURVES)
    return Text(f"{account.learned:>6,} strings  {rates}")


def percent(rate: float) -> str:
    """A rate, or a dash where there is none."""
    return f"{rate:.1%}" if math.isfinite(rate) else "-"


def conclude(console: Console, account: Account, tested: Sequence[GroupHeard], seconds: float) -> None:
    """The account: what the curves say, and how each group is heard now."""
    console.print()
    for sentence in account.sentences():
        console.print(Text(f"- {sentence}."))
    if tested:
        console.print()
        console.print(_groups(tested))
    console.print(Text(f"{account.learned:,} strings in {seconds:.0f} s, the making of the sound included."))


def heard_in_chunks(console: Console, said: Utterance, transcripts: Sequence[Transcript]) -> None:
    """How the transcript of a string grew while it was spoken."""
    console.print()
    name = said.voice.name
    console.print(Text.assemble((f"{name} says {digits(said.digits)}", "bold"), ", heard in chunks of 100 ms"))
    before: Transcript = ()
    for number, transcript in enumerate(transcripts, 1):
        if transcript != before:
            console.print(Text.assemble((f"  {number * CHUNK_S:4.1f} s  ", "dim"), (digits(transcript), "cyan")))
        before = transcript


def own_sound(console: Console, path: Path, transcript: Transcript, seconds: float) -> None:
    """What was heard in a file of one's own."""
    heard = f", of which the first {LONGEST_S:.0f} are heard" if seconds > LONGEST_S else ""
    console.print()
    console.print(
        Text.assemble(f"{path} ({seconds:.1f} s{heard})  ", (digits(transcript), "bold cyan")), soft_wrap=True
    )


def _rates(account: Account) -> Table:
    table = Table(box=None, show_edge=False, pad_edge=False)
    table.add_column("digit error", min_width=24)
    table.add_column("newest strings", justify="right")
    table.add_column("", width=34)
    for name in CURVES:
        rate = account.curves[name].newest()
        bar = "█" * round(34 * min(1.0, rate)) if math.isfinite(rate) else ""
        table.add_row(name, percent(rate), Text(bar, "red"))
    return table


def _newest(newest: Sequence[tuple[Utterance, Heard]]) -> Table:
    table = Table(box=None, show_edge=False, pad_edge=False)
    table.add_column("voice", min_width=24, no_wrap=True)
    table.add_column("said", min_width=16, no_wrap=True)
    table.add_column("heard before it was told", no_wrap=True)
    for said, heard in newest:
        style = "green" if heard.digits == said.digits else "red"
        noise = "" if said.noise_db is None else f" {said.noise_db:.0f} dB"
        table.add_row(f"{said.voice.name}{noise}", digits(said.digits), Text(digits(heard.digits)[:36], style))
    for _ in range(SHOWN - len(newest)):
        table.add_row("", "", "")
    return table


def _groups(tested: Sequence[GroupHeard]) -> Table:
    table = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        caption=f"{tested[0].strings} strings each, none of them learned; frozen: as it was when the newcomer joined",
        caption_justify="left",
    )
    table.add_column("digit error at the end")
    for column in ("quiet", "in noise", "frozen", "in noise"):
        table.add_column(column, justify="right")
    for one in tested:
        frozen = one.frozen or (math.nan, math.nan)
        table.add_row(one.name, percent(one.quiet), percent(one.noisy), *map(percent, frozen))
    return table
