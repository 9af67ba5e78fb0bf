"""The first lines say what runs."""

from __future__ import annotations

import logging

import pytest

from streamrnn.daemon.introduction import introduce
from streamrnn.job.job_file import parse
from streamrnn.learner.learner import Learner
from streamrnn.version import __version__
from tests.support.jobs import yaml


def test_the_first_lines_tell_version_job_topics_cluster_group_and_model(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    config = parse(
        yaml(
            kafka="{bootstrap_servers: 'a:9092,b:9092', group_id: g, group_instance_id: one}",
            model="{cell: gru, hidden_size: 8, num_layers: 2}",
        ),
        {},
    )
    introduce(config)
    parameters = Learner(config.learner_spec(), 0).progress().parameters
    first, second, third = caplog.messages
    assert first == (
        f"streamrnn {__version__} runs the job delays (at_least_once, commits every 100 ms): reads topic departures, "
        "writes topic predictions, dead letters to dead-letters"
    )
    assert second == "Kafka at a:9092, b:9092, PLAINTEXT, group g, this worker as one"
    assert third == (
        "model: gru, 2 layers of 8 units, readout linear, squared loss, float32: "
        f"{parameters:,} parameters, columns of features: 1; adamw, lr 0.003, every 8 steps from the last 32"
    )
    fields = [record.__dict__.get("fields", {}) for record in caplog.records]
    assert fields[0]["version"] == __version__ and fields[0]["job_name"] == "delays"
    assert fields[2] == {"parameters": parameters}


def test_of_a_bank_it_tells_what_learns_since_no_parameter_does(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    config = parse(yaml(model="{cell: bank, readout: rls}"), {})
    introduce(config)
    regressors = config.learner_spec().n_regressors
    assert regressors > 128
    assert f"readout rls on {regressors} regressors, " in caplog.messages[2]


def test_an_embedded_log_is_named_by_its_directory_and_no_password_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    introduce(parse(yaml(kafka=None, embedded="{directory: /var/log/events}"), {}))
    assert "the embedded log in /var/log/events, group delays" in caplog.messages
    security = "{protocol: SASL_SSL, sasl_mechanism: PLAIN, sasl_username: alice, sasl_password: pw-3141}"
    introduce(parse(yaml(kafka=f"{{bootstrap_servers: 'a:9092', security: {security}}}"), {}))
    assert "Kafka at a:9092, SASL_SSL, group delays, this worker named after its host" in caplog.messages
    assert "pw-3141" not in caplog.text and "alice" not in caplog.text
