"""``streamrnn demo pronounce`` from end to end, on a small language of its own in which each letter is a sound."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from streamrnn.demo.directory import MARKER
from streamrnn.demo.pronounce import run
from streamrnn.demo.pronounce.account import Attempt, attempt
from streamrnn.demo.pronounce.pronouncer import Pronouncer, block_of
from streamrnn.demo.pronounce.run import SHOWN, Options, run_pronounce_demo
from streamrnn.demo.pronounce.screen import latest, progress
from streamrnn.demo.pronounce.words import LETTERS, Word
from streamrnn.demo.watching import INTERRUPTED
from streamrnn.errors import ConfigError

LETTER_SOUNDS = {letter: number for number, letter in enumerate(LETTERS)}


def spoken(spelling: str) -> Word:
    return Word(spelling, (tuple(LETTER_SOUNDS[letter] for letter in spelling),))


def small_language(n: int = 700, letters: str = "abcdi") -> list[Word]:
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice(list(letters), rng.integers(1, 5))) for _ in range(n)]
    return [spoken(SHOWN), *map(spoken, words)]


@pytest.fixture
def language(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spoken here in place of English."""
    monkeypatch.setattr(run, "load_words", small_language)


def demo(directory: Path, *, words: int = 700, plot: Path | None = None) -> tuple[run.Result | None, str]:
    console = Console(file=io.StringIO(), width=80)
    result = run_pronounce_demo(Options(directory=directory, words=words, plot=plot), console)
    assert isinstance(console.file, io.StringIO)
    return result, console.file.getvalue()


@pytest.mark.usefixtures("language")
def test_each_word_is_said_before_it_is_learned_and_the_error_falls(tmp_path: Path) -> None:
    result, printed = demo(tmp_path / "made")
    assert result is not None
    assert (result.status, result.of, len(result.tally)) == (0, 700, 700)
    first, last = (sum(edits) / sum(sounds) for edits, sounds in thirds(result))
    assert first > 0.3
    assert last < 0.5 * first
    assert "700 words in" in printed
    assert "ms of CPU a word, said and learned" in printed
    assert result.looked.shape == (len(result.shown.said), len(SHOWN))
    np.testing.assert_allclose(result.looked.sum(axis=1), 1.0, rtol=1e-5)
    assert (tmp_path / "made" / "pronunciation.png").read_bytes().startswith(b"\x89PNG")
    assert all(len(line) <= 80 for line in printed.splitlines() if not line.startswith("plot"))


def thirds(result: run.Result) -> list[tuple[Sequence[int], Sequence[int]]]:
    edits, sounds = result.tally.edits, result.tally.sounds
    return [(edits[:150], sounds[:150]), (edits[-150:], sounds[-150:])]


@pytest.mark.usefixtures("language")
def test_the_word_that_is_shown_is_never_learned(tmp_path: Path) -> None:
    result, printed = demo(tmp_path / "made", words=100)
    assert result is not None
    assert SHOWN not in {one.word.spelling for one in result.newest}
    assert result.shown.word.spelling == SHOWN
    assert f"Where it looks in '{SHOWN}', which it never learned" in printed
    assert "600 of 700 words were left" not in printed  # they were not asked for


@pytest.mark.usefixtures("language")
@pytest.mark.filterwarnings("error")
def test_a_network_that_says_nothing_yet_is_told_of_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = attempt(spoken(SHOWN), ()), np.zeros((0, len(SHOWN)))
    monkeypatch.setattr(Pronouncer, "look", lambda *_: nothing)
    _, printed = demo(tmp_path / "made", words=24)
    assert "it says nothing yet" in printed
    assert (tmp_path / "made" / "pronunciation.png").exists()


@pytest.mark.usefixtures("language")
def test_what_is_left_is_told_after_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn, calls = Pronouncer.try_and_learn, []

    def interrupted(self: Pronouncer, words: Sequence[Word]) -> list[Attempt]:
        calls.append(len(words))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return learn(self, words)

    monkeypatch.setattr(Pronouncer, "try_and_learn", interrupted)
    result, printed = demo(tmp_path / "made")
    assert result is not None
    assert (result.status, len(result.tally)) == (INTERRUPTED, 48)
    assert "interrupted: 652 of 700 words were left" in printed


@pytest.mark.usefixtures("language")
def test_nothing_is_told_where_no_word_was_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> list[Attempt]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pronouncer, "try_and_learn", interrupted)
    assert demo(tmp_path / "made")[0] is None


def test_how_words_are_handed_over_has_no_meaning_and_trying_teaches_nothing() -> None:
    words = small_language(60)[1:]
    whole, parts = Pronouncer(), Pronouncer()
    said = whole.try_and_learn(words)
    again: list[Attempt] = []
    for start in range(0, len(words), 7):
        parts.look(words[start])
        again += parts.try_and_learn(words[start : start + 7])
    assert said == again
    assert whole.learner.digest == parts.learner.digest


def test_a_word_without_sounds_said_is_judged_and_shown() -> None:
    words = [spoken("ab"), spoken("dac")]
    tries = [attempt(words[0], (0, 1)), attempt(words[1], ())]
    console = Console(file=io.StringIO(), width=80)
    console.print(latest(tries))
    console.print(progress(run.Tally([0, 3], [2, 3]), 10, tries, 0.01))
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert re.search(r"✓ +ab +AA AE +\n", printed)
    assert re.search(r"✗ +dac +AO AA AH", printed)
    assert "2 of 10 words   5.00 ms of CPU a word" in printed


def test_a_block_holds_letters_and_the_usual_pronunciation() -> None:
    block = block_of([Word("ab", ((3, 4, 5), (6,))), Word("c", ((7,),))])
    assert block.frames is not None
    assert block.answers is not None
    assert block.frames.bounds.tolist() == [0, 2, 3]
    assert block.frames.symbols == (["a", "b", "c"],)
    assert block.answers.bounds.tolist() == [0, 3, 4]
    assert block.answers.value.tolist() == [3, 4, 5, 7]


@pytest.mark.usefixtures("language")
def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty and was not made by the demo"):
        demo(tmp_path)
    assert not (tmp_path / MARKER).exists()


@pytest.mark.usefixtures("language")
def test_a_plot_goes_where_it_is_asked_for_or_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    demo(tmp_path / "made", words=30, plot=tmp_path / "here.png")
    assert (tmp_path / "here.png").is_file()
    with pytest.raises(ConfigError, match=r"--plot: the directory of .* does not exist"):
        demo(tmp_path / "other", plot=tmp_path / "none" / "a.png")
    assert not (tmp_path / "other").exists()
