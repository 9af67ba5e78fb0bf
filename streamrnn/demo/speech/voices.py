"""Who speaks, and what: voices of the synthesiser in groups, and digit strings drawn at random.

A voice is an accent and a variant of espeak-ng's. Learned from are 60 of them; of the others the learner never sees an
answer, but for the newcomer, whose accent it has not heard until half-way. String number i is the same in every run.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np

WORDS: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LONGEST: Final = 7
"""Digits of a string at most."""
LONGEST_PAUSE_MS: Final = 400
SPEEDS, PITCHES = (130, 200), (30, 71)
NOISY_SHARE, NOISE_DB = 0.5, (5.0, 25.0)
"""How many strings have noise added, and how far below the voice it is."""


@dataclass(frozen=True)
class Voice:
    """An accent and a variant of the synthesiser."""

    accent: str
    variant: str = ""

    @property
    def name(self) -> str:
        """What espeak-ng calls it."""
        return f"{self.accent}+{self.variant}" if self.variant else self.accent


ACCENTS: Final = ("en-us", "en-gb", "en-gb-x-rp", "en-us-nyc")
VARIANTS: Final = ("", "m1", "m2", "m3", "m4", "m5", "m6", "m8", "f1", "f2", "f3", "f4", "michael", "steph", "edward")
KNOWN: Final = tuple(Voice(accent, variant) for accent, variant in itertools.product(ACCENTS, VARIANTS))
NEWCOMER: Final = Voice("en-gb-scotland", "m3")
GROUPS: Final[dict[str, tuple[Voice, ...]]] = {
    "known voices": KNOWN,
    "new variants": tuple(Voice(accent, variant) for accent, variant in itertools.product(ACCENTS[:2], ("m7", "f5"))),
    "other synthesisers": tuple(
        Voice(accent, variant)
        for accent, variant in itertools.product(ACCENTS[:2], ("klatt2", "klatt4", "Annie", "Andy", "Mike"))
    ),
    "other accents": tuple(
        Voice(accent, variant)
        for accent, variant in itertools.product(
            ("en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd"), ("m1", "f2")
        )
    ),
    "the newcomer": (NEWCOMER,),
}
"""Voices by what they are to the learner; all but the first are kept out, until the newcomer comes."""


@dataclass(frozen=True)
class Utterance:
    """A string of digits as a voice says it: pauses before each digit but the first, and around the string, in ms.

    ``noise_db`` is how far below the voice the noise is, None without; ``gain_db`` how loud it all is.
    """

    voice: Voice
    digits: tuple[int, ...]
    pauses_ms: tuple[int, ...]
    around_ms: tuple[int, int]
    speed: int
    pitch: int
    gain_db: float
    noise_db: float | None
    seed: int

    @property
    def text(self) -> str:
        """What the synthesiser is given: words, and breaks between them."""
        words = [WORDS[digit] for digit in self.digits]
        pauses = [f" <break time='{ms}ms'/> " for ms in self.pauses_ms]
        return words[0] + "".join(pause + word for pause, word in zip(pauses, words[1:], strict=True))


def utterance(voice: Voice, seed: int, number: int, *, noisy: bool | None = None) -> Utterance:
    """String ``number`` of those drawn with ``seed``, said by a voice; ``noisy`` None leaves that to chance."""
    random = np.random.default_rng([seed, number])
    n = int(random.integers(1, LONGEST + 1))
    noise = float(random.uniform(*NOISE_DB))
    by_chance = random.random() < NOISY_SHARE
    return Utterance(
        voice=voice,
        digits=tuple(random.integers(0, 10, n).tolist()),
        pauses_ms=tuple(random.integers(0, LONGEST_PAUSE_MS + 1, n - 1).tolist()),
        around_ms=(int(random.integers(50, 400)), int(random.integers(50, 400))),
        speed=int(random.integers(*SPEEDS)),
        pitch=int(random.integers(*PITCHES)),
        gain_db=float(random.uniform(-12.0, 0.0)),
        noise_db=noise if (by_chance if noisy is None else noisy) else None,
        seed=int(random.integers(1 << 31)),
    )


def choose(voices: tuple[Voice, ...], seed: int, number: int) -> Voice:
    """Who says string ``number``."""
    return voices[int(np.random.default_rng([seed, number, 1]).integers(len(voices)))]
