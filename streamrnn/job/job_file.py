"""The job file around its values: reading and checking it, showing it, describing it to editors, warning of it.

``load`` and ``parse`` refuse what is not usable with a ``ConfigError`` that names field, line, what was found and what
is allowed. Only ``load`` has the model file of ``model.warm_start`` looked at; nothing here touches the network.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from streamrnn.broker.security import REDACTED, Secret
from streamrnn.errors import ConfigError
from streamrnn.escaping import names
from streamrnn.job.config import Config
from streamrnn.job.http_config import HttpConfig
from streamrnn.job.refusal import explain
from streamrnn.job.yaml_text import MOST_BYTES, read
from streamrnn.learner.features import Hash, OneHot, Symbol
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import CODED, LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.system.reading import read as read_file

SHORT_TOKEN = 16


def load(path: str | Path, env: Mapping[str, str] | None = None) -> Config:
    """Read and validate the file at ``path``, and the model file it may name; ``env`` is the process's by default.

    Raises ``ConfigError``, whose message begins with the path.
    """
    try:
        text = read_file(path, MOST_BYTES, links=True).decode("utf-8-sig")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigError(f"{path}: cannot be read: {why}{_instead_of_a_pipe(path)}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    try:
        config = parse(text, env)
        if config.model.warm_start is not None:
            # Imported where needed: it brings the learner along, which a job file without one does without.
            from streamrnn.job.warm_start import check

            check(config)
        return config
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _instead_of_a_pipe(path: str | Path) -> str:
    """What to do without one, or without the terminal that standard input is."""
    with contextlib.suppress(OSError):
        mode = Path(path).stat().st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode):
            return "; write it to one first, or write ${NAME} where a value is to come from the environment"
    return ""


def parse(text: str, env: Mapping[str, str] | None = None) -> Config:
    """Validate a configuration given as YAML text; ``env`` defaults to the process's environment.

    >>> config = parse(
    ...     '''
    ... job: delays
    ... embedded: {directory: log}
    ... input: {topic: departures}
    ... features: [{field: distance, encoder: numeric}]
    ... target: {fields: [delay]}
    ... output: {topic: predictions, dead_letter_topic: dead-letters}
    ... checkpoint: {directory: "${STATE:-state}/checkpoints"}
    ... ''',
    ...     env={},
    ... )
    >>> config.checkpoint.directory, config.learner_spec().n_features
    ('state/checkpoints', 1)
    """
    document = read(text, os.environ if env is None else env, Config)
    try:
        config: Config = _convert(document.data, Config)
    except msgspec.ValidationError:
        # Not chained: its message may hold what must not be shown.
        raise explain(document, Config, _convert) from None
    return config


def _convert(data: Any, kind: Any) -> Any:
    return msgspec.convert(data, kind, dec_hook=_to_secret)


def _to_secret(kind: type, value: Any) -> Any:
    if kind is Secret and type(value) is str and value:
        return Secret(value)
    # msgspec adds the field's path; nothing of the value may be in the message.
    raise ValueError("found a value that is not shown and is no text or empty; put text in quotes")


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the file, for editors."""

    def hook(kind: type) -> dict[str, Any]:
        if kind is Secret:
            return {"type": "string", "minLength": 1, "format": "password", "writeOnly": True}
        raise NotImplementedError(kind)

    schema = msgspec.json.schema(Config, schema_hook=hook)
    # Through JSON once, so that defaults are lists and mappings as a validator expects them.
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema, enc_hook=_redact))
    for definition in plain["$defs"].values():
        if "description" in definition:  # a docstring, indented as it stands in the source
            definition["description"] = inspect.cleandoc(definition["description"]).replace("``", "`")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "streamrnn job", **plain}


def _redact(value: Any) -> Any:
    if isinstance(value, Secret):
        return REDACTED
    raise NotImplementedError(type(value).__name__)


