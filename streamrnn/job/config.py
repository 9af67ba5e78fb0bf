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

from streamrnn.broker.kafka_settings import server_list, server_trouble
from streamrnn.broker.security import KafkaSecurity, Secret
from streamrnn.errors import ConfigError
from streamrnn.job.http_config import HttpConfig
from streamrnn.job.log_config import LogConfig
from streamrnn.job.section import Section, Text
from streamrnn.learner.features import FeatureEncoder, FeatureSpec
from streamrnn.learner.paths import FieldPath, parse_path
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, ModelSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.values import canonical_text

# The lookahead keeps out a trailing newline, which `$` alone lets pass.
NAME_PATTERN = r"^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$(?!\n)"

KIB = 1024
MIB = 1024 * KIB

MAX_KEY_BYTES = 64 * KIB
"""Of a record: the output records of a longer key could exceed what a broker accepts."""


TopicName = Annotated[str, Meta(pattern=NAME_PATTERN)]
FILE_MODE = r"^0?6[046][04]$(?!\n)"
FileMode = Annotated[
    str,
    Meta(
        pattern=FILE_MODE,
        description="Mode of the files that are made, in quotes; of their directories it follows. 0600: this user "
        "alone; 0640: the group may read; 0660: workers of several users share it.",
    ),
]
Scalar = str | int | float | bool


class KafkaConfig(Section, frozen=True, kw_only=True):
    """An Apache Kafka cluster and this worker's place in its consumer group."""

    bootstrap_servers: Annotated[
        Text | tuple[Text, ...],
        Meta(description="host:port of some brokers: a list, or text separated by commas."),
    ]
    group_id: Annotated[Text | None, Meta(description="Consumer group; null: the job's name.")] = None
    group_instance_id: Annotated[
        Text | None,
        Meta(
            description="Lasting identity of this worker within the group, which no two may have at a time; null: made "
            "of the host's name, another one for each worker on it."
        ),
    ] = None
    session_timeout_s: Annotated[
        float, Meta(ge=1, le=1800, description="Silence in seconds after which the group considers this worker dead.")
    ] = 10.0
    leave_on_stop: Annotated[
        bool,
        Meta(
            description="Whether a worker that is stopped gives its partitions to the others at once; false: they wait "
            "for it until the session is over."
        ),
    ] = True
    security: Annotated[KafkaSecurity, Meta(description="Authentication and encryption.")] = KafkaSecurity()

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("bootstrap_servers: found no server, expected host:port")
        for server in self.servers:
            if wrong := server_trouble(server):
                raise ValueError(f"bootstrap_servers: {wrong}")

    @property
    def servers(self) -> tuple[str, ...]:
        """The bootstrap servers, one by one."""
        return server_list(self.bootstrap_servers)


class EmbeddedConfig(Section, frozen=True, kw_only=True):
    """A log of files in place of Kafka: for trying out, offline evaluation and tests."""

    directory: Annotated[Text, Meta(description="Where topics and committed offsets are kept.")]
    partitions: Annotated[int, Meta(ge=1, le=1024, description="Partitions of a topic that is created.")] = 1
    mode: FileMode = "0600"


class TimestampConfig(Section, frozen=True, kw_only=True):
    """Where a record's time comes from."""

    field: Annotated[FieldPath | None, Meta(description="Field with the time; null: the record's own timestamp.")] = (
        None
    )
    unit: Annotated[
        Literal["ms", "s", "us", "iso8601"],
        Meta(
            description="Milliseconds, seconds or microseconds since the epoch, or ISO 8601 text (UTC unless it says)."
        ),
    ] = "ms"


