"""The job file: what is accepted, and what each refusal says."""

import json
import os
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from streamrnn.broker.security import Secret
from streamrnn.errors import ConfigError
from streamrnn.job.config import Config
from streamrnn.job.fingerprint import fingerprint
from streamrnn.job.job_file import json_schema, load, parse, warnings
from streamrnn.learner.symbols import Symbols, TextSpec
from tests.support.jobs import EXAMPLES, PASSWORD, refusal, secure, yaml


def test_examples_load() -> None:
    assert load(EXAMPLES / "minimal.yaml", {}).learner_spec().n_features == 17
    full = load(EXAMPLES / "full.yaml", {"KAFKA_PASSWORD": PASSWORD})
    assert full.kafka is not None
    assert full.kafka.servers == ("broker-1:9093", "broker-2:9093")
    assert full.learner_spec().has_end
    assert full.learner_spec().indicator == (False, False, *[True] * 21)


def test_the_full_example_mentions_every_field_of_the_schema() -> None:
    text = (EXAMPLES / "full.yaml").read_text()
    for name, definition in json_schema()["$defs"].items():
        for field in definition["properties"]:
            assert re.search(rf"(?m)^[#\s-]*\{{?(?:[^#]*[,{{] )?{field}:", text), f"{name}.{field}"


