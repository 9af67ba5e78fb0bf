"""Rules that tie fields of several sections of a specification together: what goes with what, and why not with others.

A setting that has no effect, or makes no sense, with the cell, the readout or the records that it stands beside is
refused rather than passed over: whoever wrote it expects something of it. Each message says what was found, what is
expected and why. Rules within one section stand with that section.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from streamrnn.learner.model_spec import RULE_OF
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.sound import LARGEST_GROWTH, LARGEST_ROOTS, LARGEST_TABLE, SIZE, SOUND
from streamrnn.learner.spec_fields import SpecFields


class RuleError(ValueError):
    """Fields of several sections do not go together. ``field`` is the one to change, without its ``section``."""

    def __init__(self, section: str, field: str, reason: str) -> None:
        super().__init__(f"{section}.{field}: {reason}")
        self.section = section
        self.field = field
        self.reason = reason


Rule = tuple[str, str, object, str]
"""Section and field, whether it is wrong there, and what the message says then."""


def require_consistent(spec: SpecFields) -> None:
    """Raise ValueError, of rules between sections RuleError, for the first thing that does not go with the rest."""
    if spec.indicator and len(spec.indicator) != spec.n_features:
        raise ValueError(f"indicator: needs {spec.n_features} flags, got {len(spec.indicator)}")
    if spec.missing and len(spec.missing) != spec.n_features:
        raise ValueError(f"missing: needs {spec.n_features} entries, got {len(spec.missing)}")
    _require_sound(spec)
    _require_rule(spec)
    _require_classes(spec)
    _require_text(spec)
    _require_sequence(spec)
    _require_horizon(spec)
    _require_readout(spec)


def _require_none(rules: Iterable[Rule]) -> None:
    for section, field, wrong, why in rules:
        if wrong:
            raise RuleError(section, field, why)


def _require_classes(spec: SpecFields) -> None:
    classify = spec.model.classifies
    if classify != (spec.target.classes is not None):
        raise RuleError(
            "target",
            "classes",
            f"readout {spec.model.readout!r} "
            + ("needs the list of classes" if classify else "predicts numbers and takes no classes"),
        )
    if spec.model.readout == "logistic" and (spec.n_classes != 2 or spec.target.is_open):
        found = "an open set" if spec.target.is_open else str(spec.n_classes)
        raise RuleError("target", "classes", f"readout 'logistic' needs exactly 2, got {found}")


def _require_horizon(spec: SpecFields) -> None:
    horizon, k1, k2 = spec.target.furthest, spec.k1, spec.k2
    # A step is sure to be in the next window, whenever that comes, only while it is k2 - k1 steps old.
    if spec.rule == "tbptt" and spec.target.known == "forecast" and horizon > k2 - k1:
        raise RuleError(
            "target",
            "horizon",
            f"{horizon} steps ahead needs k2 - k1 >= {horizon}, got k2={k2}, k1={k1}: a target would arrive after "
            "its step left the window",
        )


def _require_readout(spec: SpecFields) -> None:
    if (roots := spec.n_outputs * spec.n_regressors**2) > LARGEST_ROOTS:
        raise RuleError(
            "model",
            "readout",
            f"rls keeps outputs x regressors^2 numbers, here {spec.n_outputs} x "
            f"{spec.n_regressors}^2 = {roots:,}, more than {LARGEST_ROOTS:,}; take fewer features, lags or "
            "horizons, or readout: linear",
        )


def _require_sound(spec: SpecFields) -> None:
    """Raise RuleError for a number that is beyond any use, and makes arrays or weights overflow."""
    if spec.n_features > SIZE[1]:
        raise ValueError(f"n_features: at most {SIZE[1]:,}, got {spec.n_features:,}")
    for path, (least, most) in SOUND.items():
        section, field = path.split(".")
        value = getattr(getattr(spec, section), field)
        for number in value if isinstance(value, tuple) else (value,):
            if number not in (None, "auto") and not least <= number <= most:
                raise RuleError(section, field, f"expected a number from {least:g} to {most:g}, got {number}")
    decayed = spec.lr * spec.learning.weight_decay
    if spec.optimizer == "adamw" and decayed > 1:
        raise RuleError(
            "learning",
            "weight_decay",
            f"lr times it must be at most 1, got {decayed:g}: each step would take more off a weight than it has",
        )
    # What no target tells about grows by 1 / forgetting from one update to the next, until its weight has its turn.
    if -spec.n_regressors * math.log(spec.model.forgetting) > LARGEST_GROWTH:
        raise RuleError(
            "model",
            "rls_forgetting",
            f"{spec.model.forgetting} forgets too fast for {spec.n_regressors} regressors; expected at least "
            f"{math.exp(-LARGEST_GROWTH / spec.n_regressors):.3g}, or what is known of their weights overflows",
        )


def _require_text(spec: SpecFields) -> None:
    if spec.text is None:
        return
    if spec.target.classes is None or spec.target.known != "record":
        raise RuleError("target", "known", "the units of a text are classes, each known once it was predicted")
    if not spec.inputs.previous_target:
        raise RuleError("inputs", "previous_target", "each unit of a text is predicted from the one before it")
    symbols, unit = spec.target.symbols, spec.text.unit
    if symbols is not None and symbols.bytes != (unit == "byte"):
        found = "bytes: true" if symbols.bytes else "another set than the 256 bytes"
        expected = "bytes: true with unit: byte, and with it alone"
        raise RuleError("target", "classes", f"found {found} with text.unit: {unit}; expected {expected}")


def _require_sequence(spec: SpecFields) -> None:
    sequence, target, model = spec.sequence, spec.target, spec.model
    if (sequence is None) != (target.kind is None):
        where = "single steps, of which there is nothing else to say" if sequence is None else "whole sequences"
        raise RuleError("target", "kind", f"found {target.kind} where records are {where}")
    if sequence is None:
        if spec.learning.average is not None:
            raise RuleError("learning", "average", "goes with whole sequences; records are single steps here")
        if spec.looks_ahead:
            _require_lookahead(spec)
        return
    if spec.text is not None:
        raise RuleError("target", "kind", "a record is a text or a sequence of frames, not both")
    if spec.inputs.dt or spec.inputs.previous_target:
        raise RuleError("inputs", "dt", "of a whole sequence nothing is derived from the stream's past; say false")
    if model.readout == "rls":
        raise RuleError("model", "readout", "rls goes with single steps; a whole sequence has linear or softmax")
    if model.readout == "logistic" and target.kind not in ("label", "labels"):
        raise RuleError("model", "readout", f"logistic goes with kind label or labels, not with {target.kind}")
    if model.effective_loss == "quantile" and target.kind != "label":
        raise RuleError("model", "loss", f"quantile goes with kind label, not with {target.kind}")
    _require_frames(spec, sequence)


def _require_lookahead(spec: SpecFields) -> None:
    """Raise RuleError for what does not go with predictions that wait for the steps behind their own."""
    model, target = spec.model, spec.target
    rules = (
        ("model", "lookahead", not model.lookahead, "direction both of single steps needs how many steps it may "
         f"look ahead, 1 or more; found {model.lookahead}"),
        ("target", "known", target.known != "record", f"found {target.known}: what is known only after the event "
         "is not there when its prediction, which waits for the steps behind it, is scored; expected record"),
        ("model", "readout", model.readout == "rls", "rls reads the newest known targets, which come after those "
         "that wait; expected linear, softmax or logistic"),
        ("model", "direction", spec.text is not None, "both would read the units of a text that are to be "
         "predicted; expected forward"),
        ("inputs", "previous_target", spec.inputs.previous_target, "steps behind an event would show its target "
         "before it is predicted; say false"),
    )  # fmt: skip
    _require_none(rules)


def _require_rule(spec: SpecFields) -> None:
    """Raise RuleError for what does not go with how the cell learns."""
    given = spec.learning.rule
    if given is not None and given != spec.rule:
        *most, last = (cell for cell, rule in RULE_OF.items() if rule == given)
        raise RuleError(
            "learning",
            "rule",
            f"{given} goes with cell {', '.join(most)} and {last}, not with {spec.model.cell}; leave it out, or take "
            "another cell",
        )
    if spec.model.is_exact:  # first: of a cell that cannot be there at all, no other setting is at fault
        _require_none(_of_exact_cell(spec))
    _require_none(_of_cell(spec))
    if spec.rule == "fixed":
        _require_none(_of_bank(spec))
    k1, k2 = spec.k1, spec.k2
    if spec.rule == "tbptt" and k1 > k2:
        raise RuleError(
            "learning",
            "k1",
            f"must be at most k2, got k1={k1} and k2={k2}: targets older than the window of k2 steps could never be "
            "learned",
        )


def _of_cell(spec: SpecFields) -> tuple[Rule, ...]:
    """Settings that some cells or records know and others do not."""
    model = spec.model
    waits = "whole sequences" if spec.sequence is not None else "predictions that wait for later steps"
    return (
        ("model", "gates", not model.gates and model.cell != "glru", "found false, which takes the gates off "
         f"cell glru and means nothing to {model.cell}: leave it out"),
        ("model", "memory", model.memory is not None and model.cell == "rnn", f"found {model.memory} with cell rnn, "
         "whose units have no gate that could begin with such a memory: leave it out, or take cell lstm or gru"),
        ("model", "hidden_layer", model.hidden_units > 0 and spec.kernels == "sequences", "found "
         f"{model.hidden_layer}; the readout of {waits} sees the states themselves: leave it out, and take more units "
         "or layers instead"),
    )  # fmt: skip


def _of_exact_cell(spec: SpecFields) -> tuple[Rule, ...]:
    """What a cell whose gradient is carried along, or which has none, cannot have."""
    model, learning, cell = spec.model, spec.learning, spec.model.cell
    decays = spec.optimizer == "adamw" and learning.weight_decay > 0 and spec.rule == "rtrl"
    return (
        ("model", "cell", spec.sequence is not None, f"found {cell} beside whole sequences, which are learned from end "
         "to end: expected rnn, lstm or gru"),
        ("model", "direction", model.direction != "forward", f"found {model.direction} with cell {cell}, whose "
         "gradient is carried along from step to step and cannot come back from later ones: expected forward, or cell "
         "rnn, lstm or gru"),
        ("model", "num_layers", model.num_layers != 1, f"found {model.num_layers} with cell {cell}; a unit's gradient "
         "is carried along only where no other unit's state is between, so there is one layer: expected 1; take more "
         "units (hidden_size) or a hidden_layer instead"),
        ("model", "memory", model.memory == "auto", f"found auto with cell {cell}; auto is k2, the window, "
         "and this cell has none: say how many steps back matter, or leave it out"),
        ("learning", "k2", learning.k2 is not None, f"found {learning.k2} with cell {cell}, which has no window and "
         "learns from all steps of the sequence: leave it out; memory says how far back it matters"),
        ("learning", "batch_size", learning.batch_size != 1, f"found {learning.batch_size} with cell {cell}, which has "
         "no windows to put together: expected 1; k1 says how many events make an optimiser step"),
        ("learning", "optimizer", decays, f"found adamw with cell {cell}, of which time constants are weights: drawn "
         "to zero, all units would come to forget alike and soon; take adam, or in a job weight_decay: 0"),
    )  # fmt: skip


FOR_STATISTICS = frozenset({"rule", "batch_size", "k2", "average", "scale", "target_shrinkage", "scale_memory"})
"""Fields of ``learning`` that concern more than weights that gradients train, or have rules of their own."""


def _of_bank(spec: SpecFields) -> tuple[Rule, ...]:
    """A bank's weights stay as they are: only its readout learns, by least squares."""
    learning = spec.learning
    fresh = type(learning)()
    why = "with cell bank, of which no weight is trained by a gradient: leave it out; rls_forgetting and "
    idle = tuple(
        ("learning", name, found != getattr(fresh, name), f"found {found} {why}rls_prior say how it learns")
        for name, found in msgspec.structs.asdict(learning).items()
        if name not in FOR_STATISTICS
    )  # fmt: skip
    readout = spec.model.readout
    return (
        ("model", "readout", readout != "rls", f"found {readout} with cell bank, whose filters are fixed, so that all "
         "that learns is least squares on what they say: expected rls, which predicts numbers; for else take glru"),
        ("model", "memory", spec.model.memory is not None, f"found {spec.model.memory} with cell bank, whose filters "
         "begin and stay as they are: leave it out; lags says how many newest targets the readout sees"),
        *idle,
    )  # fmt: skip


