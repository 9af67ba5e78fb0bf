"""What is predicted and when it becomes known, as validated values: the part of a specification about targets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from streamrnn.learner.sound import PositiveInt
from streamrnn.learner.symbols import Label, Symbols


class TargetSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is predicted and when it becomes known.

    ``known="record"``: fields of the record itself, looked at only after the prediction. ``known="forecast"``: the
    stream's own future, the ``horizon`` next values of the fields, or where it lists numbers of steps ahead the values
    so many steps ahead alone, each with an output of its own; ``baseline`` makes the model learn the difference to
    the last value, or to the one a period before, for series that wander or have seasons. ``known="label"``: a later
    record of the same stream whose ``label_field`` repeats the event's ``event_field`` and which carries the target
    fields; predictions of the last ``label_memory`` events of a stream are kept for scoring.
    ``classes`` lists the values a class field may take (softmax, logistic), or is a set of symbols; leave it out for
    numbers. ``kind`` goes with whole sequences and says what is predicted of one.
    """

    fields: Annotated[
        tuple[str, ...], Meta(min_length=1, max_length=256, description="What is predicted: fields of the record.")
    ]
    known: Annotated[
        Literal["record", "forecast", "label"],
        Meta(description="record: in the record itself; forecast: the stream's own future; label: a later record."),
    ] = "record"
    kind: Annotated[
        Literal["label", "labels", "transcript", "sequence"] | None,
        Meta(
            description="With input.sequence: label: one class or number for the whole sequence; labels: one for each "
            "step; transcript: symbols without alignment (CTC); sequence: symbols or numbers of another length. null: "
            "records are single steps."
        ),
    ] = None
    max_symbols: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="With kind transcript or sequence: most symbols; a longer answer is not learned.",
        ),
    ] = 100
    horizon: Annotated[
        PositiveInt | Annotated[tuple[PositiveInt, ...], Meta(min_length=1, max_length=1_000)],
        Meta(
            description="With known forecast: how many next values, or a list of how many steps ahead (horizon: [1, "
            "6, 84]: those three alone, each forecast directly); with kind sequence and numbers: how many."
        ),
    ] = 1
    baseline: Annotated[
        Literal["last"] | Annotated[int, Meta(ge=1, le=100_000)] | None,
        Meta(
            description="With known forecast: forecasts are differences to the last value, or to the last one a whole "
            "period of so many steps before; null: to nothing."
        ),
    ] = None
    classes: Annotated[
        Annotated[tuple[Label, ...], Meta(min_length=2, max_length=10_000)] | Symbols | None,
        Meta(
            description="With readout softmax or logistic: the values of the field, or a set of symbols (bytes: true; "
            "open: true with its max)."
        ),
    ] = None
    missing: Annotated[
        Literal["unknown", "zero"],
        Meta(
            description="What a target that is missing or null stands for: nothing is known, or 0 (of classes the one "
            "that is false, 0 or empty), for producers that leave zeros out."
        ),
    ] = "unknown"
    event_field: Annotated[str | None, Meta(description="With known label: names the event.")] = None
    label_field: Annotated[
        str | None, Meta(description="With known label: names, in a later record, the event whose target it brings.")
    ] = None
    label_memory: Annotated[
        PositiveInt, Meta(description="With known label: events kept per stream until their label comes.")
    ] = 64

    def __post_init__(self) -> None:
        if len(set(self.fields)) != len(self.fields):
            raise ValueError(f"fields: names must differ, got {list(self.fields)}")
        if isinstance(self.horizon, tuple) and list(self.horizon) != sorted(set(self.horizon)):
            raise ValueError(f"horizon: steps ahead must increase strictly, got {list(self.horizon)}")
        if self.known != "forecast" and self.horizon != 1 and not self.says_numbers:
            raise ValueError(f"horizon: goes with known: forecast, got {self.horizon} with known: {self.known}")
        if self.kind is not None:
            self._require_kind()
        if self.known != "forecast" and self.baseline is not None:
            raise ValueError(f"baseline: goes with known: forecast, got {self.baseline} with known: {self.known}")
        if [self.event_field is not None, self.label_field is not None] != [self.known == "label"] * 2:
            raise ValueError("event_field, label_field: both go with known: label, and only with it")
        if self.classes is not None:
            if len(self.fields) != 1:
                raise ValueError(f"classes: goes with exactly one field, got fields {list(self.fields)}")
            if isinstance(self.classes, tuple) and len({(type(c), c) for c in self.classes}) != len(self.classes):
                raise ValueError(f"classes: values must differ, got {list(self.classes)}")
            if self.known == "forecast" and self.horizon != 1:
                raise ValueError(f"horizon: of classes the next one alone is forecast, got {self.horizon}")
            if self.baseline is not None:
                raise ValueError("baseline: goes with numbers, not with classes")
            if self.missing == "zero" and sum(map(_is_zero, self.labels or ())) != 1:
                raise ValueError(
                    "missing: zero needs exactly one class that is left out, which is false, 0 or empty text; found "
                    f"classes {self.classes if self.labels is None else list(self.labels)}"
                )

    def _require_kind(self) -> None:
        if self.known != "record":
            raise ValueError(f"known: what is predicted of a whole sequence comes with it, got known: {self.known}")
        if self.kind != "label" and len(self.fields) != 1:
            raise ValueError(f"fields: kind {self.kind} goes with exactly one field, got {list(self.fields)}")
        if self.horizon != self.furthest:
            raise ValueError(f"horizon: of a sequence say how many numbers, got {self.horizon}")
        if self.kind == "transcript" and self.classes is None:
            raise ValueError("classes: a transcript is made of symbols; list them, or say open: true")

    @property
    def steps_ahead(self) -> Sequence[int]:
        """How many steps ahead the outputs of each field are, increasing.

        >>> TargetSpec(fields=("y",), known="forecast", horizon=3).steps_ahead
        range(1, 4)
        >>> TargetSpec(fields=("y",), known="forecast", horizon=(6, 84)).steps_ahead
        (6, 84)
        """
        return self.horizon if isinstance(self.horizon, tuple) else range(1, self.horizon + 1)

    @property
    def furthest(self) -> int:
        """The most steps ahead that something is said of."""
        return self.horizon[-1] if isinstance(self.horizon, tuple) else self.horizon

    @property
    def is_each_step(self) -> bool:
        """Whether something is said of each step ahead up to the furthest."""
        return len(self.steps_ahead) == self.furthest

    @property
    def says_numbers(self) -> bool:
        """Whether ``horizon`` numbers are what is said of a sequence."""
        return self.kind == "sequence" and self.classes is None

    @property
    def symbols(self) -> Symbols | None:
        """The classes as a set of symbols; None where numbers are predicted."""
        return Symbols(values=self.classes) if isinstance(self.classes, tuple) else self.classes

    @property
    def labels(self) -> tuple[Label, ...] | None:
        """The classes by number; None where numbers are predicted, or the set of classes is open."""
        return None if self.symbols is None else self.symbols.labels

    @property
    def is_open(self) -> bool:
        """Whether classes get their numbers as they come."""
        return self.symbols is not None and self.symbols.open

    @property
    def left_out(self) -> float:
        """What a target that was left out stands for, as the learner's number: NaN = unknown."""
        if self.missing == "unknown":
            return math.nan
        return 0.0 if self.classes is None else float([_is_zero(label) for label in self.labels or ()].index(True))

    @property
    def period(self) -> int:
        """Steps back to the value that forecasts are differences to; 0 = forecasts are no differences."""
        return 1 if self.baseline == "last" else int(self.baseline or 0)


def _is_zero(label: str | int | bool) -> bool:
    """Whether a producer that leaves zeros out leaves out this class."""
    return str(label).lower() in ("false", "0", "")
