"""No socket stays open behind a start that fails or a client that is closed, or is left to the garbage collector."""

from __future__ import annotations

import contextlib
import gc
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaConsumer
from kafka.errors import KafkaConfigurationError, UnknownError
from kafka.future import Future
from kafka.net.selector import NetworkSelector

from streamrnn.broker import kafka_connect, kafka_fetcher
from streamrnn.broker.kafka_answers import Answers
from streamrnn.broker.kafka_client import KafkaBroker
from streamrnn.broker.kafka_connect import connect
from streamrnn.broker.kafka_connections import ClosingClient, NamingManager, _Plain
from streamrnn.broker.kafka_failures import Cause
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup, client_kwargs
from streamrnn.broker.security import KafkaSecurity
from streamrnn.errors import BrokerError


def sockets() -> set[str]:
    """Those of this process."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # as what the directory was listed with is
            found.add(str(path.readlink()))
    return {at for at in found if at.startswith("socket:")}


@pytest.fixture
def nothing_collected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def net() -> Iterator[NetworkSelector]:
    """The client's event loop, which has two sockets from the beginning."""
    made = NetworkSelector()
    yield made
    made.close()


@pytest.mark.usefixtures("nothing_collected")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])  # which has a second address
@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
@pytest.mark.parametrize("listens", [False, True])
def test_a_start_that_fails_leaves_no_socket_open(host: str, protocol: Any, listens: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        at = f"{host}:{server.getsockname()[1]}"
        if not listens:
            server.close()
        connection = KafkaConnection(
            bootstrap_servers=at, security=KafkaSecurity(protocol=protocol), connect_timeout_s=0.3
        )
        before = sockets()
        with pytest.raises(BrokerError, match="Kafka at"):
            connect(KafkaConsumer, connection, client_kwargs(connection))
        assert sockets() == before


@pytest.mark.usefixtures("nothing_collected")
@pytest.mark.parametrize("made", [False, True], ids=["before the client", "behind it"])
def test_settings_that_are_refused_leave_no_socket_open(monkeypatch: pytest.MonkeyPatch, made: bool) -> None:
    def refusing(*_: Any, **__: Any) -> Any:
        raise KafkaConfigurationError("no such setting")

    def client(kafka_client: Any, **config: Any) -> Any:
        kafka_client(**config)
        refusing()

    if not made:
        monkeypatch.setattr(kafka_connect, "NamingManager", refusing)
    before = sockets()
    with pytest.raises(BrokerError, match=r"refused: .*no such setting"):
        connect(client, KafkaConnection(bootstrap_servers="one:9092"), {"bootstrap_servers": ["one:9092"]})
    assert sockets() == before


def test_a_connection_that_has_something_to_send_is_closed_with_its_client() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    net = NetworkSelector()
    manager = NamingManager(net, KafkaSecurity(), bootstrap_servers=["127.0.0.1:9"])
    transport = _Plain(net, ours)
    manager._transports.add(transport)
    transport.write(bytes(8 << 20))  # more than the other side takes
    net.poll(timeout_ms=20)
    transport.close()
    assert ours.fileno() >= 0
    ClosingClient(net=net, manager=manager).close()
    assert ours.fileno() < 0
    theirs.close()


def test_a_consumer_that_is_not_bounded_is_closed_and_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    consumer = SimpleNamespace(close=lambda **_: closed.append(True))
    monkeypatch.setattr("streamrnn.broker.kafka_client.connect", lambda *_: consumer)

    def refusing(*_: Any) -> None:
        raise BrokerError("another version")

    monkeypatch.setattr(kafka_fetcher, "bound", refusing)
    broker = KafkaBroker(KafkaConnection(bootstrap_servers="127.0.0.1:9"), KafkaGroup(group_id="g"))
    for times in (1, 2):
        with pytest.raises(BrokerError, match="another version"):
            broker._consuming()
        assert len(closed) == times
    broker.close(1.0)


def test_a_consumer_whose_group_cannot_be_left_lets_its_connections_go() -> None:
    let_go: list[bool] = []

    def failing(**_: Any) -> None:
        raise UnknownError

    broker = KafkaBroker(KafkaConnection(bootstrap_servers="127.0.0.1:9"), KafkaGroup(group_id="g"))
    broker._consumer = SimpleNamespace(close=failing, _client=SimpleNamespace(close=lambda: let_go.append(True)))
    broker.close(1.0)
    assert let_go == [True]


def test_one_server_that_is_away_is_named_once_others_have_answered_for_a_while(
    net: NetworkSelector, caplog: pytest.LogCaptureFixture
) -> None:
    """Where nobody answers, it is an outage, which is told as a whole."""
    moment = [0.0]
    answers = Answers(lambda: moment[0])
    manager = NamingManager(
        net, KafkaSecurity(), lambda: moment[0], answers, bootstrap_servers=["one:9092", "two:9092"]
    )
    # The client shuffles them.
    (one,) = (broker.node_id for broker in manager.cluster.bootstrap_brokers() if broker.host == "one")
    manager._bootstrap_future = Future().success(True)

    def refused_at(seconds: float) -> list[str]:
        moment[0] = seconds
        caplog.clear()
        manager._failed(one, Cause("nothing listens there", 0))
        return caplog.messages

    assert refused_at(0) == refused_at(20) == []
    answers.asked(object(), Future().success("records"))
    assert refused_at(21) == ["no connection to Kafka at one:9092: nothing listens there"]
    assert [record.__dict__["fields"] for record in caplog.records] == [{"server": "one:9092"}]
    manager._went_well(one)
    assert refused_at(22) == [], "it begins anew"


def test_connections_are_counted_by_their_states(net: NetworkSelector) -> None:
    manager = NamingManager(net, KafkaSecurity(), bootstrap_servers=["one:9092"])
    state = SimpleNamespace
    manager._conns = {
        1: state(connected=True, closed=False), 2: state(connected=False, closed=False),
        3: state(connected=False, closed=True),
    }  # fmt: skip
    manager._failed(1, Cause("before", 0))
    manager._failed(4, Cause("now", 0))
    assert sorted(manager.states()) == ["connected", "connecting", "disconnected"]
    manager._conns = {}
    manager.closed = True
    assert manager.states() == []