def _require_frames(spec: SpecFields, sequence: SequenceSpec) -> None:
    """Raise RuleError for what does not go with how the sequence comes."""
    target, model = spec.target, spec.model
    if sequence.carry and model.direction == "both":
        raise RuleError("model", "direction", "with carry a state goes on to what comes next: forward only")
    if sequence.chunks != spec.has_end:
        raise RuleError("sequence", "chunks", "chunks go up to an end mark, so both or none")
    looks = target.kind == "sequence" and not target.says_numbers and model.attention
    table = sequence.max_steps * (target.max_symbols + 1)
    if (looks or target.kind == "transcript") and table > LARGEST_TABLE:
        found = f"{target.max_symbols:,} by sequence.max_steps ({sequence.max_steps:,})"
        raise RuleError("target", "max_symbols", f"found {found}; a table of all of them has at most {LARGEST_TABLE:,}")
    if sequence.chunks and target.kind == "labels" and target.is_open:
        raise RuleError("target", "classes", "labels of chunks wait for the end, with numbers of their own: list them")
    if sequence.stack > 1 and (spec.symbols or target.kind == "labels"):
        found = "inputs are symbols" if spec.symbols else "each frame has a label"
        raise RuleError("sequence", "stack", f"found {sequence.stack} where {found}; expected 1")
    if sequence.normalise == "sequence" and sequence.chunks and model.direction == "forward":
        raise RuleError("sequence", "normalise", "what is said so far cannot know the whole sequence; say running")
