"""Jobs, records and decoding as the tests of a job need them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from streamrnn.broker.protocol import Record
from streamrnn.errors import ConfigError, RecordError
from streamrnn.job.codec.dead_letters import REASONS
from streamrnn.job.codec.records import Decoded, RecordCodec
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse

NAN = math.nan
PASSWORD = "correct-horse-battery"
FEATURES = "[{field: a, encoder: numeric}, {field: n.b, encoder: numeric}, {field: c, encoder: hash, buckets: 2}]"

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
SECTIONS = {
    "job": "job: delays",
    "kafka": "kafka: {bootstrap_servers: 'localhost:9092'}",
    "input": "input: {topic: departures}",
    "features": "features: [{field: distance, encoder: numeric}]",
    "target": "target: {fields: [delay]}",
    "output": "output: {topic: predictions, dead_letter_topic: dead-letters}",
    "checkpoint": "checkpoint: {directory: ./checkpoints}",
}


def yaml(**changes: str | None) -> str:
    """A minimal configuration with some sections replaced (text), added, or left out (None)."""
    sections: dict[str, str | None] = {**SECTIONS, **{n: t if t is None else f"{n}: {t}" for n, t in changes.items()}}
    return "\n".join(text for text in sections.values() if text is not None)


def small(directory: Path = Path()) -> dict[str, Any]:
    """The sections of a small job over an embedded log, all of it in this directory."""
    return {
        "job": "small",
        "embedded": {"directory": str(directory / "log")},
        "input": {"topic": "in"},
        "features": [{"field": "a", "encoder": "numeric"}],
        "target": {"fields": ["y"]},
        "model": {"hidden_size": 4},
        "learning": {"k1": 1, "k2": 3},
        "streams": {"max_streams": 10},
        "output": {"topic": "out", "dead_letter_topic": "dead"},
        "checkpoint": {"directory": str(directory / "checkpoints")},
    }


def job(
    *,
    features: str = FEATURES,
    target: str = "{fields: [y]}",
    source: str = "{topic: in}",
    model: str = "{}",
    learning: str = "{}",
    streams: str = "{}",
    inputs: str = "{}",
    top: int = 5,
) -> Config:
    return parse(
        f"""
job: j
embedded: {{directory: log}}
input: {source}
features: {features}
target: {target}
inputs: {inputs}
model: {model}
learning: {learning}
streams: {streams}
output: {{topic: out, dead_letter_topic: dead, top: {top}}}
checkpoint: {{directory: checkpoints}}
""",
        {},
    )


PLAIN = job()
NESTED_KEY = job(source="{topic: in, stream_key: k.id, timestamp: {field: t, unit: iso8601}, end_field: last}")
LABELLED = job(target="{fields: [y], known: label, event_field: id, label_field: of}")
CLASSES = job(target="{fields: [y], classes: [late, 1, true]}", model="{readout: softmax}")


def text_job(text: str = "{field: message}", **more: Any) -> Config:
    """A job whose records are texts."""
    return job(source=f"{{topic: in, text: {text}}}", target="null", **{"features": "[]", **more})


NEXT = job(target="{fields: [page], known: forecast, classes: {open: true, max: 3}}", features="[]")


def record(value: Any, *, key: bytes | None = b"k", time_ms: int = 5, offset: int = 0) -> Record:
    encoded = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    return Record("in", 3, offset, time_ms, key, encoded)


def decode(config: Config, *values: Any, **changes: Any) -> Decoded:
    return RecordCodec(config).decode([record(value, **changes) for value in values])


def rejection(config: Config, value: Any, **changes: Any) -> RecordError:
    decoded = decode(config, value, **changes)
    assert len(decoded.block) == 0
    assert len(decoded.sources) == 0
    ((source, error),) = decoded.rejected
    assert source.topic == "in"
    assert error.reason in REASONS
    assert len(error.detail) < 1000
    return error


def refusal(text: str, env: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, env or {})
    assert caught.value.__cause__ is None, "a chained error would be printed with the traceback"
    return str(caught.value)


def secure(**security: str) -> str:
    fields = {
        "protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "u",
        "sasl_password": PASSWORD,
        **security,
    }
    listed = ", ".join(f"{name}: {value}" for name, value in fields.items())
    return yaml(kafka=f"{{bootstrap_servers: 'a:1', security: {{{listed}}}}}")
