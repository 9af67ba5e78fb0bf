"""Where the error jumps there is one alarm, soon; none where it only is what errors are."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import drift

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


@pytest.mark.parametrize("fall", [10.0, 1_000.0, 1e6])
@pytest.mark.parametrize("over", [1, 20_000], ids=["at once", "slowly"])
def test_a_rise_is_found_as_soon_after_the_error_has_fallen_by_far(fall: float, over: int) -> None:
    falling = fall ** -np.clip((np.arange(60_000) - 2_000) / over, 0.0, 1.0)
    (found,) = in_chunks(falling * jumping(60_000, 40_000, 2.0))
    assert 40_000 < found <= 42_000


@pytest.mark.parametrize("first", [50_000.0, 1e300, np.inf])
def test_a_first_error_of_another_size_hides_no_rise(first: float) -> None:
    errors = jumping(80_000, 40_000, 2.0)
    errors[0] = first
    (found,) = in_chunks(errors)
    assert 40_000 < found <= 42_000


@pytest.mark.parametrize("absurd", [1e4, 1e300, np.finfo(float).max, np.inf])
@pytest.mark.parametrize("many", [1, 100], ids=["a lone one", "several"])
def test_absurd_errors_hide_no_rise_that_comes_later(absurd: float, many: int) -> None:
    errors = jumping(80_000, 40_000, 2.0)
    errors[20_000 : 20_000 + many] = absurd
    (found,) = in_chunks(errors)
    assert 40_000 < found <= 42_000


def test_an_error_that_becomes_infinite_is_an_alarm() -> None:
    errors = jumping(40_000, 20_000, 1.0)
    errors[20_000:] = np.inf
    (found,) = in_chunks(errors)
    assert 20_000 < found <= 22_000


def test_an_absurd_error_of_what_was_always_right_hides_nothing_either() -> None:
    errors = np.concatenate([np.zeros(100 * CHUNK), jumping(40_000, 20_000, 2.0)])
    errors[100 * CHUNK] = 1e300
    assert any(100 * CHUNK + 20_000 < found < 100 * CHUNK + 22_000 for found in in_chunks(errors))


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


def in_a_new_process(program: str) -> str:
    return subprocess.run([sys.executable, "-P", "-c", program], check=True, capture_output=True, text=True).stdout


def test_adwin_comes_without_what_all_of_river_brings() -> None:
    brought = in_a_new_process(
        "import sys\n"
        "from streamrnn.daemon import drift_alarms\n"
        "drift_alarms.RIVER.adwin()\n"
        "drift_alarms.RIVER.join()\n"
        "adwin = drift_alarms.RIVER.adwin()\n"
        "assert adwin(clock=1).update(1.0) is None, adwin\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, *(name for name in sys.modules if 'river' in name))"
    ).split()
    assert "river" in brought
    assert not {"pandas", "scipy", "sklearn", "river.drift"} & set(brought)


def test_it_is_rivers_own_and_finds_the_same() -> None:
    light, whole = drift_alarms.RIVER.adwin()(clock=1), drift.ADWIN(clock=1)
    for value in jumping(2_000, 1_000, 3.0):
        light.update(value)
        whole.update(value)
        assert (light.drift_detected, light.estimation) == (whole.drift_detected, whole.estimation)
    assert type(light) is not type(whole)  # its module was run by itself


def test_where_river_keeps_adwin_elsewhere_all_of_river_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_alarms, "PathFinder", SimpleNamespace(find_spec=lambda *_: None))
    assert drift_alarms.light_adwin() is drift.ADWIN


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
