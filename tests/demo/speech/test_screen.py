"""What is shown fits 80 columns and is what happened."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from streamrnn.demo.speech import screen
from streamrnn.demo.speech.account import KNOWN, Account, GroupHeard
from streamrnn.demo.speech.recogniser import Heard
from streamrnn.demo.speech.screen import Listening
from streamrnn.demo.speech.voices import LONGEST, Voice, utterance

SAID = utterance(Voice("en-gb-x-gbcwmd", "michael"), 1, 0, noisy=True)


def printed(what: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def frame(now: float = 5.0) -> str:
    account = Account(100, 50)
    for at in range(10):
        account.curves[KNOWN].add(at, Heard((), at % 2, 2))
    heard = Heard(tuple(range(LONGEST)), 1, LONGEST)
    listening = Listening(SAID, [(), (3,), (3,), (3, 1)], since=4.9)
    return printed(screen.progress(account, 3.2, [(SAID, heard)] * screen.SHOWN, listening, now))


def test_a_frame_shows_progress_rates_and_what_was_heard() -> None:
    shown = frame()
    assert "10 of 100 strings learned" in shown
    assert "known voices" in shown
    assert "25.0%" in shown
    assert "0 1 2 3 4 5 6" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown


@pytest.mark.parametrize(("now", "transcript"), [(4.9, "0.1 s   -"), (5.05, "0.2 s   3"), (9.9, "0.4 s   3 1")])
def test_what_was_understood_grows_with_the_time_that_passes(now: float, transcript: str) -> None:
    assert transcript in frame(now)


def test_a_transcript_is_told_where_it_changes() -> None:
    console = Console(file=io.StringIO(), width=80)
    screen.heard_in_chunks(console, SAID, [(), (3,), (3,), (3, 1), (3, 1, 4)])
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()[2:]
    assert [line.split("s  ")[1] for line in lines] == ["3", "3 1", "3 1 4"]
    assert [line.split()[0] for line in lines] == ["0.2", "0.4", "0.5"]


@pytest.mark.parametrize(("seconds", "told"), [(30.0, "(30.0 s)"), (31.5, "(31.5 s, of which the first 30 are heard)")])
def test_of_a_long_recording_it_is_told_how_much_is_heard(seconds: float, told: str) -> None:
    console = Console(file=io.StringIO(), width=80)
    screen.own_sound(console, Path("own.wav"), (3, 1), seconds)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == f"\nown.wav {told}  3 1\n"


def test_groups_are_told_with_and_without_noise() -> None:
    console = Console(file=io.StringIO(), width=80)
    tested = [GroupHeard("other synthesisers", 0.123, 0.234, (0.345, 0.456), 40)]
    screen.conclude(console, Account(10, 5), tested, 1.0)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert re.search(r"other synthesisers +12\.3% +23\.4% +34\.5% +45\.6%", shown)
    assert max(map(len, shown.splitlines())) <= 80
