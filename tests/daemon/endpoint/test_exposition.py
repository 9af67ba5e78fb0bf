"""Metrics as text: collected once for everybody, and what the client library would have said."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, disable_created_metrics, enable_created_metrics, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from streamrnn.broker.protocol import TopicPartition
from streamrnn.core.counts import COUNTS
from streamrnn.daemon.endpoint.exposition import Exposition, Page, content_type, wants_openmetrics
from streamrnn.daemon.metric_table import METRICS
from streamrnn.daemon.metrics import Delta, Metrics
from tests.support.endpoint import PATIENCE_S, Counted, body, endpoint, status

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;"
    "q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture
def registry() -> Iterator[CollectorRegistry]:
    """Every metric, of two partitions with names that need escaping, without created metrics as in the daemon."""
    disable_created_metrics()
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.name_build({"streamrnn": "1", "note": 'a "quote", a \\ and a\nline'})
    for number in range(2):
        partition = metrics.partition(TopicPartition('départs\\ "x"\n', number))
        counts = {count.name: number + 1 for count in COUNTS}
        partition.add(
            Delta(counts=counts, dead_letters={"bad_json": 1}, gradient_norms=[0.1, 3e7], loss_sum=1e-9, loss_count=2)
        )
        partition.fields({"a.b": (3, 1)})
        partition.show(active_streams=1, capacity=10, position=10**7, committed=None, lag=3, stream_time_ms=-1)
        partition.checkpoint_written(seconds=0.1, size_bytes=10**12, at_s=1.7e9)
        partition.amended("a")
        for kind in ("prediction", "dead_letter"):
            partition.undeliverable(kind, "b")  # type: ignore[arg-type]
        partition.restored(corrupt_checkpoints=1, build_changed=True)
    metrics.polled(5)
    metrics.ready(True)
    yield registry
    enable_created_metrics()


def page_of(registry: CollectorRegistry) -> Page:
    page = asyncio.run(Exposition(registry).page())
    assert page is not None
    return page


def steady(text: bytes) -> list[str]:
    """The lines but for those of the process itself, which change by the moment."""
    return [line for line in text.decode().splitlines() if not line.startswith("process_")]


def test_both_formats_are_those_of_the_client_library(registry: CollectorRegistry) -> None:
    page = page_of(registry)
    assert steady(page.text(False)) == steady(generate_latest(registry))
    assert steady(page.text(True)) == steady(openmetrics.generate_latest(registry))
    families = {family.name for family in text_string_to_metric_families(page.text(True).decode())}
    assert {metric.name.removesuffix("_total").removesuffix("_info") for metric in METRICS} <= families


def test_names_choose_samples_as_the_client_library_does(registry: CollectorRegistry) -> None:
    page = page_of(registry)
    for name in ("streamrnn_ready", "streamrnn_gradient_norm_bucket", "streamrnn_build_info", "streamrnn_steps_total"):
        chosen = registry.restricted_registry([name])
        assert page.text(False, [name]) == generate_latest(chosen)  # type: ignore[arg-type]
        assert page.text(True, [name]) == openmetrics.generate_latest(chosen)
    two = ["streamrnn_ready", "streamrnn_gradient_norm_sum", "streamrnn_gradient_norm_count", "streamrnn_ready"]
    found = page.text(False, two).decode()
    assert found.count("# TYPE") == 2
    assert found.count("\nstreamrnn_gradient_norm") == 4
    assert page.text(False, ["none", ""]) == b""
    assert page.text(True, ["none"]) == b"# EOF\n"


def test_series_of_partitions_that_left_are_forgotten() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    exposition = Exposition(registry, max_age_s=0.0)

    async def collect() -> bytes:
        page = await exposition.page()
        assert page is not None
        return page.text(False)

    for number in range(40):
        partition = metrics.partition(TopicPartition("t", number))
        partition.add(Delta(gradient_norms=[1.0]))
        assert f'partition="{number}"'.encode() in asyncio.run(collect())
        partition.remove()
        assert f'partition="{number}"'.encode() not in asyncio.run(collect())
    assert len(exposition._series) <= 2 * asyncio.run(collect()).count(b"\n")


def test_it_is_collected_once_in_max_age_s_in_whatever_form_it_is_asked_for() -> None:
    now = 100.0
    registry, counted = CollectorRegistry(), Counted()
    registry.register(counted)  # type: ignore[arg-type]
    exposition = Exposition(registry, 1.0, lambda: now)

    async def ask() -> None:
        nonlocal now
        first = await exposition.page()
        now = 100.99
        assert await exposition.page() is first
        assert counted.collections == 1
        now = 101.0
        assert await exposition.page() is not first
        assert counted.collections == 2

    asyncio.run(ask())


def test_those_that_come_during_a_collection_wait_for_it_and_who_leaves_takes_nobody_along() -> None:
    registry, counted = CollectorRegistry(), Counted()
    registry.register(counted)  # type: ignore[arg-type]
    exposition = Exposition(registry, 0.0)

    async def ask() -> None:
        counted.may.clear()
        waiting = [asyncio.create_task(exposition.page()) for _ in range(20)]
        assert await asyncio.to_thread(counted.begun.wait, PATIENCE_S)
        waiting[0].cancel()
        counted.may.set()
        _, *pages = await asyncio.gather(*waiting, return_exceptions=True)
        assert counted.collections == 1
        assert len({id(page) for page in pages}) == 1
        assert isinstance(pages[0], Page)

    asyncio.run(ask())


def test_a_failure_stands_as_long_as_a_success_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def collect(self) -> list[object]:
            raise RuntimeError("broken")

    now = 0.0
    registry = CollectorRegistry()
    exposition = Exposition(registry, 1.0, lambda: now)
    broken = Broken()
    registry.register(broken)  # type: ignore[arg-type]

    async def ask() -> None:
        nonlocal now
        with caplog.at_level(logging.ERROR):
            assert [await exposition.page() for _ in range(5)] == [None] * 5
        assert len(caplog.records) == 1
        registry.unregister(broken)  # type: ignore[arg-type]
        now = 1.0
        assert await exposition.page() is not None

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain;version=0.0.4", False),
        (PROMETHEUS_3, True),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=\x1b[31m", True),
        ("application/openmetrics-text; version=x", True),
        ("application/openmetrics-textual", False),
        ("," * 10_000, False),
    ],
)
def test_there_are_two_formats_whatever_is_asked_for(accept: str, expected: bool) -> None:
    assert wants_openmetrics(accept) is expected
    assert content_type(True) == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert content_type(False) == "text/plain; version=0.0.4; charset=utf-8"


def test_over_http_many_requests_of_every_kind_are_one_collection() -> None:
    counted = Counted()
    with endpoint(max_age_s=3600.0) as serving:
        serving.registry.register(counted)  # type: ignore[arg-type]
        for _ in range(3):
            for path in ("/metrics", "/metrics?x=1", "/metrics?name[]=streamrnn_ready", "/metrics?name%5B%5D=none"):
                for accept in (
                    "*/*",
                    PROMETHEUS_3,
                    "application/openmetrics-text;version=x",
                    "text/plain;version=1.0.0",
                ):
                    for encoding in ("gzip", "identity;q=0"):
                        assert status(serving.get(path, f"Accept: {accept}", f"Accept-Encoding: {encoding}")) == 200
        assert counted.collections == 1
        assert body(serving.get("/metrics?name[]=streamrnn_ready")).splitlines()[-1] == "streamrnn_ready 0.0"


def test_probes_are_answered_while_metrics_are_collected() -> None:
    counted = Counted()
    with endpoint() as serving:
        serving.registry.register(counted)  # type: ignore[arg-type]
        counted.may.clear()
        asking = threading.Thread(target=serving.get, args=("/metrics",))
        asking.start()
        assert counted.begun.wait(PATIENCE_S)
        assert status(serving.get("/healthz")) == 200
        counted.may.set()
        asking.join(PATIENCE_S)
