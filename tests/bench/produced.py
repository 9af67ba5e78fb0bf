"""What it costs to hand outputs to a broker: batch by batch, and one by one as a client is given them else.

Side by side in one process, in turns, as processor's time of all its threads until everything is acknowledged:

    python -m tests.bench.produced
"""

from __future__ import annotations

import argparse
import time
import uuid
from collections.abc import Callable

import numpy as np

from streamrnn.broker.columns import Outputs, Strings
from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_sender import KafkaSender
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.protocol import send_each

TURNS = 6


def outputs_of(topic: str, count: int) -> Outputs:
    """Predictions as those of a plain job."""
    keys = Strings.of(b"s%d" % (i % 1000) for i in range(count))
    values = Strings.of(
        b'{"stream":"s%d","offset":%d,"timestamp":"2013-01-01T05:15:00Z","prediction":{"y":%.7f},"target":{"y":%.2f},'
        b'"updates":%d}' % (i % 1000, i, np.sin(i), np.cos(i), i)
        for i in range(count)
    )
    return Outputs(topic, keys, values, 1_700_000_000_000 + np.arange(count), np.arange(count))


def measured(hand_over: Callable[[Outputs], None], flush: Callable[[], None], outputs: Outputs, poll: int) -> float:
    """Microseconds of processor's time a record."""
    started = time.process_time()
    for start in range(0, len(outputs), poll):
        hand_over(outputs[start : start + poll])
    flush()
    return 1e6 * (time.process_time() - started) / len(outputs)


def main() -> None:
    """Measure, and print a line for each size of a batch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--records", type=int, default=100_000)
    arguments = parser.parse_args()
    connection = KafkaConnection(bootstrap_servers=arguments.bootstrap)
    administration, topic = KafkaAdministration(connection), f"produced-{uuid.uuid4().hex[:8]}"
    administration.create_topics({topic: 1})
    sender = KafkaSender(connection)
    try:
        sender.send(topic, b"k", b"v", partition=0)
        sender.flush(20.0)
        outputs = outputs_of(topic, arguments.records)
        for poll in (8000, 2000, 500, 50, 8):
            some = outputs[: min(len(outputs), 2000 * poll)]
            ways: dict[str, Callable[[Outputs], None]] = {
                "one by one": lambda batch: send_each(sender, batch, 0),
                "whole": lambda batch: sender.send_all(batch, 0),
            }
            took: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(TURNS):
                for name, way in ways.items():
                    took[name].append(measured(way, lambda: sender.flush(60.0), some, poll))
            told = (f"{name} {np.median(each):.2f} ({min(each):.2f}-{max(each):.2f})" for name, each in took.items())
            print(f"{poll} at once: {', '.join(told)} us a record")
    finally:
        sender.close(5.0)
        administration.delete_topics([topic])


if __name__ == "__main__":
    main()