def test_defaults_are_those_of_the_full_example_unless_it_says_otherwise() -> None:
    defaults, full = parse(yaml(), {}), load(EXAMPLES / "full.yaml", {"KAFKA_PASSWORD": "x"})
    assert replace(full.checkpoint, directory="") == replace(defaults.checkpoint, directory="")
    assert replace(full.model, loss=None) == defaults.model
    for field in ("inputs", "learning", "http", "delivery", "commit_interval_ms", "shutdown_timeout_s", "log_level"):
        assert getattr(full, field) == getattr(defaults, field), field


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (yaml(colour="red"), ["line 8: colour: unknown field", "allowed here: job, input"]),
        (
            yaml(learning="{optimiser: adam}"),
            ["learning.optimiser: unknown field (did you mean 'optimizer'?)", "k1, k2"],
        ),
        (
            yaml(kafka="{bootstrap_servers: 'a:1', security: {tls: 1}}"),
            ["kafka.security.tls: unknown field", "protocol"],
        ),
        (yaml(input="{topic: a, timestamp: {feild: b}}"), ["input.timestamp.feild: unknown", "mean 'field'", "unit"]),
        (
            yaml(features="[{field: a, encoder: hash, buckets: 2, period: 3}]"),
            ["features[0].period: unknown field", "encoder, field, buckets"],
        ),
        (
            yaml(learning="{optimizer: adan}"),
            ["learning.optimizer", "'adan' (did you mean 'adam'?)", "adamw, momentum"],
        ),
        (
            yaml(features="[{field: a, encoder: onehott}]"),
            ["features[0].encoder", "'onehot'", "numeric, log1p, onehot"],
        ),
        (yaml(features="[{field: a}]"), ["features[0].encoder: required, but missing", "numeric, log1p"]),
        (
            yaml(features="[{field: a, encoder: hash}]"),
            ["features[0].buckets: required", "an integer >= 2 and <= 10000"],
        ),
        (
            yaml(features="[{field: a..b, encoder: numeric}]"),
            ["features[0].field: found the text 'a..b'", "name of a field"],
        ),
        (yaml(http="{port: 70000}"), ["http.port: found 70000", "an integer >= 0 and <= 65535"]),
        (yaml(http="{port: x}"), ["http.port: found the text 'x'", "an integer"]),
        (yaml(learning="{lr: 0}"), ["learning.lr: found 0", "a number > 0"]),
        (yaml(model="{quantiles: [0.5, 1.5]}"), ["model.quantiles[1]: found 1.5", "> 0 and < 1"]),
        (yaml(model="{quantiles: []}"), ["model.quantiles: found a list of 0", "a list of 1 to 64"]),
        (yaml(model="{rls_forgetting: 1.5}"), ["model.rls_forgetting: found 1.5", "a number > 0 and <= 1"]),
        (yaml(model="{lags: -1}"), ["model.lags: found -1", "an integer >= 0 and <= 1024"]),
        (yaml(model="{warm_start: 3}"), ["model.warm_start: found 3", "text or null"]),
        (yaml(model="{warm_strat: x}"), ["model.warm_strat: unknown field (did you mean 'warm_start'?)"]),
        (yaml(model="{readout: rls, loss: huber}"), ["model.loss: 'huber' does not go with readout 'rls'", "squared"]),
        (
            yaml(target="{fields: [delay], known: forecast, baseline: lst}"),
            ["target.baseline: found the text 'lst' (did you mean 'last'?)", "one of last or an integer >= 1", "null"],
        ),
        (
            yaml(target="{fields: [delay], known: forecast, baseline: 0}"),
            ["target.baseline: found 0", "one of last or"],
        ),
        (yaml(target="{fields: [delay], baseline: 7}"), ["target.baseline: goes with known: forecast, got 7"]),
        (yaml(inputs="{dt: 1}"), ["inputs.dt: found 1", "true or false"]),
        (yaml(target="{fields: delay}"), ["target.fields: found the text 'delay'", "a list of 1 to 256"]),
        (yaml(job="'a b'"), ["job: found the text 'a b'", "letters, digits"]),
        (yaml(job='"a\\n"'), ["job: found the text 'a\\n'"]),
        (yaml(job=".."), ["job: found the text '..'"]),
        (yaml(target=None), ["target: required, but missing", "fields"]),
        (yaml(input="{}"), ["input.topic: required, but missing"]),
        (yaml(input=""), ["input: found nothing (null)", "a mapping with topic"]),
        (yaml(delivery="exactly_once"), ["delivery: found the text 'exactly_once'", "one of at_least_once"]),
    ],
)
def test_a_refusal_names_the_field_what_was_found_and_what_is_allowed(text: str, expected: list[str]) -> None:
    message = refusal(text)
    for part in expected:
        assert part in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (yaml(kafka=None), "kafka, embedded: exactly one of the two is needed, found neither"),
        (yaml(embedded="{directory: l}"), "found both"),
        (yaml(output="{topic: departures, dead_letter_topic: d}"), "topics must differ"),
        (yaml(output="{topic: d, dead_letter_topic: d}"), "topics must differ"),
        (
            yaml(kafka=None, embedded="{directory: checkpoints/}"),
            "checkpoint.directory: must not be embedded.directory",
        ),
        (yaml(target="{fields: [distance]}"), "features[0].field: 'distance' is the target itself"),
        (yaml(target="{fields: [a..b]}"), "target.fields[0]: found 'a..b'"),
        (yaml(target="{fields: [a], known: label}"), "target: event_field, label_field: both go with known: label"),
        (yaml(target="{fields: [a], known: label, event_field: e, label_field: e}"), "target.label_field: found 'e'"),
        (yaml(features="[]", inputs="{dt: false, previous_target: false}"), "features: the network has no input"),
        (yaml(features="[{field: a, encoder: numeric}, {field: a, encoder: numeric}]"), "found more than once: a"),
        (yaml(learning="{k1: 9, k2: 8}"), "line 8: learning.k1: must be at most k2"),
        (yaml(model="{readout: softmax}"), "target.classes: readout 'softmax' needs the list of classes"),
        (yaml(model="{loss: cross_entropy}"), "model.loss: 'cross_entropy' does not go with readout 'linear'"),
        (yaml(target="{fields: [a], known: forecast, horizon: 30}"), "target.horizon: 30 steps ahead needs"),
        (yaml(target="{fields: [a], known: forecast, horizon: [1, 30]}"), "target.horizon: 30 steps ahead needs"),
        (yaml(target="{fields: [a], known: forecast, horizon: [6, 1]}"), "horizon: steps ahead must increase strictly"),
        (yaml(target="{fields: [a], horizon: [1, 2]}"), "horizon: goes with known: forecast, got (1, 2)"),
        (yaml(target="{fields: [a], classes: [1, '1']}", model="{readout: softmax}"), "are the same class"),
        (
            yaml(features="[{field: a, encoder: onehot, categories: [1, '1']}]"),
            "features[0].categories: values must differ",
        ),
        (yaml(input="{topic: a, timestamp: {unit: s}}"), "input.timestamp.unit: goes with timestamp.field"),
        (
            yaml(kafka="{bootstrap_servers: localhost}"),
            "kafka.bootstrap_servers: found 'localhost', expected host:port",
        ),
        (yaml(kafka="{bootstrap_servers: ['a:1', 'b:99999']}"), "found 'b:99999'"),
        (yaml(kafka="{bootstrap_servers: ','}"), "kafka.bootstrap_servers: found no server"),
        (secure(protocol="PLAINTEXT"), "kafka.security.sasl_mechanism: goes with protocol SASL_PLAINTEXT or SASL_SSL"),
        (secure(sasl_mechanism="null"), "kafka.security.sasl_mechanism: required with protocol SASL_SSL"),
        (
            secure(protocol="SASL_PLAINTEXT", ssl_cafile="f"),
            "kafka.security.ssl_cafile: goes with protocol SSL or SASL_SSL",
        ),
        (secure(ssl_keyfile="f"), "kafka.security.ssl_certfile: required with ssl_keyfile"),
    ],
)
def test_rules_between_fields(text: str, expected: str) -> None:
    assert expected in refusal(text)


