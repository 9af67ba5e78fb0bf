"""The fingerprint of a job: what changes it and what does not."""

import json
from typing import Any

import pytest

from streamrnn.job.fingerprint import fingerprint, learner_settings
from streamrnn.job.job_file import load, parse
from streamrnn.storage.fingerprints import as_json
from tests.support.jobs import EXAMPLES, yaml


@pytest.mark.parametrize(
    "change",
    [
        {"job": "other"},
        {"input": "{topic: other}"},
        {"input": "{topic: departures, stream_key: k}"},
        {"input": "{topic: departures, end_field: e}"},
        {"input": "{topic: departures, timestamp: {field: t}}"},
        {"input": "{topic: departures, max_record_bytes: 10}"},
        {"features": "[{field: distance, encoder: log1p}]"},
        {"inputs": "{dt: false}"},
        {"target": "{fields: [other]}"},
        {"model": "{cell: gru}"},
        {"model": "{readout: rls}"},
        {"model": "{lags: 3}"},
        {"model": "{rls_forgetting: 0.9}"},
        {"model": "{rls_prior: 2}"},
        {"target": "{fields: [delay], known: forecast, baseline: last}"},
        {"model": "{memory: 50}"},
        {"learning": "{lr: 0.1}"},
        {"learning": "{polyak_bound: 0.5}"},
        {"streams": "{ttl_s: 5}"},
    ],
)
def test_what_determines_the_learner_changes_the_fingerprint(change: dict[str, Any]) -> None:
    before, after = parse(yaml(), {}), parse(yaml(**change), {})
    old, new = learner_settings(before), learner_settings(after)
    assert old != new
    assert {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)} <= set(change)


@pytest.mark.parametrize(
    "change",
    [
        {"kafka": "{bootstrap_servers: 'other:1', session_timeout_s: 6}"},
        {"kafka": None, "embedded": "{directory: l}"},
        {"input": "{topic: departures, start: latest}"},
        {"output": "{topic: a, dead_letter_topic: b}"},
        {"checkpoint": "{directory: other, retain: 1}"},
        {"commit_interval_ms": "7", "http": "null", "log_level": "debug"},
        {"model": "{loss: squared, cell: lstm}"},
        {"model": "{warm_start: model.safetensors}"},  # its bytes do, and the job adds them
    ],
)
def test_what_does_not_determine_the_learner_leaves_the_fingerprint(change: dict[str, Any]) -> None:
    before, after = parse(yaml(), {}), parse(yaml(**change), {})
    assert learner_settings(before) == learner_settings(after)


def test_the_fingerprint_survives_json() -> None:
    current = fingerprint(load(EXAMPLES / "full.yaml", {"KAFKA_PASSWORD": "x"}))
    assert as_json(json.loads(json.dumps(current))) == as_json(current)
