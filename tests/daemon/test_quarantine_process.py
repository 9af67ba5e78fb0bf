"""A record that kills the process, as a supervisor sees it: started again a few times, then it goes on.

What kills is put in front of the command line here; nothing in the package can be told to.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.quarantine import SOLITARY_TRIES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

JOB = """
job: j
embedded: {{directory: {at}/log}}
input: {{topic: in}}
features: [{{field: a, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 4}}
output: {{topic: out, dead_letter_topic: dead}}
checkpoint: {{directory: {at}/checkpoints}}
http: null
"""
RUN = """
import ctypes, os, signal
from streamrnn.cli import main
from streamrnn.job.codec.records import RecordCodec
decode = RecordCodec.decode
def deadly(codec, records):
    if any(b"poison" in record.value for record in records):
        {deed}
    return decode(codec, records)
RecordCodec.decode = deadly
main()
"""
DEEDS = {
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "gone without a word": "os._exit(3)",
    "a fault in native code": "ctypes.string_at(0)",
    "out of memory": "bytes(2**62)",
    "too deep": "decode(codec, deadly(codec, records))",
}
N, AT = 60, 33
WAIT_S = 120.0


def fill(at: Path, poison: bytes) -> None:
    at.mkdir()
    (at / "job.yaml").write_text(JOB.format(at=at))
    with EmbeddedLog(at / "log") as log:
        log.create_topic("in", 1)
        for i in range(N):
            value = poison if i == AT else json.dumps({"a": i % 5, "y": i % 7}).encode()
            log.append("in", b"s%d" % (i % 3), value, timestamp_ms=1_700_000_000_000 + 1000 * i)
        log.flush()


def supervise(at: Path, deed: str) -> int:
    """Start the daemon whenever it ends, until it has committed all there is; returns how often it died."""
    command = [sys.executable, "-c", RUN.format(deed=deed), "run", "-c", str(at / "job.yaml")]
    deadline, died = time.monotonic() + WAIT_S, 0
    with (at / "worker.log").open("ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            while committed(at) < N:
                assert time.monotonic() < deadline, (at / "worker.log").read_text()
                if process.poll() is not None:
                    assert process.returncode != 0
                    died += 1
                    process = subprocess.Popen(command, stdout=out, stderr=out)
                time.sleep(0.05)
            process.terminate()
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()
            process.wait(10.0)
    return died


def committed(at: Path) -> int:
    with EmbeddedLog(at / "log") as log:
        commit = log.commits("j").get(TopicPartition("in", 0))
    return 0 if commit is None else commit.offset


def left(at: Path) -> tuple[dict[int, set[bytes]], list[dict[str, Any]], dict[str, Any]]:
    """Predictions by offset, dead letters, and what the last checkpoint says of the learner."""
    with EmbeddedLog(at / "log") as log:
        predictions: dict[int, set[bytes]] = {}
        for record in log.read("out", 0):
            predictions.setdefault(json.loads(record.value or b"")["offset"], set()).add(record.value or b"")
        letters = [json.loads(record.value or b"") for record in log.read("dead", 0)]
    newest = max((at / "checkpoints").rglob("manifest-*.json"))
    manifest = json.loads(newest.read_text())
    progress = manifest["progress"]
    return predictions, letters, {
        "segments": [manifest["model"]["sha256"], *(entry["sha256"] for entry in manifest["segments"])],
        **{name: progress[name] for name in ("position", "ordinal", "digest", "updates")},
    }  # fmt: skip


@pytest.mark.parametrize("how", DEEDS)
def test_a_record_that_ends_the_process_is_quarantined_and_leaves_the_learner_as_if_it_could_not_be_read(
    tmp_path: Path, how: str
) -> None:
    fill(tmp_path / "job", b'{"a": 1, "y": 2, "poison": true}')
    died = supervise(tmp_path / "job", DEEDS[how])
    assert SOLITARY_TRIES < died <= SOLITARY_TRIES + 2
    predictions, letters, learner = left(tmp_path / "job")
    assert [(letter["offset"], letter["reason"]) for letter in letters] == [(AT, "quarantined")]

    fill(tmp_path / "whole", b"{")
    assert supervise(tmp_path / "whole", "pass") == 0
    expected, (malformed,), same = left(tmp_path / "whole")
    assert malformed["reason"] == "malformed"
    assert predictions == expected
    assert learner == same
