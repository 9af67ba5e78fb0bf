"""The learner that a specification asks for: of single steps, or of whole sequences."""

from __future__ import annotations

from streamrnn.learner.foundation import Foundation
from streamrnn.learner.learner import Learner
from streamrnn.learner.sequences.learner import SequenceLearner
from streamrnn.learner.spec import LearnerSpec


def new_learner(spec: LearnerSpec, seed: int) -> Foundation:
    """A learner that saw no record yet."""
    return Learner(spec, seed) if spec.sequence is None else SequenceLearner(spec, seed)
