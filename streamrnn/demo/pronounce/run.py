"""``streamrnn demo pronounce``: say each word of a dictionary, learn how it is said, and tell how that went.

All is done in this thread, on one core, by the learner that a job of whole sequences runs. A word goes in when the one
before it has been learned; they are handed over by dozens, since the display need not be told of each. Ctrl-C ends the
demo between two dozens, and the account is of what was done. One word is kept out of learning, to show in the end where
the network looks when it says it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from streamrnn.core.compiled import is_compiled, warm_up
from streamrnn.demo.directory import PRONUNCIATION_FILE, claimed
from streamrnn.demo.plot import REMEDY, can_draw
from streamrnn.demo.pronounce import screen
from streamrnn.demo.pronounce.account import Attempt, Result, Tally
from streamrnn.demo.pronounce.plot import plot_pronunciation
from streamrnn.demo.pronounce.pronouncer import SPEC, Pronouncer
from streamrnn.demo.pronounce.words import Word, load_words
from streamrnn.demo.screen import short
from streamrnn.demo.watching import INTERRUPTED, sigterm_as_interrupt
from streamrnn.errors import ConfigError

SHOWN: Final = "pronunciation"
"""The word that is never learned."""
QUICK: Final = 3_000
DOZENS: Final = 24
TOLD_EVERY: Final = 2_000
"""Words, where no display can stand."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. ``words``: how many are read; None: all there are."""

    directory: Path
    words: int | None = None
    plot: Path | None = None


def run_pronounce_demo(options: Options, console: Console) -> Result | None:
    """Run the demo; None when it was interrupted before a word was said. Raises StreamrnnError."""
    directory = options.directory.resolve()
    if options.plot is not None and not options.plot.resolve().parent.is_dir():
        raise ConfigError(f"--plot: the directory of {options.plot} does not exist")
    words = load_words()  # before anything is removed
    with claimed(directory) as remarks, sigterm_as_interrupt():
        for remark in remarks:
            console.print(Text(remark, "dim"), soft_wrap=True)
        shown = next((word for word in words if word.spelling == SHOWN), words[0])
        to_learn = [word for word in words if word is not shown][: options.words]
        screen.introduce(console, len(to_learn), len(words))
        precision = SPEC.model.dtype
        if not is_compiled(precision, "sequences"):
            with console.status(Text("compiling the kernels: a minute or two, more on a busy machine")):
                warm_up(precision, family="sequences")
        result = _learn(to_learn, shown, console)
        if result is None:
            return None
        screen.conclude(console, result, _left_behind(options, directory, result))
        return result


def _learn(words: Sequence[Word], shown: Word, console: Console) -> Result | None:
    pronouncer, tally, newest = Pronouncer(), Tally(), list[Attempt]()
    began, cpu_began, told, status = time.perf_counter(), time.process_time(), 0, 0
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        try:
            for dozens in _cut(words, DOZENS):
                newest = [*newest, *pronouncer.try_and_learn(dozens)][-max(DOZENS, screen.SHOWN) :]
                tally.add(newest[-len(dozens) :])
                if console.is_terminal:
                    live.update(screen.progress(tally, len(words), newest, time.process_time() - cpu_began))
                elif len(tally) - told >= TOLD_EVERY:
                    told = len(tally)
                    console.print(screen.plain_line(tally))
        except KeyboardInterrupt:
            status = INTERRUPTED
    if len(tally) == 0:
        return None
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    said, looked = pronouncer.look(shown)
    return Result(
        status=status,
        of=len(words),
        tally=tally,
        newest=newest,
        shown=said,
        looked=looked,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
    )


def _cut(words: Sequence[Word], size: int) -> Iterator[Sequence[Word]]:
    for start in range(0, len(words), size):
        yield words[start : start + size]


def _left_behind(options: Options, directory: Path, result: Result) -> dict[str, str]:
    """Draw the plot, where it can be; where it is."""
    if not can_draw():
        return {"plot": f"none, as matplotlib is not installed: {REMEDY}"}
    plot = options.plot or directory / PRONUNCIATION_FILE
    plot_pronunciation(plot, result)
    return {"plot": short(plot)}
