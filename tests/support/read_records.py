"""Reads a topic in a process of its own and tells what came, and the most memory it had.

python -m tests.support.read_records HOST:PORT TOPIC COUNT
"""

from __future__ import annotations

import json
import re
import sys
import time
import uuid
from pathlib import Path

from streamrnn.broker.kafka_client import KafkaBroker
from streamrnn.broker.kafka_settings import KafkaConnection, KafkaGroup
from streamrnn.broker.protocol import Assigned


def peak_bytes() -> int:
    """The most memory this process has had at once."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def main(bootstrap: str, topic: str, count: int) -> None:
    broker = KafkaBroker(KafkaConnection(bootstrap_servers=bootstrap), KafkaGroup(group_id=f"g-{uuid.uuid4().hex[:8]}"))
    broker.subscribe(topic)
    found: list[object] = []
    before = None
    began, deadline = time.process_time(), time.monotonic() + 60.0
    while len(found) < count and time.monotonic() < deadline:
        for records in broker.poll(0.2, 5_000).records.values():
            for record in records:
                value = None if record.value is None else [len(record.value), record.value[:20].decode()]
                found.append([record.offset, value, getattr(record, "refused", None)])
        for event in broker.events():
            if isinstance(event, Assigned):
                for tp in event.partitions:
                    broker.seek(tp, 0)
                broker.resume(event.partitions)
                before, began = peak_bytes(), time.process_time()
    seconds = time.process_time() - began
    print(json.dumps({"records": found, "before": before, "peak": peak_bytes(), "seconds": seconds}))
    broker.close(1.0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
