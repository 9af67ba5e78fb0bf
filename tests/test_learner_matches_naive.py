"""The learner agrees with the naive one on any specification and log: predictions, scores, counts, weights, states."""

from __future__ import annotations

import itertools

import numba
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrnn.block import EVENT, LABEL, Block
from streamrnn.learner import Learner
from streamrnn.spec import LearnerSpec, LearningSpec, ModelSpec, TargetSpec
from tests.logs import logs, part, specs
from tests.naive import NaiveLearner
from tests.naive_network import random_weights

EXAMPLES = settings(
    max_examples=30 if numba.config.DISABLE_JIT else 200,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
SHARED_COUNTS = (
    "events", "labels", "labels_late", "labels_unmatched", "imputed", "sequences", "clipped", "nonfinite_losses",
    "nonfinite_gradients", "evicted_ttl", "evicted_capacity",
)  # fmt: skip


def pair(spec: LearnerSpec) -> tuple[Learner, NaiveLearner]:
    """A learner and its oracle with the same random weights, biases included."""
    learner = Learner(spec, seed=1)
    model, n_inputs = spec.model, learner.layout.n_inputs
    weights = random_weights(
        np.random.default_rng(0), model.cell, n_inputs, model.hidden_size, model.num_layers, spec.n_outputs
    )
    learner.set_weights(weights)
    return learner, NaiveLearner(spec, weights)


def check_agreement(spec: LearnerSpec, block: Block, cuts: list[int], tolerance: float) -> None:
    """Feed both learners the log, the fast one in pieces, and compare everything that can be seen."""

    def close(actual: object, expected: object, what: str) -> None:
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=what)

    learner, naive = pair(spec)
    bounds = [0, *sorted(min(cut, len(block)) for cut in cuts), len(block)]
    parts = [learner.process(part(block, a, b)) for a, b in itertools.pairwise(bounds)]
    # On some CPUs NumPy's float32 products raise the flag from lanes they do not use. A NaN that counts is found below.
    with np.errstate(invalid="ignore"):
        value, updates = naive.process(block)
    close(np.concatenate([p.value for p in parts]), value, "predictions")
    assert np.concatenate([p.updates for p in parts]).tolist() == updates.tolist()
    close(np.concatenate([p.loss for p in parts]), [loss for loss, _ in naive.scores], "losses")
    close(np.concatenate([p.error for p in parts]), [error for _, error in naive.scores], "errors")
    norms = np.full(len(block), np.nan)
    for record, norm in naive.steps:
        norms[record] = norm
    close(np.concatenate([p.grad_norm for p in parts]), norms, "gradient norms")

    counts = learner.counters()
    assert {name: counts[name] for name in SHARED_COUNTS} == {name: naive.counts[name] for name in SHARED_COUNTS}
    assert (counts["windows"], counts["updates"]) == (naive.windows, naive.updates)
    if naive.windows:
        close(learner.gauges()["window_loss"], naive.losses[-1], "window loss")
    if naive.updates:
        close(learner.gauges()["grad_norm"], naive.grad_norms[-1], "gradient norm")
    for name, weights in learner.get_weights().items():
        close(weights, naive.weights[name], name)
    assert learner.store.keys() == list(naive.streams)
    for key, stream in naive.streams.items():
        for i, (name, state) in enumerate(learner.stream_state(key).items()):
            close(state, [layer[i] for layer in stream.sequence.state], f"{name} of {key!r}")


@EXAMPLES
@given(st.data())
def test_float64_learner_matches_the_naive_one(data: st.DataObject) -> None:
    spec = data.draw(specs(), label="spec")
    block = data.draw(logs(spec), label="log")
    cuts = data.draw(st.lists(st.integers(0, len(block)), max_size=3), label="cuts")
    check_agreement(spec, block, cuts, 1e-9)


@EXAMPLES
@given(st.data())
def test_float32_learner_matches_the_naive_one(data: st.DataObject) -> None:
    # Adam and RMSprop divide by the gradient's own size, which turns rounding of a tiny gradient into a large step.
    spec = data.draw(specs("float32", ("sgd", "momentum")), label="spec")
    check_agreement(spec, data.draw(logs(spec, 25), label="log"), [], 5e-4)


LABELLED = LearnerSpec(
    n_features=1,
    target=TargetSpec(fields=("y",), known="label", event_field="id", label_field="of"),
    model=ModelSpec(cell="gru", hidden_size=3, dtype="float64"),
    learning=LearningSpec(k1=2, k2=8),
)


def labelled_log(rows: list[tuple[int, int, float]]) -> Block:
    """One stream's log from (kind, event, y) by record, a second apart."""
    n = len(rows)
    return Block(
        keys=[b"a"] * n,
        time_ms=1000 * np.arange(n, dtype=np.int64),
        x=np.linspace(-1, 1, n)[:, None],
        y=np.array([[y] for _, _, y in rows]),
        end=np.zeros(n, bool),
        kind=np.array([kind for kind, _, _ in rows], np.uint8),
        event=np.array([event for _, event, _ in rows], np.uint64),
    )


def test_a_repeated_label_is_learned_once() -> None:
    events = [(EVENT, number, np.nan) for number in range(1, 7)]
    label = (LABEL, 1, 3.0)
    log = labelled_log([events[0], label, *events[1:3], label, *events[3:]])
    check_agreement(LABELLED, log, [], 1e-9)
    learner, _ = pair(LABELLED)
    learner.process(log)
    assert learner.counters()["windows"] == 1


def test_an_end_mark_means_nothing_where_the_specification_has_none() -> None:
    log = labelled_log([(EVENT, number, np.nan) for number in range(1, 6)])
    log.end[1] = True
    check_agreement(LABELLED, log, [], 1e-9)
