"""Weights and states of a learner: what makes the round trip, what is refused, and that a copy goes on by itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given

from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.state import LearnerState
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.storage.tensors import load_weights, save_weights
from tests.support.learners import bits_of, bits_of_predictions, differing, plain_log, plain_spec
from tests.support.logs import FEWER, any_spec

SEED = 7


@FEWER
@given(any_spec)
def test_weights_make_the_round_trip(spec: LearnerSpec) -> None:
    one, other = Learner(spec, 1), Learner(spec, 2)
    other.set_weights(one.get_weights())
    for name, array in one.get_weights().items():
        assert array.tobytes() == other.get_weights()[name].tobytes(), name
    assert one.state().model["theta"].tobytes() == other.state().model["theta"].tobytes()


def test_weights_travel_as_a_safetensors_file(tmp_path: pytest.TempPathFactory) -> None:
    one, other = Learner(plain_spec(), 1), Learner(plain_spec(), 2)
    one.process(plain_log(100))
    path = tmp_path / "weights.safetensors"  # type: ignore[operator]
    save_weights(path, one.get_weights())
    other.set_weights(load_weights(path))
    assert one.state().model["theta"].tobytes() == other.state().model["theta"].tobytes()
    assert sorted(one.get_weights()) == [
        "head.bias", "head.weight", "rnn.bias_hh_l0", "rnn.bias_ih_l0", "rnn.weight_hh_l0", "rnn.weight_ih_l0",
    ]  # fmt: skip


def test_get_weights_are_copies() -> None:
    learner = Learner(plain_spec(), SEED)
    before = bits_of(learner)
    for array in learner.get_weights().values():
        array[...] = 0
    assert differing(bits_of(learner), before) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("head.bias"), "head.bias"),
        (lambda w: w.update({"what": np.zeros(1)}), "what"),
        (lambda w: w.update({"head.bias": np.zeros(3)}), "head.bias"),
        (lambda w: w.update({"head.bias": np.array([np.nan])}), "head.bias"),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(change: object, message: str) -> None:
    learner = Learner(plain_spec(), SEED)
    before = bits_of(learner)
    weights = learner.get_weights()
    change(weights)  # type: ignore[operator]
    with pytest.raises(ValueError, match=message):
        learner.set_weights(weights)
    assert differing(bits_of(learner), before) == []


def broken_states() -> Iterator[tuple[str, LearnerState, str]]:
    """States that a learner of ``plain_spec`` must refuse: what is wrong, the state, the message."""
    learner = Learner(plain_spec(has_end=True), SEED)
    learner.process(plain_log(10))
    state = learner.state().copy()
    for name in ("theta", "clock", "digest", "readout_full_root"):
        rest = {other: array for other, array in state.model.items() if other != name}
        yield f"without {name}", replace(state, model=rest), f"lacks {name}$"
        yield f"odd {name}", replace(state, model={**rest, name: np.zeros(99)}), f"'{name}' is .*, expected "
    for name in ("x", "y_count", "seen"):
        rest = {other: array for other, array in state.streams.items() if other != name}
        yield f"without {name}", replace(state, streams=rest), f"lacks {name}$"
        yield f"short {name}", replace(state, streams={**rest, name: state.streams[name][:1]}), f"'{name}' is .*\\[1"
        other = state.streams[name].astype(np.int32)
        yield f"other type of {name}", replace(state, streams={**rest, name: other}), f"'{name}' is int32"
    more = {"more": np.zeros(3)}
    yield "unknown", replace(state, model={**state.model, **more}), "holds more, which no learner"
    yield "unknown stream array", replace(state, streams={**state.streams, **more}), "holds more, which no learner"
    yield "one key twice", replace(state, keys=[state.keys[0]] * 3), "one stream two slots"
    other_field = msgspec.structs.replace(state.spec, target=TargetSpec(fields=("z",)))
    for name, spec, text in (
        ("loss", plain_spec(has_end=True, model=ModelSpec(loss="absolute")), "model.loss: 'absolute' in the state"),
        ("start", plain_spec(has_end=True, model=ModelSpec(memory=9)), "model.memory: 9 in the state, None here"),
        ("rate", plain_spec(has_end=True, learning=LearningSpec(lr=0.5)), "learning.lr: 0.5 in the state, 0.003 here"),
        ("field", other_field, r"target.fields: \['z'\] in the state, \['y'\] here"),
    ):
        yield f"another {name}", replace(state, spec=spec), text
    rows = {name: array.repeat(5, axis=0) for name, array in state.streams.items()}
    keys: list[bytes | None] = [b"%d" % i for i in range(15)]
    yield "many slots", replace(state, streams=rows, keys=keys), "has 15 slots, the learner has 9; raise"


BROKEN = list(broken_states())


@pytest.mark.parametrize(("state", "message"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_a_state_that_is_refused_leaves_every_bit_as_it_was(state: LearnerState, message: str) -> None:
    learner = Learner(plain_spec(has_end=True, streams=StreamSpec(max_streams=9)), SEED)
    learner.process(plain_log(30, seed=1))
    before = bits_of(learner)
    with pytest.raises(ValueError, match=message):
        learner.resume(state)
    assert differing(bits_of(learner), before) == []


def test_a_default_that_was_written_down_and_more_capacity_are_no_other_specification() -> None:
    state = Learner(plain_spec(), SEED).state()
    state.require_fit(plain_spec(model=ModelSpec(loss="squared"), streams=StreamSpec(max_streams=200_000)))


def test_a_learner_that_resumes_forgets_what_it_was() -> None:
    other, learner = Learner(plain_spec(), SEED), Learner(plain_spec(), SEED + 1)
    other.process(plain_log(30))
    learner.process(plain_log(60, streams=9, seed=1))
    learner.resume(other.state())
    assert differing(bits_of(learner), bits_of(other)) == []
    rest = plain_log(60, streams=9, seed=2)
    assert differing(bits_of_predictions(learner.process(rest)), bits_of_predictions(other.process(rest))) == []
    assert differing(bits_of(learner), bits_of(other)) == []


def test_a_copied_learner_goes_on_by_itself() -> None:
    learner = Learner(plain_spec(), SEED)
    learner.process(plain_log(30))
    again = copy.deepcopy(learner)
    before = bits_of(learner)
    assert differing(bits_of(again), before) == []
    again.process(plain_log(30, seed=1))
    assert differing(bits_of(learner), before) == []


def test_what_a_learner_tells_of_itself_agrees_with_its_state() -> None:
    learner = Learner(plain_spec(), SEED)
    assert learner.progress().stream_time_ms is None
    block = plain_log(40)
    learner.process(block)
    progress, state = learner.progress(), learner.state()
    assert (progress.streams, progress.capacity) == (3, 100_000)
    assert progress.stream_time_ms == block.time_ms[-1]
    assert progress.counters == learner.counters()
    assert (progress.updates, progress.digest) == (progress.counters["updates"], state.digest)
    assert progress.parameters == state.model["theta"].size
    statistics = learner.target_statistics()
    assert statistics.count.tolist() == [40]
    np.testing.assert_allclose([statistics.mean[0], statistics.deviation[0]], [block.y.mean(), block.y.std()])
