"""A running daemon meets batches that unpack to gigabytes and batches that lie, in the midst of good records."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.protocol import TopicPartition
from tests.support.batches import batch, produce, record, zeros

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(200)]

MIB = 1 << 20
WAIT_S = 90.0
ROOM_BYTES = 96 * MIB
"""What the daemon takes beyond what it had when it began to predict."""

JOB = """
job: {job}
kafka: {{bootstrap_servers: '{servers}', group_instance_id: one, session_timeout_s: 6}}
input: {{topic: {job}-in, tombstones: ignore}}
features: [{{field: a, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 4}}
output: {{topic: {job}-out, dead_letter_topic: {job}-dead}}
checkpoint: {{directory: {at}/checkpoints}}
http: null
"""
CODECS = {"gzip": 300_000_000, "lz4": 240_000_000, "zstd": 300_000_000, "snappy": 20_000_000}


def value(i: int) -> bytes:
    return json.dumps({"a": i % 5, "y": i % 7}).encode()


def sent() -> list[bytes]:
    """Five good records, then for each codec a good one, one far too long, a good one, and one good of three; a bomb of
    2 GB and one behind it, and five good ones."""
    found = [batch([record(value(i), i) for i in range(5)])]
    for codec, size in CODECS.items():
        found.append(zeros(size, codec, before=[value(1)], behind=[value(2)]))
        found.append(batch([record(value(3), 0), record(value(4), 1, length=-5), record(value(5), 2)], codec))
    found.append(zeros(2_000_000_000, "zstd", before=[value(6)], behind=[value(7)]))
    return [*found, batch([record(value(i), i) for i in range(5)])]


BAD = {at + i: reason for at in (5, 11, 17, 23) for i, reason in ((1, "too_large"), (4, "corrupt"), (5, "corrupt"))}
BAD |= {30: "too_large", 31: "too_large"}
END = 37


def memory(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return 1024 * int(found[1])


def test_good_records_are_predicted_bad_ones_told_each_for_itself_and_the_partition_goes_on(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    admin = KafkaAdministration(KafkaConnection(bootstrap_servers=kafka_bootstrap))
    job = f"bombs-{uuid.uuid4().hex[:8]}"
    source, out, dead = topics = [f"{job}-{name}" for name in ("in", "out", "dead")]
    admin.create_topics(dict.fromkeys(topics, 1), keep_forever=True)
    (tmp_path / "job.yaml").write_text(JOB.format(job=job, servers=kafka_bootstrap, at=tmp_path))
    log = tmp_path / "worker.log"
    command = [sys.executable, "-c", "from streamrnn.cli import main; main()", "run", "-c", str(tmp_path / "job.yaml")]

    def run(until: int, *batches: bytes) -> int:
        """Run until so much is committed; returns the most memory beyond that of the beginning."""
        with log.open("wb") as written:
            process = subprocess.Popen(command, stdout=written, stderr=written)
        try:
            deadline, before = time.monotonic() + WAIT_S, 0  # until it predicts, there is nothing to stop
            while not before or admin.commits(job)[TopicPartition(source, 0)].offset < until:
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                if not before and "caught up" in log.read_text():
                    before = memory(process.pid)
                    for data in batches:
                        assert produce(kafka_bootstrap, source, data) == 0
                time.sleep(0.05)
            taken = memory(process.pid) - before
            process.terminate()
            assert process.wait(30.0) == 0, log.read_text()
            return taken
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(10.0)

    try:
        assert produce(kafka_bootstrap, source, sent()[0]) == 0
        run(5)
        assert run(END, *sent()[1:]) < ROOM_BYTES
        told = log.read_text()
        run(END)  # a start behind all that
        predicted, letters = (
            [json.loads(one.value or b"") for one in admin.read({tp: 0}, 100, 10.0)[tp]]
            for tp in (TopicPartition(out, 0), TopicPartition(dead, 0))
        )
    finally:
        admin.delete_topics(topics)
    assert [one["offset"] for one in predicted] == [i for i in range(END) if i not in BAD]
    assert {letter["offset"]: letter["reason"] for letter in letters} == BAD
    assert len(letters) == len(BAD)
    first = letters[0]
    assert (first["key"], first["key_bytes"], first["value"], first["value_bytes"]) == ("k", 1, None, CODECS["gzip"])
    assert "cannot be read and go to the dead letters" in told