def texts(text: str = "{field: message}", **changes: str | None) -> str:
    return yaml(**{"input": f"{{topic: departures, text: {text}}}", "target": None, **changes})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (texts(target="{fields: [delay]}"), "target: found beside input.text; what is predicted of a text is its own"),
        (texts(target="{fields: [y], known: label, event_field: e, label_field: l}"), "Leave target out"),
        (texts(inputs="{previous_target: false}"), "inputs.previous_target: found false beside input.text"),
        (texts(model="{readout: logistic}"), "model.readout: found 'logistic' beside input.text; the units of a text"),
        (texts(model="{readout: rls}"), "leave it out or say softmax"),
        (texts(model="{loss: squared}"), "model.loss: 'squared' does not go with readout 'softmax'"),
        (texts(features="[{field: message, encoder: numeric}]"), "features[0].field: 'message' is the text itself"),
        (texts("{field: m, symbols: {open: true}}"), "input.text.symbols: found another set than the 256 bytes with"),
        (texts("{field: m, unit: word, symbols: {bytes: true}}"), "input.text.symbols: found bytes: true with unit: w"),
        (texts("{field: m, unit: word, symbols: {values: [a, b c]}}"), "input.text.symbols.values: found 'b c', which"),
        (texts("{field: m, unit: character, symbols: {values: [a, bc]}}"), "is not one character"),
        (texts("{field: m, unit: token}"), "input.text.unit: found the text 'token'"),
        (texts("{unit: word}"), "input.text.field: required, but missing"),
        (
            texts("{field: m, unit: word, symbols: {values: [a, b], max: 7}}"),
            "input.text.symbols.max: goes with open: true, got 7 with values; leave it out",
        ),
        (texts("{field: m, symbols: {}}"), "input.text.symbols: exactly one of values, bytes and open"),
        (
            yaml(target="{fields: [a], classes: {open: true}}", model="{readout: logistic}"),
            "target.classes: readout 'logistic' needs exactly 2, got an open set",
        ),
        (
            yaml(target="{fields: [a], classes: {open: true}}", model="{readout: linear}"),
            "target.classes: readout 'linear' predicts numbers and takes no classes",
        ),
        (yaml(target="{fields: [a], known: forecast, horizon: 2, classes: {open: true}}"), "horizon: of classes the n"),
        (yaml(target="{fields: [a], classes: {open: true}, missing: zero}"), "missing: zero needs exactly one class"),
        (yaml(target="{fields: [a], classes: {open: true, bytes: true}}"), "found bytes and open"),
        (yaml(output="{topic: p, dead_letter_topic: d, top: 0}"), "output.top: found 0"),
    ],
)
def test_what_does_not_go_with_texts_and_symbols_says_what_to_do(text: str, expected: str) -> None:
    assert expected in refusal(text)


def test_a_job_of_texts_needs_no_target_and_chooses_softmax() -> None:
    spec = parse(texts(features="[]"), {}).learner_spec()
    assert (spec.text, spec.target.fields, spec.n_classes) == (TextSpec(), ("message",), 257)
    assert (spec.model.readout, spec.model.effective_loss, spec.inputs.dt) == ("softmax", "cross_entropy", True)
    words = parse(texts("{field: m.text, unit: word, carry: false, mark_end: false}"), {}).learner_spec()
    assert words.text == TextSpec(unit="word", carry=False, mark_end=False)
    assert words.target.classes == Symbols(open=True)
    assert words.n_classes == 5_001


