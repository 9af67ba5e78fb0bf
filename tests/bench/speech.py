"""Digit errors of the demo's speech, by who speaks, after one pass; and what a string costs.

    python -m tests.bench.speech                                      3,000 strings, five networks, one seed
    python -m tests.bench.speech --strings 500 --tested 50            less of it
    python -m tests.bench.speech --only both --seeds 3                one network, and more seeds

The strings are those of ``streamrnn demo speech``: of 60 voices of espeak-ng, half of them with noise of 5 to 25 dB
below the voice. Each is transcribed before it is learned, in one pass; "progressive" is the digit error of the last
third of them. Then strings of every group are heard, without and with noise, of which none is learned. Forward
networks standardise by what they have heard so far, so that they can listen; "both" also by the string itself. With
``lookahead`` a second network sees so many ms ahead of each step. Time is this process's on one processor, the
transcript, the learning and the coefficients; making the sound comes on top. Sound is kept in ``--directory``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from streamrnn.demo.speech.account import rate_of
from streamrnn.demo.speech.features import HOP_S, Floats, mfcc
from streamrnn.demo.speech.recogniser import STACK, Recogniser, new_spec
from streamrnn.demo.speech.run import ahead
from streamrnn.demo.speech.sound import RATE, Studio
from streamrnn.demo.speech.voices import GROUPS, KNOWN, Utterance, choose, utterance
from streamrnn.learner.spec import LearnerSpec

STEP_MS: Final = round(1000 * HOP_S * STACK)
NETWORKS: Final[dict[str, dict[str, Any]]] = {
    "forward": {},
    "lookahead-80": {"direction": "both", "lookahead": 80 // STEP_MS},
    "lookahead-320": {"direction": "both", "lookahead": 320 // STEP_MS},
    "both": {"direction": "both", "normalise": "sequence"},
    "both-32": {"direction": "both", "normalise": "sequence", "hidden_size": 32},
}
SEED: Final = 1_000
Sounding = tuple[Utterance, Floats]


def spec_of(direction: str = "forward", normalise: str = "running", **model: Any) -> LearnerSpec:
    """The demo's learner with another network; whole strings, no chunks."""
    spec = new_spec()
    assert spec.sequence is not None
    return replace(
        spec,
        has_end=False,
        sequence=replace(spec.sequence, chunks=False, normalise=normalise),
        model=replace(spec.model, direction=direction, **model),
    )


def made(studio: Studio, said: Sequence[Utterance]) -> list[Sounding]:
    """Utterances and their coefficients."""
    with ThreadPoolExecutor(2) as pool:
        return list(ahead(pool, lambda one: mfcc(studio.speak(one), RATE), said))


def strings(group: int, voices: tuple[Any, ...], n: int, *, noisy: bool | None = None) -> Iterator[Utterance]:
    """n strings of a group of voices."""
    for number in range(n):
        yield utterance(choose(voices, SEED + group, number), SEED + group, number, noisy=noisy)


def measured(
    spec: LearnerSpec, seed: int, train: list[Sounding], tested: dict[tuple[str, bool], list[Sounding]]
) -> list[float]:
    """ms a string, the progressive error, and the errors of all that is tested."""
    recogniser = Recogniser(spec, seed)
    began = time.process_time()
    heard = [recogniser.learn(frames, said.digits) for said, frames in train]
    ms = 1000 * (time.process_time() - began) / len(train)
    progressive = rate_of(heard[-len(train) // 3 :])
    errors = [rate_of([recogniser.hear(frames, said.digits) for said, frames in of]) for of in tested.values()]
    return [ms, progressive, *errors]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strings", type=int, default=3_000)
    parser.add_argument("--tested", type=int, default=300, help="strings of each group, with and without noise each")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", choices=NETWORKS, action="append")
    parser.add_argument("--directory", type=Path, help="where sound is kept; none: it is made anew")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        studio = Studio(options.directory or Path(temporary))
        train = made(studio, list(strings(0, KNOWN, options.strings)))
        tested = {
            (name, noisy): made(studio, list(strings(number, voices, options.tested, noisy=noisy)))
            for number, (name, voices) in enumerate(GROUPS.items(), 1)
            for noisy in (False, True)
        }
    console = Console(width=160)
    for name in options.only or NETWORKS:
        rows = [measured(spec_of(**NETWORKS[name]), seed, train, tested) for seed in range(options.seeds)]
        table = Table(title=f"{name}: digit error, %", title_justify="left")
        for column in ("seed", "ms a string", "progressive", *(f"{of}{', noise' if n else ''}" for of, n in tested)):
            table.add_column(column, justify="right")
        for seed, (ms, *errors) in enumerate(rows):
            table.add_row(str(seed), f"{ms:.2f}", *(f"{100 * error:.1f}" for error in errors))
        console.print(table)


if __name__ == "__main__":
    main()