def warnings(config: Config) -> list[str]:
    """What is allowed and probably not meant, one sentence each."""
    found: list[str] = []
    if config.input.stream_key is not None:
        found.append(
            f"input.stream_key: the stream is named by the field {config.input.stream_key!r}, not by the record key: a "
            "stream may then span partitions, each with its own learner and its own state of the stream; produce the "
            "topic keyed by that field"
        )
    if config.kafka is not None:
        security = config.kafka.security
        if security.protocol == "SASL_PLAINTEXT" and security.sasl_mechanism == "PLAIN":
            found.append("kafka.security: PLAIN over SASL_PLAINTEXT sends the password unencrypted; use SASL_SSL")
        if security.protocol == "SASL_PLAINTEXT" and security.sasl_mechanism == "OAUTHBEARER":
            found.append("kafka.security: OAUTHBEARER over SASL_PLAINTEXT sends the token unencrypted; use SASL_SSL")
        if security.protocol.endswith("SSL") and not security.ssl_check_hostname:
            found.append("kafka.security.ssl_check_hostname: false: another host can pass itself off as the broker")
        if config.commit_interval_ms > 500 * config.kafka.session_timeout_s:
            found.append(
                "commit_interval_ms: more than half of kafka.session_timeout_s; the group may be lost between commits"
            )
    found += _of_windows(config)
    found += _of_traces(config)
    found += _of_least_squares(config)
    found += _of_answers(config)
    found += _of_waiting(config)
    found += _shown_twice(config)
    found += _never_shown(config)
    found += _of_http(config.http)
    streams = config.streams
    if streams.ttl_s is not None and streams.reset_after_s is not None and streams.ttl_s < streams.reset_after_s:
        found.append("streams.ttl_s: below streams.reset_after_s, so that streams are dropped before they are reset")
    if config.checkpoint.on_gap == "continue":
        found.append(
            "checkpoint.on_gap: continue: records lost from the log are skipped; the state is then not that of the log"
        )
    return found


def _of_windows(config: Config) -> Iterator[str]:
    """What is chosen of windows where there are none."""
    if config.input.sequence is None:
        return
    default = LearningSpec()
    given = [name for name in ("k1", "k2") if getattr(config.learning, name) != getattr(default, name)]
    if given:
        listed = ", ".join(f"learning.{name}" for name in given)
        yield f"{listed}: without effect beside input.sequence, as each sequence is learned from as a whole"


_MAX_SYMBOLS = TargetSpec(fields=("",)).max_symbols


MANY_INPUTS = 40
"""Columns from which on there is a word about gradients that are carried along for each of them."""


def _of_traces(config: Config) -> Iterator[str]:
    """What carrying gradients along costs where there are many columns, and that symbols are seen through few."""
    spec = config.learner_spec()
    if spec.rule != "rtrl":
        return
    if spec.n_multiplied > MANY_INPUTS:
        wide = [feature for feature in config.features if isinstance(feature, OneHot | Hash)]
        remedy = "leave columns out that tell little"
        if sum(len(feature.columns) for feature in wide) > CODED:
            remedy = (
                f"take encoder symbol, which shows all of them by {CODED} columns, for {names([f.field for f in wide])}"
            )
        yield (
            f"features: cell {spec.model.cell} carries along, with each stream, the gradient of each weight of its "
            f"{spec.n_multiplied} input columns, {_trace_bytes(spec) / 1000:,.1f} kB, and steps all of them at each "
            f"record; {remedy}, or take fewer units (hidden_size), or cell lstm or gru, of which a column takes less"
        )
    if spec.n_looked_up > spec.n_coded:
        yield (
            f"model.cell: {spec.model.cell} sees {spec.n_looked_up:,} symbols by {spec.n_coded} columns of fixed "
            "codes; where it matters which of many it was, as in texts, lstm and gru learn more"
        )


MANY_REGRESSORS = 500
"""Regressors from which on there is a word about least squares."""


