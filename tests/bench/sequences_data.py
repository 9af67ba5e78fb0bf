"""Labelled sequences from elsewhere, read out of a wheel that brings them along, and sequences made up by a rule.

The wheel of ``aeon`` holds data sets of the UCR and UEA archives as text. It is downloaded once into the cache and read
as the archive it is; nothing of it is installed or run.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

WHEEL: Final = "aeon==1.6.0"
CACHE: Final = Path.home() / ".cache" / "streamrnn" / "aeon"
ARCHIVES: Final = ("JapaneseVowels", "BasicMotions", "PickupGestureWiimoteZ")
LAG: Final = 3

Floats = npt.NDArray[np.float64]


class Labelled(NamedTuple):
    """A data set: frames (T, d) of each sequence, and its label."""

    frames: list[Floats]
    labels: list[str]


class Tagged(NamedTuple):
    """A sequence with a label for each frame, None where there is none."""

    frames: Floats
    labels: list[str | None]


def wheel() -> Path:
    """The wheel, downloaded where it is not there yet."""
    if not (found := sorted(CACHE.glob("aeon-*.whl"))):
        CACHE.mkdir(parents=True, exist_ok=True)
        arguments = ["download", "--no-deps", "--quiet", "--disable-pip-version-check", "--dest", str(CACHE), WHEEL]
        subprocess.run([sys.executable, "-m", "pip", *arguments], check=True, timeout=600)
        found = sorted(CACHE.glob("aeon-*.whl"))
    return found[-1]


def archive(name: str, part: str) -> Labelled:
    """The part ``TRAIN`` or ``TEST`` of a data set, in the order of its file."""
    with zipfile.ZipFile(wheel()) as files:
        text = files.read(f"aeon/datasets/data/{name}/{name}_{part}.ts").decode()
    return parsed(text)


def parsed(text: str) -> Labelled:
    """Sequences written a line each: the values of each dimension, and the label, parted by colons.

    >>> parsed("# speech" + chr(10) + "@data" + chr(10) + "1,2,3:4,5,6:a").frames[0].tolist()
    [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]
    """
    lines = (line for line in text.splitlines() if line and line[0] not in "#@")
    rows = [line.split(":") for line in lines]
    frames = [np.array([list(map(float, each.split(","))) for each in row[:-1]]).T.copy() for row in rows]
    return Labelled(frames, [row[-1] for row in rows])


def tagged(rng: np.random.Generator, *, exclusive: bool = False) -> Tagged:
    """Bits, each labelled by the one three steps before and the one three steps behind, where there are both: by the
    pair of them, or by whether exactly one of them is set."""
    bits = rng.integers(0, 2, size=int(rng.integers(10, 31)))
    labels: list[str | None] = [None] * len(bits)
    for t in range(LAG, len(bits) - LAG):
        before, behind = int(bits[t - LAG]), int(bits[t + LAG])
        labels[t] = str(before ^ behind) if exclusive else f"{before}{behind}"
    return Tagged(bits[:, None].astype(np.float64), labels)
