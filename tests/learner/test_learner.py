"""A learner is a pure function of its specification, seed and log: no cut, save, restore or question changes a bit."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streamrnn.learner.streams
import streamrnn.storage.checkpoints
import streamrnn.storage.snapshot
import streamrnn.storage.writer
from streamrnn.core import compiled, handle
from streamrnn.core.jit import JIT_DISABLED
from streamrnn.core.kinds import CLOSE, COMPILED
from streamrnn.learner.block import Block
from streamrnn.learner.calls import FEW
from streamrnn.learner.foundation import seed_of
from streamrnn.learner.learner import Learner
from streamrnn.learner.lowering import bytes_per_stream
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec, LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.storage.blobs import DirectoryBlobs
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.manifest import Progress, new_lineage
from streamrnn.storage.snapshot import take_snapshot
from streamrnn.storage.writer import BackgroundWriter
from tests.support.learners import bits_of, bits_of_predictions, carried_state, differing, plain_log, plain_spec
from tests.support.logs import FEWER, MANY, any_spec, logs, part

SEED = 7

cuts = st.lists(st.integers(0, 50), max_size=5)


def bounds(block: Block, at: list[int]) -> Iterator[tuple[int, int]]:
    return itertools.pairwise([0, *sorted(min(cut, len(block)) for cut in at), len(block)])


# -- cuts, checkpoints, questions -------------------------------------------------------------------------------------


@MANY
@given(st.data())
def test_any_way_of_cutting_the_log_into_polls_gives_the_same_bits(data: st.DataObject) -> None:
    spec = data.draw(any_spec, label="spec")
    block = data.draw(logs(spec), label="log")
    whole = Learner(spec, SEED)
    predictions = bits_of_predictions(whole.process(block))
    for at in (data.draw(cuts, label="cuts"), list(range(len(block)))):
        learner = Learner(spec, SEED)
        parts = [learner.process(part(block, a, b)) for a, b in bounds(block, at)]
        assert differing(bits_of_predictions(*parts), predictions) == []
        assert differing(bits_of(learner), bits_of(whole)) == []
        assert learner.digest == whole.digest


@pytest.fixture
def _tiny_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (
        streamrnn.learner.copying,
        streamrnn.learner.foundation,
        streamrnn.learner.streams,
        streamrnn.storage.checkpoints,
        streamrnn.storage.putting,
        streamrnn.storage.snapshot,
        streamrnn.storage.writer,
    ):
        monkeypatch.setattr(module, "SEGMENT_SLOTS", 2)


def restored(
    spec: LearnerSpec, store: CheckpointStore, lineage: str
) -> tuple[Learner, streamrnn.storage.checkpoints.Manifest]:
    found = store.newest(lineage)
    assert found.checkpoint is not None
    assert not found.rejected
    learner = Learner(spec, SEED + 1)  # nothing of the seed may survive the restore
    learner.resume(found.checkpoint.state())
    return learner, found.checkpoint.manifest


@pytest.mark.usefixtures("_tiny_segments")
@FEWER
@given(st.data())
def test_checkpoints_on_disk_and_restores_at_any_record_give_the_same_bits(data: st.DataObject) -> None:
    spec = data.draw(any_spec, label="spec")
    block = data.draw(logs(spec), label="log")
    whole = Learner(spec, SEED)
    predictions = bits_of_predictions(whole.process(block))
    lineage = new_lineage()
    parts = []
    with tempfile.TemporaryDirectory() as directory:
        store = CheckpointStore(DirectoryBlobs(directory), "job", "topic", 0, configuration={})
        learner = Learner(spec, SEED)
        writer = BackgroundWriter(store)
        for a, b in bounds(block, data.draw(cuts, label="cuts")):
            parts.append(learner.process(part(block, a, b)))
            what = data.draw(st.sampled_from(("nothing", "checkpoint", "restore", "restore")), label="then")
            if what == "nothing":
                continue
            snapshot = take_snapshot(learner.state().copy(), writer.needed(learner.pop_touched_segments()))
            progress = Progress(
                lineage=lineage, position=b, ordinal=b, digest=learner.digest, stream_time_ms=0, updates=0,
                parameters=0, counters={},
            )  # fmt: skip
            writer.submit(snapshot, progress, b)
            if what == "restore":
                before = bits_of(learner)
                assert writer.close(10.0)
                learner, base = restored(spec, store, lineage)
                assert differing(bits_of(learner), before) == []
                assert learner.digest == base.progress.digest
                writer = BackgroundWriter(store, base=base)
        assert writer.close(10.0)
    assert differing(bits_of_predictions(*parts), predictions) == []
    assert differing(bits_of(learner), bits_of(whole)) == []


@FEWER
@given(st.data())
def test_predict_changes_nothing(data: st.DataObject) -> None:
    spec = data.draw(any_spec, label="spec")
    block = data.draw(logs(spec), label="log")
    learner, undisturbed = Learner(spec, SEED), Learner(spec, SEED)
    predictions, undisturbed_predictions = [], []
    for a, b in bounds(block, data.draw(cuts, label="cuts")):
        before = bits_of(learner)
        learner.predict(block)
        assert differing(bits_of(learner), before) == []
        predictions.append(learner.process(part(block, a, b)))
        undisturbed_predictions.append(undisturbed.process(part(block, a, b)))
    # Nor does what lies behind the saved state (work space, the blank row) remember the question.
    assert differing(bits_of_predictions(*predictions), bits_of_predictions(*undisturbed_predictions)) == []
    assert differing(bits_of(learner), bits_of(undisturbed)) == []


def test_predict_says_what_process_says_next() -> None:
    learner = Learner(plain_spec(), SEED)
    block = plain_log(60)
    for i in range(60):
        asked = learner.predict(part(block, i, i + 1))
        predictions = learner.process(part(block, i, i + 1))
        assert asked.value.tobytes() == predictions.value.tobytes()
        assert asked.updates.tolist() == predictions.updates.tolist()
    assert learner.counters()["updates"] > 0


def test_an_empty_block_changes_nothing() -> None:
    learner = Learner(plain_spec(), SEED)
    block = plain_log(20)
    learner.process(block)
    before = bits_of(learner)
    assert learner.process(part(block, 3, 3)).value.shape == (0, 1)
    assert differing(bits_of(learner), before) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((40, 3))}, r"block\.x has shape \(40, 3\), expected \(40, 2\)"),
        ({"y": np.zeros(40)}, r"block\.y has shape \(40,\), expected \(40, 1\)"),
        ({"time_ms": np.zeros(39, np.int64)}, r"block\.time_ms has shape \(39,\), expected \(40,\)"),
        ({"kind": np.full(40, CLOSE, np.uint8)}, r"block\.kind holds other kinds"),
    ],
)
def test_a_block_that_is_refused_changes_nothing(change: dict[str, np.ndarray], message: str) -> None:
    learner, block = Learner(plain_spec(), SEED), plain_log(40)
    before = bits_of(learner)
    with pytest.raises(ValueError, match=message):
        learner.process(replace(block, **change))
    assert differing(bits_of(learner), before) == []


@pytest.mark.parametrize("spec", [plain_spec(), plain_spec(has_end=True)], ids=["endless", "ends"])
def test_blocks_small_and_large_give_the_same_bits(spec: LearnerSpec) -> None:
    block = plain_log(3 * FEW)
    block = replace(block, end=np.arange(3 * FEW) % 7 == 6)
    large, small = Learner(spec, SEED), Learner(spec, SEED)
    predictions = bits_of_predictions(large.process(block))
    parts = [small.process(part(block, a, b)) for a, b in bounds(block, [1, 2, 5, 5 + FEW, 6 + 2 * FEW, 8 + 2 * FEW])]
    assert differing(bits_of_predictions(*parts), predictions) == []
    assert differing(bits_of(small), bits_of(large)) == []
    assert small.digest == large.digest
    asked = [large.predict(part(block, a, b)) for a, b in bounds(block, [FEW + 1])]
    assert differing(bits_of_predictions(*asked), bits_of_predictions(large.predict(block))) == []


@pytest.mark.parametrize("n", [1, FEW, FEW + 1])
def test_predictions_are_the_callers_to_keep(n: int) -> None:
    learner, block = Learner(plain_spec(), SEED), plain_log(2 * n)
    kept = learner.process(part(block, 0, n))
    before = bits_of_predictions(kept)
    learner.process(part(block, n, 2 * n))
    learner.predict(part(block, 0, n))
    assert differing(bits_of_predictions(kept), before) == []


@pytest.mark.parametrize("n", [40, FEW + 40])
def test_read_only_strided_and_unaligned_blocks_give_the_same_bits(n: int) -> None:
    block = plain_log(n)
    plain, odd = Learner(plain_spec(), SEED), Learner(plain_spec(), SEED)
    wide = np.zeros((n, 5))
    wide[:, 1:4:2] = block.x
    x = wide[:, 1:4:2]
    y = np.asfortranarray(block.y)
    y.flags.writeable = False
    predictions = plain.process(block)
    odd_predictions = odd.process(
        Block(block.keys, block.time_ms.astype(">i8"), x, y, block.end, block.kind, block.event)
    )
    assert differing(bits_of_predictions(odd_predictions), bits_of_predictions(predictions)) == []
    assert differing(bits_of(odd), bits_of(plain)) == []


def test_the_seed_decides_the_initial_weights_and_follows_from_job_topic_and_partition() -> None:
    weights = [Learner(plain_spec(), seed).get_weights()["rnn.weight_ih_l0"].tobytes() for seed in (1, 1, 2)]
    assert weights[0] == weights[1] != weights[2]
    seeds = {
        seed_of("j", "t", 0),
        seed_of("j", "t", 1),
        seed_of("j", "u", 0),
        seed_of("k", "t", 0),
        seed_of("jt", "", 0),
    }
    assert len(seeds) == 5
    assert seed_of("flights", "departures", 0) == 16452249100479985907  # checkpoints rely on it


# -- units ------------------------------------------------------------------------------------------------------------


UNITS = {
    "record": TargetSpec(fields=("y",)),
    "label": TargetSpec(fields=("y",), known="label", event_field="id", label_field="of"),
    "forecast": TargetSpec(fields=("y",), known="forecast", horizon=3),
    "baseline": TargetSpec(fields=("y",), known="forecast", horizon=3, baseline="last"),
}


@pytest.mark.parametrize("readout", ["linear", "rls"])
@pytest.mark.parametrize("known", list(UNITS))
def test_the_target_s_unit_and_origin_do_not_matter(known: str, readout: str) -> None:
    model = ModelSpec(hidden_size=3, dtype="float64", readout=readout, lags=3)  # type: ignore[arg-type]
    spec = LearnerSpec(n_features=2, target=UNITS[known], model=model, learning=LearningSpec(k1=2, k2=8))
    block = plain_log(120, streams=1)
    if known == "label":  # each label comes five events later
        n = len(block)
        block.kind[10:] = np.arange(n - 10) % 2
        block.event[:] = np.cumsum(block.kind == 0)
        block.event[block.kind == 1] -= np.uint64(5)
        block.y[block.kind == 0] = np.nan
    other = replace(block, y=5.0 + 1000.0 * block.y)
    predictions, of_other = Learner(spec, SEED).process(block).value, Learner(spec, SEED).process(other).value
    late = slice(40, None)  # the first predictions are made without a unit
    np.testing.assert_allclose(of_other[late], 5.0 + 1000.0 * predictions[late], rtol=1e-6, atol=1e-2)


@pytest.mark.parametrize("known", ["record", "forecast", "baseline"])
def test_predictions_made_without_a_unit_are_never_taught(known: str) -> None:
    """A constant tells no deviation, however long; what is foretold before its first change is in no unit."""
    model = ModelSpec(hidden_size=3, dtype="float64", readout="rls", lags=3)
    learner = Learner(plain_spec(model=model, learning=LearningSpec(k1=2, k2=8)), SEED)
    if known != "record":
        learner = Learner(LearnerSpec(n_features=2, target=UNITS[known], model=model), SEED)
    block = plain_log(30, streams=1)
    block.y[:20], block.y[20:] = 1000.0, 1000.0 + block.y[20:]
    learner.process(part(block, 0, 20))
    assert not learner.state().model["readout_loss_count"].any()
    learner.process(part(block, 20, 21))
    assert not learner.state().model["readout_loss_count"].any()
    learner.process(part(block, 21, 30))
    assert learner.state().model["readout_loss_count"].all()


# -- single calls -----------------------------------------------------------------------------------------------------


def test_a_sequence_is_closed_only_where_the_specification_has_ends() -> None:
    learner = Learner(plain_spec(), SEED)
    learner.process(plain_log(20))
    before = bits_of(learner)
    with pytest.raises(ValueError, match="has_end"):
        learner.close(b"s0")
    assert differing(bits_of(learner), before) == []


def test_closing_counts_sequences_with_steps_and_is_no_sign_of_life() -> None:
    learner = Learner(plain_spec(has_end=True, learning=LearningSpec(k1=50, k2=50)), SEED)
    learner.process(plain_log(20))
    index = learner.streams
    order, clock, seen = index.keys(), index.clock.state().tolist(), index.state()[3].tolist()
    learner.pop_touched_segments()
    learner.close(order[0])
    assert learner.pop_touched_segments() == {0}
    assert (learner.counters()["sequences_ended"], learner.counters()["updates"]) == (1, 1)
    assert not any(state.any() for state in carried_state(learner, order[0]).values())
    learner.close(order[0])
    learner.close(b"nobody")
    assert (learner.counters()["sequences_ended"], learner.counters()["updates"]) == (1, 1)
    assert (index.keys(), index.clock.state().tolist(), index.state()[3].tolist()) == (order, clock, seen)


def test_no_time_passes_while_a_future_is_imagined() -> None:
    spec = LearnerSpec(n_features=2, target=UNITS["forecast"], inputs=InputSpec(dt=True))
    predictions = []
    for start in (0, -(10**13)):  # the second in 1653
        learner, block = Learner(spec, SEED), plain_log(30, streams=1)
        block.time_ms[:] += start
        learner.process(block)
        learner.imagine(b"s0")
        predictions.append([learner.imagine_one([0.5, -0.5], 1.0).copy() for _ in range(3)])
    np.testing.assert_array_equal(predictions[0], predictions[1])


# -- time and absurd numbers ------------------------------------------------------------------------------------------


def test_a_record_from_the_year_9999_evicts_nothing_and_resets_nothing() -> None:
    streams = StreamSpec(max_streams=10, ttl_s=60.0, reset_after_s=5.0, max_time_jump_s=3600.0)
    learner, clean = Learner(plain_spec(streams=streams), SEED), Learner(plain_spec(streams=streams), SEED)
    block = plain_log(50)
    learner.process(block)
    clean.process(block)
    stray = part(plain_log(1, seed=1), 0, 1)
    stray.keys[0] = b"s0"
    stray.time_ms[0] = 253_402_300_799_000
    learner.process(stray)
    counts = learner.counters()
    assert (counts["evictions_ttl"], counts["sequences_ended"]) == (0, clean.counters()["sequences_ended"])
    assert set(learner.streams.keys()) == set(clean.streams.keys())
    assert learner.streams.clock.now == clean.streams.clock.now
    for key in (b"s1", b"s2"):
        for name, state in carried_state(learner, key).items():
            assert state.tobytes() == carried_state(clean, key)[name].tobytes()


@pytest.mark.parametrize("absurd", [np.inf, -np.inf, 1e200, np.nan])
def test_absurd_inputs_and_targets_count_as_missing_and_poison_nothing(absurd: float) -> None:
    learner = Learner(plain_spec(), SEED)
    block = plain_log(80)
    block.x[5, 0] = block.y[7, 0] = absurd
    predictions = learner.process(block)
    assert np.isfinite(predictions.value).all()
    assert learner.counters()["imputed_inputs"] == 1
    assert np.isnan(predictions.loss).sum() == 1
    for name, array in learner.state().model.items():
        assert np.isfinite(array).all(), name


# -- cost -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
def test_one_object_per_precision_serves_every_specification_and_nothing_is_compiled_here() -> None:
    for dtype in ("float32", "float64"):
        for cell in ("rnn", "lstm", "gru"):
            for target, readout in (
                (TargetSpec(fields=("y",)), "rls"),
                (TargetSpec(fields=("y",), known="forecast", horizon=2, baseline="last"), "linear"),
            ):
                for k1, layers in ((1, 1), (4, 2)):
                    spec = LearnerSpec(
                        n_features=2,
                        target=target,
                        model=ModelSpec(cell=cell, dtype=dtype, num_layers=layers, hidden_size=3, readout=readout),
                        learning=LearningSpec(k1=k1, k2=8),
                    )
                    learner = Learner(spec, SEED)
                    learner.process(plain_log(20))
                    learner.predict(plain_log(3))
    # Whoever ran in this process before may have used those of sequences and of bytes.
    assert len(compiled._engines) <= len(COMPILED)
    assert len({of for of in compiled._loaded if of[0] == "steps"}) <= 2
    assert handle.process.signatures == []  # type: ignore[attr-defined]


def test_a_stream_takes_less_than_three_kilobytes() -> None:
    spec = LearnerSpec(
        n_features=8,
        target=TargetSpec(fields=("y",)),
        model=ModelSpec(cell="lstm", hidden_size=32),
        learning=LearningSpec(k1=8, k2=32),
    )
    assert bytes_per_stream(spec) < 3_000
    learner = Learner(spec, SEED)
    assert bytes_per_stream(spec) == sum(array[0].nbytes for array in learner._per_stream)


# ---- initial weights


@pytest.mark.parametrize(("memory", "steps"), [(None, None), (40, 40), ("auto", 8)])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_learner_begins_with_the_memory_that_it_is_told(
    cell: Literal["lstm", "gru"], memory: int | Literal["auto"] | None, steps: int | None
) -> None:
    spec = plain_spec(model=ModelSpec(cell=cell, memory=memory), learning=LearningSpec(k1=2, k2=8))
    learner = Learner(spec, SEED)
    expected = learner.layout.get_weights(learner.layout.initialise(SEED, np.float32, steps))
    for name, weights in learner.get_weights().items():
        np.testing.assert_array_equal(weights, expected[name], err_msg=name)


def test_auto_has_no_memory_to_spread_over_a_window_of_one_step() -> None:
    spec = plain_spec(model=ModelSpec(cell="gru", memory="auto"), learning=LearningSpec(k1=1, k2=1))
    assert not Learner(spec, SEED).get_weights()["rnn.bias_ih_l0"].any()
