"""``streamrnn demo speech``: strings of digits heard one after the other, half-way by a newcomer with another accent.

Sound is made on threads a few strings ahead; everything else is done in this one, string by string in a fixed order, so
that the same build hears and learns the same in every run. Ctrl-C ends it with an account of what was heard by then.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from streamrnn.core.compiled import is_compiled, warm_up
from streamrnn.demo.directory import SPEECH_FILE, claimed
from streamrnn.demo.plot import REMEDY, can_draw
from streamrnn.demo.screen import short
from streamrnn.demo.speech import account as accounts
from streamrnn.demo.speech import screen
from streamrnn.demo.speech.account import Account, GroupHeard, rate_of
from streamrnn.demo.speech.features import Floats, mfcc
from streamrnn.demo.speech.plot import plot_errors
from streamrnn.demo.speech.recogniser import Heard, Recogniser
from streamrnn.demo.speech.screen import Listening
from streamrnn.demo.speech.sound import RATE, Studio, load_wav
from streamrnn.demo.speech.voices import GROUPS, KNOWN, NEWCOMER, Utterance, Voice, choose, utterance
from streamrnn.demo.watching import REFRESH_S, sigterm_as_interrupt
from streamrnn.errors import ConfigError

STRINGS, QUICK = 3_000, 800
SEED: Final = 1
KEPT_OUT_EVERY: Final = 4
"""After so many strings a voice that is kept out is heard, too."""
TESTED: Final = 40
"""Strings of each group, with and without noise each, at the end."""
AHEAD, THREADS = 24, 2
"""Strings whose sound is made ahead, and how many at a time."""
PLAIN_LINES: Final = 10
"""Where no display can stand, lines on the way."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. ``wav`` is a file of somebody's own to hear at the end."""

    directory: Path
    strings: int = STRINGS
    wav: Path | None = None
    plot: Path | None = None


@dataclass(frozen=True)
class Result:
    """What came of a run, and whether it was interrupted."""

    account: Account
    tested: list[GroupHeard]
    interrupted: bool
    recogniser: Recogniser


@dataclass(frozen=True)
class Step:
    """A string that is heard after ``at`` strings were learned, as part of a curve; and whether it is learned."""

    at: int
    curve: str
    said: Utterance


def steps(strings: int) -> Iterator[Step]:
    """What is heard, in order. From half-way on every other string is the newcomer's."""
    kept_out = GROUPS["new variants"] + GROUPS["other synthesisers"]
    for number in range(strings):
        newcomer = number >= strings // 2 and number % 2 == 0
        voice = NEWCOMER if newcomer else choose(KNOWN, SEED, number)
        yield Step(number, accounts.NEWCOMER if newcomer else accounts.KNOWN, utterance(voice, SEED, number))
        if number % KEPT_OUT_EVERY == KEPT_OUT_EVERY - 1:
            said = utterance(choose(kept_out, SEED + 1, number), SEED + 1, number)
            yield Step(number + 1, accounts.KEPT_OUT, said)


def run_speech_demo(options: Options, console: Console) -> Result:
    """Run the demo. Raises StreamrnnError."""
    directory = options.directory.resolve()
    if options.plot is not None and not options.plot.resolve().parent.is_dir():
        raise ConfigError(f"--plot: the directory of {options.plot} does not exist")
    own = load_wav(options.wav) if options.wav is not None else None  # before anything takes time
    with claimed(directory) as remarks, sigterm_as_interrupt():
        for remark in remarks:
            console.print(Text(remark, "dim"), soft_wrap=True)
        studio = Studio(directory / "audio")
        screen.introduce(console, len(KNOWN))
        if not is_compiled("float32", "sequences"):
            with console.status(Text("compiling the kernels: a minute or two, more on a busy machine")):
                warm_up("float32", family="sequences")
        result = _Demo(options, console, studio).run()
        if own is not None and options.wav is not None:
            samples, rate = own
            transcript = result.recogniser.transcript(mfcc(samples, rate))
            screen.own_sound(console, options.wav, transcript, len(samples) / rate)
        console.print(_drawn(options.plot or directory / SPEECH_FILE, result.account), soft_wrap=True)
        return result


