"""The fingerprint of a job: what changes it and what does not."""

import json
from typing import Any

import pytest

from streamrnn.errors import ConfigError
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
        {"model": "{memory: 50}", "learning": "{optimizer: adamw}"},  # by itself it would mean another optimiser, too
        {"learning": "{lr: 0.1}"},
        {"learning": "{polyak_bound: 0.5}"},
        {"streams": "{ttl_s: 5}"},
        {"streams": "{protected_share: 0.5}"},
        {"streams": "{max_bytes: 1000000000}"},
        {"input": "{topic: departures, max_key_bytes: 10}"},
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
        {"hashing": "{key: secret}"},  # where nothing is hashed
        {"model": "{warm_start: model.safetensors}"},  # its bytes do, and the job adds them
    ],
)
def test_what_does_not_determine_the_learner_leaves_the_fingerprint(change: dict[str, Any]) -> None:
    before, after = parse(yaml(), {}), parse(yaml(**change), {})
    assert learner_settings(before) == learner_settings(after)


def test_the_fingerprint_survives_json() -> None:
    current = fingerprint(load(EXAMPLES / "full.yaml", {"KAFKA_PASSWORD": "x"}))
    assert as_json(json.loads(json.dumps(current))) == as_json(current)


HASHED = "[{field: c, encoder: hash, buckets: 4}]"


def test_where_something_is_hashed_the_key_is_part_of_it_as_a_digest() -> None:
    by_name = learner_settings(parse(yaml(features=HASHED), {}))
    same = learner_settings(parse(yaml(features=HASHED, hashing="{key: delays}"), {}))
    secret = learner_settings(parse(yaml(features=HASHED, hashing="{key: '${KEY}'}"), {"KEY": "0b3f6c0a9be34c0e"}))
    assert by_name == same
    assert {name for name in by_name if by_name[name] != secret[name]} == {"hashing"}
    assert "0b3f6c0a9be34c0e" not in json.dumps(as_json(secret))


def test_the_key_that_values_are_hashed_under_is_not_shown() -> None:
    config = parse(yaml(features=HASHED, hashing="{key: 0b3f6c0a9be34c0e}"), {})
    assert "0b3f6c0a9be34c0e" not in f"{config!r}{config}"
    with pytest.raises(ConfigError) as refusal:
        parse(yaml(hashing="{key: [0b3f6c0a9be34c0e]}"), {})
    assert "0b3f6c0a9be34c0e" not in str(refusal.value)
