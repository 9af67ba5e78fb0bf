"""The learner that a specification asks for: of single steps, or of whole sequences."""

from __future__ import annotations

from streamrnn.learner.foundation import Foundation
from streamrnn.learner.learner import Learner
from streamrnn.learner.spec import LearnerSpec


def new_learner(spec: LearnerSpec, seed: int) -> Foundation:
    """A learner that saw no record yet."""
    if spec.sequence is None:
        return Learner(spec, seed)
    # Imported where needed: jobs of single steps do without a quarter of the kernels' sources.
    from streamrnn.learner.sequences.learner import SequenceLearner

    return SequenceLearner(spec, seed)
