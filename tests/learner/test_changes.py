"""Every setting has its row: what becomes of what was learned when it changes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from streamrnn import LearnerSpec, ModelSpec, TargetSpec
from streamrnn.learner.changes import SETTINGS, changes, refusals, settings
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.spec import InputSpec, LearningSpec
from streamrnn.learner.symbols import Symbols, TextSpec
from streamrnn.learner.verdicts import Way
from tests.support.small_learners import spec


def test_every_setting_has_its_row_and_every_row_its_setting() -> None:
    assert sorted(SETTINGS) == sorted({**settings(spec()), **settings(sequences())})


def test_nothing_changed_is_no_change() -> None:
    assert changes(spec(), spec()) == []
    assert changes(spec(), spec(model={"loss": "squared"})) == []


BYTES = Symbols(bytes=True)
TWO, THREE, ANOTHER = (Symbols(values=tuple(letters)) for letters in ("ab", "abc", "bac"))
OPEN, WIDER = Symbols(open=True, max=5), Symbols(open=True, max=6)


def learned_by(optimizer: str) -> LearnerSpec:
    return spec(learning={"optimizer": optimizer})


def texts(classes: Symbols = BYTES, **text: Any) -> LearnerSpec:
    return LearnerSpec(
        n_features=0,
        target=TargetSpec(fields=("m",), classes=classes),
        text=TextSpec(**text),
        model=ModelSpec(readout="softmax"),
    )


def letters(classes: Symbols, **text: Any) -> LearnerSpec:
    return texts(classes, unit="character", **text)


def sequences(
    kind: Any = "label", *, sequence: dict[str, Any] | None = None, classes: Any = ("a", "b", "c"), **more: Any
) -> LearnerSpec:
    model = {"readout": "linear" if classes is None else "softmax", "hidden_size": 4, **more.pop("model", {})}
    sequence = sequence or {}
    return LearnerSpec(
        n_features=more.pop("n_features", 2),
        target=TargetSpec(fields=("y",), kind=kind, classes=classes, **more.pop("target", {})),
        sequence=SequenceSpec(**sequence),
        has_end=sequence.get("chunks", False),
        inputs=InputSpec(dt=False, previous_target=False),
        model=ModelSpec(**model),
        learning=LearningSpec(**more.pop("learning", {})),
    )


CHUNKS: dict[str, Any] = {"chunks": True}


def looked_up(*symbols: Symbols) -> LearnerSpec:
    return replace(spec(), symbols=symbols)


RLS: dict[str, Any] = {"readout": "rls"}
QUANTILE: dict[str, Any] = {"loss": "quantile"}
CASES: list[tuple[LearnerSpec, LearnerSpec, str, Way]] = [
    (sequences(), sequences(sequence={"max_steps": 9}), "sequence.max_steps", Way.AT_ONCE),
    (sequences(sequence={**CHUNKS, "max_steps": 9}), sequences(sequence=CHUNKS), "sequence.max_steps", Way.GROWTH),
    (sequences(sequence=CHUNKS), sequences(sequence={**CHUNKS, "max_steps": 9}), "sequence.max_steps", Way.IMPOSSIBLE),
    (sequences(), sequences(sequence={"stack": 2}), "sequence.stack", Way.IMPOSSIBLE),
    (sequences(), sequences(sequence={"carry": True}), "sequence.carry", Way.IMPOSSIBLE),
    (sequences(), sequences(sequence={"normalise": "sequence"}), "sequence.normalise", Way.IMPOSSIBLE),
    (sequences(), sequences("transcript"), "target.kind", Way.IMPOSSIBLE),
    (sequences(), sequences(target={"max_symbols": 5}), "target.max_symbols", Way.AT_ONCE),
    (sequences(), sequences(model={"direction": "both"}), "model.direction", Way.IMPOSSIBLE),
    (
        sequences(model={"direction": "both"}),
        sequences(model={"direction": "both", "lookahead": 3}),
        "model.lookahead",
        Way.AT_ONCE,
    ),
    (sequences("sequence"), sequences("sequence", model={"attention": False}), "model.attention", Way.IMPOSSIBLE),
    (sequences("transcript"), sequences("transcript", model={"beam": 4}), "model.beam", Way.AT_ONCE),
    (sequences(), sequences(model={"hidden_size": 5}), "model.hidden_size", Way.GROWTH),
    (sequences("sequence"), sequences("sequence", model={"hidden_size": 5}), "model.hidden_size", Way.IMPOSSIBLE),
    (sequences(), sequences(learning={"average": 0.9}), "learning.average", Way.GROWTH),
    (sequences(learning={"average": 0.9}), sequences(), "learning.average", Way.GROWTH),
    (sequences(learning={"average": 0.9}), sequences(learning={"average": 0.5}), "learning.average", Way.AT_ONCE),
    (sequences("transcript"), sequences("transcript", classes=tuple("abcd")), "target.classes", Way.GROWTH),
    (sequences("sequence"), sequences("sequence", classes=tuple("abcd")), "target.classes", Way.IMPOSSIBLE),
    (spec(), spec(learning={"lr": 0.1}), "learning.lr", Way.AT_ONCE),
    (spec(), spec(learning={"k1": 3}), "learning.k1", Way.GROWTH),
    (spec(), spec(learning={"k2": 9}), "learning.k2", Way.GROWTH),
    (spec(), spec(max_streams=3), "streams.max_streams", Way.AT_ONCE),
    (spec(), spec(max_streams=30), "streams.max_streams", Way.AT_ONCE),
    (spec(), spec(4), "n_features", Way.GROWTH),
    (spec(), spec(2), "n_features", Way.IMPOSSIBLE),
    (spec(), spec(dt=True), "inputs.dt", Way.GROWTH),
    (spec(dt=True), spec(), "inputs.dt", Way.IMPOSSIBLE),
    (spec(), spec(model={"hidden_size": 5}), "model.hidden_size", Way.GROWTH),
    (spec(), spec(model={"hidden_size": 3}), "model.hidden_size", Way.IMPOSSIBLE),
    (spec(), spec(model={"lags": 9}), "model.lags", Way.AT_ONCE),
    (spec(model=RLS), spec(model=RLS | {"lags": 9}), "model.lags", Way.GROWTH),
    (spec(model=RLS), spec(model=RLS | {"lags": 1}), "model.lags", Way.IMPOSSIBLE),
    (spec(), spec(model={"quantiles": (0.5,)}), "model.quantiles", Way.AT_ONCE),
    (spec(model=QUANTILE), spec(model=QUANTILE | {"quantiles": (0.5,)}), "model.quantiles", Way.IMPOSSIBLE),
    (spec(), spec(model={"loss": "absolute"}), "model.loss", Way.IMPOSSIBLE),
    (learned_by("adam"), learned_by("adamw"), "learning.optimizer", Way.AT_ONCE),
    (learned_by("adamw"), learned_by("adam"), "learning.optimizer", Way.AT_ONCE),
    (learned_by("adam"), learned_by("rmsprop"), "learning.optimizer", Way.IMPOSSIBLE),
    (learned_by("momentum"), learned_by("adamw"), "learning.optimizer", Way.IMPOSSIBLE),
    (spec(), spec(fields=("y", "z")), "target.fields", Way.GROWTH),
    (spec(), spec(fields=("z",)), "target.fields", Way.AT_ONCE),
    (spec(), replace(spec(), has_end=True), "has_end", Way.GROWTH),
    (texts(), texts(carry=False), "text", Way.AT_ONCE),
    (texts(), texts(mark_end=False), "text", Way.IMPOSSIBLE),
    (texts(TWO, unit="character"), texts(TWO, unit="word"), "text", Way.IMPOSSIBLE),
    (texts(), replace(texts(), text=None), "text", Way.IMPOSSIBLE),
    (letters(TWO, mark_end=False), letters(THREE, mark_end=False), "target.classes", Way.GROWTH),
    (letters(TWO), letters(THREE), "target.classes", Way.IMPOSSIBLE),
    (letters(THREE, mark_end=False), letters(TWO, mark_end=False), "target.classes", Way.IMPOSSIBLE),
    (letters(TWO), letters(ANOTHER), "target.classes", Way.IMPOSSIBLE),
    (letters(OPEN), letters(WIDER), "target.classes", Way.GROWTH),
    (letters(WIDER), letters(OPEN), "target.classes", Way.IMPOSSIBLE),
    (letters(THREE), letters(OPEN), "target.classes", Way.IMPOSSIBLE),
    (looked_up(OPEN, TWO), looked_up(WIDER, TWO), "symbols", Way.GROWTH),
    (looked_up(OPEN, TWO), looked_up(WIDER, THREE), "symbols", Way.GROWTH),
    (looked_up(Symbols(values=(1, 2))), looked_up(Symbols(values=("1", 2))), "symbols", Way.AT_ONCE),
    (looked_up(WIDER, TWO), looked_up(OPEN, THREE), "symbols", Way.IMPOSSIBLE),
    (looked_up(THREE), looked_up(TWO), "symbols", Way.IMPOSSIBLE),
    (looked_up(TWO), looked_up(ANOTHER), "symbols", Way.IMPOSSIBLE),
    (looked_up(TWO), looked_up(OPEN), "symbols", Way.IMPOSSIBLE),
    (looked_up(OPEN), looked_up(OPEN, TWO), "symbols", Way.IMPOSSIBLE),
    (looked_up(OPEN, TWO), looked_up(OPEN), "symbols", Way.IMPOSSIBLE),
]


@pytest.mark.parametrize(("old", "new", "path", "way"), CASES, ids=[f"{c[2]}-{i}" for i, c in enumerate(CASES)])
def test_a_change_is_taken_up_at_once_by_growth_or_not_at_all(
    old: LearnerSpec, new: LearnerSpec, path: str, way: Way
) -> None:
    (change,) = changes(old, new)
    assert (change.path, change.way) == (path, way)
    assert bool(refusals(old, new)) == (way is Way.IMPOSSIBLE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (spec(model=RLS), spec(model=RLS | {"lags": 40})),
        (spec(model=RLS), spec(model=RLS | {"hidden_size": 5})),
        (spec(model=RLS), spec(4, model=RLS)),
    ],
)
def test_new_regressors_are_told_to_draw_predictions_to_the_newest_value(old: LearnerSpec, new: LearnerSpec) -> None:
    (change,) = changes(old, new)
    assert change.why.endswith("add to its variance, which draws predictions to the newest value")
    linear = [replace(of, model=replace(of.model, readout="linear")) for of in (old, new)]
    (change,) = changes(*linear)
    assert "variance" not in change.why


def test_a_setting_without_a_row_cannot_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(SETTINGS, "learning.lr")  # type: ignore[arg-type]
    (change,) = changes(spec(), spec(learning={"lr": 0.1}))
    assert change.way is Way.IMPOSSIBLE


def test_sets_are_shown_by_their_kind_and_size() -> None:
    (line,) = refusals(looked_up(WIDER, THREE, BYTES), looked_up(OPEN, TWO))
    assert line.startswith(
        "symbols: an open set of 6, 3, the 256 bytes in what was learned, an open set of 5, 2 here: "
    )


def test_single_steps_whole_sequences_and_chunks_of_them_are_different_learners() -> None:
    assert any("another one than one of single steps" in line for line in refusals(spec(), sequences()))
    assert any("records that are chunks" in line for line in refusals(sequences(), sequences(sequence=CHUNKS)))
