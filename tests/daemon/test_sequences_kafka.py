"""Utterances in chunks through a real Kafka to a running ``streamrnn run``, transcripts out, and a kill in between."""

from __future__ import annotations

import json
import random
import signal
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kafka_job import PARTITIONS, Message, Place, check

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

JOB = """
job: {job}
{log}
input:
  topic: {job}-departures
  end_field: end
  sequence: {{field: frames, columns: [a, b, c], stack: 2, max_steps: 60}}
target: {{fields: [text], kind: transcript, unit: word, classes: [one, two, three], max_symbols: 6}}
model: {{cell: gru, hidden_size: 8, beam: 2}}
learning: {{average: 0.99, schedule: inverse_sqrt, schedule_updates: 200}}
streams: {{max_streams: 60}}
output: {{topic: {job}-predictions, dead_letter_topic: {job}-dead-letters}}
checkpoint: {{directory: {directory}/checkpoints, max_replay_records: {max_replay_records}}}
http: null
"""
WORDS = ("one", "two", "three")
SPEAKERS = 20


def utterance(rng: random.Random) -> tuple[list[list[float]], str]:
    """Words as hills in one of three columns, each of 6 to 10 frames, with silence between them; and the words."""
    frames: list[list[float]] = []
    words = [rng.randrange(3) for _ in range(rng.randint(1, 4))]
    for word in words:
        frames += [[rng.gauss(0, 0.3) for _ in WORDS] for _ in range(rng.randint(2, 5))]
        frames += [[rng.gauss(3.0 * (k == word), 0.3) for k in range(3)] for _ in range(rng.randint(6, 10))]
    return [[round(value, 3) for value in frame] for frame in frames], " ".join(WORDS[word] for word in words)


def spoken(n: int, seed: int = 1) -> list[Message]:
    """``n`` chunks of ten frames or less of utterances of several speakers at once, and what was said with the last."""
    rng, found = random.Random(seed), list[Message]()
    under_way: dict[int, tuple[list[list[float]], str]] = {}
    for i in range(n):
        speaker = rng.randrange(SPEAKERS)
        frames, text = under_way.pop(speaker, None) or utterance(rng)
        value: dict[str, object] = {"frames": frames[:10]}
        if len(frames) > 10:
            under_way[speaker] = frames[10:], text
        else:
            value |= {"end": True, "text": text}
        key = f"speaker-{speaker}".encode()
        found.append((key, json.dumps(value).encode(), 1_700_000_000_000 + 100 * i, zlib.crc32(key) % PARTITIONS))
    return found


@pytest.fixture
def place(kafka_bootstrap: str, tmp_path: Path) -> Iterator[Place]:
    made = Place(kafka_bootstrap, tmp_path, JOB, max_replay_records=700, client="confluent")
    yield made
    made.close()


def test_a_kill_between_two_chunks_changes_no_transcript(place: Place, tmp_path: Path) -> None:
    messages = spoken(9_000)
    place.produce(messages[:6_000])
    with place.running() as process:
        place.wait_for(2_000, process)
        process.send_signal(signal.SIGSTOP)  # so that there is work left when it is killed, however fast it was
        place.produce(messages[6_000:])
        process.kill()
        assert process.wait(10.0) == -signal.SIGKILL
    assert 2_000 <= place.committed() < len(messages)
    with place.running() as process:
        place.wait_for(len(messages), process)
        place.stop(process)
    check(place, messages, tmp_path / "embedded", duplicates=True)
    assert "replaying to" in (tmp_path / "worker.log").read_text()
    ended = [output for output in outputs(place) if output["complete"]]
    right = [output["prediction"]["text"] == output["target"] for output in ended[-500:]]
    assert sum(right) > 450, f"{sum(right)} of 500 transcripts are right"


def outputs(place: Place) -> list[dict[str, object]]:
    """What was predicted, of both partitions, in the order of time."""
    found = [json.loads(record.value or b"") for of in place.predictions().values() for record in of]
    return sorted(found, key=lambda output: output["timestamp"])
