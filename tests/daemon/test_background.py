"""One thing after the other, and whatever comes of it is told."""

from __future__ import annotations

import threading

import pytest

from streamrnn.daemon.background import Background


def test_work_is_done_in_order_by_a_thread_of_its_own() -> None:
    background, done = Background(), list[int]()
    threads = [background.submit(lambda n=n: (done.append(n), threading.current_thread())[1]) for n in range(5)]
    (thread,) = {future.result(10.0) for future in threads}
    assert done == [0, 1, 2, 3, 4]
    assert thread is not threading.current_thread()
    assert thread.daemon


def test_an_error_is_given_to_who_asks_and_the_next_thing_is_done() -> None:
    def fail() -> None:
        raise KeyError("bad")

    background = Background()
    failed, fine = background.submit(fail), background.submit(lambda: 7)
    with pytest.raises(KeyError, match="bad"):
        failed.result(10.0)
    assert fine.result(10.0) == 7


def test_what_is_cancelled_before_it_began_is_left_out() -> None:
    background, go, done = Background(), threading.Event(), list[int]()
    first = background.submit(lambda: go.wait(10.0))
    second, third = background.submit(lambda: done.append(2)), background.submit(lambda: done.append(3))
    assert second.cancel()
    go.set()
    assert first.result(10.0)
    third.result(10.0)
    assert done == [3]
