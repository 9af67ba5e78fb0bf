"""Claims about samples: drawn from the learner's probabilities, the same again, escaped, and without any trace."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from streamrnn.demo.text.log import STREAM
from streamrnn.demo.text.writing import LENGTH, write


class Learner:
    """Stands in for one that knows how often each byte follows each."""

    def __init__(self, follows: dict[int, dict[int, float]], last: int) -> None:
        self._follows, self._newest, self._imagined = follows, last, -1

    def imagine(self, key: bytes) -> None:
        assert key == STREAM
        self._imagined = self._newest

    def imagine_one(self, x: Sequence[float]) -> npt.NDArray[np.float64]:
        assert len(x) == 0
        p = np.zeros(256)
        for byte, probability in self._follows[self._imagined].items():
            p[byte] = probability
        return p

    def turned_out(self, y: int) -> None:
        self._imagined = y


A, B, C = b"abc"


def test_each_byte_follows_the_one_drawn_before_it() -> None:
    learner = Learner({A: {B: 1.0}, B: {C: 1.0}, C: {A: 1.0}}, last=C)
    sample = write(learner, 6, b"abcabcabc")  # type: ignore[arg-type]
    assert sample.written == (b"abc" * LENGTH)[:LENGTH]
    assert (sample.at, sample.before) == (6, b"abcabc")


def test_only_the_end_of_the_text_stands_before_a_sample() -> None:
    learner = Learner({A: {A: 1.0}}, last=A)
    assert write(learner, 430, b"b" * 400 + b"a" * 200).before == b"b" * 30 + b"a" * 30  # type: ignore[arg-type]


def test_what_stands_before_a_sample_begins_with_a_whole_character() -> None:
    learner = Learner({0x80: {0x80: 1.0}}, last=0x80)
    for character in ("\N{EURO SIGN}", "\N{EN DASH} ", "\N{LATIN SMALL LETTER E WITH ACUTE}-", "\N{GRINNING FACE}-"):
        text = (character * 100).encode()
        before = write(learner, len(text), text).before.decode()  # type: ignore[arg-type]
        assert 57 <= len(before.encode()) <= 60


def test_the_same_state_writes_the_same_again_and_another_number_of_bytes_something_else() -> None:
    even = {byte: dict.fromkeys((A, B, C), 1 / 3) for byte in (A, B, C)}
    learner = Learner(even, last=A)
    text = b"abc" * 100
    first = write(learner, 100, text)  # type: ignore[arg-type]
    assert write(learner, 100, text) == first  # type: ignore[arg-type]
    assert write(learner, 101, text).written != first.written  # type: ignore[arg-type]


def test_what_is_probable_is_drawn_more_often_than_its_probability_says_and_what_is_impossible_never() -> None:
    learner = Learner({byte: {A: 0.8, B: 0.2} for byte in (A, B)}, last=A)
    drawn = b"".join(write(learner, at, bytes(50)).written for at in range(50))  # type: ignore[arg-type]
    share = drawn.count(b"a") / len(drawn)
    expected = 0.8 ** (1 / 0.7) / (0.8 ** (1 / 0.7) + 0.2 ** (1 / 0.7))
    assert set(drawn) == {A, B}
    assert share == pytest.approx(expected, abs=0.02)
    assert expected > 0.8
