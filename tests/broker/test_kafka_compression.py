"""Every codec of Kafka is there, and one that is not is named before the first record needs it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import kafka.codec
import pytest
from kafka.errors import UnsupportedCodecError
from packaging.requirements import Requirement

from streamrnn.broker import kafka_compression
from streamrnn.broker.kafka_compression import PACKAGES, missing_codecs
from streamrnn.broker.kafka_connect import translated
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.daemon.opening import open_broker
from streamrnn.daemon.preflight.findings import Kind
from streamrnn.daemon.preflight.machine import codecs
from streamrnn.errors import BrokerError, ConfigError
from streamrnn.job.job_file import parse

CONFIG = parse(
    "{job: j, kafka: {bootstrap_servers: 'localhost:9'}, input: {topic: departures}, "
    "features: [{field: a, encoder: numeric}], target: {fields: [y]}, "
    "output: {topic: out, dead_letter_topic: dead}, checkpoint: {directory: state}, http: null}",
    env={},
)


def test_every_codec_works_here_and_its_package_is_a_dependency() -> None:
    assert missing_codecs() == {}
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    needed = {Requirement(text).name for text in project["dependencies"]}
    assert needed >= set(PACKAGES.values()) - {"Python itself"}


@pytest.mark.parametrize(("name", "package"), [item for item in PACKAGES.items() if item[0] != "gzip"])
@pytest.mark.parametrize("broken", [None, lambda data: data * 2])
def test_a_codec_that_is_not_there_or_is_another_package_is_named_at_the_start(
    name: str, package: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka.codec, f"{name}_decode", broken)
    assert missing_codecs() == {name: package}
    with pytest.raises(ConfigError, match=rf"departures.*{name}.*{package}.*pip install {package}"):
        open_broker(CONFIG)
    finding = codecs(CONFIG)
    assert finding.kind is Kind.PROBLEM
    assert package in finding.text


def test_a_package_that_cannot_unpack_piece_by_piece_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(kafka.codec.lz4, "LZ4FrameDecompressor")
    assert missing_codecs() == {"lz4": "lz4"}


def test_preflight_says_that_all_is_well() -> None:
    assert codecs(CONFIG).kind is Kind.FINE


@pytest.mark.parametrize("name", ["snappy", "lz4", "zstd"])
def test_a_batch_that_cannot_be_decompressed_names_topic_codec_and_package(name: str) -> None:
    connection = KafkaConnection(bootstrap_servers="localhost:9")
    with (
        pytest.raises(BrokerError, match=f"reading topic t failed: .*{name}.*{PACKAGES[name]}"),
        translated("reading topic t failed", connection, "one"),
    ):
        raise UnsupportedCodecError(f"Libraries for {name} compression codec not found")


def test_a_codec_of_the_future_is_no_missing_package() -> None:
    assert "does not know" in kafka_compression.remedy("Unrecognized compression type: 5")
