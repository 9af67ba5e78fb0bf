"""What is said of a setting that changes, and the rules that say it.

A rule is given the old and the new specification, which differ in its setting, and says how the change is taken up: at
once, by growth, or not at all. Which rule a setting has stands in ``changes``; most have one by their own name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import NamedTuple

from streamrnn.learner.spec import CODED, LAST, LearnerSpec
from streamrnn.learner.symbols import Symbols
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

WINDOWS = "windows are laid out anew; those that reach back behind the change begin from the nearest state kept"


def of_quantiles(old: LearnerSpec, new: LearnerSpec) -> Verdict:  # noqa: ARG001
    if old.model.effective_loss != "quantile":
        return Verdict(Way.AT_ONCE, "without effect")
    return Verdict(Way.IMPOSSIBLE, "each output was learned for its level")


def of_lags(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if not old.n_regressors:
        return Verdict(Way.AT_ONCE, "without effect")
    more = "weights of the new lags begin at zero; a stream knows them once it has seen as many values"
    return if_more(lambda of: of.model.lags, more, "the readout's weights for lags cannot be taken out")(old, new)


def of_max_streams(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    fewer = new.streams.max_streams < old.streams.max_streams
    if fewer and old.looks_ahead:
        why = "events that wait in streams without room would never be predicted; have fewer streams by ttl_s or "
        return Verdict(Way.IMPOSSIBLE, why + "max_bytes, for which each leaves with a record that tells of its events")
    why = "where there are more streams than that, new ones and those least recently seen are dropped" if fewer else ""
    return Verdict(Way.AT_ONCE, why)


def of_reset_after(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if (old.streams.reset_after_s is None) == (new.streams.reset_after_s is None):
        return Verdict(Way.AT_ONCE, "")
    return Verdict(Way.GROWTH, WINDOWS)


def of_fields(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if old.n_targets == new.n_targets:
        return Verdict(Way.AT_ONCE, "under other names")
    if old.n_targets > new.n_targets:
        return Verdict(Way.IMPOSSIBLE, "what was learned of a field cannot be taken out")
    # A further field stands behind the others in every array only where each field has one output and one lag less.
    if len(old.target.steps_ahead) > 1 or old.n_regressors or old.model.effective_loss == "quantile":
        return Verdict(Way.IMPOSSIBLE, "fields are added with one horizon, and neither readout rls nor loss quantile")
    return Verdict(Way.GROWTH, "weights of the new outputs begin at zero")


def of_known(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if "forecast" in (old.target.known, new.target.known):
        return Verdict(Way.IMPOSSIBLE, "a forecast of the next values is another target than a value of the record")
    if new.target.known == "record":
        given_up = "predictions that still wait for a label are given up"
        if new.rule == "rtrl":
            given_up += "; in streams where some do, gradients reach back no further than to the newest state"
        return Verdict(Way.GROWTH, given_up)
    return Verdict(Way.GROWTH, "predictions are remembered from now on")


def of_hidden_size(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    grown = "predictions go on as they were: the weights by which new units are heard begin at zero"
    if old.rule == "fixed" and new.model.units > old.model.units:
        why = "new filters would change what the layer makes of the others, which the readout has learned; "
        return Verdict(Way.IMPOSSIBLE, why + "hidden_layer can grow")
    if old.target.kind == "sequence" and new.model.units > old.model.units:
        why = "a decoder begins with the encoder's units, and new ones would change where it looks"
        return Verdict(Way.IMPOSSIBLE, why)
    return if_more(lambda of: of.model.units, grown, "units that were learned cannot be taken out")(old, new)


def of_hidden_layer(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if not (old.model.hidden_units and new.model.hidden_units):
        return impossible("the readout learned to read the states themselves, or what a layer makes of them")(old, new)
    grown = "predictions go on as they were: the weights by which new units are heard begin at zero"
    return if_more(lambda of: of.model.hidden_units, grown, "units that were learned cannot be taken out")(old, new)


def of_memory(old: LearnerSpec, new: LearnerSpec) -> Verdict:  # noqa: ARG001
    bound = ", and how slow they may become, which holds from now on" if old.model.cell == "glru" else ""
    return Verdict(Way.AT_ONCE, f"it tells how units begin, which concerns new ones only{bound}")


def of_window(old: LearnerSpec, new: LearnerSpec) -> Verdict:  # noqa: ARG001
    """Of ``learning.k1`` and ``learning.k2``."""
    if old.rule == "tbptt":
        return Verdict(Way.GROWTH, WINDOWS)
    return Verdict(Way.AT_ONCE, "what was learned since the last optimiser step is given up")


def of_optimizer(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    alike = {old.optimizer, new.optimizer} == {"adam", "adamw"}  # which differ in the decay of weights alone
    return (at_once() if alike else impossible("the running means of one optimiser mean nothing to another"))(old, new)


def of_label_memory(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    kept = "the newest events that wait for a label are kept"
    if new.delay < old.delay:
        kept += "; where learning is further behind than that, gradients reach back no further than to the newest state"
    return Verdict(Way.GROWTH, kept)


def of_n_features(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    of_filters = "filters take new columns in as if they had been missing so far"
    grown = of_filters if old.rule == "fixed" else "new columns begin at zero"
    shrunk = "what was learned of a column cannot be taken out; a field that no longer comes counts as missing"
    return if_more(lambda of: of.n_features, grown, shrunk)(old, new)


def coded(rule: Rule) -> Rule:
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


def of_lookahead(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if old.looks_ahead or new.looks_ahead:
        return Verdict(
            Way.IMPOSSIBLE,
            "events that wait were promised that many behind them, and what reads back over them was learned for that",
        )
    return Verdict(Way.AT_ONCE, "states that look ahead less or more are others than those learned from")


def of_average(old: LearnerSpec, new: LearnerSpec) -> Verdict:
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


def of_symbols(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if len(old.symbols) != len(new.symbols):
        return Verdict(Way.IMPOSSIBLE, "inputs that are looked up cannot be taken out, nor put in later")
    return strictest(map(of_set, old.symbols, new.symbols))


def of_classes(old: LearnerSpec, new: LearnerSpec) -> Verdict:
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


def of_text(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if old.text and new.text and (old.text.unit, old.text.mark_end) == (new.text.unit, new.text.mark_end):
        return Verdict(Way.AT_ONCE, "of the texts to come")
    return Verdict(Way.IMPOSSIBLE, "units, and whether a text's end is one, give what was learned its meaning")


def of_missing(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if old.missing.count(LAST) == new.missing.count(LAST):
        return Verdict(Way.AT_ONCE, "")
    return Verdict(Way.GROWTH, "last values are remembered from now on")


def of_baseline(old: LearnerSpec, new: LearnerSpec) -> Verdict:
    if old.target.period == new.target.period:
        return Verdict(Way.AT_ONCE, "the same, written otherwise")
    return Verdict(Way.IMPOSSIBLE, "outputs were learned as differences to another value")


def of_dt(old: LearnerSpec, new: LearnerSpec) -> Verdict:  # noqa: ARG001
    if new.inputs.dt:
        return Verdict(Way.GROWTH, "the new column begins at zero")
    return Verdict(Way.IMPOSSIBLE, "what was learned of an input cannot be taken out")
