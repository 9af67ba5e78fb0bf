"""Called once in a while, however many ask."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from streamrnn.daemon.endpoint.recent import Recent


class Made:
    """Counts its calls; what it works stands in ``worked``."""

    def __init__(self, costs_s: float = 0.0) -> None:
        self.calls, self.now, self.worked = 0, 0.0, 0.0
        self.costs_s = costs_s
        self.may = threading.Event()
        self.may.set()

    def __call__(self) -> int:
        assert self.may.wait(30)
        self.calls += 1
        self.worked += self.costs_s
        return self.calls

    def recent(self, share: float = 1.0) -> Recent[int]:
        return Recent("/it", self, 1.0, lambda: self.now, share=share, worked=lambda: self.worked)


def test_those_that_come_within_the_time_or_meanwhile_get_the_same_answer() -> None:
    made = Made()

    async def ask() -> list[int | None]:
        recent = made.recent()
        made.may.clear()
        together = [asyncio.create_task(recent.get()) for _ in range(5)]
        await asyncio.sleep(0)
        made.may.set()
        answers = [await one for one in together]
        made.now = 0.9
        answers.append(await recent.get())
        made.now = 1.0
        return [*answers, await recent.get()]

    assert asyncio.run(ask()) == [1, 1, 1, 1, 1, 1, 2]


def test_an_answer_that_takes_long_stands_for_longer() -> None:
    made = Made(costs_s=0.05)

    async def ask() -> list[int | None]:
        recent, answers = made.recent(share=0.01), []
        for made.now in (0.0, 1.0, 4.9, 5.0):
            answers.append(await recent.get())
        return answers

    assert asyncio.run(ask()) == [1, 1, 1, 2]


def test_a_failure_is_logged_and_stands_as_long(caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> list[int | None]:
        recent: Recent[int] = Recent("/it", lambda: 1 // 0, 1.0, lambda: 0.0)
        return [await recent.get(), await recent.get()]

    with caplog.at_level(logging.ERROR):
        assert asyncio.run(ask()) == [None, None]
    assert [record.getMessage() for record in caplog.records] == ["cannot answer /it"]
