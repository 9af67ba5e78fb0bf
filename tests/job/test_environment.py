"""What a job file takes from the environment, and that secrets are shown nowhere."""

import json
import logging
import pickle

import msgspec
import pytest

from streamrnn.broker.security import Secret
from streamrnn.job.fingerprint import fingerprint
from streamrnn.job.job_file import json_schema, parse, warnings
from tests.support.jobs import PASSWORD, refusal, secure, yaml


def test_text_refers_to_the_environment() -> None:
    text = yaml(
        job="${JOB}-${N:-1}", checkpoint='{directory: "$${HOME}/${A:-x}${B:-}${C:-d}"}', http="{port: '${PORT}'}"
    )
    config = parse(text, {"JOB": "j", "A": "y", "C": "", "PORT": "80"})
    assert (config.job, config.checkpoint.directory) == ("j-1", "${HOME}/yd")
    assert config.http is not None
    assert config.http.port == 80
    assert (
        parse(yaml(inputs='{dt: "${DT}"}', learning="{clip_norm: '${C}'}"), {"DT": "false", "C": "null"}).inputs.dt
        is False
    )


@pytest.mark.parametrize(("given", "meant"), [("last", "last"), ("24", 24), ("null", None), ("", None)])
def test_a_reference_may_give_a_word_or_a_number_where_both_are_allowed(given: str, meant: object) -> None:
    config = parse(yaml(target="{fields: [delay], known: forecast, baseline: '${B}'}"), {"B": given})
    assert config.target.baseline == meant


def test_a_reference_without_quotes_inside_braces_gets_a_hint() -> None:
    assert "inside { } and [ ] a reference ${NAME} needs quotes" in refusal(yaml(http="{port: ${PORT}}"))
    assert "reference" not in refusal("a: [1")


def test_the_environment_is_the_process_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMRNN_TEST_JOB", "from-env")
    assert parse(yaml(job="${STREAMRNN_TEST_JOB}")).job == "from-env"


def test_a_variable_that_is_missing_names_field_and_variable() -> None:
    assert "line 1: job: the environment variable JOB is not set" in refusal(yaml(job="${JOB}"))
    for broken in ("${}", "${1A}", "${A", "${A-b}"):
        assert "job: a reference to the environment is ${NAME}" in refusal(yaml(job=f"'{broken}'"))


def test_a_value_from_the_environment_is_shown_as_its_reference() -> None:
    message = refusal(yaml(http="{port: '${PORT}'}"), {"PORT": PASSWORD})
    assert "http.port: found ${PORT}" in message
    assert PASSWORD not in message


def test_secrets_are_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    config = parse(secure(ssl_certfile="c", ssl_keyfile="k", ssl_key_password="'${KEY}'"), {"KEY": PASSWORD + "2"})
    assert config.kafka is not None
    security = config.kafka.security
    assert security.sasl_password == Secret(PASSWORD)
    assert security.sasl_password.reveal() == PASSWORD
    assert security.ssl_key_password == Secret(PASSWORD + "2")
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r %s", config, config, [security.sasl_password])
    shown = [
        repr(config),
        str(config),
        f"{security.sasl_password} {security!r}",
        caplog.text,
    ]
    shown += [json.dumps(fingerprint(config)), str(warnings(config)), json.dumps(json_schema())]
    for text in shown:
        assert PASSWORD not in text
    for serialise in (msgspec.json.encode, msgspec.to_builtins, pickle.dumps):
        with pytest.raises(TypeError) as caught:
            serialise(config)
        assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "12345678",
        "[{}]",
        "{{a: {}}}",
        "!{}",
        "*{}",
        "'${{{}'",
        "%{}",
        "@{}",
        "'{}",
        "{}: x",
        "{} : [",
        "1{}\n\t- x",
        "010",
    ],
)
def test_an_error_about_a_secret_does_not_print_it(value: str) -> None:
    text = value.format(PASSWORD)
    for broken in (secure(sasl_password=text), yaml(kafka="{security: {sasl_password: " + text + "}}")):
        message = refusal(broken)
        for piece in (PASSWORD, "correct", "horse", "battery", "12345", "010"):
            assert piece not in message, message


def test_an_error_near_a_secret_does_not_print_it() -> None:
    for text in (
        yaml(kafka=f"{{bootstrap_servers: 'a:1', security: {PASSWORD}}}"),
        secure(sasl_passwrod=PASSWORD),
        secure(sasl_username=f"[{PASSWORD}]"),
        secure(ssl_check_hostname=PASSWORD),
        secure() + "\ncolour: red",
        secure() + "\nx: [",
        yaml(kafka=f"{{bootstrap_servers: 'user:{PASSWORD}@a:1'}}"),
    ):
        assert PASSWORD not in refusal(text)
