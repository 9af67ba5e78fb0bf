"""Setting a parameter of an estimator, before it has learned and after.

Before there is a learner a parameter is whatever the constructor would take, and what was observed by then stays,
unless it is one of the parameters that say what an event is. Afterwards it is taken up by what was learned, from the
next event on, as far as ``learner.changes`` says that it can be: a rate is another number, a larger network grows. What
cannot be taken up is refused where it is set, with the reason, and the parameter stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import msgspec
import numpy as np

from streamrnn.errors import ConfigError
from streamrnn.estimators.lock import EstimatorLock
from streamrnn.learner.changes import changes
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.verdicts import Way

FIXED: Mapping[str, str] = {
    "seed": "it decides the initial weights, which were changed by learning since",
    "memory": "it decides how units begin, and these have begun",
    "stream_key": "it decides which stream an event belongs to",
    "event_key": "events that wait for their labels have no such name",
    "hash_key": "buckets would hold other values",
    "targets": "outputs were learned for the targets in their order",
    "baseline": "outputs were learned as differences to another value",
}
"""Parameters that only a new estimator can have otherwise, and why; the rest is for ``learner.changes`` to say."""

OBSERVED = ("_columns", "_awaited", "_watch", "_frames", "_warned", "_labels")
"""What an estimator without a learner may have seen: features, events that wait for labels, questions, classes."""
MEANING = frozenset({"features", "stream_key", "event_key", "delayed", "hash_key"})
"""Parameters that say what an event is; with others, what was observed of events so far is void."""


class Settable(Protocol):
    """An estimator, as far as its parameters are concerned."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    _lock: EstimatorLock

    @property
    def _learner(self) -> Foundation | None: ...

    def _parameters(self) -> dict[str, Any]: ...

    def _take_up(self, name: str) -> None:
        """Have what was learned go on with a parameter that was just set. Raises ConfigError where it cannot."""


def parameters_of(estimator: Settable) -> Mapping[str, Any]:
    """Its parameters by name."""
    return estimator.__dataclass_fields__


def change(estimator: Settable, name: str, value: Any, put: Callable[[str, Any], None]) -> None:
    """Set a parameter; ``put`` only sets the attribute. Raises ConfigError, and changes nothing, where it cannot be."""
    # Whatever the constructor refuses is refused, and what follows from a parameter is made anew. Outside the lock:
    # with one held, no other estimator may be made (see ``lock``).
    if _same(getattr(estimator, name), value):
        return
    fresh = type(estimator)(**{**estimator._parameters(), name: value}) if estimator._learner is None else None
    with estimator._lock:
        if fresh is not None and estimator._learner is None:
            vars(estimator).update(_with_what_was_observed(estimator, name, fresh))
            return
        before = getattr(estimator, name)
        if name in FIXED:
            raise refused(estimator, name, repr(before), repr(value), FIXED[name])
        put(name, value)
        try:
            estimator._take_up(name)
        except BaseException:  # whatever it is: one that stayed would be refused again with every other parameter
            put(name, before)
            raise


def _with_what_was_observed(estimator: Settable, name: str, fresh: Settable) -> dict[str, Any]:
    """The attributes of an estimator without a learner that takes over the parameters of a fresh one."""
    made = {key: value for key, value in vars(fresh).items() if key != "_lock"}
    if name in MEANING:
        return made
    made.update({key: value for key, value in vars(estimator).items() if key in OBSERVED})
    if name == "missing":
        made["_columns"] = made["_columns"].changed(made["features"], made["missing"])
    if (awaited := made.get("_awaited")) is not None:
        awaited.max_streams = getattr(fresh, "_most_streams", awaited.max_streams)
    return made


def refused(estimator: object, name: str, before: str, value: str, reason: str) -> ConfigError:
    """The error for a parameter that what was learned cannot take up; both values as they are shown."""
    return ConfigError(
        f"{type(estimator).__name__}: {name}: {before} cannot become {value} once events were learned: {reason}; "
        "clone() gives an estimator that has learned nothing"
    )


def require_possible(estimator: Settable, name: str, old: LearnerSpec, new: LearnerSpec) -> None:
    """Raise ConfigError where a learner of the specification ``new`` cannot go on from one of ``old``."""
    impossible = [each for each in changes(old, new) if each.way is Way.IMPOSSIBLE]
    if impossible:
        first = impossible[0]
        reasons = "; ".join(dict.fromkeys(each.why for each in impossible))
        before, now = _differing(first.before, first.now)
        raise refused(estimator, name, repr(before), repr(now), reasons)


def _differing(before: Any, now: Any) -> tuple[Any, Any]:
    """What differs between two values of the specification: of structs their first such fields, which users set."""
    if isinstance(before, msgspec.Struct) and type(before) is type(now):
        pairs = ((getattr(before, field), getattr(now, field)) for field in before.__struct_fields__)
        return next(pair for pair in pairs if pair[0] != pair[1])
    return before, now


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return a is b
    return type(a) is type(b) and bool(a == b)
