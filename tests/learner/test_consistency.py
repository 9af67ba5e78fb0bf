"""What has no effect or makes no sense with a cell is refused, with what was found, what is expected, and why."""

from __future__ import annotations

from typing import Any

import pytest

from streamrnn.learner.consistency import FOR_STATISTICS, RuleError
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.sequence_spec import SequenceSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec
from streamrnn.learner.target_spec import TargetSpec

GLRU, ELSTM, LSTM = {"cell": "glru"}, {"cell": "elstm"}, {"cell": "lstm"}
BANK: dict[str, Any] = {"cell": "bank", "readout": "rls"}
NUMBER = TargetSpec(fields=("y",))


def spec(
    model: dict[str, Any] | None = None,
    learning: dict[str, Any] | None = None,
    *,
    target: TargetSpec = NUMBER,
    **more: Any,
) -> LearnerSpec:
    return LearnerSpec(
        n_features=2, target=target, model=ModelSpec(**(model or {})), learning=LearningSpec(**(learning or {})), **more
    )


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    (GLRU | {"num_layers": 2}, {}, "model.num_layers", "found 2 with cell glru; a unit's gradient is carried along"),
    (ELSTM | {"num_layers": 3}, {}, "model.num_layers", "expected 1; take more units"),
    (GLRU | {"direction": "both", "lookahead": 2}, {}, "model.direction", "cannot come back from later ones"),
    (GLRU | {"memory": "auto"}, {}, "model.memory", "auto is k2, the window, and this cell has none"),
    (GLRU, {"k2": 16}, "learning.k2", "found 16 with cell glru, which has no window"),
    (GLRU, {"k1": 4, "k2": 16}, "learning.k2", "leave it out"),
    (GLRU, {"k2": 5}, "learning.k2", "found 5 with cell glru, which has no window"),
    (LSTM, {"k2": 5}, "learning.k1", "must be at most k2, got k1=8 and k2=5"),
    (ELSTM, {"batch_size": 2}, "learning.batch_size", "k1 says how many events make an optimiser step"),
    (GLRU, {"optimizer": "adamw"}, "learning.optimizer", "adamw with cell glru, of which time constants are weights"),
    (ELSTM, {"optimizer": "adamw"}, "learning.optimizer", "all units would come to forget alike and soon; take adam"),
    (GLRU, {"rule": "tbptt"}, "learning.rule", "tbptt goes with cell rnn, lstm and gru, not with glru"),
    (LSTM, {"rule": "rtrl"}, "learning.rule", "rtrl goes with cell glru and elstm, not with lstm"),
    (BANK, {"rule": "rtrl"}, "learning.rule", "rtrl goes with cell glru and elstm, not with bank"),
    (ELSTM | {"gates": False}, {}, "model.gates", "takes the gates off cell glru and means nothing to elstm"),
    (LSTM | {"gates": False}, {}, "model.gates", "means nothing to lstm: leave it out"),
    ({"cell": "bank"}, {}, "model.readout", "found linear with cell bank, whose filters are fixed"),
    ({"cell": "rnn", "memory": 200}, {}, "model.memory", "found 200 with cell rnn, whose units have no gate"),
    ({"cell": "rnn", "memory": "auto"}, {}, "model.memory", "leave it out, or take cell lstm or gru"),
    (BANK | {"memory": 9}, {}, "model.memory", "begin and stay as they are"),
    (BANK, {"k2": 9}, "learning.k2", "has no window"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "learning", "path", "why"), REFUSED)
def test_a_setting_that_does_not_go_with_the_cell_is_refused_with_the_reason(
    model: dict[str, Any], learning: dict[str, Any], path: str, why: str
) -> None:
    with pytest.raises(RuleError) as error:
        spec(model, learning)
    assert str(error.value).startswith(f"{path}: ")
    assert why in str(error.value)
    assert f"{error.value.section}.{error.value.field}" == path


OTHERWISE: dict[str, Any] = {
    "k1": 3, "optimizer": "sgd", "lr": 0.1, "schedule": "constant", "schedule_updates": 7, "schedule_least": 0.5,
    "clip_norm": 3.0, "polyak_bound": None, "momentum": 0.5, "rmsprop_alpha": 0.5, "betas": (0.5, 0.5), "eps": 1e-3,
    "weight_decay": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in LearningSpec.__struct_fields__ if name not in FOR_STATISTICS])
def test_a_bank_takes_no_setting_of_gradients(name: str) -> None:
    with pytest.raises(RuleError, match=rf"learning.{name}: found .* with cell bank, of which no weight is trained"):
        spec(BANK, {name: OTHERWISE[name]})
    assert spec(BANK).rule == "fixed"


