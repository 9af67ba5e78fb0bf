"""What becomes of what was learned when a setting changes: for every field of a specification, in one table.

A change is taken up at once (only what comes is computed otherwise), by growth (arrays get new entries or are laid out
anew, see ``growth``), or not at all, for a reason that ``SETTINGS`` gives. A field without a row there cannot be
changed, and a test asks for its row. Names of columns are not known here: whether the columns of two specifications
mean the same is for those to say who named them, a job or an estimator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from streamrnn.learner.spec import CODED, LAST, LearnerSpec
from streamrnn.learner.symbols import Symbols, TextSpec
from streamrnn.learner.values import canonical_text


class Way(StrEnum):
    """How a change is taken up."""

    AT_ONCE = "at once"
    GROWTH = "by growth"
    IMPOSSIBLE = "not possible"


class Verdict(NamedTuple):
    """How, and what comes of it or why it cannot be."""

    way: Way
    why: str


class Change(NamedTuple):
    """A setting that changes: its path, what it was and what it is to be, how that is taken up, and what it means."""

    path: str
    before: Any
    now: Any
    way: Way
    why: str


def strictest(verdicts: Iterable[Verdict]) -> Verdict:
    """Of what is said of several things that change together: where one is not possible, all are not."""
    return max(verdicts, key=lambda verdict: tuple(Way).index(verdict.way))


Rule = Callable[[LearnerSpec, LearnerSpec], Verdict]
"""From the old and the new specification, which differ in the setting that the rule stands for."""


def at_once(why: str = "") -> Rule:
    """A setting that concerns what comes only."""
    return lambda old, new: Verdict(Way.AT_ONCE, why)  # noqa: ARG005


def growth(why: str) -> Rule:
    """A setting whose arrays are laid out anew, whatever it changes to."""
    return lambda old, new: Verdict(Way.GROWTH, why)  # noqa: ARG005


def impossible(why: str) -> Rule:
    """A setting that gives what was learned its meaning."""
    return lambda old, new: Verdict(Way.IMPOSSIBLE, why)  # noqa: ARG005


def if_more(of: Callable[[LearnerSpec], int], grown: str, shrunk: str) -> Rule:
    """A size that can grow and not shrink."""

    def rule(old: LearnerSpec, new: LearnerSpec) -> Verdict:
        before, now = of(old), of(new)
        unsure = _UNSURE if new.n_regressors > old.n_regressors > 0 else ""
        return Verdict(Way.GROWTH, grown + unsure) if now >= before else Verdict(Way.IMPOSSIBLE, shrunk)

    return rule


_UNSURE = "; new regressors of readout rls add to its variance, which draws predictions to the newest value"


# -- rules that look closer -------------------------------------------------------------------------------------------

_WINDOWS = "windows are laid out anew; those that reach back behind the change begin from the nearest state kept"


def _quantiles(old: LearnerSpec, new: LearnerSpec) -> Verdict:  # noqa: ARG001
    if old.model.effective_loss != "quantile":
        return Verdict(Way.AT_ONCE, "without effect")
    return Verdict(Way.IMPOSSIBLE, "each output was learned for its level")


def _lags(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if not old.n_regressors:
        return Verdict(Way.AT_ONCE, "without effect")
    more = "weights of the new lags begin at zero; a stream knows them once it has seen as many values"
    return if_more(lambda of: of.model.lags, more, "the readout's weights for lags cannot be taken out")(old, new)


def _max_streams(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    fewer = new.streams.max_streams < old.streams.max_streams
    if fewer and old.looks_ahead:
        why = "events that wait in streams without room would never be predicted; have fewer streams by ttl_s or "
        return Verdict(Way.IMPOSSIBLE, why + "max_bytes, for which each leaves with a record that tells of its events")
    why = "where there are more streams than that, new ones and those least recently seen are dropped" if fewer else ""
    return Verdict(Way.AT_ONCE, why)


def _reset_after(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if (old.streams.reset_after_s is None) == (new.streams.reset_after_s is None):
        return Verdict(Way.AT_ONCE, "")
    return Verdict(Way.GROWTH, _WINDOWS)


def _fields(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if old.n_targets == new.n_targets:
        return Verdict(Way.AT_ONCE, "under other names")
    if old.n_targets > new.n_targets:
        return Verdict(Way.IMPOSSIBLE, "what was learned of a field cannot be taken out")
    # A further field stands behind the others in every array only where each field has one output and one lag less.
    if len(old.target.steps_ahead) > 1 or old.n_regressors or old.model.effective_loss == "quantile":
        return Verdict(Way.IMPOSSIBLE, "fields are added with one horizon, and neither readout rls nor loss quantile")
    return Verdict(Way.GROWTH, "weights of the new outputs begin at zero")


def _known(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if "forecast" in (old.target.known, new.target.known):
        return Verdict(Way.IMPOSSIBLE, "a forecast of the next values is another target than a value of the record")
    if new.target.known == "record":
        given_up = "predictions that still wait for a label are given up"
        if new.rule == "rtrl":
            given_up += "; in streams where some do, gradients reach back no further than to the newest state"
        return Verdict(Way.GROWTH, given_up)
    return Verdict(Way.GROWTH, "predictions are remembered from now on")


def _hidden_size(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    grown = "predictions go on as they were: the weights by which new units are heard begin at zero"
    if old.rule == "fixed" and new.model.units > old.model.units:
        why = "new filters would change what the layer makes of the others, which the readout has learned; "
        return Verdict(Way.IMPOSSIBLE, why + "hidden_layer can grow")
    if old.target.kind == "sequence" and new.model.units > old.model.units:
        why = "a decoder begins with the encoder's units, and new ones would change where it looks"
        return Verdict(Way.IMPOSSIBLE, why)
    return if_more(lambda of: of.model.units, grown, "units that were learned cannot be taken out")(old, new)


def _hidden_layer(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if not (old.model.hidden_units and new.model.hidden_units):
        return impossible("the readout learned to read the states themselves, or what a layer makes of them")(old, new)
    grown = "predictions go on as they were: the weights by which new units are heard begin at zero"
    return if_more(lambda of: of.model.hidden_units, grown, "units that were learned cannot be taken out")(old, new)


def _memory(old: LearnerSpec, new: LearnerSpec) -> Verdict:  # noqa: ARG001
    bound = ", and how slow they may become, which holds from now on" if old.model.cell == "glru" else ""
    return Verdict(Way.AT_ONCE, f"it tells how units begin, which concerns new ones only{bound}")


def _window(old: LearnerSpec, new: LearnerSpec) -> Verdict:  # noqa: ARG001
    """Of ``learning.k1`` and ``learning.k2``."""
    if old.rule == "tbptt":
        return Verdict(Way.GROWTH, _WINDOWS)
    return Verdict(Way.AT_ONCE, "what was learned since the last optimiser step is given up")


def _optimizer(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    alike = {old.optimizer, new.optimizer} == {"adam", "adamw"}  # which differ in the decay of weights alone
    return (at_once() if alike else impossible("the running means of one optimiser mean nothing to another"))(old, new)


def _label_memory(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    kept = "the newest events that wait for a label are kept"
    if new.delay < old.delay:
        kept += "; where learning is further behind than that, gradients reach back no further than to the newest state"
    return Verdict(Way.GROWTH, kept)


def _n_features(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    of_filters = "filters take new columns in as if they had been missing so far"
    grown = of_filters if old.rule == "fixed" else "new columns begin at zero"
    shrunk = "what was learned of a column cannot be taken out; a field that no longer comes counts as missing"
    return if_more(lambda of: of.n_features, grown, shrunk)(old, new)


def _coded(rule: Rule) -> Rule:
    """Of sets of symbols, which exact cells see by a few columns of all of them together."""

    def closer(old: LearnerSpec, new: LearnerSpec) -> Verdict:
        return strictest(filter(None, (of_codes(old, new), rule(old, new))))

    return closer


def of_codes(old: LearnerSpec, new: LearnerSpec) -> Verdict | None:
    """What becomes of the columns by which an exact cell sees symbols, where there are more; None: nothing new."""
    before, now = old.n_looked_up, new.n_looked_up
    if not old.model.is_exact or now <= before or now <= CODED:
        return None
    if before <= CODED:
        return Verdict(
            Way.IMPOSSIBLE,
            f"cell {old.model.cell} has a column for each symbol up to {CODED} of all inputs together, and codes over "
            f"as many columns for more, here {now}; columns that were learned for one symbol each mean nothing as "
            "parts of codes",
        )
    return Verdict(Way.GROWTH, "new symbols are shown by codes of their own")


def _lookahead(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if old.looks_ahead or new.looks_ahead:
        return Verdict(
            Way.IMPOSSIBLE,
            "events that wait were promised that many behind them, and what reads back over them was learned for that",
        )
    return Verdict(Way.AT_ONCE, "states that look ahead less or more are others than those learned from")


def _average(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if old.learning.average is None:
        return Verdict(Way.GROWTH, "an average begins with the weights as they are")
    if new.learning.average is None:
        return Verdict(Way.GROWTH, "predictions are made with the newest weights from now on")
    return Verdict(Way.AT_ONCE, "")


def of_open_sequences(of: Callable[[LearnerSpec], int]) -> Rule:
    """A bound of sequences: of those that come in chunks some have not ended, and are kept in arrays of that length."""
    kept = if_more(of, "sequences that have not ended go on", "sequences that have not ended may be longer")

    def rule(old: LearnerSpec, new: LearnerSpec) -> Verdict:
        in_chunks = old.sequence is not None and old.sequence.chunks
        return kept(old, new) if in_chunks else Verdict(Way.AT_ONCE, "of the sequences to come")

    return rule


_OPEN = "the symbols of an open set have their numbers from the records, those of a declared one from their places"
_NUMBERED = "a symbol keeps the number it was given, and what was learned of it: max can be raised, not lowered"
_THEIR_OWN = "symbols for which there was no number get their own when they come again"
_PLACES = "symbols are known by their place: keep the old ones in their order, new behind"


def of_set(old: Symbols, new: Symbols) -> Verdict:
    """What becomes of a set of symbols that are looked up."""
    if old.open != new.open:
        return Verdict(Way.IMPOSSIBLE, _OPEN)
    if new.open:
        if new.max < old.max:
            return Verdict(Way.IMPOSSIBLE, _NUMBERED)
        return Verdict(Way.GROWTH, f"{_THEIR_OWN}, and begin as what all of them shared")
    before, now = ([canonical_text(label, "symbols") for label in of.labels or ()] for of in (old, new))
    if now[: len(before)] != before:
        return Verdict(Way.IMPOSSIBLE, _PLACES)
    if now == before:
        return Verdict(Way.AT_ONCE, "the same, written otherwise")
    return Verdict(Way.GROWTH, "new symbols begin at zero, as they counted while they were missing")


def _symbols(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if len(old.symbols) != len(new.symbols):
        return Verdict(Way.IMPOSSIBLE, "inputs that are looked up cannot be taken out, nor put in later")
    return strictest(map(of_set, old.symbols, new.symbols))


def _classes(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if old.target.classes is None or new.target.classes is None:
        return Verdict(Way.IMPOSSIBLE, "numbers and classes are learned by different outputs")
    before, now = old.n_classes, new.n_classes
    if old.target.is_open != new.target.is_open:
        return Verdict(Way.IMPOSSIBLE, "the classes of an open set have their numbers from the records")
    if old.target.is_open and now < before:
        return Verdict(Way.IMPOSSIBLE, _NUMBERED)
    if old.target.is_open:
        return Verdict(Way.GROWTH, _THEIR_OWN)
    if now < before:
        return Verdict(Way.IMPOSSIBLE, "what was learned of a class cannot be taken out")
    if old.text is not None and of_set(_set(old), _set(new)).way is Way.IMPOSSIBLE:
        return Verdict(Way.IMPOSSIBLE, _PLACES)
    if now == before:
        return Verdict(Way.AT_ONCE, "under other names")
    if old.has_end_symbol:
        return Verdict(Way.IMPOSSIBLE, "the end has the number behind the others, which was learned for it")
    if old.model.readout == "logistic":
        return Verdict(Way.IMPOSSIBLE, "the one output of readout logistic tells two classes apart")
    return Verdict(Way.GROWTH, "a new class begins with zero weights and the lowest bias of the others")


def _set(of: LearnerSpec) -> Symbols:
    """Of a learner of classes: those that it has."""
    assert of.target.symbols is not None
    return of.target.symbols


def _text(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if old.text and new.text and (old.text.unit, old.text.mark_end) == (new.text.unit, new.text.mark_end):
        return Verdict(Way.AT_ONCE, "of the texts to come")
    return Verdict(Way.IMPOSSIBLE, "units, and whether a text's end is one, give what was learned its meaning")


def _missing(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if old.missing.count(LAST) == new.missing.count(LAST):
        return Verdict(Way.AT_ONCE, "")
    return Verdict(Way.GROWTH, "last values are remembered from now on")


def _baseline(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if old.target.period == new.target.period:
        return Verdict(Way.AT_ONCE, "the same, written otherwise")
    return Verdict(Way.IMPOSSIBLE, "outputs were learned as differences to another value")


def _dt(old: LearnerSpec, new: LearnerSpec) -> Verdict:  # noqa: ARG001
    if new.inputs.dt:
        return Verdict(Way.GROWTH, "the new column begins at zero")
    return Verdict(Way.IMPOSSIBLE, "what was learned of an input cannot be taken out")


# -- the table --------------------------------------------------------------------------------------------------------

SETTINGS: Mapping[str, Rule] = {
    "n_features": _n_features,
    "indicator": at_once(),  # which column it belongs to is for those to say who named the columns
    "missing": _missing,
    "symbols": _coded(_symbols),
    "has_end": growth(_WINDOWS),
    "text": _text,
    "model.cell": impossible("gates and states of one cell mean nothing to another"),
    "sequence": impossible("a learner of whole sequences is another one than one of single steps"),
    "sequence.max_steps": of_open_sequences(lambda of: 0 if of.sequence is None else of.sequence.max_steps),
    "sequence.stack": impossible("each input was learned for its place among the frames of a step"),
    "sequence.chunks": impossible("records that are chunks are other records than whole sequences"),
    "sequence.carry": impossible("a state that goes on is kept of each stream, or none is"),
    "sequence.normalise": impossible("weights learned on numbers of one kind mean nothing to others"),
    "model.gates": impossible("units with gates keep and learn another state than those without"),
    "model.hidden_layer": _hidden_layer,
    "model.hidden_size": _hidden_size,
    "model.direction": impossible("what reads backwards is half of what the outputs were learned for"),
    "model.lookahead": _lookahead,
    "model.attention": impossible("outputs were learned for what attention adds, or for doing without"),
    "model.beam": at_once(),
    "model.num_layers": impossible("a layer that is put in or taken out changes what the others are given"),
    "model.memory": _memory,
    "model.dtype": impossible("numbers of another precision lead to other states"),
    "model.readout": impossible("the weights of one readout mean nothing to another"),
    "model.loss": impossible("outputs that were learned for one loss mean something else under another"),
    "model.huber_delta": at_once(),
    "model.quantiles": _quantiles,
    "model.lags": _lags,
    "model.rls_forgetting": at_once(),
    "model.rls_prior": at_once(),
    "learning.rule": impossible("it goes with the cell"),
    "learning.k1": _window,
    "learning.k2": _window,
    "learning.batch_size": at_once("a batch that was begun is given up"),
    "learning.optimizer": _optimizer,
    "learning.lr": at_once(),
    "learning.schedule": at_once("the steps taken so far count"),
    "learning.schedule_updates": at_once(),
    "learning.schedule_least": at_once(),
    "learning.clip_norm": at_once(),
    "learning.average": _average,
    "learning.polyak_bound": at_once(),
    "learning.momentum": at_once(),
    "learning.rmsprop_alpha": at_once(),
    "learning.betas": at_once("means that run on fade at the new pace"),
    "learning.eps": at_once(),
    "learning.weight_decay": at_once(),
    "learning.scale": impossible("weights learned on standardised numbers mean nothing to raw ones"),
    "learning.target_shrinkage": at_once(),
    "learning.scale_memory": at_once(),
    "streams.max_streams": _max_streams,
    "streams.protected_share": at_once("the next stream that has to leave is chosen by it"),
    "streams.max_bytes": at_once("where streams take more than that, some are dropped with the next new one"),
    "streams.ttl_s": at_once("a stream idle for longer is dropped with the next record"),
    "streams.reset_after_s": _reset_after,
    "streams.max_time_jump_s": at_once(),
    "target.fields": _fields,
    "target.kind": impossible("what is predicted of a sequence decides what the network is"),
    "target.max_symbols": of_open_sequences(lambda of: of.target.max_symbols),
    "target.known": _known,
    "target.horizon": impossible("each output was learned for its number of steps ahead"),
    "target.baseline": _baseline,
    "target.classes": _coded(_classes),
    "target.missing": at_once("of the records to come"),
    "target.event_field": at_once("events that wait for a label keep the names they have"),
    "target.label_field": at_once("events that wait for a label keep the names they have"),
    "target.label_memory": _label_memory,
    "inputs.dt": _dt,
    "inputs.previous_target": impossible("what was learned of these inputs cannot be taken out, nor put in later"),
}
"""For every field of ``LearnerSpec``, by its path, what becomes of what was learned when it changes."""


def changes(old: LearnerSpec, new: LearnerSpec) -> list[Change]:
    """Every field in which the two differ, in the order of the table, with how that is taken up.

    >>> from streamrnn.learner.spec import LearningSpec
    >>> from streamrnn.learner.target_spec import TargetSpec
    >>> spec = LearnerSpec(n_features=1, target=TargetSpec(fields=("y",)))
    >>> [c.way.value for c in changes(spec, msgspec.structs.replace(spec, learning=LearningSpec(lr=0.1)))]
    ['at once']
    """
    before, now = settings(old), settings(new)
    order = {path: i for i, path in enumerate(SETTINGS)}
    found = []
    for path in sorted(before.keys() & now.keys(), key=lambda name: order.get(name, len(order))):
        if before[path] != now[path]:
            rule = SETTINGS.get(path, impossible("nobody has said what becomes of what was learned"))
            found.append(Change(path, before[path], now[path], *rule(old, new)))
    return found


def settings(of: LearnerSpec) -> dict[str, Any]:
    """Its fields by path. What is in force is spelled out, since writing a default down changes nothing."""
    return {**_leaves(of), **of.in_force, "sequence": of.sequence is not None}


def refusals(old: LearnerSpec, new: LearnerSpec, *, streams: bool = True) -> list[str]:
    """Why a learner of ``new`` cannot go on from one of ``old``, one reason a line; empty where it can.

    ``streams=False``: what is known of single streams is left behind.
    """
    return [
        f"{path}: {shown(path, before)} in what was learned, {shown(path, now)} here: {why}"
        for path, before, now, way, why in changes(old, new)
        if way is Way.IMPOSSIBLE and (streams or not path.startswith("streams."))
    ]


def shown(path: str, value: Any) -> str:
    """A value in a message; of names that mean nothing here, their number."""
    if path == "symbols":
        return ", ".join(shown("", of) for of in value) or "none"
    if isinstance(value, Symbols):
        return f"an open set of {value.max:,}" if value.open else "the 256 bytes" if value.bytes else str(value.size)
    counted = path in {"target.fields", "target.classes"} and value is not None
    return str(len(value)) if counted else repr(value)


def _leaves(of: msgspec.Struct, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in of.__struct_fields__:
        value = getattr(of, name)
        section = isinstance(value, msgspec.Struct) and not isinstance(value, Symbols | TextSpec)
        found |= _leaves(value, f"{prefix}{name}.") if section else {prefix + name: value}
    return found
