"""From the specification of a learner of whole sequences to the numbers and arrays of its kernels.

What such a learner shares with one of single steps comes from ``learner.lowering``; here is what it has beside that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from streamrnn.core.arrays import Model, Scratch
from streamrnn.core.layout import Layout
from streamrnn.core.sequences import workspace
from streamrnn.core.sequences.arrays import Network, SequencePlan, SequenceScratch
from streamrnn.core.sequences.kinds import KINDS
from streamrnn.core.sequences.layout import SequenceLayout
from streamrnn.learner.lowering import dtype_of, layout_of, new_scratch
from streamrnn.learner.spec import LearnerSpec


def sequence_plan_of(spec: LearnerSpec) -> SequencePlan:
    """Sizes and switches of the kernels, beside those of ``learner.lowering.plan_of``."""
    sequence, target, model, layout = spec.sequence, spec.target, spec.model, sequence_layout_of(spec)
    assert sequence is not None
    assert target.kind is not None
    return SequencePlan(
        kind=KINDS[target.kind],
        directions=layout.directions,
        lookahead=-1 if model.lookahead is None else model.lookahead,
        stack=sequence.stack,
        max_steps=sequence.max_steps,
        max_symbols=target.furthest if target.says_numbers else target.max_symbols,
        end=_end_of(spec),
        chunks=int(sequence.chunks),
        carry=int(sequence.carry),
        normalise=int(sequence.normalise == "sequence"),
        attention=int(layout.attention),
        beam=model.beam,
        rows=layout.n_rows,
        encoder_width=layout.gate_width,
        decoder_rows=layout.n_decoder_rows,
        decoder_width=layout.decoder_gate_width,
        average=spec.learning.average or 0.0,
    )


def _end_of(spec: LearnerSpec) -> int:
    """The class that ends a sequence of symbols, as ``vocabulary`` numbers it; -1 = there is none."""
    if not spec.has_end_symbol or spec.target.symbols is None:
        return -1
    return 1 if spec.target.is_open else spec.n_classes - 1


def sequence_layout_of(spec: LearnerSpec) -> SequenceLayout:
    """The tensors of its network."""
    layout = layout_of(spec)
    assert isinstance(layout, SequenceLayout)
    return layout


def new_step_scratch(spec: LearnerSpec, theta: npt.NDArray[Any]) -> Scratch:
    """Work space for what is done with a sequence as with a step: statistics, scores, the optimiser.

    Its layers are of no network: sequences have theirs (``new_networks``).
    """
    layout = sequence_layout_of(spec)
    none = Layout(cell=layout.cell, n_inputs=spec.n_multiplied, hidden_size=1, num_layers=1, n_outputs=0)
    grad = np.zeros_like(theta)
    head, dhead = layout.views(theta), layout.views(grad)
    outputs = np.zeros(layout.n_outputs, theta.dtype)
    return new_scratch(none, spec, np.zeros(none.size, theta.dtype))._replace(
        grad=grad, step=np.zeros_like(theta), head_w=head.head_w, head_b=head.head_b, dhead_w=dhead.head_w,
        dhead_b=dhead.head_b, raw=outputs, draw=outputs.copy(),
    )  # fmt: skip


def new_sequence_scratch(spec: LearnerSpec) -> SequenceScratch:
    """Work space for a sequence."""
    return workspace.new_scratch(sequence_layout_of(spec), sequence_plan_of(spec), spec.n_multiplied, dtype_of(spec))


def work_bytes(spec: LearnerSpec) -> int:
    """Bytes of the work space, most of which is touched by long sequences only."""
    layout, plan = sequence_layout_of(spec), sequence_plan_of(spec)
    buffers = workspace.new_buffers(layout, plan, spec.n_lookups, dtype_of(spec))
    arrays = [array for array in buffers if isinstance(array, np.ndarray)]
    apart = [array for array in arrays if array is buffers.tape or not np.may_share_memory(array, buffers.tape)]
    return sum(array.nbytes for array in (*apart, *new_sequence_scratch(spec)))


def new_networks(spec: LearnerSpec, model: Model, scratch: Scratch) -> tuple[Network, Network]:
    """The network with the weights that are learned, and with those that predict: the same, or their average."""
    layout = sequence_layout_of(spec)
    buffers = workspace.new_buffers(layout, sequence_plan_of(spec), spec.n_lookups, dtype_of(spec))
    learned = workspace.new_network(layout, model.theta, scratch.grad, buffers)
    if spec.learning.average is None:
        return learned, learned
    return learned, workspace.new_network(layout, model.average, scratch.grad, buffers)
