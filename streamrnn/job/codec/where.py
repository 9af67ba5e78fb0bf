"""Which records count: the conditions of ``input.where`` as one question to a document.

It is asked before anything else of a document, and of records of any shape: what is not as a condition expects makes no
dead letter, it fails the condition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from streamrnn.job.codec.parser import DocumentLayout
from streamrnn.job.input_config import Condition
from streamrnn.learner.values import canonical_text

Question = Callable[[Any], bool]


def question(conditions: Sequence[Condition], layout: DocumentLayout) -> Question | None:
    """Whether a document meets all the conditions; None where there are none."""
    if not conditions:
        return None
    questions = [_one(condition, layout) for condition in conditions]
    if len(questions) == 1:
        return questions[0]
    return lambda document: all(ask(document) for ask in questions)


def _one(condition: Condition, layout: DocumentLayout) -> Question:
    find, field, values = layout.finder(condition.field), condition.field, condition.values
    if condition.exists is not None:
        wanted = condition.exists is not condition.negate
        return lambda document: _is_there(find(document)) is wanted
    met = not condition.negate

    def ask(document: Any) -> bool:
        value = find(document)
        if type(value) is not str:
            if not _is_there(value) or isinstance(value, list | dict):
                return not met
            value = canonical_text(value, field)
        return (value in values) is met

    return ask


def _is_there(value: Any) -> bool:
    """Whether a field has a value; NaN, which alone differs from itself, is none."""
    return value is not None and value == value
