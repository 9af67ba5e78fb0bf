"""Texts and next events: what was learned of the one goes on with the other.

Both learners are shown the newest symbol and predict the next one. They differ in whose that is: in a text each step
predicts its own symbol and is shown the one before; an event is shown its own, and predicts the next event's. Weights,
moments and the numbers of symbols mean the same. The states of streams do not, for a text's are one symbol behind; so
these are left behind. Where a text's end is a symbol, events have no such.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from streamrnn.core import reach
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import LearnerState, no_streams
from streamrnn.learner.symbols import TextSpec


def is_next_event(spec: LearnerSpec) -> bool:
    """Whether a learner predicts the next symbol of each stream, and is shown nothing but the newest, and times."""
    return spec.target.known == "forecast" and spec.shows_class and not spec.n_features and not spec.symbols


def meant_for(saved: LearnerState, here: LearnerSpec) -> LearnerState:
    """What was learned as a learner of ``here`` would have it, if one is of texts and the other of next events.

    Without streams then; otherwise, and where they cannot be brought together, as it is.
    """
    old, unmarked = saved.spec, not (saved.spec.text or here.text or TextSpec(mark_end=False)).mark_end
    if unmarked and old.text is None and here.text is not None and is_next_event(old) and _has_units(old, here.text):
        return _as(saved, "record", here.text, here)
    if unmarked and old.text is not None and here.text is None and is_next_event(here) and not old.n_features:
        return _as(saved, "forecast", None, here)
    return saved


def as_text(saved: LearnerState) -> LearnerState:
    """What a learner of next events learned as one of texts would have it, by word or byte, without streams."""
    by_word, by_byte = (TextSpec(unit=unit, mark_end=False) for unit in ("word", "byte"))
    return _as(saved, "record", by_word if _has_units(saved.spec, by_word) else by_byte, saved.spec)


def _has_units(spec: LearnerSpec, text: TextSpec) -> bool:
    """Whether the symbols may be units of such texts: bytes of those by byte, and of no other."""
    return spec.target.symbols is not None and spec.target.symbols.bytes == (text.unit == "byte")


def _as(saved: LearnerState, known: str, text: TextSpec | None, here: LearnerSpec) -> LearnerState:
    target = msgspec.structs.replace(saved.spec.target, known=known)
    learning, model = saved.spec.learning, saved.model
    if here.rule == "tbptt":
        # Windows are of streams, which are left behind; and those of texts may be too short for forecasts.
        learning = msgspec.structs.replace(learning, k1=here.k1, k2=here.k2)
        norms = np.zeros(reach.entries(here.k2))
        found = model["state_gradient"][: len(norms)]
        norms[: len(found)] = found
        model = {**model, "state_gradient": norms}
    spec = msgspec.structs.replace(saved.spec, target=target, text=text, learning=learning)
    return replace(saved, spec=spec, model=model, streams=no_streams(spec), keys=[])
