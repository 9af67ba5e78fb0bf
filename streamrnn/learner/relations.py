"""How a learner's arrays belong together: what one says must go with what another says.

Each function looks at a few arrays of one state and raises ValueError where no learner can have brought them to be
together; that each is within its range stands in ``validity``, which asks for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.core.counts import RECORDS_PREDICTED, WINDOWS_IN_BATCH
from streamrnn.core.exact.layout import ExactLayout
from streamrnn.core.layout import Layout
from streamrnn.core.sequences.layout import SequenceLayout
from streamrnn.learner import clock
from streamrnn.learner.axes import trace_inputs
from streamrnn.learner.lowering import layout_of
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.streams import FIRST, LIVED, RECORD, TIMES

Array = npt.NDArray[Any]


def require_batch(spec: LearnerSpec, model: Mapping[str, Array]) -> None:
    """Fewer windows than a batch wait, and what they did not concern has no gradient: all, where none does.

    When the batch is over only what it concerned is cleared.
    """
    waiting = int(model["counters"][WINDOWS_IN_BATCH])
    if waiting >= max(1, spec.lessons_per_step) and waiting:
        raise ValueError(f"the state says that {waiting} windows wait for a batch of {spec.lessons_per_step}")
    gradient, rows, layout = model["accumulated"], model["in_batch"], layout_of(spec)
    if not waiting and (np.any(gradient) or np.any(model["accumulated_loss"]) or np.any(rows)):
        raise ValueError("the state holds gradients of a batch, and says that no window waits for one")
    if any(np.any(each[flags == 0]) for each, flags in _looked_up(layout, gradient, rows)):
        raise ValueError("the state's 'accumulated' holds gradients of rows that are not 'in_batch'")
    if spec.target.is_open:
        in_use = int(model["outputs_in_use"][0])
        first = in_use + int(spec.target.kind == "transcript")  # its blank is always in use
        head = layout.named(gradient)
        if np.any(head["head.weight"][first:]) or np.any(head["head.bias"][first:]):
            raise ValueError(f"the state's 'accumulated' holds gradients of outputs behind the {in_use} in use")


def _looked_up(
    layout: Layout | ExactLayout | SequenceLayout, gradient: Array, rows: Array
) -> Iterator[tuple[Array, Array]]:
    """The gradients of rows that are looked up, and of each whether it is in the batch; exact cells look nothing up."""
    if isinstance(layout, SequenceLayout):
        views = layout.views(gradient)
        for each in views.rows:
            yield each, rows[: len(each)]
        yield views.decoder_rows, rows[len(rows) - len(views.decoder_rows) :]
    elif isinstance(layout, Layout):
        yield layout.views(gradient).rows, rows


def require_counted(spec: LearnerSpec, model: Mapping[str, Array], streams: Mapping[str, Array]) -> None:
    """No stream has seen more than there was, and no event stands at a step that is yet to come."""
    # Of texts each unit is predicted, and a step.
    steps = int(model["counters"][RECORDS_PREDICTED] if spec.text is not None else model["arrivals"][0])
    for name in ("steps", "history_count", "event_count"):
        if (counts := streams[name]).size and counts.max() > steps:
            raise ValueError(f"the state's {name!r} counts {counts.max()}, and {steps} records came")
    newest = streams["event_step"].max(axis=1, initial=-1)
    if ((newest >= 0) & (newest >= streams["steps"])).any():
        raise ValueError("the state's 'event_step' names steps that are yet to come")


def require_learned(spec: LearnerSpec, streams: Mapping[str, Array]) -> None:
    """The state that learns is behind the one that predicts by no more than targets may take, and knows what it took.

    Where gradients are not carried along there is no such state.
    """
    if spec.rule != "rtrl":
        return
    learned = streams["learned"][:, 0]
    behind = streams["steps"] - learned
    if behind.size and not (behind.min() >= 0 and behind.max() <= spec.delay):
        found = f"{behind.min()} to {behind.max()}"
        raise ValueError(f"the state's 'learned' is {found} steps behind 'steps', expected 0 to {spec.delay}")
    if (streams["answered"] > streams["steps"][:, None]).any():
        raise ValueError("the state's 'answered' counts steps that are yet to come")
    for name in ("traces", "behind", "shown"):
        if streams[name][learned == 0].any():
            raise ValueError(f"the state's {name!r} holds something of sequences of which no step was taken")
    # Who steps traces leaves out those of inputs that were not shown yet.
    of_inputs = trace_inputs(spec)
    rows = np.flatnonzero(of_inputs >= 0)
    if (streams["traces"][:, rows].any(axis=-1) & (streams["shown"][:, of_inputs[rows]] == 0)).any():
        raise ValueError("the state's 'traces' holds something of inputs that were not 'shown'")


def require_no_padded_weights(spec: LearnerSpec, model: Mapping[str, Array]) -> None:
    """Units by which those of an exact cell are padded to whole vectors have no weights, nor anything of theirs."""
    if isinstance(layout := layout_of(spec), ExactLayout):
        for name in ("theta", "moment1", "moment2", "accumulated"):
            _require_no_padding(spec, name, layout.cell_rows(model[name]))


def require_no_padded_states(spec: LearnerSpec, streams: Mapping[str, Array]) -> None:
    """Nor have they states."""
    if spec.model.is_exact:
        for name in ("state", "behind"):
            _require_no_padding(spec, name, streams[name])


def _require_no_padding(spec: LearnerSpec, name: str, array: Array) -> None:
    if array[..., spec.model.units :].any():
        raise ValueError(f"the state's {name!r} holds something of units behind the {spec.model.units} there are")


def require_in_use(spec: LearnerSpec, model: Mapping[str, Array], streams: Mapping[str, Array]) -> None:
    """Nothing is remembered of a class that has not come yet."""
    if not spec.target.is_open:
        return
    in_use = int(model["outputs_in_use"][0])
    held = {"typical": model["typical"]} | {
        name: streams[name] for name in ("y", "newest", "last_known", "remembered_rivals")
    }
    for name, array in held.items():
        if array.size and np.fmax.reduce(array, axis=None) >= in_use:
            raise ValueError(f"the state's {name!r} names classes that are none of the {in_use} in use")
    if (waits := streams["ahead_y"]).size:  # of these nobody has looked at the class, which has a number already
        known = 1 + len(model["vocabulary_classes_ends"])
        if np.fmax.reduce(waits, axis=None) >= known:
            raise ValueError(f"the state's 'ahead_y' names classes that are none of the {known} that came")


def require_said(streams: Mapping[str, Array]) -> None:
    """The newest step of a transcript so far can have said a symbol only where there is one."""
    if ((streams["newest_output"] > 0) & (streams["n_said"] == 0)).any():
        raise ValueError("the state's 'newest_output' names a symbol where 'n_said' counts none")


def require_order(model: Mapping[str, Array], seen: Array, keys: Sequence[bytes | None]) -> None:
    """Each stream was seen with a record of its own, one after the other."""
    records, lived = int(model["arrivals"][0]), int(model["clock"][list(clock.RANGES).index("lived")])
    used = seen[[slot for slot, key in enumerate(keys) if key is not None]]
    used = used[np.argsort(used[:, RECORD], kind="stable")]
    numbers, times = used[:, RECORD], used[:, LIVED]
    if not len(used):
        return
    if numbers[0] < 1 or numbers[-1] > records or (numbers[1:] == numbers[:-1]).any():
        raise ValueError(f"the state's 'seen' does not name one of {records} records for each of {len(used)} streams")
    if used[:, TIMES].min() < 1 or used[:, TIMES].max() > records:
        raise ValueError(f"the state's 'seen' counts {used[:, TIMES].max()} records of a stream, and {records} came")
    if times[-1] > lived or (times[1:] < times[:-1]).any():
        raise ValueError("the state's 'seen' names times that do not follow each other as the records do")
    if (used[:, FIRST] > times).any():
        raise ValueError("the state's 'seen' names streams that came first after they were last seen")
