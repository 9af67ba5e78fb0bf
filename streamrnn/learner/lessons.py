"""How a learner learns, in words: what is in force, wherever it came from, for a log or a table."""

from __future__ import annotations

from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec


def network(model: ModelSpec) -> str:
    """Cell, layers and units.

    >>> network(ModelSpec(cell="gru", num_layers=2)), network(ModelSpec(cell="glru", gates=False, hidden_layer=16))
    ('gru, 2 layers of 32 units', 'glru without gates, 32 units, a tanh layer of 16')
    """
    layers = "" if model.num_layers == 1 else f"{model.num_layers} layers of "
    gates = " without gates" if model.cell == "glru" and not model.gates else ""
    hidden = f", a tanh layer of {model.hidden_units}" if model.hidden_units else ""
    units = "unit" if model.units == 1 else "units"
    return f"{model.cell}{gates}, {layers}{model.units} {units}{hidden}"


def lessons(spec: LearnerSpec) -> str:
    """Optimiser, rate, and what is learned from, when.

    >>> from streamrnn.learner.model_spec import ModelSpec
    >>> from streamrnn.learner.target_spec import TargetSpec
    >>> target = TargetSpec(fields=("y",))
    >>> lessons(LearnerSpec(n_features=1, target=target))
    'adamw, lr 0.003, every 8 steps from the last 32'
    >>> lessons(LearnerSpec(n_features=1, target=target, model=ModelSpec(cell="elstm")))
    'adam, lr 0.003 falling to 0.001, from every event, by exact gradients'
    """
    if spec.rule == "fixed":
        return "from every event, by least squares alone: the cell is fixed"
    return f"{spec.optimizer}, lr {spec.lr:g}{_falling(spec)}, {_when(spec)}"


def _falling(spec: LearnerSpec) -> str:
    name, _, least = spec.schedule
    if name == "constant":
        return ""
    return f" falling to {spec.lr * least:g}" if least else " falling"


def _when(spec: LearnerSpec) -> str:
    if spec.sequence is not None:
        return "from each sequence as a whole"
    if spec.rule == "tbptt":
        return f"every {spec.k1} steps from the last {spec.k2}"
    most = "at most " if spec.target.known == "label" else ""
    late = f" {most}{spec.delay:,} {'event' if spec.delay == 1 else 'events'} later" if spec.delay else ""
    together = "" if spec.k1 == 1 else f", {spec.k1} of them a step"
    return f"from every event{late}, by exact gradients{together}"
