"""The least a worker may do: it runs with the rights that the handbook lists, and without one of them it says so."""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.protocol import TopicPartition
from streamrnn.broker.rights import command
from streamrnn.daemon import delivery
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.preflight.checks import Preflight
from streamrnn.daemon.preflight.findings import Kind
from streamrnn.daemon.run import run_worker
from streamrnn.errors import BrokerError
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from tests.kafka.server import SASL_PASSWORD, SASL_USER, KafkaServer
from tests.support.kafka_clients import CLIENT, CLIENTS
from tests.support.kafka_rights import Right, grant, revoke

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

RECORDS = 20
WITH_BOTH = pytest.mark.parametrize("place", CLIENTS, indirect=True)


class Place:
    """A job of a user who has the least rights, its topics, and some records."""

    def __init__(self, server: KafkaServer, directory: Path, client: str) -> None:
        self.server = server
        self.job = f"rights-{uuid.uuid4().hex[:8]}"
        self.source, self.out, self.dead = (f"{self.job}-{name}" for name in ("in", "out", "dead"))
        self.everything = KafkaConnection(bootstrap_servers=server.bootstrap)
        KafkaAdministration(self.everything).create_topics(dict.fromkeys((self.source, self.out, self.dead), 1))
        self.produce(RECORDS)
        self.rights: dict[str, Right] = {
            "READ input": ("READ", "TOPIC", self.source),
            "WRITE output": ("WRITE", "TOPIC", self.out),
            "WRITE dead letters": ("WRITE", "TOPIC", self.dead),
            "READ group": ("READ", "GROUP", self.job),
        }
        grant(server, *self.rights.values())
        self.config: Config = parse(
            f"""
job: {self.job}
kafka:
  client: {client}
  bootstrap_servers: '{server.sasl_bootstrap}'
  session_timeout_s: 6
  security:
    {{protocol: SASL_PLAINTEXT, sasl_mechanism: PLAIN, sasl_username: {SASL_USER}, sasl_password: {SASL_PASSWORD}}}
input: {{topic: {self.source}}}
features: [{{field: x, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 4}}
streams: {{max_streams: 10}}
output: {{topic: {self.out}, dead_letter_topic: {self.dead}}}
checkpoint: {{directory: {directory}/checkpoints}}
http: null
""",
            env={},
        )

    def produce(self, count: int) -> None:
        sender = KafkaSender(self.everything)
        for i in range(count):
            sender.send(self.source, b"s", json.dumps({"x": i, "y": i % 3}).encode() if i else b"no JSON")
        sender.flush(20.0)
        sender.close(5.0)

    def run(self) -> None:
        """Until all is predicted and committed, or something is refused."""
        broker, stop, tp = open_broker(self.config), threading.Event(), TopicPartition(self.source, 0)
        until = time.monotonic() + 60.0

        def idle() -> None:
            assert time.monotonic() < until
            if (commit := broker.committed(tp)) is not None and commit.offset == broker.log_end(tp):
                stop.set()

        run_worker(self.config, broker, stop, idle=idle)

    def problems(self) -> list[str]:
        return [found.text for found in Preflight(self.config).findings(lambda _: None) if found.kind is Kind.PROBLEM]

    def written(self) -> tuple[int, int]:
        """Predictions and dead letters."""
        administration = KafkaAdministration(self.everything)
        return (
            administration.bounds(self.out)[TopicPartition(self.out, 0)].end,
            administration.bounds(self.dead)[TopicPartition(self.dead, 0)].end,
        )


def open_connection(place: Place) -> KafkaConnection:
    assert place.config.kafka is not None
    return KafkaConnection(bootstrap_servers=place.server.sasl_bootstrap, security=place.config.kafka.security)