@pytest.mark.parametrize(
    ("target", "readout"),
    [
        ("{fields: [y]}", "linear"),
        ("{fields: [y], classes: [a, b]}", "softmax"),
        ("{fields: [y], known: forecast, classes: {open: true}}", "softmax"),
    ],
)
def test_the_readout_follows_from_what_is_predicted_and_is_written_down(target: str, readout: str) -> None:
    config = parse(yaml(target=target), {})
    assert config.model.readout == readout
    assert fingerprint(config) == fingerprint(parse(yaml(target=target, model=f"{{readout: {readout}}}"), {}))
    assert config.learner_spec().model.readout == readout


def test_symbols_among_the_features_are_looked_up_and_have_no_column() -> None:
    looked_up = "{field: page, encoder: symbol, symbols: {open: true, max: 7}}"
    spec = parse(yaml(features=f"[{looked_up}, {{field: a, encoder: numeric}}]"), {}).learner_spec()
    assert (spec.n_features, spec.symbols, spec.n_looked_up) == (1, (Symbols(open=True, max=7),), 8)
    alone = parse(yaml(features=f"[{looked_up}]", inputs="{dt: false, previous_target: false}"), {}).learner_spec()
    assert (alone.n_features, alone.n_multiplied, alone.n_inputs) == (0, 0, 8)


def test_a_symbol_that_is_shown_twice_is_a_warning() -> None:
    page = "[{field: page, encoder: symbol, symbols: {open: true}}]"
    target = "{fields: [page], known: forecast, classes: {open: true}}"
    (warning,) = warnings(parse(yaml(features=page, target=target), {}))
    assert "features[0].field: 'page' is shown twice" in warning
    assert warnings(parse(yaml(features=page, target=target, inputs="{previous_target: false}"), {})) == []


def test_a_forecast_of_classes_that_never_sees_what_came_is_a_warning() -> None:
    other = "[{field: page, encoder: symbol, symbols: {open: true}}]"
    target = "{fields: [status], known: forecast, classes: [ok, failed]}"
    blind = "{previous_target: false}"
    (warning,) = warnings(parse(yaml(features=other, target=target, inputs=blind), {}))
    assert warning.startswith("inputs.previous_target: false, and no feature reads 'status'")
    assert warnings(parse(yaml(features=other, target=target), {})) == []
    assert warnings(parse(yaml(features=other, target=target.replace("status", "page"), inputs=blind), {})) == []


@pytest.mark.parametrize("word", ["on", "no", "NO", "Off", "yes", "010", "-07"])
def test_words_that_yaml_versions_read_differently_want_quotes(word: str) -> None:
    message = refusal(yaml(features=f"[{{field: a, encoder: onehot, categories: [x, {word}]}}]"))
    assert f"line 4: features[0].categories[1]: unquoted `{word}`" in message
    assert "quotes" in message
    parse(yaml(features=f"[{{field: a, encoder: onehot, categories: [x, '{word}']}}]"), {})


def test_a_boolean_category_is_refused() -> None:
    message = refusal(yaml(features="[{field: a, encoder: onehot, categories: [true, x]}]"))
    assert "features[0].categories[0]: found true\n  allowed: text or an integer" in message


def test_numbers_are_read_as_yaml_1_2_means_them() -> None:
    config = parse(yaml(learning="{lr: 1e-3, eps: 1E-9, k1: 4}", log_level="info"), {})
    assert (config.learning.lr, config.learning.eps, config.learning.k1) == (1e-3, 1e-9, 4)
    assert parse(yaml(job="2013-01-01", features="[{field: '1', encoder: numeric}]"), {}).job == "2013-01-01"
    assert parse(yaml(checkpoint="{directory: 12:30}"), {}).checkpoint.directory == "12:30"


@pytest.mark.parametrize("value", [".inf", ".nan", "-.inf"])
def test_there_is_no_infinite_setting(value: str) -> None:
    assert "learning.lr: found the text" in refusal(yaml(learning=f"{{lr: {value}}}"))


