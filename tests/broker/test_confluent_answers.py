"""When a cluster counts as away, by the accounts of clients that are made up here."""

from __future__ import annotations

import json
import threading
import time

import pytest

from streamrnn.broker.confluent_answers import Standing
from streamrnn.broker.confluent_calls import Calls
from streamrnn.broker.confluent_sender import ConfluentSender
from streamrnn.broker.kafka_answers import GRACE_S
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.security import KafkaSecurity


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def account(received: int, waiting: int) -> str:
    return json.dumps({"brokers": {"one": {"state": "UP", "rx": received, "waitresp_cnt": waiting}}})


def test_a_commit_that_is_not_answered_is_an_outage_although_no_account_says_that_anything_waits() -> None:
    clock = Clock()
    standing = Standing(KafkaSecurity(), clock, clock)
    standing.followed("consumer")
    standing.account("consumer", account(1, 0))
    clock.now += GRACE_S + 1.0
    standing.account("consumer", account(1, 0))
    assert not standing.away, "nothing was asked"
    standing.unanswered()
    assert standing.away
    assert standing.connectivity().away_since == 100.0
    assert standing.connectivity().connections["connected"] == 1
    clock.now += GRACE_S + 1.0
    assert standing.connectivity().connections["connected"] == 0, "nothing was heard of it meanwhile"
    standing.answered()
    assert not standing.away
    clock.now += GRACE_S + 1.0
    standing.account("consumer", account(1, 0))
    assert not standing.away, "what was answered waits no longer"


def test_a_call_that_is_waited_for_lets_others_be_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamrnn.broker.confluent_calls._MEANWHILE_S", 0.01)
    told, answer = list[float](), threading.Event()
    calls = Calls(lambda: told.append(time.monotonic()))
    with pytest.raises(TimeoutError):
        calls.run(answer.wait, 0.1)
    assert len(told) > 1
    assert not calls.settled(0.0)
    answer.set()
    assert calls.settled(10.0)
    assert calls.run(lambda: "answer", 10.0) == "answer"


@pytest.mark.parametrize("waits", [True, False])
def test_a_flush_is_an_answer_where_something_waited_for_one(waits: bool) -> None:
    class Acknowledging:
        waiting = int(waits)

        def __len__(self) -> int:
            return self.waiting

        def flush(self, _: float) -> None:
            self.waiting = 0

    sender = ConfluentSender(KafkaConnection(bootstrap_servers="nowhere:1"))
    sender._producer = Acknowledging()
    sender.flush(1.0)
    assert (sender._standing.connectivity().answered_at is not None) is waits
