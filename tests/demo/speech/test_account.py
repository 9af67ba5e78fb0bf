"""What is said of a run: rates, and sentences that hold whichever way it went."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streamrnn.demo.speech.account import FROZEN, KEPT_OUT, KNOWN, NEWCOMER, NEWEST, Account, Curve
from streamrnn.demo.speech.recogniser import Heard


def curve(wrong: list[int], length: int = 4) -> Curve:
    made = Curve()
    for at, edits in enumerate(wrong):
        made.add(at, Heard((), edits, length))
    return made


def account(newcomer: list[int], frozen: list[int], known: list[int] | None = None) -> Account:
    curves = {KNOWN: curve(known or [0] * 100), KEPT_OUT: Curve(), NEWCOMER: curve(newcomer), FROZEN: curve(frozen)}
    return Account(400, 100, curves)


def test_a_rate_is_edits_over_digits_said() -> None:
    assert curve([1, 0, 3]).rate() == pytest.approx(4 / 12)
    assert math.isnan(Curve().newest())
    assert curve([4] * 10 + [0] * NEWEST).newest() == 0


def test_a_rolling_rate_is_that_of_the_newest_strings_at_each() -> None:
    wrong = np.random.default_rng(1).integers(0, 5, 3 * NEWEST).tolist()
    rates = curve(wrong).rolling()
    for at in (0, 5, NEWEST - 1, NEWEST, 3 * NEWEST - 1):
        newest = wrong[max(0, at + 1 - NEWEST) : at + 1]
        assert rates[at] == pytest.approx(sum(newest) / (4 * len(newest)))


def test_learned_counts_known_voices_and_the_newcomer() -> None:
    assert account([1] * 7, [1] * 7).learned == 107


def test_a_fall_is_told_with_how_many_strings_it_took() -> None:
    told = account([2] * NEWEST + [0] * 200, [2] * 250).sentences()
    assert "first 50 strings it got 50.0% of the digits wrong, of the newest 50 0.0%" in told[1]
    assert "frozen when they came gets 50.0%" in told[1]
    assert told[2] == "Learning halved the newcomer's error within 75 of their strings"


def test_no_fall_is_told_as_such() -> None:
    assert account([2] * 200, [1] * 200).sentences()[2] == "Learning has not halved the newcomer's error yet"


def test_no_trouble_is_told_as_such() -> None:
    assert "had no trouble with the accent" in account([0] * 200, [0] * 200).sentences()[2]


def test_what_did_not_happen_yet_is_not_told() -> None:
    assert len(account([1] * NEWEST, [1] * NEWEST).sentences()) == 1
    assert Account(10, 5).sentences() == []
