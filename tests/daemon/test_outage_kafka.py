"""A real broker goes away and comes back while the daemon works: what is to be seen, and that nothing is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamrnn.broker.kafka_admin import KafkaAdministration
from tests.kafka.server import KafkaServer
from tests.support.daemon_process import PARTITIONS, WAIT_S, Worker
from tests.support.kafka_clients import CLIENTS
from tests.support.kafka_rights import grant, set_password

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]


SELDOM_MS = 8_000
"""Where a broker hangs: long enough for records to be under way then, however fast they are predicted."""


WITH_BOTH = pytest.mark.parametrize("client", CLIENTS)


@pytest.fixture
def worker(kafka_server: KafkaServer, tmp_path: Path, client: str) -> Iterator[Worker]:
    yield from _worker(kafka_server, tmp_path, client, 100)


@pytest.fixture
def worker_that_seldom_commits(kafka_server: KafkaServer, tmp_path: Path, client: str) -> Iterator[Worker]:
    yield from _worker(kafka_server, tmp_path, client, SELDOM_MS)


def _worker(server: KafkaServer, at: Path, client: str, commit_interval_ms: int) -> Iterator[Worker]:
    made = Worker(server.bootstrap, at, client=client, commit_interval_ms=commit_interval_ms)
    KafkaAdministration(made.connection).create_topics(dict.fromkeys(made.topics, PARTITIONS))
    yield made
    if server.pid is None:
        server.start()
    os.kill(server.pid or 0, signal.SIGCONT)
    KafkaAdministration(made.connection).delete_topics(made.topics)


def everything_is_there(worker: Worker, count: int) -> None:
    """Each record has its prediction; a repeated one comes after an outage that the group did not sit out."""
    predicted = worker.predicted()
    assert [sorted(set(offsets)) for offsets in predicted.values()] == [list(range(count // PARTITIONS))] * PARTITIONS


def during(worker: Worker, first: int) -> list[str]:
    """What the log says from an entry on, but for what follows from the group's having given the worker up."""
    usual = (
        "assigned: ", "lost: ", "revoked: ", "restored the checkpoint", "caught up at offset",
        "the group changed during a commit, committing once it is stable: ",
    )  # fmt: skip
    entries = worker.entries()[first:]
    assert not [entry for entry in entries if entry["logger"].startswith("kafka")], "the client's noise is kept out"
    return [entry["message"] for entry in entries if not any(text in entry["message"] for text in usual)]


def held_when(text: str, worker: Worker) -> int:
    """How many partitions the worker had by its own account when the entry with this text was written.

    The group may give it up before the broker's answer is noticed, and hand them back behind it, or just before: then
    they are assigned, but not restored yet.
    """
    held: set[str] = set()
    for entry in worker.entries():
        if text in (message := entry["message"]):
            return len(held)
        if message.startswith(("lost: ", "revoked: ")):
            held -= set(message.partition(": ")[2].split(", "))
        elif "first start at offset" in message or "restored the checkpoint" in message:
            held.add(message.partition(": ")[0])
    raise AssertionError(f"no entry says {text!r}")


@WITH_BOTH
def test_a_broker_that_is_killed_in_the_middle_of_a_run(worker: Worker, kafka_server: KafkaServer) -> None:
    with worker.running() as process:
        worker.wait_for("predicting", PARTITIONS)
        worker.send(100)
        worker.wait_until(lambda: worker.value("committed_offset", partition="1") == 50)
        worker.wait_until(lambda: worker.value("broker_connected") == 1)
        assert worker.value("input_lag_records", partition="0") == 0
        assert worker.ask("/readyz")[0] == 200
        first = len(worker.entries())
        assert kafka_server.pid is not None
        os.kill(kafka_server.pid, signal.SIGKILL)
        kafka_server.stop()
        worker.wait_for("has not answered since")
        (alive, healthz), (ready, readyz) = worker.ask("/healthz"), worker.ask("/readyz")
        assert (alive, ready) == (200, 503)
        for said in (json.loads(healthz), json.loads(readyz)):
            assert said["broker"]["connected"] is False
            assert said["broker"]["cause"] == "nothing listens there (connection refused)"
            assert said["broker"]["away_since"] == said["broker"]["last_answer"] is not None
            assert [one["state"] for one in said["partitions"]] == ["live", "live"]
        assert [one["lag"] for one in json.loads(healthz)["partitions"]] == [None, None]
        worker.wait_until(lambda: worker.value("broker_connected") == 0)
        assert worker.value("input_lag_records") is None
        assert worker.value("ready") == 0
        assert worker.value("broker_outages_total") == 1
        assert (worker.value("broker_failures_total", request="connect") or 0) > 1
        # librdkafka tells of its connections once in a while, and what it told before stands until then.
        worker.wait_until(lambda: worker.value("broker_connections", state="connected") == 0)
        assert worker.value("partition_state", partition="0", state="live") == 1
        last_answer = worker.value("broker_last_answer_timestamp_seconds") or 0.0
        assert 0 < time.time() - last_answer < WAIT_S
        kafka_server.start()
        worker.wait_for("answers again")
        worker.send(100)
        worker.wait_until(lambda: worker.value("committed_offset", partition="1") == 100)
        worker.wait_until(lambda: worker.value("input_lag_records", partition="0") == 0)
        assert worker.ask("/readyz")[0] == 200
        assert worker.value("broker_connected") == worker.value("ready") == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30.0) == 0
    at = f"Kafka at {kafka_server.bootstrap}"
    began, *others = during(worker, first)
    assert began.startswith(f"{at} has not answered since ")
    assert "nothing listens there (connection refused). Nothing is read or predicted until it does" in began
    *others, received, draining, ended = [text for text in others if not text.startswith("caught up after the outage")]
    held = held_when("answers again", worker)
    assert [re.sub("after .*s\\.", "after T.", text) for text in others] == [
        f"{at} answers again after T. Partitions held: {held}; nothing waits to be delivered"
    ]
    assert received.startswith("SIGTERM received") and draining.startswith("stopping: committing")
    assert ended == "stopped cleanly, exit status 0: SIGTERM"
    assert worker.entries()[-1]["exit_status"] == 0
    everything_is_there(worker, 200)