class Condition(Section, frozen=True, kw_only=True):
    """What a field of a record must be for the record to count; exactly one of equals, in and exists.

    Values are compared by their text, as everywhere: 1 and "1" are the same. A field that is missing, null, an object
    or an array equals nothing.
    """

    field: FieldPath
    equals: Annotated[Scalar | None, Meta(description="The value it must have.")] = None
    any_of: Annotated[
        Annotated[tuple[Scalar, ...], Meta(min_length=1, max_length=10_000)] | None,
        Meta(description="The values of which it must have one."),
    ] = msgspec.field(default=None, name="in")
    exists: Annotated[bool | None, Meta(description="Whether it must be there, and not null, or must not.")] = None
    negate: Annotated[bool, Meta(description="true: the opposite must hold.")] = msgspec.field(
        default=False, name="not"
    )

    def __post_init__(self) -> None:
        given = [name for name, value in self._asked.items() if value is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(f"field: {self.field!r} needs exactly one of equals, in and exists; found {found}")

    @property
    def _asked(self) -> dict[str, object]:
        return {"equals": self.equals, "in": self.any_of, "exists": self.exists}

    @property
    def values(self) -> frozenset[str]:
        """The texts of the values that the field may have; none where it is only asked whether it is there."""
        listed = self.any_of if self.equals is None else (self.equals,)
        return frozenset(canonical_text(value, self.field) for value in listed or ())


class InputConfig(Section, frozen=True, kw_only=True):
    """The topic that is learned from."""

    topic: Annotated[TopicName, Meta(description="Topic to read.")]
    stream_key: Annotated[
        FieldPath | None, Meta(description="Field that names a record's stream; null: the record key, which is best.")
    ] = None
    timestamp: Annotated[TimestampConfig, Meta(description="A record's time.")] = TimestampConfig()
    start: Annotated[
        Literal["earliest", "latest"],
        Meta(description="Where the very first start begins; partitions added later are read from their beginning."),
    ] = "earliest"
    end_field: Annotated[FieldPath | None, Meta(description="Field that is true on a sequence's last record.")] = None
    where: Annotated[
        tuple[Condition, ...],
        Meta(max_length=100, description="Conditions that a record must meet, all of them; others are passed over."),
    ] = ()
    tombstones: Annotated[
        Literal["forget", "dead_letter", "ignore"],
        Meta(
            description="What a record with a key and no value does: forget its stream, become a dead letter, or none."
        ),
    ] = "forget"
    numbers: Annotated[
        Literal["strict", "lenient"],
        Meta(
            description='lenient: a number, truth value or time in milliseconds may also be text, as in "1.5"; strict: '
            "text is of the wrong type."
        ),
    ] = "lenient"
    max_record_bytes: Annotated[
        int, Meta(ge=1, le=64 * MIB, description="Larger records (key and value) go to the dead letters unread.")
    ] = MIB
    max_unpacked_bytes: Annotated[
        int,
        Meta(
            ge=MIB,
            description="What a compressed batch of Kafka's may unpack to; the records behind that go to the dead "
            "letters unread.",
        ),
    ] = 1024 * MIB
    max_key_bytes: Annotated[
        int,
        Meta(
            ge=1,
            le=MAX_KEY_BYTES,
            description="Records whose stream has a longer name, from their key or a field, go to the dead letters: "
            "each stream's name is kept in memory.",
        ),
    ] = KIB

    @property
    def max_record_key_bytes(self) -> int:
        """How long the keys of records may be, which name no streams where a field does."""
        return self.max_key_bytes if self.stream_key is None else MAX_KEY_BYTES

    def __post_init__(self) -> None:
        if self.timestamp.field is None and self.timestamp.unit != "ms":
            raise ValueError(
                f"timestamp.unit: goes with timestamp.field, found {self.timestamp.unit!r} and no field "
                "(the record's own timestamp is always in milliseconds)"
            )
        if self.max_unpacked_bytes < self.max_record_bytes + MIB:
            raise ValueError(
                f"max_unpacked_bytes: found {self.max_unpacked_bytes}, expected at least max_record_bytes and a MiB, "
                f"{self.max_record_bytes + MIB}: a record comes in a batch"
            )


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


class ModelSection(ModelSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network, and what it begins with.

    What a learner has to know of it is a ``ModelSpec``; what it begins with is the job's alone.
    """

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
    on_inexact: Annotated[
        Literal["fail", "continue"], Meta(description="When a replay does not lead to the state that was committed.")
    ] = "fail"


class Config(Section, frozen=True, kw_only=True):
    """A streamrnn job: what is read, learned and written."""

    job: Annotated[str, Meta(pattern=NAME_PATTERN, description="Name of the job; seeds and groups derive from it.")]
    input: Annotated[InputConfig, Meta(description="The topic that is learned from.")]
    target: Annotated[TargetSpec, Meta(description="What is predicted and when it becomes known.")]
    output: Annotated[OutputConfig, Meta(description="Where predictions and dead letters go.")]
    checkpoint: Annotated[CheckpointConfig, Meta(description="When and where the state is saved.")]
    kafka: Annotated[KafkaConfig | None, Meta(description="The cluster; exactly one of kafka and embedded.")] = None
    embedded: Annotated[EmbeddedConfig | None, Meta(description="A log of files; one of kafka and embedded.")] = None
    features: Annotated[
        tuple[FeatureSpec, ...],
        Meta(max_length=10_000, description="Fields that enter the network, each with its encoder."),
    ] = ()
    hashing: Annotated[HashingConfig, Meta(description="How values are hashed.")] = HashingConfig()
    inputs: Annotated[InputSpec, Meta(description="Inputs derived from a stream's past.")] = InputSpec()
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
        model, learning = self.model, self.learning
        return {
            "job_name": self.job,
            "input_topic": self.input.topic,
            "output_topic": self.output.topic,
            "delivery": self.delivery,
            "known": self.target.known,
            "cell": model.cell,
            "hidden_size": str(model.hidden_size),
            "num_layers": str(model.num_layers),
            "readout": model.readout,
            "loss": model.effective_loss,
            "dtype": model.dtype,
            "optimizer": learning.optimizer,
            "k1": str(learning.k1),
            "k2": str(learning.k2),
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
        self._check_target()
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
        target = self.target
        for name, path in (
            *((f"target.fields[{i}]", path) for i, path in enumerate(target.fields)),
            ("target.event_field", target.event_field),
            ("target.label_field", target.label_field),
        ):
            if path is not None:
                _require_path(name, path)
        if target.known == "record":
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

    def feature_encoder(self) -> FeatureEncoder:
        """The encoder of ``features``."""
        key = self.hashing.key
        return FeatureEncoder(self.features, self.job if key is None else key.reveal())

    def learner_spec(self) -> LearnerSpec:
        """What determines the learner, together with the log. Raises ``ValueError`` when the parts do not fit."""
        encoder = self.feature_encoder()
        return LearnerSpec(
            n_features=encoder.n_features,
            indicator=encoder.indicator,
            missing=encoder.missing,
            has_end=self.input.end_field is not None,
            target=self.target,
            model=self.model.spec,
            learning=self.learning,
            streams=self.streams,
            inputs=self.inputs,
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
