"""What is asked of the loop, and what it answers, from a log that a job reads."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from typing import Any

import pytest

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.questions import INTEREST_S, MOST_WAITING, BusyError, Found, Questions, stream_of
from streamrnn.daemon.traces import named_key
from tests.support.rebalancing import RebalancingBroker
from tests.support.scenario import TP, Scenario


def asked(scenario: Scenario, key: bytes, questions: Questions, *, at: int = 5) -> list[Found | BaseException]:
    """What the loop answers to a question that is there at its poll number ``at``."""
    answers: list[Found | BaseException] = []
    polls = 0

    def turn(_: Loop, __: RebalancingBroker) -> None:
        nonlocal polls
        polls += 1
        if polls == at:
            future = questions.enqueue(key)
            future.add_done_callback(lambda done: answers.append(done.exception() or done.result()))

    scenario.run(turn=turn, questions=questions)
    return answers


def test_a_stream_is_told_as_its_newest_output_record_says(scenario: Scenario) -> None:
    found: list[dict[str, Any]] = []

    def turn(loop: Loop, _: RebalancingBroker) -> None:
        if (partition := loop.partitions.get(TP)) is not None:
            found.append({key.decode(): stream_of(partition, key) for key in list(partition.learner.streams.keys())})

    scenario.run(turn=turn)
    published = [json.loads(value) for _, value in sorted(scenario.predictions().items())]
    newest = {one["stream"]: one for one in published}
    told = found[-1]
    assert 0 < len(told) <= 6
    for stream, one in told.items():
        assert one["prediction"] == newest[stream]["prediction"]
        assert one["timestamp"] == newest[stream]["timestamp"]
        assert one["updates"] == newest[stream]["updates"]
        assert one["last_target"] == newest[stream]["target"]
        assert one["steps"] > 0
        assert [set(layer) for layer in one["state_norms"]] == [{"h", "c"}]
        assert one["state_norms"][0]["h"] > 0


def test_the_loop_answers_between_two_turns(scenario: Scenario) -> None:
    (found,) = asked(scenario, b"s1", Questions(), at=15)
    assert isinstance(found, Found)
    assert [one["topic"] for one in found.streams] == ["in"]
    assert (found.predicting, found.restoring) == ([TP], [])


def test_of_a_stream_that_nobody_knows_only_the_partitions_are_told(scenario: Scenario) -> None:
    (found,) = asked(scenario, b"never", Questions(), at=15)
    assert found == Found([], [TP], [])


def test_while_a_partition_is_restored_it_is_said_to_be() -> None:
    questions = Questions()
    future = questions.enqueue(b"s1")
    questions.answer({}, [TopicPartition("in", 3)])
    assert future.result(0) == Found([], [], [TopicPartition("in", 3)])


def test_any_look_at_the_partitions_can_be_asked_for() -> None:
    questions = Questions()
    future = questions.ask(list)
    assert not future.done()
    questions.answer({TP: None}, [])  # type: ignore[dict-item]
    assert future.result(0) == [TP]


def test_a_question_that_fails_is_no_end_of_the_loop(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamrnn.daemon.questions.stream_of", lambda *_: 1 / 0)
    (failed,) = asked(scenario, b"s1", Questions(), at=15)
    assert isinstance(failed, ZeroDivisionError)


def test_a_loop_that_does_not_answer_is_said_to_be_busy_and_questions_are_bounded() -> None:
    questions = Questions(deadline_s=0.01)
    with pytest.raises(BusyError):
        asyncio.run(questions.stream(b"a"))
    for _ in range(MOST_WAITING - 1):
        questions.enqueue(b"a")
    with pytest.raises(BusyError):
        questions.enqueue(b"a")
    questions.answer({}, [])
    questions.enqueue(b"a")  # there is room again


def test_streams_are_followed_only_while_somebody_looks(scenario: Scenario) -> None:
    now = [0.0]
    questions = Questions(clock=lambda: now[0])
    followed: list[int] = []
    seen: list[Any] = []

    def turn(loop: Loop, _: RebalancingBroker) -> None:
        number = len(followed)
        if number == 5:
            assert questions.look() is None, "nobody has looked before"
        if number == 12:
            seen.append(questions.look())
            now[0] = INTEREST_S / 2
        if number == 15:
            now[0] = 2 * INTEREST_S
        questions.show(loop.partitions.values())
        followed.append(sum(len(p.traces.followed) for p in loop.partitions.values()))

    scenario.run(turn=turn, questions=questions)
    assert max(followed[:5]) == 0
    assert followed[12] == 4
    assert followed[-1] == 0
    (streams,) = seen
    assert len(streams) == 4
    assert {one["topic"] for one in streams} == {"in"}
    points = [point for one in streams for point in one["points"]]
    assert len(points) > 10
    assert all(len(point) == 3 and not math.isnan(point[1]) for point in points)


def test_a_key_that_is_no_text_is_told_in_base64() -> None:
    assert named_key(b"\xff\x00") == {"stream": None, "stream_base64": base64.b64encode(b"\xff\x00").decode()}
    assert named_key("é".encode()) == {"stream": "é"}
    assert named_key(b"x" * 500, 10) == {"stream": "x" * 10 + "..."}
