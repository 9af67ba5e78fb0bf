"""Every array of a state is held against what a learner can bring it to, and no learner brings it elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from streamrnn.core.counts import WINDOWS_IN_BATCH
from streamrnn.learner.block import EVENT, Block
from streamrnn.learner.clock import RANGES, StreamClock
from streamrnn.learner.consistency import RuleError
from streamrnn.learner.growth import carry_over
from streamrnn.learner.learner import Learner
from streamrnn.learner.lowering import dtype_of, layout_of
from streamrnn.learner.sound import SOUND
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import MODEL, STREAMS, LearnerState
from streamrnn.learner.streams import LIVED, RECORD, StreamIndex
from streamrnn.learner.validity import LARGEST_WEIGHT, Part, Range, model_ranges, stream_ranges
from tests.support import logs, symbols
from tests.support.forgeries import SPECS, healthy, records

KINDS = sorted(SPECS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_array_of_a_state_has_a_range(kind: str) -> None:
    assert list(model_ranges(SPECS[kind])) == list(MODEL)
    assert list(stream_ranges(SPECS[kind])) == list(STREAMS)


def test_every_number_of_a_clock_has_a_range() -> None:
    assert StreamClock(1).state().shape == (len(RANGES),)


# ---- what is out of range


def _bounds() -> Iterator[tuple[str, str, str, Any, float]]:
    """Of every array that holds anything, and every part of it, a number below, one above, NaN and infinity."""
    for kind in KINDS:
        of, state = SPECS[kind], healthy(kind)
        tables = {"model": model_ranges(of), "streams": stream_ranges(of)}
        for group, table in tables.items():
            for name, rule in table.items():
                array = getattr(state, group)[name]
                if rule is None or not array.size:
                    continue
                for at, within, _ in [Part((...,), rule, "")] if isinstance(rule, Range) else rule:
                    for value in _outside(within, array.dtype):
                        if array[at].size:
                            yield kind, group, name, at, value


def _outside(within: Range, dtype: np.dtype[Any]) -> Iterator[float]:
    kind = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    least, most = (kind.min, kind.max) if dtype.kind in "iu" else (kind.min.item(), kind.max.item())
    if within.least > least:
        yield (
            np.nextafter(dtype.type(within.least), -np.inf).item()
            if dtype.kind == "f" and within.least
            else within.least - 1
        )
    if within.most < most:
        yield within.most * 1.01 if dtype.kind == "f" and within.most else within.most + 1
    if dtype.kind == "f":
        yield from (np.inf, -np.inf) if within.unknown else (np.nan, np.inf, -np.inf)
    if within.whole:
        yield 0.5


def test_a_number_out_of_range_is_refused_in_every_array() -> None:
    tried = 0
    for kind, group, name, at, value in _bounds():
        state = healthy(kind).copy()
        part = getattr(state, group)[name][at]
        place = tuple(size - 1 for size in part.shape)
        if place:
            part[place] = value
        else:
            getattr(state, group)[name][at] = value
        with pytest.raises(ValueError, match=name):
            state.require_fit(SPECS[kind])
        tried += 1
    assert tried > 500


Change = Callable[[LearnerState], None]


def _set(group: str, name: str, at: Any, value: Any) -> Change:
    def change(state: LearnerState) -> None:
        getattr(state, group)[name][at] = value

    return change


def _two_of_one_record(state: LearnerState) -> None:
    state.streams["seen"][:, RECORD] = state.streams["seen"][0, RECORD]


def _no_steps(state: LearnerState) -> None:
    state.streams["steps"][:] = 0
    state.streams["learned"][:] = 0


RELATIONS: dict[str, tuple[str, Change, str]] = {
    "a full batch that waits": ("classes", _set("model", "counters", WINDOWS_IN_BATCH, 4), "wait for a batch of 4"),
    "gradients of no batch": ("regression", _set("model", "accumulated", 0, 1e-3), "no window waits"),
    "more steps than records": ("regression", _set("streams", "steps", 0, 151), "'steps' counts 151, and 150"),
    "more values than records": ("forecast", _set("streams", "history_count", 0, 151), "'history_count' counts 151"),
    "more events than records": ("labels", _set("streams", "event_count", 0, 151), "'event_count' counts 151"),
    "an event of a step to come": ("labels", _set("streams", "event_step", 0, 150), "yet to come"),
    "a record for two streams": ("regression", _two_of_one_record, "does not name one of 150 records for each"),
    "a record to come": ("regression", _set("streams", "seen", (0, RECORD), 151), "does not name one of 150 records"),
    "a time not lived": ("regression", _set("streams", "seen", (0, LIVED), 10**9), "times that do not follow"),
    "steps learned that did not come": ("exact", _set("streams", "learned", 0, 140), "steps behind 'steps'"),
    "a state that is too far behind": ("exact and late", _set("streams", "steps", slice(None), 90), "expected 0 to 5"),
    "labels of steps to come": ("exact and late", _set("streams", "answered", 0, 150), "counts steps that are yet"),
    "traces of no step": ("exact", _no_steps, "'traces' holds something of sequences of which no step was taken"),
    "traces of what was not shown": ("exact", _set("streams", "shown", ..., 0), "inputs that were not 'shown'"),
    "a weight of no unit": ("exact", _set("model", "theta", 7, 1.0), "'theta' holds something of units behind the 4"),
    "a state of no unit": ("exact", _set("streams", "state", (..., 5), 1.0), "'state' holds something of units behind"),
    "half a class": ("classes", _set("streams", "newest", 0, 0.5), "fractions"),
    "one key twice": ("regression", lambda state: state.keys.__setitem__(slice(None), [b"k"] * 6), "two slots"),
}


@pytest.mark.parametrize("relation", RELATIONS)
def test_arrays_that_do_not_belong_together_are_refused(relation: str) -> None:
    kind, change, reason = RELATIONS[relation]
    state = healthy(kind).copy()
    state.keys[:] = [key or b"free" for key in state.keys]
    state.require_fit(SPECS[kind])
    change(state)
    with pytest.raises(ValueError, match=reason):
        state.require_fit(SPECS[kind])


def _with_symbols(name: str, batch_size: int = 1) -> LearnerState:
    """What a learner of symbols holds after some records; of a batch, while windows wait."""
    of = symbols.ALL[name]
    of = replace(of, learning=replace(of.learning, batch_size=batch_size))
    learner = Learner(of, 1)
    learner.process(symbols.log_of(of, 120).rows(slice(0, 30)))
    return learner.state().copy()


@pytest.mark.parametrize("name", ["next event", "closed", "label"])
@pytest.mark.parametrize("value", [-0.1, 1.01, np.inf])
def test_what_is_remembered_of_classes_are_probabilities(name: str, value: float) -> None:
    state = _with_symbols(name)
    state.streams["remembered"][0, 0, 0] = np.nan
    state.require_fit(state.spec)
    state.streams["remembered"][0, 0, 0] = value
    with pytest.raises(ValueError, match="'remembered' holds numbers"):
        state.require_fit(state.spec)


def _unconcerned(state: LearnerState) -> dict[str, tuple[int, str]]:
    """A place of 'accumulated' of each kind that no window of the batch concerned, and what is said of it."""
    layout, in_use = layout_of(state.spec), int(state.model["outputs_in_use"][0])
    assert in_use < layout.n_outputs
    row = int(np.flatnonzero(state.model["in_batch"] == 0)[0])
    return {
        "a row": (layout.dense + row * layout.gate_width, "rows that are not 'in_batch'"),
        "an output": (layout.head + in_use * layout.hidden_size, f"behind the {in_use} in use"),
        "a bias": (layout.dense - layout.n_outputs + in_use, f"behind the {in_use} in use"),
    }


@pytest.mark.parametrize("which", ["a row", "an output", "a bias"])
def test_a_batch_holds_gradients_of_what_its_windows_concerned_alone(which: str) -> None:
    state = _with_symbols("class of the record", batch_size=7)
    assert state.model["counters"][WINDOWS_IN_BATCH] > 0
    state.model["accumulated"][0] = 0.5
    state.require_fit(state.spec)
    place, reason = _unconcerned(state)[which]
    state.model["accumulated"][place] = 0.5
    with pytest.raises(ValueError, match=reason):
        state.require_fit(state.spec)


def test_nothing_is_in_a_batch_that_no_window_waits_for() -> None:
    state = _with_symbols("class of the record", batch_size=7)
    for name in ("accumulated", "accumulated_loss"):
        state.model[name][:] = 0.0
    state.model["counters"][WINDOWS_IN_BATCH] = 0
    assert state.model["in_batch"].any()
    with pytest.raises(ValueError, match="no window waits"):
        state.require_fit(state.spec)
    state.model["in_batch"][:] = 0
    state.require_fit(state.spec)


def test_nothing_that_is_refused_reaches_a_learner_by_any_way() -> None:
    of = SPECS["regression"]
    bad = healthy("regression").copy()
    bad.model["theta"][0] = np.nan
    ways: list[Callable[[], object]] = [
        lambda: Learner(of, 1).resume(bad),
        lambda: carry_over(bad, Learner(of, 1), range(of.n_features)),
        lambda: carry_over(bad, Learner(replace(of, n_features=4), 1), range(of.n_features)),
        lambda: carry_over(bad, Learner(of, 1), range(of.n_features), streams=False),
        lambda: Learner.__new__(Learner).__setstate__({"state": bad}),
    ]
    for way in ways:
        with pytest.raises(ValueError, match="theta"):
            way()


def test_a_copied_learner_has_passed_the_same_check() -> None:
    learner = Learner(SPECS["regression"], 1)
    learner.process(records(SPECS["regression"], 20, 0))
    copy.deepcopy(learner)
    learner._model.moment2[0] = -1.0
    with pytest.raises(ValueError, match="moment2"):
        copy.deepcopy(learner)


def test_no_slot_is_given_out_at_or_beyond_the_capacity() -> None:
    index = StreamIndex(2, None, 1000)
    index.assign([b"a", b"b"], [1, 2], [EVENT, EVENT])
    index.room.max_streams = 3  # who counts streams is mistaken
    with pytest.raises(RuntimeError, match="all 2 slots are given out, to 2 streams"):
        index.assign_one(b"c", 3, EVENT)


# ---- what a learner can bring it to

ABSURD = (1e100, -1e100, 1e300, -1e300, 1e-300, 1e-160, 1e50, 1e30, -1e38, 4e38, np.nan, np.inf, -np.inf, 0.0, 1.0)
SOFTMAX = (("softmax", "cross_entropy"),)
TIMES = (-(2**63), 2**63 - 1, 0, 10**12, -(10**15))


def _extreme(of: LearnerSpec, rng: np.random.Generator) -> Block:
    n = int(rng.integers(1, 80))
    block = records(of, n, int(rng.integers(2**31)))
    for array in (block.x,) if of.target.classes else (block.x, block.y):
        absurd = rng.random(array.shape) < rng.choice([0.0, 0.1, 1.0])
        array[absurd] = rng.choice(ABSURD, absurd.sum())
    if rng.random() < 0.2:
        block.time_ms[:] = rng.choice(TIMES, n)
    return block


@settings(max_examples=60, deadline=None)
@given(logs.specs(dtype="float32") | logs.specs() | logs.specs(losses=SOFTMAX, texts=True), st.integers(0, 2**32 - 1))
def test_whatever_a_learner_sees_its_state_is_sound(of: LearnerSpec, seed: int) -> None:
    rng, learner = np.random.default_rng(seed), Learner(of, 1)
    for _ in range(6):
        learner.process(_extreme(of, rng))
        again = Learner(of, 2)
        again.resume(learner.state())
        learner = again


# ---- numbers of a specification that would make arrays or weights overflow


@pytest.mark.parametrize("path", SOUND)
def test_a_setting_that_would_overflow_is_refused_by_name(path: str) -> None:
    section, field = path.split(".")
    of = SPECS[{"label_memory": "labels", "k1": "exact"}.get(field, "forecast")]
    most = SOUND[path][1]
    for value in (most * 1.01, float("inf")):
        number = (0.9, value) if field == "betas" else int(min(value, 1e18)) if isinstance(most, int) else value
        with pytest.raises(RuleError, match=rf"{path}: expected a number from"):
            replace(of, **{section: replace(getattr(of, section), **{field: number})})


def _with(of: LearnerSpec, section: str, **fields: Any) -> LearnerSpec:
    return replace(of, **{section: replace(getattr(of, section), **fields)})


def test_an_optimiser_that_throws_weights_away_and_a_readout_that_forgets_too_fast_are_refused() -> None:
    with pytest.raises(RuleError, match=r"learning.weight_decay: lr times it must be at most 1, got 3"):
        _with(SPECS["regression"], "learning", optimizer="adamw", lr=1.0, weight_decay=3.0)
    with pytest.raises(RuleError, match=r"model.rls_forgetting: 1e-30 forgets too fast"):
        _with(SPECS["forecast"], "model", rls_forgetting=1e-30)
    with pytest.raises(ValueError, match=r"n_features: at most"):
        replace(SPECS["regression"], n_features=10**7)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "rmsprop", "adam", "adamw"])
@pytest.mark.parametrize("lr", [1e-3, 1_000.0])
def test_weights_stay_finite_at_the_ends_of_what_an_optimiser_may_be(optimizer: str, lr: float) -> None:
    ends = {"eps": 1e-30, "rmsprop_alpha": 0.999_999, "momentum": 0.999_999, "betas": (0.999_999, 0.999_999)}
    of = _with(
        SPECS["regression"], "learning", optimizer=optimizer, lr=lr, clip_norm=None, polyak_bound=None, k1=1,
        weight_decay=1e-3, **ends,
    )  # fmt: skip
    learner, rng = Learner(of, 1), np.random.default_rng(0)
    for _ in range(10):
        block = records(of, 100, int(rng.integers(100)))
        block.x[:, 1] = 0.0  # of which no gradient ever comes
        learner.process(block)
    theta = learner.state().model["theta"]
    assert theta.dtype == dtype_of(of)
    assert np.isfinite(theta).all()
    assert learner.counters()["updates"] > 0


# ---- what somebody hands over


@pytest.mark.parametrize("kind", KINDS)
def test_a_learner_is_handed_over_while_what_it_grows_by_may_double(kind: str) -> None:
    healthy(kind).require_fit(SPECS[kind], beginning=True)
    for name, value in {"theta": 0.9e30, "moment1": -0.9e30, "counters": 2**52 + 1, "arrivals": 2**53}.items():
        state = healthy(kind).copy()
        if not state.model[name].size:
            continue
        state.model[name][0] = value
        state.require_fit(SPECS[kind])
        with pytest.raises(ValueError, match=name):
            state.require_fit(SPECS[kind], beginning=True)


def test_a_clock_that_is_handed_over_may_have_lived_half_as_long_as_one_can() -> None:
    state = healthy("regression").copy()
    state.model["clock"][list(RANGES).index("lived")] = 2**61
    state.require_fit(SPECS["regression"], beginning=True)
    state.model["clock"][list(RANGES).index("lived")] = 2**61 + 1024
    state.require_fit(SPECS["regression"])
    with pytest.raises(ValueError, match="lived"):
        state.require_fit(SPECS["regression"], beginning=True)


def test_weights_that_no_learning_leads_to_are_refused_in_the_readout_as_well() -> None:
    for name in ("readout_full_weight", "readout_plain_root"):
        state = healthy("forecast").copy()
        state.model[name][...] = 1e300
        with pytest.raises(ValueError, match=name):
            state.require_fit(SPECS["forecast"])


def test_learners_without_clipping_at_the_highest_rate_stay_far_below_the_largest_weight() -> None:
    rng = np.random.default_rng(0)
    for optimizer in ("sgd", "momentum", "rmsprop", "adam"):
        of = replace(
            SPECS["regression"],
            learning=replace(
                SPECS["regression"].learning, optimizer=optimizer, lr=1_000.0, clip_norm=None, polyak_bound=None
            ),
        )
        learner = Learner(of, 1)
        for i in range(4):
            x = rng.normal(size=(200, of.n_features)) * 10.0 ** rng.uniform(0, 99)
            keys = [b"%d" % key for key in rng.integers(4, size=200)]
            learner.process(Block.events(keys, x, rng.normal(size=(200, 1)) * 1e9, time_ms=np.arange(200) + 200 * i))
        assert 0.0 < learner.largest_weight() < LARGEST_WEIGHT / 1e6
        learner.state().require_fit(of, beginning=True)