class _Demo:
    """One run: what is heard goes to the account, and what there is to see to the terminal."""

    def __init__(self, options: Options, console: Console, studio: Studio) -> None:
        self._console, self._studio = console, studio
        self._account = Account(options.strings, options.strings // 2)
        self._recogniser = Recogniser(seed=SEED)
        self._frozen: Recogniser | None = None
        self._newest: deque[tuple[Utterance, Heard]] = deque(maxlen=screen.SHOWN)
        self._listening: Listening | None = None
        self._told = 0
        self._began = self._refreshed = time.perf_counter()

    def run(self) -> Result:
        """All of it, up to the account on the terminal."""
        tested: list[GroupHeard] = []
        interrupted = False
        with ThreadPoolExecutor(THREADS) as pool:
            try:
                self._hear(pool)
                tested = self._test(pool)
            except KeyboardInterrupt:
                interrupted = True
                self._console.print(Text("interrupted; what was heard by then:", "yellow"))
        screen.conclude(self._console, self._account, tested, time.perf_counter() - self._began)
        if not interrupted:
            said = utterance(GROUPS["other synthesisers"][0], SEED + 2, 0, noisy=False)
            frames = self._frames(said)
            screen.heard_in_chunks(self._console, said, self._recogniser.as_it_comes(frames))
        return Result(self._account, tested, interrupted, self._recogniser)

    def _frames(self, said: Utterance) -> Floats:
        return mfcc(self._studio.speak(said), RATE)

    def _hear(self, pool: ThreadPoolExecutor) -> None:
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            for step, frames in ahead(pool, lambda step: self._frames(step.said), steps(self._account.strings)):
                is_due = self._console.is_terminal and time.perf_counter() - self._refreshed > REFRESH_S
                if is_due:
                    self._listen(step.said, frames)  # before it is learned
                self._step(step, frames)
                if is_due:
                    live.update(self._frame(), refresh=True)
                elif not self._console.is_terminal:
                    self._tell()

    def _tell(self) -> None:
        if self._account.learned * PLAIN_LINES >= (self._told + 1) * self._account.strings:
            self._told += 1
            self._console.print(screen.plain_line(self._account), soft_wrap=True)

    def _step(self, step: Step, frames: Floats) -> None:
        curves, digits = self._account.curves, step.said.digits
        if step.curve == accounts.KEPT_OUT:
            curves[step.curve].add(step.at, self._recogniser.hear(frames, digits))
            return
        if step.curve == accounts.NEWCOMER:
            if self._frozen is None:
                self._frozen = self._recogniser.frozen()
            curves[accounts.FROZEN].add(step.at, self._frozen.hear(frames, digits))
        heard = self._recogniser.learn(frames, digits)
        curves[step.curve].add(step.at, heard)
        self._newest.append((step.said, heard))

    def _listen(self, said: Utterance, frames: Floats) -> None:
        """Hear this string chunk by chunk, where the one before was shown to its end."""
        now, listening = time.perf_counter(), self._listening
        if listening is None or listening.at(now - 1.0) == len(listening.transcripts):
            self._listening = Listening(said, self._recogniser.as_it_comes(frames), now)

    def _frame(self) -> RenderableType:
        now = self._refreshed = time.perf_counter()
        return screen.progress(self._account, now - self._began, tuple(self._newest), self._listening, now)

    def _test(self, pool: ThreadPoolExecutor) -> list[GroupHeard]:
        """How each group is heard at the end."""
        found = []
        with self._console.status(Text("hearing voices that were kept out of learning")):
            for group, (name, voices) in enumerate(GROUPS.items()):
                rates = [self._rates(pool, group, voices, noisy) for noisy in (False, True)]
                (quiet, quiet_frozen), (noisy, noisy_frozen) = rates
                found.append(GroupHeard(name, quiet, noisy, (quiet_frozen, noisy_frozen), TESTED))
        return found

    def _rates(
        self, pool: ThreadPoolExecutor, group: int, voices: tuple[Voice, ...], noisy: bool
    ) -> tuple[float, float]:
        """Digit error rates of the learner and of the frozen one."""
        seed = SEED + 10 + group
        said = (utterance(choose(voices, seed, number), seed, number, noisy=noisy) for number in range(TESTED))
        now, before = [], []
        for one, frames in ahead(pool, self._frames, said):
            now.append(self._recogniser.hear(frames, one.digits))
            before.append((self._frozen or self._recogniser).hear(frames, one.digits))
        return rate_of(now), rate_of(before)


def ahead(pool: ThreadPoolExecutor, make: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Each item and what is made of it, in order; some are being made on the pool's threads meanwhile."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(make, item)))
            if len(waiting) > AHEAD:
                first, made = waiting.popleft()
                yield first, made.result()
        while waiting:
            first, made = waiting.popleft()
            yield first, made.result()
    finally:
        for _, made in waiting:
            made.cancel()


def _drawn(path: Path, account: Account) -> Text:
    """Draw the plot, where it can be; where it is."""
    if not can_draw():
        return Text(f"plot  none, as matplotlib is not installed: {REMEDY}")
    plot_errors(path, account, "Learning to hear digits, and an accent")
    return Text.assemble("plot  ", (short(path), "cyan"))
