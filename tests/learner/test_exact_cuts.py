"""However a log is cut, saved, restored or given record by record, an exact cell learns the same, bit for bit."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest

from streamrnn.learner.block import EVENT, LABEL, Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.target_spec import TargetSpec
from tests.support.learners import bits_of, bits_of_predictions, differing, one_by_one
from tests.support.logs import part

CELLS: dict[str, dict[str, object]] = {
    "lru": {"cell": "glru", "gates": False},
    "glru": {"cell": "glru"},
    "elstm": {"cell": "elstm", "hidden_layer": 3},
    "glru under least squares": {"cell": "glru", "readout": "rls", "lags": 2},
    "elstm of classes": {"cell": "elstm", "readout": "softmax"},
    "bank": {"cell": "bank", "readout": "rls", "hidden_layer": 6, "lags": 2},
}
STREAMS, N = 3, 120
GAP_S = 100.0


def spec_of(cell: str, known: str, dtype: str) -> LearnerSpec:
    classes = ("p", "q", "r") if cell == "elstm of classes" else None
    more = {"event_field": "id", "label_field": "of", "label_memory": 5} if known == "label" else {}
    horizon = 2 if known == "forecast" and classes is None else 1
    return LearnerSpec(
        n_features=2,
        symbols=(Symbols(values=("u", "v")),),
        target=TargetSpec(fields=("y",), known=known, classes=classes, horizon=horizon, **more),
        has_end=True,
        model=ModelSpec(**CELLS[cell], hidden_size=5, dtype=dtype),
        learning=LearningSpec() if cell == "bank" else LearningSpec(k1=2 if known == "record" else 1, lr=0.02),
        streams=StreamSpec(max_streams=STREAMS - 1, reset_after_s=GAP_S),
    )


def log_of(spec: LearnerSpec) -> Block:
    """Interleaved streams, one more than there is room for; sequence ends, gaps, missing inputs and targets, labels."""
    rng = np.random.default_rng(5)
    keys, kinds, events = [], [], []
    seen: dict[bytes, list[int]] = {}
    for number in range(1, N + 1):
        key = b"s%d" % min(rng.geometric(0.5), STREAMS)
        labelled = spec.target.known == "label" and bool(seen.get(key)) and rng.random() < 0.5
        keys.append(key)
        kinds.append(LABEL if labelled else EVENT)
        waiting = seen.setdefault(key, [])
        events.append(waiting.pop(int(rng.integers(len(waiting)))) if labelled else number)
        if not labelled:
            waiting.append(number)
    kind = np.array(kinds)
    y = rng.normal(size=(N, 1)) if not spec.n_classes else rng.integers(0, 3, (N, 1)).astype(float)
    y[rng.random(N) < 0.1] = np.nan
    if spec.target.known == "label":
        y[kind == EVENT] = np.nan
    x = rng.normal(size=(N, 2))
    x[rng.random(x.shape) < 0.1] = np.nan
    time_ms = np.cumsum(np.where(rng.random(N) < 0.04, 1000 * int(GAP_S) + 1, 1000))
    log = Block.events(keys, x, y, time_ms=time_ms, kind=kind, event=np.array(events))
    log.end[:] = (rng.random(N) < 0.06) & (kind == EVENT)
    return replace(log, symbols=(["uv"[k] for k in rng.integers(0, 2, N)],))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("known", ["record", "forecast", "label"])
@pytest.mark.parametrize("cell", CELLS)
def test_cuts_restores_and_single_steps_lead_to_the_same_bits(cell: str, known: str, dtype: str) -> None:
    spec = spec_of(cell, known, dtype)
    log = log_of(spec)
    whole = Learner(spec, 1)
    predictions = bits_of_predictions(whole.process(log))
    assert whole.counters()["updates"] > 2
    assert whole.counters()["sequences_ended"] > 2
    for every, how in ((1, "steps"), (7, "blocks"), (1, "restores"), (13, "restores")):
        learner, parts = Learner(spec, 1), []
        for start, stop in itertools.pairwise([*range(0, N, every), N]):
            piece = part(log, start, stop)
            parts.append(one_by_one(learner, piece) if how == "steps" else learner.process(piece))
            if how == "restores":
                other = Learner(spec, 2)  # nothing of the seed may survive the restore
                other.resume(copy.deepcopy(learner.state()))
                learner = other
        assert differing(bits_of_predictions(*parts), predictions) == [], f"{how} of {every}"
        others = [
            name for name in differing(bits_of(learner), bits_of(whole)) if how != "steps" or name != "model.digest"
        ]
        assert others == [], f"{how} of {every}"  # single steps are nobody's log, and have no digest


@pytest.mark.parametrize("known", ["record", "forecast", "label"])
@pytest.mark.parametrize("cell", CELLS)
def test_questions_between_records_change_nothing(cell: str, known: str) -> None:
    spec = spec_of(cell, known, "float64")
    log = log_of(spec)
    asked, undisturbed = Learner(spec, 1), Learner(spec, 1)
    for start in range(0, N, 9):
        asked.predict(log)
        asked.process(part(log, start, start + 9))
        undisturbed.process(part(log, start, start + 9))
    assert differing(bits_of(asked), bits_of(undisturbed)) == []


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != "bank"])
def test_weights_out_of_bounds_are_brought_within_them_as_they_are_set_and_by_no_question(cell: str) -> None:
    spec = spec_of(cell, "record", "float64")
    log, learner = log_of(spec), Learner(spec, 1)
    bounded = {"rnn.nu_log": 9.0, "rnn.theta_log": 3.0, "rnn.weight_cf": -7.0, "rnn.weight_cz": 50.0}
    given = learner.get_weights()
    for name, value in bounded.items():
        if name in given:
            given[name][:2] = value
    learner.set_weights(given)
    found = learner.get_weights()
    moved = [name for name in given if not np.array_equal(found[name], given[name])]
    assert moved == [name for name in given if name in bounded]
    for name in moved:
        assert abs(found[name][0]) < abs(given[name][0])
        np.testing.assert_array_equal(found[name][2:], given[name][2:])
    said = learner.predict(log).value
    other = Learner(spec, 2)
    other.resume(copy.deepcopy(learner.state()))
    np.testing.assert_array_equal(other.predict(log).value, said)
    for name, weights in learner.get_weights().items():
        np.testing.assert_array_equal(weights, found[name], err_msg=name)
