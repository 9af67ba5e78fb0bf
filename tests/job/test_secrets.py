"""A password in the wrong place is told of by its place, and not shown; what came from the environment neither."""

from __future__ import annotations

import json
import logging
import traceback

import pytest

from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.daemon.logs import _FORMAT, _Formatter
from streamrnn.errors import ConfigError
from streamrnn.job.fingerprint import fingerprint
from streamrnn.job.job_file import parse
from tests.support.jobs import yaml

SECRET = "hunter2"


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, {"PW": SECRET, "URL": f"u:{SECRET}@h:1"})
    assert SECRET not in "".join(traceback.format_exception(caught.value))  # nor in what msgspec or PyYAML say
    return str(caught.value)


@pytest.mark.parametrize(
    ("servers", "found"),
    [
        (f"user:{SECRET}:host", "a server with more than one colon"),
        (f"user:{SECRET}:9092", "a server with more than one colon"),
        (f"user:{SECRET}:host:9092", "a server with more than one colon"),
        (f"user:{SECRET}@host:9092", "a server with credentials or a protocol"),
        (f"a:1, user:{SECRET}@host:9092", "a server with credentials or a protocol"),
        (f"SASL_SSL://user:{SECRET}@host:9092", "a server with credentials or a protocol"),
        (f"SASL_SSL://user:{SECRET}:9092", "a server with credentials or a protocol"),
        (f"https://{SECRET}:9092", "a server with credentials or a protocol"),
        (f"host:{SECRET}", "a server without a host, or with a port that is no number"),
        (f"user {SECRET}:9092", "a server without a host, or with a port that is no number"),
        ("u:${PW}@h:1", "a server with credentials or a protocol"),
        ("${URL}", "a server with credentials or a protocol"),
        ("h:${PW}", "a server without a host, or with a port that is no number"),
        ("::1:9092", "a server with more than one colon"),
    ],
)
def test_a_server_with_credentials_is_refused_by_its_form_and_the_settings_are_named(servers: str, found: str) -> None:
    for given in (f"'{servers}'", f"['a:1', '{servers}']"):
        message = refusal(yaml(kafka=f"{{bootstrap_servers: {given}}}"))
        assert message.startswith(
            f"line 2: kafka.bootstrap_servers: found {found}, which is not shown, expected host:port"
        )
        assert "security.sasl_username and security.sasl_password" in message
        assert SECRET not in message


def test_servers_in_usual_forms_are_taken() -> None:
    for server in (
        "host:1",
        "a_b-c.example.com:65535",
        "10.0.0.1:9092",
        "[::1]:9092",
        "[fe80::1%eth0]:9092",
        "größe:1",
    ):
        config = parse(yaml(kafka=f"{{bootstrap_servers: ['{server}']}}"), {})
        assert config.kafka is not None
        assert config.kafka.servers == (server,)


@pytest.mark.parametrize(
    "kafka",
    [
        SECRET,
        f"[{SECRET}]",
        f"{{password: {SECRET}}}",
        f"{{bootstrap_servers: 'a:1', {SECRET}: 1}}",
        f"{{bootstrap_servers: 'a:1', session_timeout_s: {SECRET}}}",
        f"{{bootstrap_servers: 'a:1', leave_on_stop: {SECRET}}}",
        f"{{bootstrap_servers: 'a:1', group_id: [{SECRET}]}}",
        f"{{bootstrap_servers: 'a:1', password: {SECRET}}}",
        f"{{bootstrap_servers: [[{SECRET}]]}}",
        *(
            f"{{bootstrap_servers: 'a:1', security: {security}}}"
            for security in (
                SECRET,
                f"[{SECRET}]",
                f"{{sasl_password:{SECRET}}}",
                f"{{sasl_password {SECRET}: }}",
                f"{{? {SECRET} }}",
                f"{{password: {SECRET}}}",
                f"{{sasl_password: [{SECRET}]}}",
                f"{{sasl_password: {{{SECRET}: 1}}}}",
                f"{{sasl_mechanism: {SECRET}}}",
                f"{{protocol: {SECRET}}}",
                f"{{sasl_username: [{SECRET}]}}",
                f"{{{SECRET}: 1, {SECRET}: 2}}",
                f"{{sasl_password: {SECRET}, sasl_password: {SECRET}}}",
                f"{{sasl_password: *{SECRET}}}",
                f"{{sasl_password: !{SECRET} x}}",
                f'{{sasl_password: "{SECRET}\\q"}}',
                f"{{sasl_password: '${{{SECRET} }}'}}",
                f"{{sasl_password: {SECRET}: x}}",
                f"{{sasl_password: '{SECRET}",
            )
        ),
    ],
)
def test_a_password_in_the_wrong_place_is_not_shown(kafka: str) -> None:
    assert SECRET not in refusal(yaml(kafka=kafka))


@pytest.mark.parametrize(
    "text",
    [
        yaml(target="{fields: ['${PW}[']}"),
        yaml(job="'${PW}!'"),
        yaml(features="[{field: a, encoder: onehot, categories: ['${PW}', '${PW}']}]"),
        yaml(input="{topic: departures, where: [{field: '${PW}'}]}"),
        yaml(output="{topic: '${PW}', dead_letter_topic: '${PW}'}"),
        yaml(target="{fields: [y], known: label, event_field: '${PW}', label_field: '${PW}'}"),
        yaml(log_level="${PW}"),
    ],
)
def test_rules_that_tie_fields_together_show_references_to_the_environment(text: str) -> None:
    message = refusal(text)
    assert SECRET not in message
    assert "${PW}" in message


def test_a_name_of_a_field_that_is_none_is_shown_where_it_can_be_no_password() -> None:
    assert "colour: unknown field" in refusal(yaml(colour="red"))
    assert "model.hiden_size: unknown field (did you mean 'hidden_size'?)" in refusal(yaml(model="{hiden_size: 3}"))
    assert "security.sasl_passwort: unknown field (did you mean" in refusal(
        yaml(kafka="{bootstrap_servers: 'a:1', security: {sasl_passwort: x}}")
    )
    long = refusal(yaml(model=f"{{{'x' * 900}: 3}}"))
    assert "model: an unknown field, whose name is not shown" in long
    assert len(long) < 900


def test_nothing_that_is_kept_or_logged_of_a_job_holds_its_servers_or_secrets() -> None:
    security = f"{{protocol: SASL_SSL, sasl_mechanism: PLAIN, sasl_username: me, sasl_password: {SECRET}}}"
    config = parse(yaml(kafka=f"{{bootstrap_servers: 'broker:9092', security: {security}}}"), {})
    kept = json.dumps(fingerprint(config))
    assert SECRET not in kept
    assert "broker" not in kept
    assert config.kafka is not None
    connection = KafkaConnection(bootstrap_servers=config.kafka.servers, security=config.kafka.security)
    shown = f"{config!r} {connection!r}"
    entry = logging.LogRecord("kafka", logging.INFO, "", 1, "%s %r %s", (config, connection, f"u:{SECRET}@h"), None)
    assert SECRET not in shown + _Formatter(_FORMAT).format(entry)