def _of_least_squares(config: Config) -> Iterator[str]:
    """What the readout by least squares costs where it reads much: the square of that."""
    spec, model = config.learner_spec(), config.model
    n = spec.n_regressors
    if n <= MANY_REGRESSORS:
        return
    read = "hidden_layer" if spec.model.hidden_units else "hidden_size"
    parts = {f"model.{read}": spec.n_read, "features": spec.n_multiplied, "model.lags": model.lags * spec.n_targets}
    most = max(parts, key=lambda name: parts[name])
    outputs = f"{spec.n_outputs} x " if spec.n_outputs > 1 else ""
    otherwise = "" if spec.rule == "fixed" else ", or take readout linear, whose cost is that of its weights"
    yield (
        f"model.readout: rls has {n:,} regressors, {parts[most]:,} of them by {most}, and goes several times per event "
        f"through {outputs}{n:,}^2 numbers, {8e-6 * spec.n_outputs * n**2:,.0f} MB, while 200 regressors are 0.3 MB; "
        f"make {most} smaller{otherwise}"
    )


def _trace_bytes(spec: LearnerSpec) -> int:
    # Imported where needed: it brings the kernels' modules along, which a job file does without.
    from streamrnn.learner.lowering import trace_bytes

    return trace_bytes(spec)


def _of_answers(config: Config) -> Iterator[str]:
    """What is chosen of answers to sequences where there are none of that form."""
    model, target, kind = config.model, config.target, config.target.kind
    symbols = kind in ("transcript", "sequence") and not target.says_numbers
    of_symbols = "transcripts and sequences of symbols"
    asked = {
        "model.beam": (model.beam != ModelSpec().beam and not symbols, of_symbols),
        "model.attention": (model.attention != ModelSpec().attention and kind != "sequence", "kind: sequence"),
        "target.max_symbols": (target.max_symbols != _MAX_SYMBOLS and not symbols, of_symbols),
    }
    where = "records that are single steps" if kind is None else f"target.kind: {kind}"
    for name, (given, of) in asked.items():
        if given:
            yield f"{name}: without effect beside {where}; it goes with {of}"


def _of_waiting(config: Config) -> Iterator[str]:
    """Events that nothing makes come out, of streams that fall silent."""
    ahead, streams = config.model.lookahead, config.streams
    if config.looks_ahead and streams.ttl_s is None and config.input.end_field is None:
        until = "" if streams.reset_after_s is None else " until its next record"
        yield (
            f"model.lookahead: a stream that falls silent keeps its last {ahead} events waiting{until}, unless "
            "a tombstone comes or another stream takes its room; set streams.ttl_s to the silence after which they are "
            "predicted, or name an input.end_field"
        )


def _shown_twice(config: Config) -> Iterator[str]:
    """Symbols that are an input already, as the newest class."""
    target = config.target
    if target.known != "forecast" or target.classes is None or not config.inputs.previous_target:
        return
    for i, feature in enumerate(config.features):
        if isinstance(feature, Symbol) and feature.field in target.fields:
            yield (
                f"features[{i}].field: {feature.field!r} is shown twice: inputs.previous_target shows the newest "
                "class, which is this record's; drop the feature"
            )


def _never_shown(config: Config) -> Iterator[str]:
    """A forecast of classes whose network sees nothing of what came."""
    target = config.target
    if config.input.text is not None or target.known != "forecast" or target.classes is None:
        return
    if not config.inputs.previous_target and all(feature.field not in target.fields for feature in config.features):
        yield (
            f"inputs.previous_target: false, and no feature reads {target.fields[0]!r}: what comes next is told "
            "without a look at what came; leave it out, or add a feature of encoder symbol"
        )


def _of_http(http: HttpConfig | None) -> Iterator[str]:
    if http is None or http.is_local:
        return
    if http.token is None:
        yield (
            f"http.host: whoever reaches {http.host} can read metrics and the names of topics and fields; set "
            "http.token, or see that only monitoring and probes get there"
        )
    elif http.certfile is None:
        yield "http.token: is sent unencrypted; set http.certfile"
    if http.token is not None and len(http.token.reveal()) < SHORT_TOKEN:
        yield f"http.token: has fewer than {SHORT_TOKEN} characters and can be guessed; try openssl rand -hex 32"