@pytest.fixture
def place(
    kafka_server: KafkaServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Place]:
    monkeypatch.setattr(delivery, "FIRST_PAUSE_S", 0.01)
    made = Place(kafka_server, tmp_path, getattr(request, "param", CLIENT))
    yield made
    KafkaAdministration(made.everything).delete_topics([made.source, made.out, made.dead])
    revoke(kafka_server, *made.rights.values())


def test_the_handbook_lists_these_rights(place: Place) -> None:
    text = (Path(__file__).parents[2] / "deploy" / "SECURITY.md").read_text()
    (commands,) = re.findall(r"## The least rights\n.*?```bash\n(.*?)```", text, re.DOTALL)
    ours = {
        place.source: "departures",
        place.out: "delay-predictions",
        place.dead: "dead-letters",
        place.job: "flights",
    }
    assert commands.splitlines() == [
        command(operation, kind.lower(), ours[name]) for operation, kind, name in place.rights.values()
    ]


def test_topics_are_made_with_the_right_to_create_them_beside_these(place: Place) -> None:
    """As by ``streamrnn topics``, and refused by name without it."""
    user = KafkaAdministration(open_connection(place))
    made = f"{place.job}-made"
    place.rights["made"] = ("WRITE", "TOPIC", made)
    grant(place.server, place.rights["made"])
    with pytest.raises(BrokerError, match=re.escape(f"no right to CREATE topic {made}; grant it")) as raised:
        user.create_topics({made: 1})
    assert command("CREATE", "topic", made) in str(raised.value)
    place.rights["create"] = ("CREATE", "TOPIC", made)
    grant(place.server, place.rights["create"])
    user.create_topics({made: 1})
    assert user.describe_topics([made])[made] is not None
    KafkaAdministration(place.everything).delete_topics([made])


def test_without_the_right_to_describe_settings_what_is_not_checked_is_told(place: Place) -> None:
    warned = [found.text for found in Preflight(place.config).findings(lambda _: None) if found.kind is Kind.WARNING]
    for topic in (place.source, place.out, place.dead):
        (told,) = [text for text in warned if text.startswith(f"topic {topic}: its settings may not be seen")]
        assert command("DESCRIBE_CONFIGS", "topic", topic) in told


@WITH_BOTH
def test_with_the_least_rights_the_daemon_reads_predicts_writes_and_commits(place: Place) -> None:
    assert place.problems() == []
    place.run()
    assert place.written() == (RECORDS - 1, 1)
    place.produce(5)  # and goes on where it was
    place.run()
    assert place.written() == (RECORDS - 1 + 4, 2)


def test_the_right_to_read_is_also_looked_for_of_a_group_that_has_committed(place: Place) -> None:
    place.run()
    assert place.problems() == []
    revoke(place.server, place.rights["READ group"])
    place.rights["describe"] = ("DESCRIBE", "GROUP", place.job)
    grant(place.server, place.rights["describe"])
    (problem,) = place.problems()
    assert problem.startswith(f"group {place.job}: this user may not join it or commit; grant READ on the group: ")


MISSING = {
    "READ input": ("{source}", "READ", "topic"),
    "WRITE output": ("{out}", "WRITE", "topic"),
    "WRITE dead letters": ("{dead}", "WRITE", "topic"),
    "READ group": ("{job}", "READ", "group"),
}


@WITH_BOTH
@pytest.mark.parametrize("seen", [False, True], ids=["unseen", "seen"])
@pytest.mark.parametrize("right", MISSING)
def test_without_one_of_them_it_is_named_before_the_start_and_by_the_daemon(
    place: Place, right: str, seen: bool
) -> None:
    """With the right to describe it, or without."""
    name, operation, kind = MISSING[right]
    name = name.format_map(vars(place))
    revoke(place.server, place.rights[right])
    if seen:
        place.rights["describe"] = ("DESCRIBE", kind.upper(), name)
        grant(place.server, place.rights["describe"])
    (problem,) = place.problems()
    with pytest.raises(BrokerError) as raised:
        place.run()
    for text in (problem, str(raised.value)):
        assert command(operation, kind, name) in text
