"""Which settings of ``kafka.security`` go together, what they become for the client, and that no secret shows."""

from __future__ import annotations

import importlib.util

import pytest

from streamrnn.broker.kafka_settings import KafkaConnection, client_kwargs
from streamrnn.broker.security import KafkaSecurity, Kerberos, OAuth
from streamrnn.daemon.opening import open_administration, open_broker, open_sender
from streamrnn.errors import ConfigError
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse

SECRET = "hunter2-7c"
ENDPOINT = "token_endpoint: https://id.example/token"


def job(security: str) -> Config:
    return parse(
        f"""
job: j
kafka: {{bootstrap_servers: "127.0.0.1:1", security: {{{security}}}}}
input: {{topic: a}}
features: [{{field: x, encoder: numeric}}]
target: {{fields: [y]}}
output: {{topic: b, dead_letter_topic: c}}
checkpoint: {{directory: d}}
""",
        env={},
    )


def sasl(mechanism: str, more: str = "", protocol: str = "SASL_SSL") -> str:
    return f"protocol: {protocol}, sasl_mechanism: {mechanism}{', ' if more else ''}{more}"


def oauth(more: str) -> str:
    return sasl("OAUTHBEARER", f"oauth: {{{more}}}")


def test_each_mechanism_is_configured_by_its_own_fields() -> None:
    given = job(oauth(f"{ENDPOINT}, client_id: me, client_secret: {SECRET}, extensions: [a=b, c=d==]"))
    assert given.kafka is not None
    tokens = given.kafka.security.oauth
    assert isinstance(tokens, OAuth)
    assert (tokens.client_id, tokens.scope, tokens.extensions) == ("me", None, ("a=b", "c=d=="))
    assert SECRET not in f"{given!r} {tokens}"
    for more in ("", "kerberos: {}", "kerberos: {service_name: broker, domain: kafka.example}"):
        assert job(sasl("GSSAPI", more)).kafka
    assert job(sasl("AWS_MSK_IAM")).kafka


@pytest.mark.parametrize(
    ("security", "expected"),
    [
        ("protocol: SASL_SSL", "sasl_mechanism: required with protocol SASL_SSL, but missing"),
        (sasl("OAUTHBEARER"), "oauth: required with sasl_mechanism OAUTHBEARER, but missing"),
        (sasl("PLAIN", "oauth: {token_file: t}"), "sasl_username: required with sasl_mechanism PLAIN, but missing"),
        (
            sasl("PLAIN", f"sasl_username: u, sasl_password: {SECRET}, oauth: {{token_file: t}}"),
            "oauth: does not go with sasl_mechanism PLAIN",
        ),
        (sasl("GSSAPI", f"sasl_password: {SECRET}"), "sasl_password: does not go with sasl_mechanism GSSAPI"),
        (sasl("AWS_MSK_IAM", "kerberos: {}"), "kerberos: does not go with sasl_mechanism AWS_MSK_IAM"),
        (
            sasl("AWS_MSK_IAM", protocol="SASL_PLAINTEXT"),
            "protocol: sasl_mechanism AWS_MSK_IAM goes with SASL_SSL, found SASL_PLAINTEXT",
        ),
        ("protocol: SSL, oauth: {token_file: t}", "oauth: goes with protocol SASL_PLAINTEXT or SASL_SSL, found SSL"),
        ("kerberos: {}", "kerberos: goes with protocol SASL_PLAINTEXT or SASL_SSL, found PLAINTEXT"),
        (oauth(""), "oauth.token_endpoint: expected either it or token_file"),
        (oauth(f"{ENDPOINT}, token_file: t"), "oauth.token_endpoint: expected either it or token_file"),
        (oauth("token_file: t, scope: s"), "oauth.scope: goes with token_endpoint, found token_file"),
        (oauth(f"{ENDPOINT}, client_id: me"), "oauth.client_secret: required with token_endpoint, but missing"),
        (oauth(f"{ENDPOINT}, client_secret: {SECRET}"), "oauth.client_id: required with token_endpoint, but missing"),
        (
            oauth(f"token_endpoint: 'http://id.example/t', client_id: me, client_secret: {SECRET}"),
            "oauth.token_endpoint: expected https://host/path; http would send client_secret unencrypted",
        ),
        (
            oauth(f"token_endpoint: 'https://me:{SECRET}@id.example/t', client_id: me, client_secret: {SECRET}"),
            "oauth.token_endpoint: found credentials in it, which belong in client_id and client_secret",
        ),
        (
            oauth(f"token_endpoint: 'https://[{SECRET}', client_id: me, client_secret: {SECRET}"),
            "oauth.token_endpoint: found a value that is no URL",
        ),
        (
            oauth(f"token_endpoint: 'file:///etc/{SECRET}', client_id: me, client_secret: x"),
            "expected https://host/path",
        ),
        (oauth("token_file: t, extensions: ['no equals sign']"), "oauth.extensions[0]: "),
        (oauth('token_file: t, extensions: ["a=b\\u0001c"]'), "oauth.extensions[0]: "),
        (oauth("token_file: t, extensions: ['auth=mine']"), "oauth.extensions: auth is the token's own"),
    ],
)
def test_what_does_not_go_together_is_refused_by_its_name(security: str, expected: str) -> None:
    with pytest.raises(ConfigError) as raised:
        job(security)
    assert f"kafka.security.{expected}" in str(raised.value) or expected in str(raised.value)
    assert SECRET not in str(raised.value)


def test_http_may_be_spoken_to_this_machine() -> None:
    assert job(oauth("token_endpoint: 'http://localhost:8080/t', client_id: me, client_secret: x")).kafka


def test_the_broker_s_principal_passes_to_the_client() -> None:
    security = KafkaSecurity(protocol="SASL_SSL", sasl_mechanism="GSSAPI", kerberos=Kerberos(domain="kafka.example"))
    kwargs = client_kwargs(KafkaConnection(bootstrap_servers="a:1", security=security))
    assert kwargs["sasl_mechanism"] == "GSSAPI"
    assert kwargs["sasl_kerberos_service_name"] == "kafka"
    assert kwargs["sasl_kerberos_domain_name"] == "kafka.example"


@pytest.mark.parametrize(
    ("mechanism", "package", "extra"), [("GSSAPI", "gssapi", "kerberos"), ("AWS_MSK_IAM", "botocore", "msk")]
)
def test_a_package_that_a_mechanism_needs_is_named_before_anything_is_connected(
    monkeypatch: pytest.MonkeyPatch, mechanism: str, package: str, extra: str
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == package else found(name, *rest)
    )
    for opened in (open_administration, open_broker, open_sender):
        with pytest.raises(ConfigError) as raised:
            opened(job(sasl(mechanism)))
        assert str(raised.value) == (
            f"kafka.security.sasl_mechanism: {mechanism} needs the package {package}, which is not there: "
            f"pip install 'streamrnn[{extra}]'"
        )
