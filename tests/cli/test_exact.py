"""A job whose cell learns by exact gradients, or not at all, from its file to what ``evaluate`` says of it."""

from __future__ import annotations

import json
import random
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.cli import app
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.run import run_worker
from streamrnn.job.job_file import load
from tests.support.jobs import small

LABELLED = {"fields": ["y"], "known": "label", "event_field": "id", "label_field": "of", "label_memory": 8}
KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "record": ({"model": {"cell": "elstm", "hidden_layer": 4}}, "from every event, by exact gradients"),
    "label": (
        {"model": {"cell": "elstm"}, "learning": {"k1": 2}, "target": LABELLED},
        "from every event at most 8 events later, by exact gradients, 2 of them a step",
    ),
    "forecast": (
        {"model": {"cell": "glru", "gates": False}, "target": {"fields": ["y"], "known": "forecast", "horizon": 3}},
        "from every event 3 events later, by exact gradients",
    ),
    "bank": ({"model": {"cell": "bank", "readout": "rls"}}, "by least squares alone: the cell is fixed"),
}


def call(*arguments: object) -> str:
    """What a command prints in a wide terminal."""
    done = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    return done.output


def job_file(directory: Path, kind: str) -> Path:
    directory.mkdir()
    whole = small(directory) | {"http": None}
    del whole["learning"], whole["model"]
    path = directory / "job.yaml"
    path.write_text(yaml.safe_dump(whole | KINDS[kind][0]))
    return path


def events(n: int) -> list[tuple[bytes, bytes]]:
    """Three streams whose target is what came four records before; a label follows its event after some others."""
    rng, found = random.Random(5), list[tuple[bytes, bytes]]()
    past: dict[bytes, list[float]] = {b"s0": [], b"s1": [], b"s2": []}
    for i in range(n):
        key = rng.choice(list(past))
        past[key].append(round(rng.gauss(0.0, 1.0), 3))
        y = past[key][-5] if len(past[key]) > 4 else 0.0
        found.append((key, json.dumps({"a": past[key][-1], "y": y, "id": i}).encode()))
    return found


def labelled(found: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The same with targets in records of their own, five events later."""
    records = list[tuple[bytes, bytes]]()
    for i, (key, value) in enumerate(found):
        event = json.loads(value)
        records.append((key, json.dumps({"a": event["a"], "id": event["id"]}).encode()))
        if i >= 5:
            whose, old = found[i - 5][0], json.loads(found[i - 5][1])
            records.append((whose, json.dumps({"of": old["id"], "y": old["y"]}).encode()))
    return records


def run(job: Path, records: list[tuple[bytes, bytes]], first: int = 0) -> None:
    """Append them to the job's log, whose records from ``first`` on they are, and run it until all is read."""
    config = load(job)
    assert config.embedded is not None
    log = EmbeddedLog(config.embedded.directory)
    log.create_topic("in")
    for i, (key, value) in enumerate(records, first):
        log.append("in", key, value, timestamp_ms=1_700_000_000_000 + 1_000 * i)
    log.flush()
    stop = threading.Event()
    run_worker(config, open_broker(config), stop, idle=stop.set)


@pytest.mark.parametrize("kind", KINDS)
def test_from_the_job_file_to_what_it_learned_and_a_stop_in_between_changes_no_bit(kind: str, tmp_path: Path) -> None:
    records = labelled(events(900)) if kind == "label" else events(900)
    cut, whole = job_file(tmp_path / "cut", kind), job_file(tmp_path / "whole", kind)
    said = KINDS[kind][1]
    checked = call("validate", "-c", cut)
    assert said in checked
    carried = "" if kind == "bank" else r" \(gradients that are carried along [\d.]+ \w+\)"
    assert re.search(rf"streams +at most 10, [\d.]+ \w+{carried} each", checked)
    run(cut, records[:301])
    run(cut, records[301:], 301)
    run(whole, records)
    logs = [EmbeddedLog(path.parent / "log") for path in (cut, whole)]
    predictions = [[record.value for record in log.read("out", 0)] for log in logs]
    assert predictions[0] == predictions[1] and len(predictions[0]) == 900
    assert all(json.loads(value or b"")["prediction"] is not None for value in predictions[0])
    inspected = [call("inspect", "-c", path) for path in (cut, whole)]
    digests = [re.findall(r"digest ([0-9a-f]{8})", text) for text in inspected]
    assert digests[0] == digests[1] and len(digests[0]) == 1
    for text in inspected:
        assert said in text
        assert not re.search(r"gradients +reach", text)  # there is no window to look back in
        assert int(re.findall(r"updates +([\d,]+)", text)[0].replace(",", "")) > 100
    data = tmp_path / "past.jsonl"
    data.write_text("\n".join(json.dumps({**json.loads(value), "k": key.decode()}) for key, value in records))
    assert re.search(r"model\W+\d", call("evaluate", "-c", whole, "--data", data, "--key", "k"))
