"""The demo from end to end, with few strings: what it prints, what it leaves, and that it is the same in every run."""

from __future__ import annotations

import importlib.util
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from streamrnn.demo.directory import SPEECH_FILE
from streamrnn.demo.speech import account, run
from streamrnn.demo.speech.features import mfcc
from streamrnn.demo.speech.recogniser import CHUNK, Recogniser
from streamrnn.demo.speech.run import Options, Result, ahead, run_speech_demo, steps
from streamrnn.demo.speech.sound import RATE, Studio, wav
from streamrnn.demo.speech.voices import KNOWN, NEWCOMER, utterance
from streamrnn.errors import ConfigError
from tests.support.programs import program

STRINGS = 500


def demo(directory: Path, **options: object) -> tuple[Result, str]:
    program("espeak-ng")
    console = Console(file=io.StringIO(), width=80)
    result = run_speech_demo(Options(directory=directory, **{"strings": STRINGS} | options), console)  # type: ignore[arg-type]
    assert isinstance(console.file, io.StringIO)
    return result, console.file.getvalue()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Result, str, Path]]:
    directory = tmp_path_factory.mktemp("speech") / "made"
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(run, "TESTED", 4)
    own = directory.parent / "own.wav"
    own.write_bytes(wav(0.1 * np.sin(np.arange(RATE) / 20)))
    result, printed = demo(directory, wav=own)
    yield result, printed, directory
    monkeypatch.undo()


def test_the_newcomer_is_half_of_the_second_half_and_nobody_kept_out_is_learned() -> None:
    heard = list(steps(400))
    newcomer = [step for step in heard if step.curve == account.NEWCOMER]
    assert len(newcomer) == 100
    assert {step.said.voice for step in newcomer} == {NEWCOMER}
    assert min(step.at for step in newcomer) == 200
    assert {step.said.voice for step in heard if step.curve == account.KNOWN} <= set(KNOWN)
    kept_out = [step for step in heard if step.curve == account.KEPT_OUT]
    assert len(kept_out) == 100
    assert not {step.said.voice for step in kept_out} & {*KNOWN, NEWCOMER}


@pytest.mark.slow
def test_every_string_is_heard_and_what_is_left_is_named(ran: tuple[Result, str, Path]) -> None:
    result, printed, directory = ran
    curves = result.account.curves
    assert result.account.learned == STRINGS
    assert len(curves[account.NEWCOMER]) == len(curves[account.FROZEN]) == STRINGS // 4
    assert len(curves[account.KEPT_OUT]) == STRINGS // 4
    assert [one.name for one in result.tested] == list(run.GROUPS)
    assert "known voices" in printed
    assert "heard in chunks of 100 ms" in printed
    assert "own.wav (1.0 s)" in printed
    assert (directory / SPEECH_FILE).exists() == (importlib.util.find_spec("matplotlib") is not None)
    longer = [line for line in printed.splitlines() if len(line) > 80]
    assert all(re.search("own.wav|plot  |strings  known voices", line) for line in longer)


@pytest.mark.slow
def test_it_learns_to_hear(ran: tuple[Result, str, Path]) -> None:
    """Who says nothing gets all digits wrong, and a few hundred strings are enough to say more."""
    known = ran[0].account.curves[account.KNOWN]
    assert known.rate(0, 50) > 0.9
    assert known.newest() < 0.9
    assert ran[0].recogniser.learner.counters()["updates"] == STRINGS


@pytest.mark.slow
def test_another_run_hears_the_same_from_the_sound_that_is_kept(
    ran: tuple[Result, str, Path],
) -> None:
    result, _, directory = ran
    made = len(list((directory / "audio").iterdir()))
    again, _ = demo(directory)
    assert again.account == result.account
    assert again.recogniser.learner.digest == result.recogniser.learner.digest
    assert len(list((directory / "audio").iterdir())) == made


@pytest.mark.slow
def test_chunks_end_with_what_the_whole_says_and_change_nothing(ran: tuple[Result, str, Path]) -> None:
    recogniser = ran[0].recogniser
    said = utterance(KNOWN[1], run.SEED, 3)
    frames = mfcc(Studio(ran[2] / "audio").speak(said), RATE)
    before = recogniser.learner.get_weights()
    grown = recogniser.as_it_comes(frames)
    assert len(grown) == -(-len(frames) // CHUNK)
    assert grown[0] == ()
    assert grown[-1] == recogniser.transcript(frames)
    for name, weights in recogniser.learner.get_weights().items():
        np.testing.assert_array_equal(weights, before[name])


def test_a_frozen_copy_stays_as_it_is() -> None:
    recogniser = Recogniser()
    frames = mfcc(np.random.default_rng(1).normal(0, 0.1, RATE), RATE)
    frozen = recogniser.frozen()
    recogniser.learn(frames, (1, 2))
    assert frozen.learner.counters()["updates"] == 0
    assert recogniser.learner.counters()["updates"] == 1


def test_without_espeak_the_demo_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigError, match="apt-get install espeak-ng"):
        run_speech_demo(Options(directory=tmp_path / "made"), Console(file=io.StringIO()))


def test_a_wav_file_that_is_not_there_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--wav: .* cannot be read"):
        run_speech_demo(Options(directory=tmp_path / "made", wav=tmp_path / "none.wav"), Console(file=io.StringIO()))
    assert not (tmp_path / "made").exists()


def test_an_interrupt_ends_it_with_an_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learn, heard = Recogniser.learn, []

    def interrupted(self: Recogniser, *arguments: object) -> object:
        heard.append(1)
        if len(heard) == 12:
            raise KeyboardInterrupt
        return learn(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Recogniser, "learn", interrupted)
    result, printed = demo(tmp_path / "made")
    assert result.interrupted
    assert result.account.learned == 11
    assert "interrupted; what was heard by then:" in printed
    assert "11 strings in" in printed


def test_what_is_shown_while_somebody_speaks_is_heard_before_it_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("espeak-ng")
    learn, listen, learned, heard = Recogniser.learn, Recogniser.as_it_comes, list[bytes](), list[bytes]()

    def noted_learn(self: Recogniser, frames: np.ndarray, *said: object) -> object:
        if len(learned) == 12:
            raise KeyboardInterrupt
        learned.append(frames.tobytes())
        return learn(self, frames, *said)  # type: ignore[arg-type]

    def noted_listen(self: Recogniser, frames: np.ndarray) -> object:
        assert frames.tobytes() not in learned
        heard.append(frames.tobytes())
        return listen(self, frames)

    monkeypatch.setattr(Recogniser, "learn", noted_learn)
    monkeypatch.setattr(Recogniser, "as_it_comes", noted_listen)
    monkeypatch.setattr(run, "REFRESH_S", -1.0)  # shown at each string
    monkeypatch.setattr(run.Listening, "at", lambda self, _: len(self.transcripts))  # and to its end
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    run_speech_demo(Options(directory=tmp_path / "made", strings=STRINGS), console)
    assert len(heard) > len(learned) == 12


def test_what_is_made_ahead_comes_in_order_and_no_further_than_it_should() -> None:
    from concurrent.futures import ThreadPoolExecutor

    taken: list[int] = []

    def numbers() -> object:
        for number in range(100):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as pool:
        results = ahead(pool, lambda number: number**2, numbers())  # type: ignore[arg-type]
        assert next(results) == (0, 0)
        assert len(taken) == run.AHEAD + 1
        assert [square for _, square in results] == [number**2 for number in range(1, 100)]
