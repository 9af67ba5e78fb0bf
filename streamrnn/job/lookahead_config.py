"""Whether a job may look ahead: single steps, and ``direction: both``. Every combination that cannot be is refused.

The prediction of an event is then made once ``model.lookahead`` further events of its stream are there. Nothing may be
among the inputs of these that tells what is predicted, and what is predicted must be known by then.
"""

from __future__ import annotations

from streamrnn.errors import ConfigError
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec
from streamrnn.learner.target_spec import TargetSpec

_BESIDE = "beside model.direction: both, where each record is a single step"
_FORWARD = "model.direction: forward"
_KNOWN = {
    "forecast": "the values that are forecast are those that a look ahead waits for. Say known: record to tell of each "
    f"event what its own record holds, or {_FORWARD}",
    "label": "a label is matched with a prediction that was made when its event came, and that is made later here. Let "
    f"the record bring its target (known: record), or say {_FORWARD}",
}


def require_fit(model: ModelSpec, target: TargetSpec, inputs: InputSpec, *, of_texts: bool) -> None:
    """Raise ConfigError for what a job of single steps whose network reads both ways cannot have.

    ``inputs`` may leave open what they are. What else a ``ModelSpec`` refuses, as several layers, it has refused.
    """
    if of_texts:
        raise ConfigError(
            f"model.direction: found both beside input.text; each unit of a text is predicted from those before it, "
            f"and those behind it would tell it: say {_FORWARD}"
        )
    if not model.lookahead:
        found = "missing" if model.lookahead is None else "found 0"
        raise ConfigError(
            f"model.lookahead: {found} {_BESIDE}; a stream has no end that could be waited for, so say how many events "
            f"behind each are waited for before it is predicted (1 to 1,000), or {_FORWARD}"
        )
    if model.num_layers > 1:
        raise ConfigError(
            f"model.num_layers: found {model.num_layers} {_BESIDE}; each further layer would look ahead of what is "
            "looked ahead to, so expected 1: take more units (hidden_size) instead"
        )
    if target.known in _KNOWN:
        raise ConfigError(f"target.known: found {target.known} {_BESIDE}; {_KNOWN[target.known]}")
    if inputs.previous_target:
        raise ConfigError(
            f"inputs.previous_target: found true {_BESIDE}; the inputs of the events behind one would tell its "
            "target before it is predicted: leave it out or say false"
        )
    if model.readout == "rls":
        raise ConfigError(
            f"model.readout: found 'rls' {_BESIDE}; its lags are the targets of the events before, of which the newest "
            "are not known yet: say linear"
        )
