"""What a job file holds, as validated, immutable values.

Every field has a type, a range and a description; unknown fields are refused at every level; rules that tie fields of
different sections together stand in ``Config.__post_init__``. Passwords are ``broker.security.Secret``: they appear in
no repr, log, error message, fingerprint or schema.

Only values stand here: reading the file is ``job_file``'s, and nothing touches disk or network.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from streamrnn.broker import confluent_settings
from streamrnn.broker.kafka_settings import Limits
from streamrnn.broker.security import Secret
from streamrnn.errors import ConfigError
from streamrnn.job import lookahead_config
from streamrnn.job.http_config import HttpConfig
from streamrnn.job.input_config import InputConfig
from streamrnn.job.kafka_config import KafkaConfig
from streamrnn.job.log_config import LogConfig
from streamrnn.job.section import MIB, NAME_PATTERN, FileMode, Section, Text, TopicName
from streamrnn.job.sequence_config import InputsConfig, TargetConfig, Unit, features_of, require_fit
from streamrnn.learner.consistency import RuleError
from streamrnn.learner.features import FeatureEncoder, FeatureSpec
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.paths import parse_path
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.values import canonical_text


class EmbeddedConfig(Section, frozen=True, kw_only=True):
    """A log of files in place of Kafka: for trying out, offline evaluation and tests."""

    directory: Annotated[Text, Meta(description="Where topics and committed offsets are kept.")]
    partitions: Annotated[int, Meta(ge=1, le=1024, description="Partitions of a topic that is created.")] = 1
    mode: FileMode = "0600"


class HashingConfig(Section, frozen=True, kw_only=True):
    """What values are hashed under, by features with encoder hash: whoever knows it can aim at a bucket."""

    key: Annotated[
        Secret | None,
        Meta(
            description="Text of any length, best random and given as ${ENV_VAR}; never shown, nor stored but as a "
            "digest. It cannot be changed once something was learned. null: the job's name, which can be guessed."
        ),
    ] = None


class OutputConfig(Section, frozen=True, kw_only=True):
    """Where results go."""

    topic: Annotated[TopicName, Meta(description="Topic for the predictions.")]
    dead_letter_topic: Annotated[TopicName, Meta(description="Topic for records that cannot be used, with the reason.")]
    dead_letter_value_bytes: Annotated[
        int, Meta(ge=0, le=MIB // 4, description="How much of such a record's value is kept; its size always is.")
    ] = 64 * 1024
    top: Annotated[
        int,
        Meta(
            ge=1, le=1_000, description="Where classes are predicted: how many of the most probable ones are written."
        ),
    ] = 5


class ModelSection(ModelSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network, and what it begins with.

    What a learner has to know of it is a ``ModelSpec``; what it begins with is the job's alone. A job file may leave
    the readout to what is predicted; in a ``Config`` it is never None.
    """

    readout: Annotated[
        Literal["linear", "rls", "softmax", "logistic"] | None,
        Meta(
            description="linear and rls predict numbers, softmax classes, logistic one of two classes; null: softmax "
            "where classes or the units of texts are predicted, else linear."
        ),
    ] = None  # type: ignore[assignment]
    warm_start: Annotated[
        Text | None,
        Meta(
            description="What a partition without checkpoints begins with: a model file, written by an estimator's "
            "save() or by streamrnn export, or a checkpoint of another job, named by its manifest or by a directory "
            "above it (the newest one there); null: random weights. Weights, readout, optimiser and statistics come "
            "along, the memory of streams does not. Columns are matched by name and may be more here, layers may be "
            "wider; cell, classes and kind of target must agree. Later starts go on from checkpoints: what is named "
            "here may move or go, and the setting may be left out for good, but a file with other bytes is refused "
            "like any setting that cannot be changed."
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.readout is not None:
            super().__post_init__()

    @property
    def spec(self) -> ModelSpec:
        """The network alone."""
        return ModelSpec(**{name: getattr(self, name) for name in ModelSpec.__struct_fields__})


class CheckpointConfig(Section, frozen=True, kw_only=True):
    """When and where the learner's state is saved."""

    directory: Annotated[Text, Meta(description="Directory for checkpoints; every worker of the group must reach it.")]
    interval_s: Annotated[float, Meta(gt=0, description="Seconds between checkpoints.")] = 30.0
    max_replay_records: Annotated[
        int, Meta(ge=1, description="A checkpoint is due at the latest after so many records of a partition.")
    ] = 200_000
    retain: Annotated[int, Meta(ge=1, le=1000, description="Checkpoints kept per partition.")] = 3
    mode: FileMode = "0600"
    on_gap: Annotated[
        Literal["fail", "continue"], Meta(description="When records after the checkpoint are gone from the log.")
    ] = "fail"
    on_lost_offsets: Annotated[
        Literal["resume", "fail", "restart"],
        Meta(
            description="When checkpoints exist and the group has no committed offset: it expired or was deleted. "
            "resume: go on from the newest checkpoint; restart: learn anew from input.start."
        ),
    ] = "resume"
    on_new_topic: Annotated[
        Literal["restart", "fail"],
        Meta(
            description="When the input topic was deleted and made anew: it is another one than the checkpoints are "
            "of. restart: learn anew from the beginning of its log; fail: stop."
        ),
    ] = "restart"
    on_inexact: Annotated[
        Literal["fail", "continue"], Meta(description="When a replay does not lead to the state that was committed.")
    ] = "fail"


class Config(Section, frozen=True, kw_only=True):
    """A streamrnn job: what is read, learned and written."""

    job: Annotated[str, Meta(pattern=NAME_PATTERN, description="Name of the job; seeds and groups derive from it.")]
    input: Annotated[InputConfig, Meta(description="The topic that is learned from.")]
    declared_target: Annotated[
        TargetConfig | None,
        Meta(description="What is predicted and when it becomes known. Required, but where records are texts: none."),
    ] = msgspec.field(default=None, name="target")
    output: Annotated[OutputConfig, Meta(description="Where predictions and dead letters go.")]
    checkpoint: Annotated[CheckpointConfig, Meta(description="When and where the state is saved.")]
    kafka: Annotated[KafkaConfig | None, Meta(description="The cluster; exactly one of kafka and embedded.")] = None
    embedded: Annotated[EmbeddedConfig | None, Meta(description="A log of files; one of kafka and embedded.")] = None
    features: Annotated[
        tuple[FeatureSpec, ...],
        Meta(max_length=10_000, description="Fields that enter the network, each with its encoder."),
    ] = ()
    hashing: Annotated[HashingConfig, Meta(description="How values are hashed.")] = HashingConfig()
    inputs: Annotated[InputsConfig, Meta(description="Inputs derived from a stream's past.")] = InputsConfig()
    model: Annotated[ModelSection, Meta(description="The network, and what it begins with.")] = ModelSection()
    learning: Annotated[LearningSpec, Meta(description="How it learns.")] = LearningSpec()
    streams: Annotated[StreamSpec, Meta(description="How many streams are remembered, and for how long.")] = (
        StreamSpec()
    )
    delivery: Annotated[
        Literal["at_least_once"], Meta(description="After a crash some predictions may be written twice, none is lost.")
    ] = "at_least_once"
    commit_interval_ms: Annotated[
        int, Meta(ge=1, le=60_000, description="Milliseconds of records that are sent and committed together.")
    ] = 100
    http: Annotated[HttpConfig | None, Meta(description="Metrics and health; null: none.")] = HttpConfig()
    shutdown_timeout_s: Annotated[float, Meta(gt=0, le=3600, description="Seconds a graceful stop may take.")] = 30.0
    log: Annotated[LogConfig, Meta(description="How the log looks.")] = LogConfig()
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="What is logged.")] = "info"

    def labels(self) -> dict[str, str]:
        """What tells this job from others at a glance: its name, topics, delivery and model."""
        model, spec = self.model.spec, self.learner_spec()
        return {
            "job_name": self.job,
            "input_topic": self.input.topic,
            "output_topic": self.output.topic,
            "delivery": self.delivery,
            "known": self.target.known,
            "cell": model.cell,
            "gates": str(model.gates).lower() if model.cell == "glru" else "",
            "hidden_size": str(model.units),
            "num_layers": str(model.num_layers),
            "hidden_layer": str(model.hidden_units or ""),
            "memory": str(model.memory or ""),
            "readout": model.readout,
            "loss": model.effective_loss,
            "dtype": model.dtype,
            "optimizer": "" if spec.rule == "fixed" else spec.optimizer,
            "rule": spec.rule,
            "k1": "" if spec.rule == "fixed" else str(spec.k1),
            "k2": str(spec.k2) if spec.rule == "tbptt" else "",
        }

    def __post_init__(self) -> None:
        if (self.kafka is None) == (self.embedded is None):
            found = "neither" if self.kafka is None else "both"
            raise ConfigError(f"kafka, embedded: exactly one of the two is needed, found {found}")
        topics = {
            "input.topic": self.input.topic,
            "output.topic": self.output.topic,
            "output.dead_letter_topic": self.output.dead_letter_topic,
        }
        if len(set(topics.values())) != len(topics):
            listed = ", ".join(f"{path}: {topic}" for path, topic in topics.items())
            raise ConfigError(f"topics must differ, or the job would read its own output; found {listed}")
        if self.embedded is not None and Path(self.embedded.directory) == Path(self.checkpoint.directory):
            raise ConfigError("checkpoint.directory: must not be embedded.directory, found both at the same place")
        if self.kafka is not None and self.kafka.client == "confluent":
            limits = Limits(self.input.max_record_bytes, self.input.max_unpacked_bytes)
            if wrong := confluent_settings.refused(self.kafka.security, limits):
                raise ConfigError(wrong)
        self._choose_inputs()
        self._check_target()
        self._check_lookahead()
        self._check_text()
        self._check_sequence()
        self._choose_readout()
        self._check_memory()
        if not self.features and not (self.inputs.dt or self.inputs.previous_target):
            raise ConfigError(
                "features: the network has no input; give a feature, or inputs.dt or inputs.previous_target"
            )
        self.learner_spec()

    def _check_memory(self) -> None:
        streams = self.streams
        if streams.max_bytes is None:
            return
        # Imported where needed: it brings the kernels' modules along, which a job file does without.
        from streamrnn.learner.lowering import bytes_per_slot

        # Otherwise a single new stream might drive out those with history.
        largest = bytes_per_slot(self.learner_spec()) + self.input.max_key_bytes
        if (1 - streams.protected_share) * streams.max_bytes < largest:
            raise ConfigError(
                f"streams.max_bytes: found {streams.max_bytes}, expected at least "
                f"{math.ceil(largest / (1 - streams.protected_share))}: one stream takes up to {largest} with its key, "
                f"and streams.protected_share ({streams.protected_share:g}) of the room is not for new ones"
            )

    def _check_target(self) -> None:
        if self.input.text is not None:
            return
        if self.declared_target is None:
            raise ConfigError(
                "target: required, but missing; expected a mapping with fields and known, or input.text where the "
                "records are texts"
            )
        target = self.target
        for name, path in (
            *((f"target.fields[{i}]", path) for i, path in enumerate(target.fields)),
            ("target.event_field", target.event_field),
            ("target.label_field", target.label_field),
        ):
            if path is not None:
                _require_path(name, path)
        if target.known == "record" and self.input.sequence is None:
            targets = set(map(parse_path, target.fields))
            for i, spec in enumerate(self.features):
                if parse_path(spec.field) in targets:
                    raise ConfigError(
                        f"features[{i}].field: {spec.field!r} is the target itself, which would be its own prediction; "
                        "drop it (inputs.previous_target gives the network the one before)"
                    )
        if (
            target.event_field
            and target.label_field
            and parse_path(target.event_field) == parse_path(target.label_field)
        ):
            raise ConfigError(
                f"target.label_field: found {target.label_field!r}, which is target.event_field too; records that have "
                "label_field are labels, all others events, so the fields must differ"
            )
        if target.labels is not None:
            texts = [canonical_text(label, "target.classes") for label in target.labels]
            if len(set(texts)) != len(texts):
                raise ConfigError(f"target.classes: 1, '1' and 1.0 are the same class; found {list(target.labels)}")

    def _check_text(self) -> None:
        text = self.input.text
        if text is None:
            return
        if self.declared_target is not None:
            raise ConfigError(
                "target: found beside input.text; what is predicted of a text is its own next unit. Leave target out, "
                "or leave input.text out and predict something else"
            )
        path = parse_path(text.field)
        for i, spec in enumerate(self.features):
            if parse_path(spec.field) == path:
                raise ConfigError(
                    f"features[{i}].field: {spec.field!r} is the text itself (input.text.field), whose units would all "
                    "be seen before they are predicted; drop it (inputs.previous_target shows the unit before)"
                )
        if not self.inputs.previous_target:
            raise ConfigError(
                "inputs.previous_target: found false beside input.text; each unit of a text is predicted from the one "
                "before it, so leave it out or say true"
            )
        if self.model.readout not in (None, "softmax"):
            raise ConfigError(
                f"model.readout: found {self.model.readout!r} beside input.text; the units of a text are classes, to "
                "which softmax gives probabilities: leave it out or say softmax"
            )

    def _check_sequence(self) -> None:
        sequence, target = self.input.sequence, self.target
        if sequence is not None:
            msgspec.structs.force_setattr(self, "features", features_of(sequence, self.features))
            require_fit(sequence, target, self.features, self.input.end_field)
        elif target.kind is not None:
            raise ConfigError(
                f"target.kind: found {target.kind!r} without input.sequence; it says what is predicted of a whole "
                "sequence. Leave it out where each record is a single step, or add input.sequence: {field: frames}"
            )

    def _check_lookahead(self) -> None:
        if self.looks_ahead:
            of_texts = self.input.text is not None
            lookahead_config.require_fit(self.model, self.target, self.inputs, of_texts=of_texts)

    @property
    def looks_ahead(self) -> bool:
        """Whether single steps are predicted only once those behind them are there."""
        return self.input.sequence is None and self.model.direction == "both"

    def _choose_inputs(self) -> None:
        """Write down what is derived from a stream's past where the file leaves it open."""
        given = {name: getattr(self.inputs, name) for name in InputSpec.__struct_fields__}
        of_steps = self.input.sequence is None
        for name, value in given.items():
            if value and not of_steps:
                raise ConfigError(
                    f"inputs.{name}: found true beside input.sequence; a sequence is read at once, and there is no "
                    "record before its steps whose time or target could be shown: leave it out or say false"
                )
        if None in given.values():
            default = {"dt": of_steps, "previous_target": of_steps and not self.looks_ahead}
            chosen = {name: default[name] if value is None else value for name, value in given.items()}
            msgspec.structs.force_setattr(self, "inputs", InputsConfig(**chosen))

    def _choose_readout(self) -> None:
        """Write down the readout where the file leaves it open, so that nobody else has to choose."""
        if self.model.readout is not None:
            return
        try:
            model = replace(self.model, readout="linear" if self.target.classes is None else "softmax")
        except ValueError as error:  # a rule that needs to know the readout
            raise ConfigError(f"model.{error}") from None
        msgspec.structs.force_setattr(self, "model", model)

    @property
    def target(self) -> TargetSpec:
        """What is predicted: as the file says, or, of texts, their units."""
        if (text := self.input.text) is not None:
            return TargetSpec(fields=(text.field,), classes=text.units)
        declared = self.declared_target
        assert declared is not None
        return declared.spec if isinstance(declared, TargetConfig) else declared

    @property
    def unit(self) -> Unit:
        """What the answer to a sequence is made of."""
        return self.declared_target.unit if isinstance(self.declared_target, TargetConfig) else "element"

    def feature_encoder(self) -> FeatureEncoder:
        """The encoder of ``features``."""
        key = self.hashing.key
        return FeatureEncoder(self.features, self.job if key is None else key.reveal())

    def learner_spec(self) -> LearnerSpec:
        """What determines the learner, together with the log. Raises ``ValueError`` when the parts do not fit."""
        sequence, chunks = self.input.sequence, self.input.end_field is not None
        try:
            return self._spec(None if sequence is None else sequence.spec(chunks=chunks))
        except RuleError as error:
            if error.section != "sequence":
                raise
            raise ConfigError(f"input.sequence.{error.field}: {error.reason}") from None

    def _spec(self, sequence: SequenceSpec | None) -> LearnerSpec:
        encoder, learning = self.feature_encoder(), self.learning
        if sequence is not None:  # what has no meaning does not tell two learners apart
            learning = replace(learning, k1=LearningSpec().k1, k2=LearningSpec().k2)
        return LearnerSpec(
            n_features=encoder.n_features,
            indicator=encoder.indicator,
            missing=encoder.missing,
            symbols=encoder.symbols,
            has_end=self.input.end_field is not None,
            text=None if self.input.text is None else self.input.text.spec,
            sequence=sequence,
            target=self.target,
            model=self.model.spec,
            learning=learning,
            streams=self.streams,
            inputs=InputSpec(dt=bool(self.inputs.dt), previous_target=bool(self.inputs.previous_target)),
        )

    @property
    def group_id(self) -> str:
        """The consumer group: the one given, or the job's name."""
        return (self.kafka.group_id if self.kafka else None) or self.job


def _require_path(name: str, path: str) -> None:
    try:
        parse_path(path)
    except ValueError as error:
        raise ConfigError(f"{name}: found {path!r}: {error}") from None
