"""What is learned and how, as validated values shared by the YAML file, the Python API and checkpoints.

Sections and fields, and what is in force where they are left open, stand in ``spec_fields``; which of them go together
says ``consistency``. Here both come together: a specification that exists is one that a learner can be made of.
"""

from __future__ import annotations

from streamrnn.learner.consistency import require_consistent
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec_fields import (
    CODED,
    LAST,
    MEAN,
    Imputed,
    InputSpec,
    LearningSpec,
    SpecFields,
    StreamSpec,
)

__all__ = [
    "CODED",
    "LAST",
    "MEAN",
    "Imputed",
    "InputSpec",
    "LearnerSpec",
    "LearningSpec",
    "ModelSpec",
    "StreamSpec",
]


class LearnerSpec(SpecFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that, with the log, determines a learner. ``n_features`` counts the encoded columns; ``indicator``
    flags those which are 0/1 or already bounded and are therefore not standardised; ``missing`` says what each counts
    as where it is missing (the mean of an indicator being 0), by default all as their mean. ``symbols`` are the sets
    that the inputs looked up by index are of. ``has_end`` says that records may carry an end-of-sequence mark.
    ``text``: records are texts, whose units are the target; each is a step. ``sequence``: records are whole sequences,
    and ``target.kind`` says what is predicted of one."""

    def __post_init__(self) -> None:
        require_consistent(self)