def test_whole_sequences_and_predictions_that_wait_have_neither_exact_cells_nor_a_hidden_layer() -> None:
    inputs, label = InputSpec(dt=False, previous_target=False), TargetSpec(fields=("y",), kind="label")
    for cell in (GLRU, ELSTM, BANK, {"cell": "glru", "readout": "softmax"}):
        with pytest.raises(RuleError, match=r"model.cell: found .* beside whole sequences"):
            spec(cell, target=label, sequence=SequenceSpec(), inputs=inputs)
    with pytest.raises(RuleError, match=r"model.hidden_layer: found 4; the readout of whole sequences"):
        spec({"hidden_layer": 4}, target=label, sequence=SequenceSpec(), inputs=inputs)
    with pytest.raises(RuleError, match=r"model.hidden_layer: found 4; the readout of predictions that wait"):
        spec({"hidden_layer": 4, "direction": "both", "lookahead": 1}, inputs=inputs)
    assert spec({"hidden_layer": 0, "direction": "both", "lookahead": 1}, inputs=inputs).looks_ahead


def test_what_is_left_open_follows_from_the_cell() -> None:
    classes, softmax = TargetSpec(fields=("y",), classes=("a", "b", "c")), {"readout": "softmax"}
    lstm, glru, elstm = spec(), spec(GLRU), spec(ELSTM)
    assert (lstm.rule, lstm.k1, lstm.k2, lstm.lr, lstm.schedule[0]) == ("tbptt", 8, 32, 3e-3, "constant")
    assert (glru.rule, glru.k1, glru.k2, glru.lr, glru.schedule) == ("rtrl", 1, 1, 3e-3, ("exponential", 5_000, 1 / 3))
    assert glru.lessons_per_step == 1
    assert spec(GLRU | softmax, target=classes).k1 == spec(GLRU | softmax, target=classes).lessons_per_step == 8
    assert spec(GLRU | softmax, target=classes).schedule[0] == "constant"
    assert {of.betas for of in (lstm, glru, elstm)} == {(0.2, 0.999)}
    assert spec(softmax, target=classes).betas == (0.9, 0.999)
    assert [of.optimizer for of in (lstm, glru, spec(softmax, target=classes))] == ["adamw", "adam", "adam"]
    assert {spec({"memory": memory}).optimizer for memory in (20, "auto")} == {"adam"}
    assert spec(ELSTM | softmax, target=classes).betas == (0.9, 0.999)
    units = [of.model.hidden_units for of in (lstm, glru, elstm, spec(BANK), spec(GLRU | softmax, target=classes))]
    assert units == [0, 0, 0, 128, 32]
    assert spec(GLRU | softmax | {"hidden_layer": 0}, target=classes).model.hidden_units == 0
    assert spec(GLRU, {"lr": 0.01}).schedule[0] == "constant"
    assert spec(ELSTM, {"optimizer": "adamw", "weight_decay": 0.0}).optimizer == "adamw"


@pytest.mark.parametrize(
    ("model", "learning", "in_force"),
    [
        (ELSTM, {"schedule_updates": 200}, ("exponential", 200, 1 / 3)),
        (ELSTM, {"schedule_updates": 10_000}, ("exponential", 10_000, 1 / 3)),
        (GLRU, {"schedule_least": 0.5}, ("exponential", 5_000, 0.5)),
        (GLRU, {"schedule_least": 0.0}, ("exponential", 5_000, 0.0)),
        (GLRU, {"schedule": "exponential"}, ("exponential", 10_000, 0.1)),
        (LSTM, {"schedule": "exponential"}, ("exponential", 10_000, 0.1)),
        (LSTM, {"schedule": "exponential", "schedule_least": 0.0}, ("exponential", 10_000, 0.0)),
        (LSTM, {"schedule": "inverse_sqrt", "schedule_updates": 7}, ("inverse_sqrt", 7, 0.0)),
        (LSTM, {}, ("constant", 10_000, 0.0)),
    ],
)
def test_a_falling_rate_has_each_number_that_is_given_and_falls_to_nothing_only_where_that_is_said(
    model: dict[str, Any], learning: dict[str, Any], in_force: tuple[str, int, float]
) -> None:
    assert spec(model, learning).schedule == in_force


def test_rings_of_an_exact_cell_are_as_long_as_targets_may_take() -> None:
    ahead = TargetSpec(fields=("y",), known="forecast", horizon=(2, 7))
    late = TargetSpec(fields=("y",), known="label", event_field="id", label_field="of", label_memory=9)
    assert (spec(GLRU, target=ahead).delay, spec(GLRU, target=ahead).k2) == (7, 8)
    assert (spec(GLRU, target=late).delay, spec(GLRU, target=late).k2) == (9, 10)
    assert (spec(BANK, target=ahead).delay, spec(BANK, target=ahead).k2) == (0, 1)


def test_writing_down_what_is_in_force_changes_nothing() -> None:
    classes, softmax = TargetSpec(fields=("y",), classes=("a", "b", "c")), {"readout": "softmax"}
    for model, target in ((LSTM, NUMBER), (GLRU, NUMBER), (ELSTM, NUMBER), (GLRU | softmax, classes)):
        of = spec(model, target=target)
        told: dict[str, dict[str, Any]] = {"model": {}, "learning": {}}
        for path, value in of.in_force.items():
            section, field = path.split(".")
            told.get(section, {})[field] = tuple(value) if isinstance(value, list) else value
        assert spec(model | told["model"], told["learning"], target=target).in_force == of.in_force
