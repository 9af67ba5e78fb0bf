"""Language models that have learned a little, and texts of each unit for them."""

from __future__ import annotations

from typing import Any

import pytest

from streamrnn import RNNLanguageModel
from tests.support.contract import weight_bits

END, OTHER = RNNLanguageModel.END, RNNLanguageModel.OTHER
SMALL: dict[str, Any] = {"hidden_size": 8, "k1": 3, "k2": 9}
TEXT = "In the beginning was the Word, and the Word was with God. "

UNITS: dict[str, list[Any]] = {
    "byte": list("né in byte: \x00 ".encode()) * 4,
    "character": list("né in 字 characters. ") * 4,
    "word": ["In", "the", "beginning", "was", "the", "Word", ",", "and", "the"] * 5,
}
"""A text of each unit, as symbols."""
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ends": {"mark_end": True},
    "anew": {"carry": False},
    "ends anew": {"mark_end": True, "carry": False},
    "few symbols": {"max_symbols": 4},
    "gru": {"cell": "gru", "num_layers": 2, "dtype": "float64"},
    "batches": {"batch_size": 3, "optimizer": "rmsprop"},
    "glru": {"cell": "glru", "k2": None},
    "lru": {"cell": "glru", "gates": False, "hidden_layer": 0, "k2": None, "mark_end": True},
    "elstm": {"cell": "elstm", "hidden_layer": 5, "k2": None, "carry": False},
}


def made(unit: str = "byte", **parameters: Any) -> RNNLanguageModel:
    return RNNLanguageModel(**{**SMALL, "unit": unit, **parameters})


def taught(unit: str = "byte", **parameters: Any) -> RNNLanguageModel:
    model = made(unit, **parameters)
    model.learn_many(UNITS[unit])
    return model


def bits(model: RNNLanguageModel) -> tuple[Any, ...]:
    """All that can be seen of it."""
    names = [None] if model.stream_key is None else ["u", "v"]
    said = [model.predict_proba_one(name) for name in names]
    return weight_bits(model), model.counters(), said, [model.generate(12, seed=3, key=name) for name in names]


each_unit = pytest.mark.parametrize("unit", UNITS)
