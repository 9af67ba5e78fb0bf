"""LookaheadLearner: one partition's model of single steps that looks ahead."""

from __future__ import annotations

from streamrnn.learner.foundation import Foundation


class LookaheadLearner(Foundation):
    """A recurrent network that reads both ways, the way back over the next ``model.lookahead`` steps."""
