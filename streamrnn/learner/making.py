"""The learner that a specification asks for: of single steps, which may look ahead, or of whole sequences."""

from __future__ import annotations

from streamrnn.learner.foundation import Foundation
from streamrnn.learner.learner import Learner
from streamrnn.learner.spec import LearnerSpec


def new_learner(spec: LearnerSpec, seed: int) -> Foundation:
    """A learner that saw no record yet."""
    if spec.kernels == "steps":
        return Learner(spec, seed)
    # Imported where needed: jobs of single steps do without a quarter of the kernels' sources.
    if spec.looks_ahead:
        from streamrnn.learner.lookahead.learner import LookaheadLearner

        return LookaheadLearner(spec, seed)
    from streamrnn.learner.sequences.learner import SequenceLearner

    return SequenceLearner(spec, seed)