def test_duplicate_keys_are_refused_at_every_level() -> None:
    assert "line 8: job: given twice, first on line 1" in refusal(yaml() + "\njob: other")
    assert "input.topic: given twice" in refusal(yaml(input="{topic: a, topic: b}"))
    assert "features[0].field: given twice" in refusal(yaml(features="[{field: a, encoder: numeric, field: b}]"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("- a", "must be a mapping of fields (job: ...), found a list"),
        ("job", "found a single value"),
        ("a: [1", "line 1, column 6: not valid YAML"),
        ("a: b: c", "not valid YAML"),
        ("a:\n\tb: 1", "line 2, column 1: not valid YAML: a tab; indent with spaces"),
        ("a: \x00", "not valid YAML"),
        ("a: 1\n---\nb: 1", "not valid YAML"),
        ("? [a]\n: b", "must be plain text"),
        ("a: &x [*x]", "line 1, column 4: found a YAML anchor or alias"),
        ("a: " + "[" * 500, "nested too deeply"),
        ("log_level: !!python/object/apply:os.system [true]", "tags are not supported"),
        ("log_level: !!python/name:os.system", "tags are not supported"),
        ("job: " + "1" * 5000, "found a number of 5000 characters"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_clearly(text: str, expected: str) -> None:
    assert expected in refusal(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    cases = {tmp_path / "none.yaml": "No such file", tmp_path: "is a directory, expected a regular file"}
    for path, expected in cases.items():
        with pytest.raises(ConfigError, match=rf"^{re.escape(str(path))}: cannot be read: {expected}"):
            load(path, {})
    os.mkfifo(tmp_path / "pipe")
    remedy = re.escape("; write it to one first, or write ${NAME} where a value is to come from the environment")
    for path, found in ((tmp_path / "pipe", "a pipe"), (Path("/dev/null"), "a device")):
        with pytest.raises(ConfigError, match=f"is {found}, expected a regular file{remedy}$"):
            load(path, {})
    (tmp_path / "latin.yaml").write_bytes(b"job: caf\xe9")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load(tmp_path / "latin.yaml", {})
    (tmp_path / "bad.yaml").write_text(yaml(colour="red"))
    with pytest.raises(ConfigError, match=r"bad\.yaml: line 8: colour"):
        load(tmp_path / "bad.yaml", {})
    (tmp_path / "bom.yaml").write_bytes(b"\xef\xbb\xbf" + yaml().encode())
    assert load(tmp_path / "bom.yaml", {}) == parse(yaml(), {})


def test_group_and_instance_have_their_defaults() -> None:
    config = parse(yaml(), {})
    assert config.group_id == "delays"
    assert config.kafka is not None
    assert config.kafka.group_instance_id is None  # the worker takes a name of its own
    given = parse(yaml(kafka="{bootstrap_servers: ['a:1'], group_id: g, group_instance_id: i}"), {})
    assert given.kafka is not None
    assert (given.group_id, given.kafka.group_instance_id) == ("g", "i")


def test_http_may_be_switched_off() -> None:
    assert parse(yaml(http="null"), {}).http is None


def with_http(**fields: str) -> Config:
    """A job with these fields of http, and with two secrets in the environment."""
    text = ", ".join(f"{name}: {value}" for name, value in fields.items())
    return parse(yaml(http=f"{{{text}}}"), {"TOKEN": "f" * 32, "SHORT": "f" * 15})


def test_a_token_of_http_is_a_secret_and_may_only_be_what_a_header_can_carry() -> None:
    config = with_http(token="'${TOKEN}'")
    assert config.http is not None
    assert config.http.token == Secret("f" * 32)
    assert "ffff" not in f"{config!r} {fingerprint(config)} {json_schema()} {config.http.audience}"
    for bad in ("a b", "a\n", "a\x1b", "é", "", "a=b"):
        for name, others in (("token", ""), ("token", ", port: 70000"), ("token", ", hots: x")):
            message = refusal(yaml(http=f"{{{name}: '${{BAD}}'{others}}}"), {"BAD": f"hunter2{bad}" if bad else ""})
            assert "hunter2" not in message
    assert "openssl rand -hex 32" in refusal(yaml(http="{token: '${BAD}'}"), {"BAD": "hunter2\n"})
    assert "not shown" in refusal(yaml(http="{token: 12345678}"))


def test_a_key_pasted_in_place_of_its_file_is_not_repeated() -> None:
    for name, before in (("certfile", ""), ("keyfile", "certfile: c, ")):
        message = refusal(yaml(http=f'{{{before}{name}: "-----BEGIN PRIVATE KEY-----\\nhunter2"}}'))
        assert f"http.{name}: found a text that is not shown, expected the path of a PEM file" in message
        assert "hunter2" not in message


@pytest.mark.parametrize("name", ["keyfile", "key_password"])
def test_a_key_without_a_certificate_is_refused(name: str) -> None:
    assert "http.certfile: required with" in refusal(yaml(http=f"{{{name}: k}}"))


@pytest.mark.parametrize(
    ("fields", "address", "audience"),
    [
        ({}, "http://127.0.0.1:9308", "open to anybody on this machine"),
        ({"host": "LocalHost", "port": "1"}, "http://LocalHost:1", "open to anybody on this machine"),
        ({"host": "'::1'"}, "http://[::1]:9308", "open to anybody on this machine"),
        ({"host": "0.0.0.0"}, "http://0.0.0.0:9308", "open to anybody who reaches 0.0.0.0"),
        (
            {"host": "'::'", "token": "'${TOKEN}'", "certfile": "c"},
            "https://[::]:9308",
            "metrics and page open to those with the token, whether all is well to anybody who reaches ::",
        ),
    ],
)
def test_a_job_says_where_it_serves_and_whom(fields: dict[str, str], address: str, audience: str) -> None:
    http = with_http(**fields).http
    assert http is not None
    assert (http.address, http.audience) == (address, audience)


def test_an_endpoint_open_to_others_is_a_warning() -> None:
    guarded = {"host": "0.0.0.0", "token": "'${TOKEN}'", "certfile": "c"}
    assert warnings(with_http(**guarded)) == []
    assert warnings(with_http(host="127.0.0.1")) == []
    for changed, expected in (
        ({"token": "null"}, "whoever reaches 0.0.0.0 can read metrics"),
        ({"certfile": "null"}, "http.token: is sent unencrypted"),
        ({"token": "'${SHORT}'"}, "fewer than 16 characters"),
    ):
        (warning,) = warnings(with_http(**{**guarded, **changed}))
        assert expected in warning
        assert "ffff" not in warning


def test_warnings_say_what_is_probably_not_meant() -> None:
    assert warnings(parse(yaml(), {})) == []
    (warning,) = warnings(parse(yaml(input="{topic: a, stream_key: tail}"), {}))
    assert "may then span partitions" in warning
    assert "unencrypted" in warnings(parse(secure(protocol="SASL_PLAINTEXT"), {}))[0]
    tokens = "{protocol: SASL_PLAINTEXT, sasl_mechanism: OAUTHBEARER, oauth: {token_file: t}}"
    assert (
        "token unencrypted" in warnings(parse(yaml(kafka=f"{{bootstrap_servers: 'a:1', security: {tokens}}}"), {}))[0]
    )
    assert "ssl_check_hostname" in warnings(parse(secure(ssl_check_hostname="false"), {}))[0]
    assert "ttl_s" in warnings(parse(yaml(streams="{ttl_s: 1, reset_after_s: 2}"), {}))[0]


def test_the_schema_describes_every_field_and_resolves_every_reference() -> None:
    schema = json_schema()
    assert schema == json.loads(json.dumps(schema))
    text = json.dumps(schema)
    assert {r.split("/")[-1] for r in re.findall(r'"#/\$defs/[^"]+', text)} <= {f"{n}" for n in schema["$defs"]}
    for name, definition in schema["$defs"].items():
        assert definition["description"]
        assert definition["additionalProperties"] is False
        for field, rule in definition["properties"].items():
            assert "description" in rule or field == "encoder", f"{name}.{field}"


def test_a_config_is_immutable() -> None:
    with pytest.raises(AttributeError):
        parse(yaml(), {}).job = "x"  # type: ignore[misc]
    assert isinstance(parse(yaml(), {}), Config)
