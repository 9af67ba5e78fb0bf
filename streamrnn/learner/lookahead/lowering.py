"""From the specification of a learner that looks ahead to the numbers and arrays of its kernels.

The network is that of whole sequences with a prediction for each step; a window and the steps behind it are what such a
sequence is, so its work space is theirs, too.
"""

from __future__ import annotations

from streamrnn.core.arrays import Model, Scratch
from streamrnn.core.sequences import workspace
from streamrnn.core.sequences.arrays import Network, SequencePlan, SequenceScratch
from streamrnn.core.sequences.kinds import STEP
from streamrnn.learner.axes import lookahead
from streamrnn.learner.lowering import dtype_of
from streamrnn.learner.sequences.lowering import sequence_layout_of
from streamrnn.learner.spec import LearnerSpec


def sequence_plan_of(spec: LearnerSpec) -> SequencePlan:
    """Sizes and switches of the kernels, beside those of ``learner.lowering.plan_of``."""
    layout, ahead = sequence_layout_of(spec), lookahead(spec)
    return SequencePlan(
        kind=STEP,
        directions=layout.directions,
        lookahead=ahead,
        stack=1,
        max_steps=spec.k2 + ahead,
        max_symbols=1,
        end=-1,
        chunks=0,
        carry=0,
        normalise=0,
        attention=0,
        beam=1,
        rows=layout.n_rows,
        encoder_width=layout.gate_width,
        decoder_rows=0,
        decoder_width=layout.decoder_gate_width,
        average=0.0,
    )


def new_work_space(spec: LearnerSpec, model: Model, scratch: Scratch) -> tuple[SequenceScratch, Network]:
    """Work space for a window, and the network with the model's weights over it."""
    layout, plan = sequence_layout_of(spec), sequence_plan_of(spec)
    buffers = workspace.new_buffers(layout, plan, spec.n_lookups, dtype_of(spec))
    network = workspace.new_network(layout, model.theta, scratch.grad, buffers)
    return workspace.new_scratch(layout, plan, spec.n_multiplied, dtype_of(spec)), network
