"""Departures without end, at a chosen speed: what a dashboard is tried out with.

Each departure happens when it is sent: the record's timestamp, and the field ``timestamp``, are the present. So event
time goes on evenly when the year begins anew, latencies and lags are what they seem, and no retention takes a record
for years old. All else is the year's, in its order. The topic's partition is chosen by the key, the aircraft.

Speed is kept by the clock and not by pauses: what a slow broker holds up is caught up with, up to a second's worth.
Only the newest second can be lost with the process; whoever starts it again starts the year again.
"""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from threading import Event
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.text import Text

from streamrnn.broker.columns import Outputs
from streamrnn.broker.protocol import Output, Sender
from streamrnn.daemon.opening import open_sender
from streamrnn.demo.flights import load_flights, stream_key
from streamrnn.errors import BrokerError
from streamrnn.job.config import Config

_ENCODER = msgspec.json.Encoder()
TICK_S: Final = 0.1
MOST_BEHIND_S: Final = 1.0
FLUSH_TIMEOUT_S: Final = 30.0


def run_feed(config: Config, rate: float, limit: int | None, console: Console) -> None:
    """Feed the job's input topic until SIGTERM or Ctrl-C. Raises StreamrnnError."""
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    topic = config.input.topic
    sender = open_sender(config)
    try:
        if not sender.partitions(topic):
            raise BrokerError(
                f"topic {topic} does not exist; create it with: streamrnn topics -c JOB.YAML --partitions N"
            )
        departures = load_flights(limit)
        console.print(Text(f"{rate:g} departures a second to {topic}, each stamped with the present"), soft_wrap=True)
        sent = feed(sender, topic, departures, rate, stop, limit=limit)
        console.print(Text(f"{sent:,} departures sent"))
    finally:
        sender.close(timeout_s=5.0)


def feed(
    sender: Sender,
    topic: str,
    departures: Iterable[dict[str, Any]],
    rate: float,
    stop: Event,
    *,
    limit: int | None = None,
    clock: Callable[[], float] = time.time,
) -> int:
    """Send departures to ``topic``, ``rate`` a second, until ``stop`` is set or ``limit`` are sent; returns how many.

    ``departures`` begin anew whenever they end. Raises BrokerError when some were not acknowledged.
    """
    endless = itertools.islice(itertools.chain.from_iterable(itertools.repeat(departures)), limit)
    sent = 0
    for due in _due(rate, stop, clock):
        batch = list(itertools.islice(endless, due))
        if happening := [_happening(topic, record, round(clock() * 1000)) for record in batch]:
            sender.send_all(Outputs.of(happening), None)
        sender.flush(FLUSH_TIMEOUT_S)
        sent += len(batch)
        if len(batch) < due or sent == limit:
            break
    return sent


def _happening(topic: str, record: dict[str, Any], now_ms: int) -> Output:
    key = stream_key(record).encode()
    return Output(topic, key, _ENCODER.encode(record | {"timestamp": now_ms}), now_ms)


def _due(rate: float, stop: Event, clock: Callable[[], float]) -> Iterator[int]:
    """How many records are to be sent now, again and again until ``stop`` is set."""
    before, owed = clock(), 0.0
    while not stop.wait(TICK_S):
        now = clock()
        owed = min(owed + rate * max(0.0, now - before), max(1.0, rate * MOST_BEHIND_S))
        before = now
        if owed >= 1:
            yield int(owed)
            owed -= int(owed)
