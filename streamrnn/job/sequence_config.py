"""Where whole sequences stand in records, and what is predicted of them: the job's own part of both.

What a learner has to know of a sequence is a ``SequenceSpec``, and of what is predicted a ``TargetSpec``. Where frames
stand, how they are read and what the symbols of an answer are made of is for the job alone.
"""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from msgspec import Meta

from streamrnn.errors import ConfigError
from streamrnn.job.section import Text
from streamrnn.learner.features import FeatureSpec, Numeric
from streamrnn.learner.paths import FieldPath, parse_path
from streamrnn.learner.sequence_spec import SequenceSettings, SequenceSpec
from streamrnn.learner.spec import InputSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.texts import units_of
from streamrnn.learner.values import canonical_text

Unit = Literal["element", "character", "word"]
MOST_COLUMNS = 10_000


class SequenceConfig(SequenceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Each record is a whole sequence of frames, predicted and learned at once; with `input.end_field` it comes in
    chunks, up to the record whose end field is true.

    A frame is an array of numbers, whose places ``columns`` names; or an object, which the features read; or, where
    there is one feature, its value alone, and then a text is the sequence of its characters.
    """

    field: Annotated[FieldPath, Meta(description="Field of the record that holds the frames: an array, or a text.")]
    columns: Annotated[
        Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MOST_COLUMNS)] | None,
        Meta(
            description="Names of the numbers of a frame, where frames are arrays; without features all are numeric. "
            "null: frames are objects, or values of the one feature."
        ),
    ] = None

    def __post_init__(self) -> None:
        columns = self.columns or ()
        if len(set(columns)) != len(columns):
            twice = sorted({name for name in columns if columns.count(name) > 1})
            raise ValueError(f"columns: names must differ, found more than once: {', '.join(twice)}")

    def spec(self, *, chunks: bool) -> SequenceSpec:
        """What the learner knows of it."""
        known = {name: getattr(self, name) for name in SequenceSettings.__struct_fields__}
        return SequenceSpec(**known, chunks=chunks)


class TargetConfig(TargetSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is predicted and when it becomes known.

    What a learner has to know of it is a ``TargetSpec``; what an answer is made of is the job's alone.
    """

    unit: Annotated[
        Unit,
        Meta(
            description="With kind labels, transcript or sequence: element: the answer is an array of values; "
            "character, word: a text, of which each is a symbol."
        ),
    ] = "element"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unit == "element":
            return
        if self.kind in (None, "label"):
            found = "whole sequences have one label" if self.kind else "records are single steps"
            raise ValueError(f"unit: goes with kind labels, transcript or sequence, found {self.unit!r} where {found}")
        if self.classes is None:
            raise ValueError(f"unit: found {self.unit!r} without classes; list them, or say classes: {{open: true}}")
        for label in self.labels or ():
            value = canonical_text(label, "classes")
            if list(units_of(value, self.unit)) != [value]:
                raise ValueError(f"classes: found {value!r}, which is not one {self.unit}, so no text would have it")

    @property
    def spec(self) -> TargetSpec:
        """What the learner knows of it."""
        return TargetSpec(**{name: getattr(self, name) for name in TargetSpec.__struct_fields__})


class InputsConfig(InputSpec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Inputs derived from a stream's past: of single steps; a whole sequence has none.

    A job file may leave both to what the records are; in a ``Config`` they are never None.
    """

    dt: Annotated[
        bool | None,
        Meta(
            description="log1p of the seconds since the stream's previous record; null: true, but false with "
            "input.sequence."
        ),
    ] = None  # type: ignore[assignment]
    previous_target: Annotated[
        bool | None,
        Meta(
            description="The newest known target, and whether there is one; null: true, but false with input.sequence "
            "or model.lookahead."
        ),
    ] = None  # type: ignore[assignment]


def features_of(sequence: SequenceConfig, features: tuple[FeatureSpec, ...]) -> tuple[FeatureSpec, ...]:
    """The features of a frame: those given, or each column as a number.

    Raises ConfigError where nothing says what a frame is.
    """
    if features:
        return features
    if sequence.columns is None:
        raise ConfigError(
            "input.sequence.columns: found neither columns nor features, so nothing says what a frame is; name the "
            "numbers of a frame (columns: [a, b]), or list features that read frames which are objects or single values"
        )
    return tuple(Numeric(field=column) for column in sequence.columns)


def require_fit(
    sequence: SequenceConfig, target: TargetSpec, features: tuple[FeatureSpec, ...], end_field: str | None
) -> None:
    """Raise ConfigError where what is read of sequences and what is predicted of them do not go together."""
    _require_kind(target)
    _require_fields(sequence, target, end_field)
    if sequence.columns is None:
        return
    for i, feature in enumerate(features):
        if feature.field not in sequence.columns:
            listed = ", ".join(sequence.columns[:10]) + (", ..." if len(sequence.columns) > 10 else "")
            alike = difflib.get_close_matches(feature.field, sequence.columns, n=1)
            meant = f" (did you mean {alike[0]!r}?)" if alike else ""
            raise ConfigError(
                f"features[{i}].field: found {feature.field!r}, which is none of input.sequence.columns{meant}; "
                f"expected one of {listed}, or no columns where frames are objects"
            )


def _require_kind(target: TargetSpec) -> None:
    if target.kind is None:
        raise ConfigError(
            "target.kind: missing beside input.sequence, where it says what is predicted of a sequence; expected "
            "label (one for the whole), labels (one for each step), transcript or sequence"
        )
    if target.missing == "zero" and target.kind != "label":
        raise ConfigError(
            f"target.missing: found zero with kind {target.kind}; what is left out of many values cannot be told: "
            "leave it out or say unknown"
        )
    if target.says_numbers and target.horizon == 1:
        raise ConfigError(
            "target.horizon: found 1 with kind sequence and no classes; of one number say kind: label, of several how "
            "many (horizon: 24), and of symbols list the classes, or say classes: {open: true}"
        )


def _require_fields(sequence: SequenceConfig, target: TargetSpec, end_field: str | None) -> None:
    """Frames, answer and end mark are fields of their own."""
    if parse_path(target.fields[0]) == parse_path(sequence.field):
        raise ConfigError(
            f"target.fields[0]: {sequence.field!r} holds the frames themselves (input.sequence.field), which would be "
            "their own prediction; name the field that holds the answer"
        )
    taken = {"input.sequence.field": sequence.field, **{f"target.fields[{i}]": f for i, f in enumerate(target.fields)}}
    for name, path in taken.items():
        if end_field is not None and parse_path(path) == parse_path(end_field):
            raise ConfigError(
                f"input.end_field: found {end_field!r}, which is {name} too; expected a field of its own, which is "
                "true on the record that ends a sequence"
            )
