"""What becomes of what was learned when a setting changes: for every field of a specification, in one table.

A change is taken up at once (only what comes is computed otherwise), by growth (arrays get new entries or are laid out
anew, see ``growth``), or not at all, for a reason that its rule gives (``verdicts``). A field without a row in
``SETTINGS`` cannot be changed, and a test asks for its row. Names of columns are not known here: whether the columns of
two specifications mean the same is for those to say who named them, a job or an estimator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.symbols import Symbols, TextSpec
from streamrnn.learner.verdicts import (
    WINDOWS,
    Rule,
    Way,
    at_once,
    coded,
    growth,
    impossible,
    of_average,
    of_baseline,
    of_classes,
    of_dt,
    of_fields,
    of_hidden_layer,
    of_hidden_size,
    of_known,
    of_label_memory,
    of_lags,
    of_lookahead,
    of_max_streams,
    of_memory,
    of_missing,
    of_n_features,
    of_open_sequences,
    of_optimizer,
    of_quantiles,
    of_reset_after,
    of_symbols,
    of_text,
    of_window,
)


class Change(NamedTuple):
    """A setting that changes: its path, what it was and what it is to be, how that is taken up, and what it means."""

    path: str
    before: Any
    now: Any
    way: Way
    why: str


SETTINGS: Mapping[str, Rule] = {
    "n_features": of_n_features,
    "indicator": at_once(),  # which column it belongs to is for those to say who named the columns
    "missing": of_missing,
    "symbols": coded(of_symbols),
    "has_end": growth(WINDOWS),
    "text": of_text,
    "model.cell": impossible("gates and states of one cell mean nothing to another"),
    "sequence": impossible("a learner of whole sequences is another one than one of single steps"),
    "sequence.max_steps": of_open_sequences(lambda of: 0 if of.sequence is None else of.sequence.max_steps),
    "sequence.stack": impossible("each input was learned for its place among the frames of a step"),
    "sequence.chunks": impossible("records that are chunks are other records than whole sequences"),
    "sequence.carry": impossible("a state that goes on is kept of each stream, or none is"),
    "sequence.normalise": impossible("weights learned on numbers of one kind mean nothing to others"),
    "model.gates": impossible("units with gates keep and learn another state than those without"),
    "model.hidden_layer": of_hidden_layer,
    "model.hidden_size": of_hidden_size,
    "model.direction": impossible("what reads backwards is half of what the outputs were learned for"),
    "model.lookahead": of_lookahead,
    "model.attention": impossible("outputs were learned for what attention adds, or for doing without"),
    "model.beam": at_once(),
    "model.num_layers": impossible("a layer that is put in or taken out changes what the others are given"),
    "model.memory": of_memory,
    "model.dtype": impossible("numbers of another precision lead to other states"),
    "model.readout": impossible("the weights of one readout mean nothing to another"),
    "model.loss": impossible("outputs that were learned for one loss mean something else under another"),
    "model.huber_delta": at_once(),
    "model.quantiles": of_quantiles,
    "model.lags": of_lags,
    "model.rls_forgetting": at_once(),
    "model.rls_prior": at_once(),
    "learning.rule": impossible("it goes with the cell"),
    "learning.k1": of_window,
    "learning.k2": of_window,
    "learning.batch_size": at_once("a batch that was begun is given up"),
    "learning.optimizer": of_optimizer,
    "learning.lr": at_once(),
    "learning.schedule": at_once("the steps taken so far count"),
    "learning.schedule_updates": at_once(),
    "learning.schedule_least": at_once(),
    "learning.clip_norm": at_once(),
    "learning.average": of_average,
    "learning.polyak_bound": at_once(),
    "learning.momentum": at_once(),
    "learning.rmsprop_alpha": at_once(),
    "learning.betas": at_once("means that run on fade at the new pace"),
    "learning.eps": at_once(),
    "learning.weight_decay": at_once(),
    "learning.scale": impossible("weights learned on standardised numbers mean nothing to raw ones"),
    "learning.target_shrinkage": at_once(),
    "learning.scale_memory": at_once(),
    "streams.max_streams": of_max_streams,
    "streams.protected_share": at_once("the next stream that has to leave is chosen by it"),
    "streams.max_bytes": at_once("where streams take more than that, some are dropped with the next new one"),
    "streams.ttl_s": at_once("a stream idle for longer is dropped with the next record"),
    "streams.reset_after_s": of_reset_after,
    "streams.max_time_jump_s": at_once(),
    "target.fields": of_fields,
    "target.kind": impossible("what is predicted of a sequence decides what the network is"),
    "target.max_symbols": of_open_sequences(lambda of: of.target.max_symbols),
    "target.known": of_known,
    "target.horizon": impossible("each output was learned for its number of steps ahead"),
    "target.baseline": of_baseline,
    "target.classes": coded(of_classes),
    "target.missing": at_once("of the records to come"),
    "target.event_field": at_once("events that wait for a label keep the names they have"),
    "target.label_field": at_once("events that wait for a label keep the names they have"),
    "target.label_memory": of_label_memory,
    "inputs.dt": of_dt,
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
