"""An outage is told from silence, from one broker that is away, and from what this side does itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import kafka.errors as client_errors
import pytest
from kafka.future import Future

from streamrnn.broker import kafka_answers
from streamrnn.broker.kafka_answers import AFTERMATH_S, GRACE_S, HANGS, Answers, keep_noise_out_of_logs, kind_of

BEGAN = 1_000_000.0


class Clock:
    """Both of the clocks, one behind the other."""

    def __init__(self) -> None:
        self.now = 500.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return BEGAN + self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds


class Manager:
    """Connections as the client has them."""

    def __init__(self, told: str = "", states: tuple[str, ...] = ()) -> None:
        self._told, self._states = told, states

    def told(self) -> str:
        return self._told

    def states(self) -> list[str]:
        return list(self._states)


class FetchRequest:
    pass


class HeartbeatRequest:
    pass


class JoinGroupRequest:
    pass


class MetadataRequest:
    pass


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def answers(clock: Clock) -> Iterator[Answers]:
    made = Answers(clock, clock.wall)
    yield made
    kafka_answers._EVERYBODY.discard(made)


def ask(answers: Answers, request: type = FetchRequest) -> Future:
    future = Future()
    answers.asked(request(), future)
    return future


REFUSED = client_errors.KafkaConnectionError("111 ECONNREFUSED")


def test_nothing_is_known_before_anything_was_asked(answers: Answers, clock: Clock) -> None:
    clock.pass_(1_000)
    found = answers.connectivity()
    assert (found.answered_at, found.away_since, found.cause) == (None, None, "")
    assert set(found.failures.values()) == {0}
    assert not answers.away and not answers.troubled


def test_answers_are_no_outage_however_long_nothing_is_asked_between_them(answers: Answers, clock: Clock) -> None:
    for _ in range(10):
        future = ask(answers)
        clock.pass_(0.5)
        future.success("records")
        answered_at = clock.wall()
        clock.pass_(100)
        assert answers.connectivity().answered_at == answered_at
        assert not answers.away


def test_a_request_that_is_not_answered_is_an_outage_after_the_grace(answers: Answers, clock: Clock) -> None:
    ask(answers).success("records")
    answered_at = clock.wall()
    clock.pass_(2)
    future = ask(answers)
    clock.pass_(GRACE_S)
    assert not answers.away
    clock.pass_(0.1)
    found = answers.connectivity()
    assert found.away_since == answered_at, "since the newest answer, not since the question"
    assert found.cause == HANGS
    clock.pass_(100)
    future.failure(client_errors.RequestTimedOutError())
    assert answers.connectivity().away_since == answered_at
    ask(answers).success("records")
    assert not answers.away


def test_refused_connections_are_an_outage_with_the_cause_that_they_told(answers: Answers, clock: Clock) -> None:
    answers.follow(manager := Manager("nothing listens there", ("disconnected", "connecting")))
    ask(answers).success("records")
    answered_at = clock.wall()
    for _ in range(4):
        clock.pass_(2)
        future = Future()
        answers.connecting(future)
        future.failure(REFUSED)
    found = answers.connectivity()
    assert (found.away_since, found.cause) == (answered_at, "nothing listens there")
    assert found.connections == {"connected": 0, "connecting": 1, "disconnected": 1}
    assert found.failures == dict.fromkeys(found.failures, 0) | {"connect": 4}
    del manager


def test_an_outage_before_the_first_answer_begins_with_the_first_try(answers: Answers, clock: Clock) -> None:
    began = clock.wall()
    answers.connecting(Future())  # which hangs
    clock.pass_(GRACE_S + 1)
    found = answers.connectivity()
    assert (found.answered_at, found.away_since) == (None, began)


def test_a_connection_that_is_made_is_no_answer_yet(answers: Answers, clock: Clock) -> None:
    future = Future()
    answers.connecting(future)
    clock.pass_(GRACE_S - 1)
    future.success(True)
    assert answers.connectivity().answered_at is None


def test_one_broker_of_two_that_is_away_is_no_outage_while_the_other_answers(answers: Answers, clock: Clock) -> None:
    hangs = ask(answers)
    for _ in range(60):
        other = ask(answers)
        clock.pass_(0.5)
        other.success("records")
        refused = Future()
        answers.connecting(refused)
        refused.failure(REFUSED)
        assert not answers.away
    assert not hangs.is_done
    clock.pass_(GRACE_S + 1)
    assert answers.away, "now nobody answers"


def test_a_group_that_rebalances_may_take_its_time(answers: Answers, clock: Clock) -> None:
    joined = ask(answers, JoinGroupRequest)
    clock.pass_(300)
    assert not answers.away
    joined.success("member")
    assert answers.connectivity().answered_at == clock.wall()


def test_what_this_side_closes_has_not_failed(answers: Answers, clock: Clock) -> None:
    ask(answers).failure(client_errors.Cancelled())
    clock.pass_(100)
    assert not answers.away
    assert set(answers.connectivity().failures.values()) == {0}


def test_a_connection_closed_because_it_hangs_does_not_end_the_outage(answers: Answers, clock: Clock) -> None:
    ask(answers).success("records")
    future = ask(answers)
    clock.pass_(GRACE_S + 1)
    assert answers.away
    future.failure(client_errors.Cancelled())  # as when the session has run out
    assert answers.away
    assert set(answers.connectivity().failures.values()) == {0}
    ask(answers).success("records")
    assert not answers.away


def test_failures_are_counted_by_what_was_asked_when_they_happen(answers: Answers) -> None:
    for request in (FetchRequest, HeartbeatRequest, HeartbeatRequest, MetadataRequest):
        ask(answers, request).failure(REFUSED)
    answers.gave_up("send")
    found = answers.connectivity().failures
    assert found == {"connect": 0, "fetch": 1, "send": 1, "commit": 0, "group": 2, "other": 1}


def test_requests_are_known_by_the_names_that_the_client_gives_them() -> None:
    from kafka.protocol.api_message import ApiMessage

    classes = {kind.__name__: kind for kind in ApiMessage.__subclasses__()}
    assert kafka_answers._KINDS.keys() | {*kafka_answers._PATIENT} <= classes.keys()
    assert kind_of(classes["OffsetCommitRequest"]()) == "commit"
    assert kind_of(classes["MetadataRequest"]()) == "other"


@pytest.mark.parametrize(
    ("logger", "text"),
    [
        ("kafka.coordinator.heartbeat", "Heartbeat failed for group %s: coordinator (node %s) is either not started"),
        ("kafka.coordinator", "Marking the coordinator dead (node %s) for group %s: NotCoordinatorError."),
    ],
)
def test_that_a_stopping_broker_hands_its_group_over_is_no_news_before_anything_has_failed(
    answers: Answers, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, logger: str, text: str
) -> None:
    log = logging.getLogger(logger)
    monkeypatch.setattr(log, "filters", [])
    monkeypatch.setattr(kafka_answers, "_EVERYBODY", {answers})
    keep_noise_out_of_logs()
    log.warning(text, "one", "another")
    log.warning("something else about %s", "one")
    assert caplog.messages == ["something else about one"]
    caplog.set_level(logging.DEBUG)
    log.warning(text, "one", "another")
    assert len(caplog.messages) == 2


def test_the_client_is_silent_in_an_outage_and_shortly_after_but_not_in_a_debugging_log(
    answers: Answers, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("kafka.coordinator")
    monkeypatch.setattr(log, "filters", [])
    monkeypatch.setattr(kafka_answers, "_EVERYBODY", {answers})
    keep_noise_out_of_logs()
    keep_noise_out_of_logs()
    assert len(log.filters) == 1

    def heard() -> bool:
        caplog.clear()
        log.error("Error of any kind that no version is known for")
        return bool(caplog.messages)

    assert heard()
    answers.connecting(future := Future())
    clock.pass_(GRACE_S + 1)
    assert not heard(), "nothing has failed yet, and nothing is answered"
    future.failure(REFUSED)
    ask(answers).success("records")
    clock.pass_(AFTERMATH_S - 1)
    assert not heard()
    caplog.set_level(logging.DEBUG)
    assert heard()
    caplog.set_level(logging.INFO)
    clock.pass_(2)
    assert heard()