@WITH_BOTH
def test_a_broker_that_hangs_in_the_middle_of_a_commit(
    worker_that_seldom_commits: Worker, kafka_server: KafkaServer
) -> None:
    worker = worker_that_seldom_commits
    with worker.running() as process:
        worker.wait_for("predicting", PARTITIONS)
        worker.send(100)
        worker.wait_until(lambda: worker.value("committed_offset", partition="1") == 50)
        assert worker.value("commit_failures_total") == 0
        first = len(worker.entries())
        worker.send(4_000)
        # Some are predicted, and not committed for seconds yet, when nothing is answered any more.
        worker.wait_until(lambda: (worker.value("records_consumed_total", partition="1") or 0) > 50)
        assert kafka_server.pid is not None
        os.kill(kafka_server.pid, signal.SIGSTOP)
        worker.wait_for("has not answered since")
        worker.wait_until(lambda: (worker.value("commit_failures_total") or 0) > 0)
        assert process.poll() is None, "counted when it happened, and not when the process gives up"
        assert worker.value("broker_connected") == worker.value("ready") == 0
        assert worker.value("input_lag_records") is worker.value("input_lag_seconds") is None
        # Once a second the clients' own counts are looked at.
        worker.wait_until(
            lambda: any(worker.value("broker_failures_total", request=kind) for kind in ("send", "commit"))
        )
        assert worker.ask("/healthz")[0] == 200
        lines = during(worker, first)
        os.kill(kafka_server.pid, signal.SIGCONT)
        worker.wait_for("answers again")
        worker.wait_until(lambda: worker.value("committed_offset", partition="1") == 2_050)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30.0) == 0
    assert len(lines) == 1, lines
    assert re.search(r"has not answered since .*(nothing was answered|nothing comes over them)", lines[0])
    everything_is_there(worker, 4_100)


def test_a_password_that_is_changed_is_an_outage_with_its_cause_and_ends_the_worker(
    kafka_server: KafkaServer, tmp_path: Path
) -> None:
    user = f"rotated-{tmp_path.name[-6:]}"
    security = f", security: {{protocol: SASL_PLAINTEXT, sasl_mechanism: SCRAM-SHA-256, sasl_username: {user}"
    worker = Worker(
        kafka_server.bootstrap, tmp_path, listener=kafka_server.sasl_bootstrap,
        security=f"{security}, sasl_password: first-word}}",
        before="from streamrnn.broker import kafka_client; kafka_client.GIVE_UP_S = 9.0",
    )  # fmt: skip
    KafkaAdministration(worker.connection).create_topics(dict.fromkeys(worker.topics, PARTITIONS))
    rights = [("READ", "TOPIC", worker.topics[0]), ("READ", "GROUP", worker.job)]
    grant(kafka_server, *rights, *(("WRITE", "TOPIC", topic) for topic in worker.topics[1:]), user=user)
    set_password(kafka_server, user, "first-word")
    with worker.running() as process:
        worker.wait_for("predicting", PARTITIONS)
        first = len(worker.entries())
        set_password(kafka_server, user, "second-word")
        assert kafka_server.pid is not None
        kafka_server.stop()
        # Only then: a client that is refused at once may let a poll end by it, before there is an outage.
        worker.wait_for("has not answered since")
        kafka_server.start()
        assert process.wait(WAIT_S) == 1
    began, ended = during(worker, first)
    assert "authentication failed (SCRAM-SHA-256)" in began or "nothing listens there" in began
    # Given up after GIVE_UP_S, or before, where the client lets a poll end by it.
    assert re.search("exit status 1: .*authentication failed .SCRAM-SHA-256.*check sasl_username", ended)
    assert "-word" not in worker.log.read_text()
    KafkaAdministration(worker.connection).delete_topics(worker.topics)
