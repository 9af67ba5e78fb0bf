"""Skill: how much better than a naive rival a learner was, of late; the rivals themselves are in ``core.rivals``.

    skill  =  1  -  error  /  error of the rival

1 is perfect, 0 as good as the rival, below 0 worse. Errors are absolute ones of numbers, and shares of wrong classes.

Fields may have different units, and horizons of one field share its sums. So each field's errors are divided by those
of the rival who says what is typical, which is how much there was to be foreseen of it, and then added up: against that
rival the skill is the mean of the fields' skills, and no field is heard for its unit. With one field nothing changes.
A field whose values are all what is typical says nothing and is left out. A rival that made no error has no skill
against it: there was nothing to be better at.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from streamrnn.core.rivals import LAST, TYPICAL
from streamrnn.learner.spec import LearnerSpec


def rivals_of(spec: LearnerSpec) -> tuple[str, str]:
    """The names of the rivals, in the order of ``core.rivals``.

    >>> from streamrnn.learner.target_spec import TargetSpec
    >>> rivals_of(LearnerSpec(n_features=1, target=TargetSpec(fields=("y",))))
    ('last', 'mean')
    """
    return ("last", "mean" if spec.target.classes is None else "most_frequent")


def skill_of(spec: LearnerSpec, recent_errors: npt.NDArray[np.float64]) -> dict[str, float]:
    """The skill against each rival, of sums of errors (F, 3); rivals against which there is none are left out.

    >>> from streamrnn.learner.target_spec import TargetSpec
    >>> spec = LearnerSpec(n_features=1, target=TargetSpec(fields=("price", "share")))
    >>> skill_of(spec, np.array([[500.0, 800.0, 1000.0], [0.5, 0.4, 0.5]]))
    {'last': 0.0625, 'mean': 0.25}
    """
    totals = [0.0, 0.0, 0.0]
    for errors in recent_errors.tolist():
        if (unit := errors[1 + TYPICAL]) > 0.0:
            totals = [total + error / unit for total, error in zip(totals, errors, strict=True)]
    model, rivals = totals[0], totals[1:]
    return {
        name: value
        for name, place in zip(rivals_of(spec), (LAST, TYPICAL), strict=True)
        if rivals[place] > 0.0 and math.isfinite(value := 1.0 - model / rivals[place])
    }
