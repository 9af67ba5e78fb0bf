"""A client whose inner parts are others than those that a group's life and its offsets lean on is left as it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import kafka
import pytest
from kafka.consumer.fetcher import Fetcher
from kafka.coordinator.consumer import ConsumerCoordinator
from kafka.errors import UnknownTopicOrPartitionError

from streamrnn.broker import kafka_gone, kafka_group
from streamrnn.broker.kafka_inner import Waiting, differs, ended


def consumer(lacks: str = "") -> Any:
    """A double with all that is replaced or read of a consumer, except for what it ``lacks``."""
    made = SimpleNamespace(partitions_for_topic=lambda _: {0, 1, 2})
    for path in {*kafka_gone._PATHS, *kafka_group._PATHS} - {lacks}:
        owner, name = made, path.split(".")
        for part in name[:-1]:
            owner.__dict__.setdefault(part, SimpleNamespace())
            owner = getattr(owner, part)
        owner.__dict__.setdefault(name[-1], path)
    made._coordinator.__dict__.setdefault("_do_join_and_sync_async", "joins")
    made._coordinator.__dict__.setdefault("join_group_async", "asks the group")
    return made


def parts(of: Any) -> list[Any]:
    """What is replaced where all is as expected."""
    coordinator, fetcher = of._coordinator, of._fetcher
    return [
        coordinator.__dict__.get("_send_offset_commit_request"),
        fetcher.__dict__.get("_send_list_offsets_requests"),
        of._cluster.update_metadata,
        coordinator._do_join_and_sync_async,
        coordinator.join_group_async,
    ]


@pytest.fixture(autouse=True)
def _untold() -> None:
    kafka_gone._tell.cache_clear()
    kafka_group._tell.cache_clear()


def test_the_client_that_is_installed_is_known(caplog: pytest.LogCaptureFixture) -> None:
    made = consumer()
    before = parts(made)
    assert kafka_gone.end_what_asks_for_what_is_gone(made)
    assert kafka_group.followed(made).joining(), "by its inner part"
    assert all(after != was for after, was in zip(parts(made), before, strict=True))
    assert caplog.messages == []


async def _other_parameters(self: Any) -> Any:
    """A method of another version."""


async def _keeps_asking(self: Any, timestamps: Any, timeout_ms: Any) -> Any:
    while (timeout_ms := timeout_ms - 500) > 0:
        try:
            await self._send_list_offsets_requests(timestamps)
        except Exception:
            continue
    return {}


async def _asks_anew(self: Any, timeout_ms: Any = None) -> bool:
    self._join_task = self._manager.call_soon(self._do_join_and_sync_async)
    await self._on_join_complete_async(await self._manager.wait_for(self._join_task, timeout_ms))
    self._join_task = None
    return True


@pytest.mark.parametrize(
    ("owner", "name", "other", "said"),
    [
        (
            ConsumerCoordinator,
            "_send_offset_commit_request",
            None,
            "no ConsumerCoordinator._send_offset",
        ),
        (Fetcher, "_send_list_offsets_requests", _other_parameters, "Fetcher._send_list_offsets_requests("),
        (Fetcher, "_fetch_offsets_by_times_async", _keeps_asking, "is asked for again"),
    ],
    ids=["removed", "parameters", "behaves"],
)
def test_questions_about_what_is_gone_are_left_to_another_client_as_one_line_says(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, owner: type, name: str, other: Any, said: str
) -> None:
    change(monkeypatch, owner, name, other)
    made = consumer()
    before = parts(made)
    assert [kafka_gone.end_what_asks_for_what_is_gone(made) for _ in range(2)] == [False, False]
    assert parts(made) == before
    (line,) = caplog.messages
    assert said in line and f"kafka-python {kafka.__version__}" in line and "kafka.request_timeout_s" in line


@pytest.mark.parametrize(
    ("owner", "name", "other", "said"),
    [
        (ConsumerCoordinator, "_do_join_and_sync_async", None, "no ConsumerCoordinator._do_join_and_sync_async"),
        (Fetcher, "fetch_records", _other_parameters, "Fetcher.fetch_records("),
        (ConsumerCoordinator, "join_group_async", _asks_anew, "2 were asked"),
    ],
    ids=["removed", "parameters", "behaves"],
)
def test_the_group_is_left_to_another_client_as_one_line_says(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, owner: type, name: str, other: Any, said: str
) -> None:
    change(monkeypatch, owner, name, other)
    made = consumer()
    before = parts(made)
    member = [kafka_group.followed(made) for _ in range(2)][-1]
    assert parts(made) == before
    (line,) = caplog.messages
    assert said in line and "no records come" in line
    assert not member.joining() and not member.rebalancing(), "which the client's own polls take care of"
    assert member.partitions("t") == 3, "by the public way"
    assert member.topic_id("t") == ""
    member.join_again()
    member.look_at_the_topic()


@pytest.mark.parametrize("path", sorted({*kafka_gone._PATHS, *kafka_group._PATHS}))
def test_what_an_instance_lacks_is_noticed(path: str, caplog: pytest.LogCaptureFixture) -> None:
    made = consumer(lacks=path)
    kafka_gone.end_what_asks_for_what_is_gone(made)
    kafka_group.followed(made)
    assert caplog.messages
    assert all(f"no {path}" in line for line in caplog.messages)


def change(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, other: Any) -> None:
    if other is None:
        for each in owner.__mro__:
            if name in vars(each):
                monkeypatch.delattr(each, name)
    else:
        monkeypatch.setattr(owner, name, other)


def test_a_try_that_ends_in_an_error_is_a_difference() -> None:
    def tried() -> str:
        raise KeyError("x")

    assert differs(object(), (), (), tried) == "a try ends in KeyError('x')"


def test_a_double_of_the_manager_does_what_it_is_asked_when_somebody_waits() -> None:
    done: list[int] = []

    async def work(n: int) -> int:
        done.append(n)
        if n < 0:
            raise UnknownTopicOrPartitionError(n)
        return n

    async def waits() -> None:
        class Never:
            def __await__(self) -> Any:
                yield

        await Never()

    manager = Waiting()
    future = manager.call_soon(work, 1)
    assert not future.is_done and done == []
    assert [ended(manager.wait_for(future, 0)) for _ in range(2)] == [1, 1]
    assert done == [1]
    with pytest.raises(UnknownTopicOrPartitionError):
        ended(manager.wait_for(manager.call_soon(work, -1), 0))
    with pytest.raises(RuntimeError, match="waits for something"):
        ended(waits())
