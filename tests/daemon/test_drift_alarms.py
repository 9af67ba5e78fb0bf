"""Where the error jumps there is one alarm, soon; none where it only is what errors are."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon import drift_alarms
from streamrnn.daemon.drift_alarms import CHUNK, FIRST, DriftAlarms

TP = TopicPartition("in", 0)


@pytest.fixture(autouse=True, scope="module")
def river() -> None:
    """It is there from the start: when it comes is not what these are about."""
    drift_alarms.RIVER.adwin()
    drift_alarms.RIVER.join()


def alarms(errors: np.ndarray, cuts: Iterable[int] = (), *, classes: bool = False) -> list[int]:
    """Behind which records there was an alarm, where the log is cut into batches like that."""
    watched, found, start = DriftAlarms(TP, classes=classes), [], 0
    for end in [*sorted(cuts), len(errors)]:
        found += [end] * watched.take(errors[start:end])
        start = end
    return found


def in_chunks(errors: np.ndarray, *, classes: bool = False) -> list[int]:
    return alarms(errors, range(CHUNK, len(errors), CHUNK), classes=classes)


def jumping(n: int, at: int, factor: float, seed: int = 0) -> np.ndarray:
    """Errors of a normal variable whose deviation changes by that factor."""
    return np.abs(np.random.default_rng(seed).normal(size=n)) * np.where(np.arange(n) < at, 1.0, factor)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e6], ids=lambda unit: f"in units of {unit:g}")
@pytest.mark.parametrize("factor", [1.5, 3.0, 100.0])
def test_an_error_that_jumps_is_one_alarm_and_soon_whatever_its_unit(factor: float, unit: float) -> None:
    (found,) = in_chunks(unit * jumping(40_000, 20_000, factor))
    assert 20_000 < found <= 22_000


def test_an_error_that_rises_for_long_is_found_again_while_it_does() -> None:
    rising = 1.0 + np.clip((np.arange(60_000) - 20_000) / 10_000, 0.0, 2.0)
    found = in_chunks(np.abs(np.random.default_rng(0).normal(size=60_000)) * rising)
    assert 1 < len(found) < 6
    assert 20_000 < found[0] < found[-1] < 42_000


def test_each_jump_is_an_alarm() -> None:
    errors = jumping(60_000, 20_000, 3.0) * np.where(np.arange(60_000) < 40_000, 1.0, 3.0)
    first, second = in_chunks(errors)
    assert 20_000 < first < 22_000 < 40_000 < second < 42_000


@pytest.mark.parametrize("seed", range(3))
def test_an_error_that_stays_or_falls_is_no_alarm(seed: int) -> None:
    rng, n = np.random.default_rng(seed), 100_000
    assert in_chunks(np.abs(rng.normal(size=n))) == []
    assert in_chunks(np.exp(rng.normal(size=n))) == []
    assert in_chunks(jumping(n, 20_000, 0.2, seed)) == []
    assert in_chunks(np.abs(rng.normal(size=n)) * (1.0 + 9.0 * np.exp(-np.arange(n) / 5_000))) == []  # it learns


def test_the_share_of_wrong_classes_is_watched_as_it_is() -> None:
    wrong = np.random.default_rng(0).random(60_000)
    right_at_first = np.where(np.arange(60_000) < 30_000, 0.0, 0.3)
    assert in_chunks((wrong < 0.2).astype(float), classes=True) == []
    (found,) = in_chunks((wrong < right_at_first).astype(float), classes=True)
    assert 30_000 < found < 32_000


def test_what_was_always_right_has_no_unit_until_it_is_wrong() -> None:
    errors = np.concatenate([np.zeros(100 * CHUNK), jumping(40_000, 20_000, 3.0)])
    found = in_chunks(errors)
    assert len(found) == 2  # the first errors at all, and the jump
    assert 100 * CHUNK + 20_000 < found[1] < 100 * CHUNK + 22_000


ERRORS = jumping(6_000, 3_000, 5.0)
ERRORS[::7] = np.nan  # of records that let nothing be scored


@pytest.fixture(scope="module")
def one_by_one() -> int:
    """Behind which record the alarm comes."""
    (found,) = alarms(ERRORS, range(1, len(ERRORS)))
    return found


@given(
    st.one_of(st.lists(st.integers(0, len(ERRORS))), st.builds(range, st.just(0), st.just(6_000), st.integers(1, 300)))
)
def test_alarms_do_not_depend_on_how_a_log_was_cut_into_polls(one_by_one: int, cuts: Sequence[int]) -> None:
    batch = min(end for end in [*cuts, len(ERRORS)] if end >= one_by_one)
    assert alarms(ERRORS, cuts) == [batch]


def test_an_alarm_is_logged_and_further_ones_only_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="streamrnn.daemon.drift_alarms")
    errors = jumping(60_000, 20_000, 3.0) * np.where(np.arange(60_000) < 40_000, 1.0, 3.0)
    assert len(in_chunks(errors)) == 2
    (line,) = caplog.messages
    found = re.fullmatch(
        r"in/0: the error of predictions has risen: (\S+) in the newest 50, (\S+) in those before "
        r"\(rises found by ADWIN: 1\); streamrnn_input_drift says whether an input is not what it was",
        line,
    )
    assert found
    newest, before = map(float, found.groups())
    assert newest > 2 * before
    assert 0.7 < before < 1.0  # a normal variable's mean size is 0.8


class _Late:
    """River as long as it is being imported, and then."""

    def __init__(self, imported: object) -> None:
        self.imported, self.asked, self.here = imported, 0, False

    def adwin(self) -> object:
        self.asked += 1
        return self.imported if self.here else None


def test_river_is_not_asked_for_before_there_is_something_to_look_at_and_what_comes_before_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = _Late(drift_alarms.RIVER.adwin())
    monkeypatch.setattr(drift_alarms, "RIVER", late)
    watched, errors = DriftAlarms(TP, classes=False), jumping(6_000, 3_000, 10.0)
    assert watched.take(errors[: CHUNK * FIRST - 1]) == 0
    assert late.asked == 0
    assert watched.take(errors[CHUNK * FIRST - 1 : 3_000]) == 0
    assert late.asked == 1
    late.here = True
    assert watched.take(errors[3_000:]) == 1
