"""A learned job whose settings change goes on from what it has learned: nothing lost, nothing predicted twice."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from streamrnn.broker.protocol import TopicPartition
from streamrnn.errors import FingerprintMismatch, RecoveryError
from streamrnn.job.config import Config
from streamrnn.job.opening import open_blobs
from streamrnn.learner.features import Numeric, OneHot
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.fingerprints import canonical_sha256
from streamrnn.storage.manifest import Manifest, manifest_bytes, sign
from streamrnn.storage.snapshot import Checkpoint
from tests.support.learners import Bits, differing
from tests.support.rebalancing import delete_before
from tests.support.scenario import TP, KilledError, Scenario

N = 300
KEPT = "interval_s: 3600, max_replay_records: 25, retain: 1000"
Edit = Callable[[Config], Config]


pytestmark = pytest.mark.usefixtures("no_pauses")


class Edited(Scenario):
    """The scenario's job, with what ``edit`` makes of it."""

    edit: Edit = staticmethod(lambda config: config)

    def config(self, **changes: str) -> Config:
        return self.edit(super().config(**changes))


def learning(**changes: Any) -> Edit:
    return lambda config: replace(config, learning=replace(config.learning, **changes))


def model(**changes: Any) -> Edit:
    return lambda config: replace(config, model=replace(config.model, **changes))


def streams(**changes: Any) -> Edit:
    return lambda config: replace(config, streams=replace(config.streams, **changes))


def read(**changes: Any) -> Edit:
    return lambda config: replace(config, input=replace(config.input, **changes))


def features(*more: Any) -> Edit:
    return lambda config: replace(config, features=(*config.features, *more))


def all_of(*edits: Edit) -> Edit:
    def edit(config: Config) -> Config:
        for each in edits:
            config = each(config)
        return config

    return edit


def kill(number: int) -> Callable[[int], None]:
    def hook(n: int) -> None:
        if n == number:
            raise KilledError

    return hook


def killed_ahead_of_its_checkpoint(directory: Path, **settings: str) -> Edited:
    """A job that was killed after commits that no checkpoint holds."""
    made = Edited(directory, checkpoint=KEPT, **settings)
    made.fill(N)
    with pytest.raises(KilledError):
        made.run(before={"poll": kill(11)})
    newest = checkpoints(made)[-1].manifest.progress.position
    assert newest < made.mark()["offset"] < N
    return made


def store(scenario: Scenario) -> CheckpointStore:
    return CheckpointStore(open_blobs(scenario.config()), "j", "in", 0)


def checkpoints(scenario: Scenario) -> list[Checkpoint]:
    """Those of the committed lineage, its genesis checkpoint first."""
    found, lineage = store(scenario), scenario.mark()["lineage"]
    return [found.load(found.read(lineage, position)) for position in found.positions(lineage)]


def bits(checkpoint: Checkpoint) -> Bits:
    arrays = {f"model.{name}": array for name, array in checkpoint.model.items()}
    arrays |= {f"streams.{name}": array for name, array in checkpoint.streams.items()}
    return {name: array.tobytes() for name, array in arrays.items()} | {"keys": repr(checkpoint.keys).encode()}


def undisturbed(scenario: Scenario, directory: Path, until: int = N) -> Edited:
    """The scenario's log up to there, run through under the old settings."""
    made = Edited(directory, **scenario.settings)
    for record in scenario.records("in")[:until]:
        made.append(record.key, record.value, record.timestamp_ms)
    made.run()
    return made


def assert_each_predicted_once_in_order(scenario: Scenario) -> None:
    offsets = [json.loads(record.value or b"")["offset"] for record in scenario.records("out")]
    assert offsets == [record.offset for record in scenario.records("in")]


# -- at once ----------------------------------------------------------------------------------------------------------

AT_ONCE: list[Edit] = [
    learning(lr=0.001, clip_norm=None, target_shrinkage=3.0, scale_memory=500, polyak_bound=None),
    learning(betas=(0.8, 0.99), eps=1e-6),
    streams(ttl_s=86_400.0),
    streams(max_streams=60, max_time_jump_s=60.0),
    read(max_record_bytes=500_000),
    model(rls_forgetting=0.99, huber_delta=2.0, lags=3, memory=50),
]


@pytest.mark.parametrize("edit", AT_ONCE)
def test_what_changes_at_once_leaves_every_bit_of_what_was_learned(tmp_path: Path, edit: Edit) -> None:
    scenario = killed_ahead_of_its_checkpoint(tmp_path / "job")
    before = scenario.mark()
    scenario.edit = edit
    run = scenario.run()
    assert scenario.mark()["lineage"] != before["lineage"]
    genesis = checkpoints(scenario)[0]
    assert genesis.manifest.progress.position == before["offset"]
    assert genesis.manifest.progress.ordinal == before["ordinal"]
    assert genesis.manifest.progress.digest == before["digest"]
    (expected,) = checkpoints(undisturbed(scenario, tmp_path / "undisturbed", before["offset"]))[-1:]
    assert differing(bits(genesis), bits(expected)) == []
    assert_each_predicted_once_in_order(scenario)
    assert run.value("streamrnn_inexact_replays_total") == 0
    # Counts go on: what was replayed is not counted twice, and what was learned before is not forgotten.
    assert run.value("streamrnn_records_consumed_total") == N - before["offset"]
    assert checkpoints(scenario)[-1].manifest.progress.counters["records_predicted"] == N


def test_what_was_committed_is_replayed_under_the_settings_it_was_predicted_under(tmp_path: Path) -> None:
    # Most of the records are too large for the new limit: under it, the replay would be of another log.
    scenario = killed_ahead_of_its_checkpoint(tmp_path / "job")
    offset = scenario.mark()["offset"]
    scenario.edit = all_of(read(max_record_bytes=60), learning(lr=0.1), features(Numeric(field="z")))
    run = scenario.run()
    assert run.value("streamrnn_inexact_replays_total") == 0
    assert sorted(scenario.predictions())[:offset] == list(range(offset))
    assert len(scenario.records("dead")) > 20
    assert min(json.loads(r.value or b"")["offset"] for r in scenario.records("dead")) >= offset


def test_a_change_reaches_the_learner(tmp_path: Path) -> None:
    scenario = killed_ahead_of_its_checkpoint(tmp_path / "job")
    offset = scenario.mark()["offset"]
    before = undisturbed(scenario, tmp_path / "undisturbed").predictions()
    scenario.edit = learning(lr=0.5)
    scenario.run()
    after = scenario.predictions()
    same = [at for at in before if before[at] == after[at]]
    assert set(range(offset + 1)) <= set(same)  # the first is predicted before anything is learned
    assert len(same) < N - (N - offset) // 2


def test_fewer_streams_are_those_seen_last(tmp_path: Path) -> None:
    scenario = killed_ahead_of_its_checkpoint(tmp_path / "job", streams="{max_streams: 9}")
    offset = scenario.mark()["offset"]
    scenario.edit = streams(max_streams=3)
    run = scenario.run()
    genesis = checkpoints(scenario)[0]
    last: list[bytes | None] = []
    for record in reversed(scenario.records("in")[:offset]):
        if record.key not in last:
            last.append(record.key)
    assert sorted(map(str, genesis.keys)) == sorted(map(str, last[:3]))
    assert genesis.manifest.progress.counters["evictions_capacity"] == 6
    assert run.value("streamrnn_stream_capacity") == 3
    assert_each_predicted_once_in_order(scenario)


# -- by growth --------------------------------------------------------------------------------------------------------

GROWTH: list[Edit] = [
    features(Numeric(field="z"), OneHot(field="s", categories=("u", "v"))),
    lambda config: replace(config, features=(Numeric(field="z"), *reversed(config.features))),
    lambda config: replace(config, features=(config.features[0], OneHot(field="b.c", categories=("z", "y", "x")))),
    model(hidden_size=7),
    learning(k1=4),
    learning(k1=1, k2=9),
    learning(k1=1, k2=2),
    streams(reset_after_s=3600.0),
    read(end_field="end"),
    all_of(features(Numeric(field="z")), model(hidden_size=6), learning(k1=3, k2=6, lr=0.001, batch_size=2)),
]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("edit", GROWTH)
def test_what_grows_goes_on_with_the_prediction_that_would_have_come(tmp_path: Path, cell: str, edit: Edit) -> None:
    scenario = killed_ahead_of_its_checkpoint(tmp_path / "job", cell=cell)
    offset = scenario.mark()["offset"]
    before = undisturbed(scenario, tmp_path / "undisturbed").predictions()
    scenario.edit = edit
    run = scenario.run()
    assert_each_predicted_once_in_order(scenario)
    assert run.value("streamrnn_inexact_replays_total") == 0
    after = scenario.predictions()
    assert [after[at] for at in range(offset)] == [before[at] for at in range(offset)]
    first, expected = (json.loads(of[offset]) for of in (after, before))
    assert first["updates"] == expected["updates"]
    assert first["prediction"] == pytest.approx(expected["prediction"], rel=1e-4)
    assert checkpoints(scenario)[-1].manifest.progress.updates > first["updates"] > 0


def test_more_lags_of_the_rls_readout_join(tmp_path: Path) -> None:
    class Rls(Edited):
        def config(self, **changes: str) -> Config:
            config = Scenario.config(self, **changes)
            return self.edit(replace(config, model=replace(config.model, readout="rls", lags=2)))

    scenario = Rls(tmp_path / "job", checkpoint=KEPT)
    scenario.fill(N)
    scenario.run(stop_after=9)
    scenario.edit = all_of(model(lags=5, hidden_size=6), features(Numeric(field="z")))
    scenario.run()
    assert_each_predicted_once_in_order(scenario)


@pytest.mark.parametrize("at", [3, 6, 8])
def test_after_a_change_kills_and_stops_change_nothing(tmp_path: Path, at: int) -> None:
    edit = all_of(features(Numeric(field="z")), model(hidden_size=6), learning(k1=1, lr=0.001))
    found = []
    for name in ("killed", "not"):
        scenario = killed_ahead_of_its_checkpoint(tmp_path / name)
        scenario.edit = edit
        if name == "killed":
            with pytest.raises(KilledError):
                scenario.run(before={"commit": kill(at)})
            scenario.run(stop_after=6)
        scenario.run()
        found.append((scenario.saved(), scenario.predictions()))
    assert differing(found[0][0], found[1][0]) == []
    assert found[0][1] == found[1][1]


def test_a_kill_between_the_genesis_checkpoint_and_its_commit_changes_over_again(tmp_path: Path) -> None:
    scenario = killed_ahead_of_its_checkpoint(tmp_path / "job")
    before = scenario.mark()
    scenario.edit = model(hidden_size=6)
    with pytest.raises(KilledError):
        scenario.run(before={"commit": kill(2)})  # the first one marks the replay
    after = scenario.mark()
    assert after.pop("replayed") is not None and before.pop("replayed") is None
    assert after == before
    assert len(store(scenario).lineages()) == 2
    scenario.run()
    assert_each_predicted_once_in_order(scenario)


def test_each_partition_changes_over_by_itself(tmp_path: Path) -> None:
    scenario = Edited(tmp_path / "job", partitions=2)
    scenario.fill(N)
    scenario.run(stop_after=6)
    scenario.edit = learning(lr=0.001)
    scenario.run()
    second = TopicPartition("in", 1)
    assert scenario.mark()["lineage"] != scenario.mark(second)["lineage"]
    for tp in (TP, second):
        assert scenario.mark(tp)["offset"] == len(scenario.records("in", tp.partition))


def test_settings_may_change_there_and_back_as_in_a_rolling_deployment(tmp_path: Path) -> None:
    scenario = Edited(tmp_path / "job", checkpoint=KEPT)
    scenario.fill(N)
    scenario.run(stop_after=5)
    same = scenario.edit
    for number, edit in enumerate((learning(lr=0.001), same, learning(lr=0.001))):
        scenario.edit = edit
        scenario.run(stop_after=4)
        assert len(store(scenario).lineages()) == number + 2
    scenario.run()
    assert_each_predicted_once_in_order(scenario)


def test_a_worker_of_the_old_settings_stops_where_there_is_no_way_back(tmp_path: Path) -> None:
    scenario = Edited(tmp_path / "job")
    scenario.fill(N)
    scenario.run(stop_after=5)
    before = scenario.edit
    scenario.edit = features(Numeric(field="z"))
    scenario.run(stop_after=5)
    scenario.edit = before
    after = scenario.mark()
    with pytest.raises(FingerprintMismatch, match=r'features\[z\]: "numeric" -> \(absent\): not possible'):
        scenario.run()
    assert scenario.mark() == after


# -- not at all -------------------------------------------------------------------------------------------------------


def test_what_cannot_change_is_said_with_what_could_and_nothing_is_touched(tmp_path: Path) -> None:
    scenario = killed_ahead_of_its_checkpoint(tmp_path / "job")
    before, lineages = scenario.mark(), store(scenario).lineages()
    scenario.edit = all_of(model(cell="gru", hidden_size=5), learning(lr=0.1))
    with pytest.raises(FingerprintMismatch) as caught:
        scenario.run()
    message = str(caught.value)
    assert 'model.cell: "lstm" -> "gru": not possible: gates and states of one cell mean nothing to another' in message
    assert "These changes would be taken up:" in message
    assert "learning.lr: 0.003 -> 0.1: at once" in message
    assert "model.hidden_size: 4 -> 5: by growth" in message
    assert "give the job another name" in message
    assert (scenario.mark(), store(scenario).lineages()) == (before, lineages)


# -- checkpoints of other versions ------------------------------------------------------------------------------------


def rewritten(scenario: Scenario, edit: Callable[[dict[str, Any]], None]) -> None:
    """All checkpoints of the lineage as if another version had written them."""
    for path in scenario.manifests():
        raw = json.loads(path.read_bytes())
        edit(raw["configuration"])
        raw["configuration_sha256"] = canonical_sha256(raw["configuration"])
        path.write_bytes(manifest_bytes(sign(msgspec.convert(raw, Manifest))))


def test_a_setting_that_did_not_exist_when_a_checkpoint_was_written_counts_as_its_default(tmp_path: Path) -> None:
    scenario = killed_ahead_of_its_checkpoint(tmp_path / "job")

    def older(configuration: dict[str, Any]) -> None:
        configuration["learning"].pop("scale_memory", None)
        configuration["input"].pop("max_record_bytes", None)

    rewritten(scenario, older)
    before = scenario.mark()["lineage"]
    scenario.run()
    assert scenario.mark()["lineage"] == before
    assert_each_predicted_once_in_order(scenario)
    rewritten(scenario, older)
    scenario.fill(20, seed=5)
    scenario.edit = learning(scale_memory=500)
    scenario.run()
    assert scenario.mark()["lineage"] != before


def test_settings_that_this_version_does_not_know_are_named(tmp_path: Path) -> None:
    scenario = killed_ahead_of_its_checkpoint(tmp_path / "job")
    rewritten(scenario, lambda configuration: configuration["learning"].update(dreams=3))
    with pytest.raises(FingerprintMismatch, match=r"does not know(.|\n)*dreams(.|\n)*the version that wrote it"):
        scenario.run()


# -- what is told -----------------------------------------------------------------------------------------------------


def test_what_changed_where_and_in_which_lineage_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scenario = killed_ahead_of_its_checkpoint(tmp_path / "job")
    before = scenario.mark()
    scenario.edit = all_of(learning(lr=0.1), model(hidden_size=5))
    caplog.set_level(logging.INFO)
    scenario.run()
    lines = [record.message for record in caplog.records if "changeover" in record.name or "lineage" in record.message]
    at = f"in/0: setting changed at offset {before['offset']}: "
    assert f"{at}learning.lr: 0.003 -> 0.1: at once" in lines
    assert any(line.startswith(f"{at}model.hidden_size: 4 -> 5: by growth: ") for line in lines)
    assert f"in/0: lineage {before['lineage']} goes on as {scenario.mark()['lineage']}" in lines


# -- with what else may have happened ---------------------------------------------------------------------------------


def test_offsets_that_were_lost_and_settings_that_changed_go_on_from_the_newest_checkpoint(tmp_path: Path) -> None:
    scenario = killed_ahead_of_its_checkpoint(tmp_path / "job")
    newest = checkpoints(scenario)[-1]
    (scenario.directory / "log" / "groups" / "j.json").unlink()
    scenario.edit = all_of(learning(lr=0.001), model(hidden_size=6))
    scenario.run()
    genesis = checkpoints(scenario)[0]
    assert genesis.manifest.progress.position == newest.manifest.progress.position
    assert genesis.manifest.progress.ordinal == newest.manifest.progress.ordinal
    assert checkpoints(scenario)[-1].manifest.progress.position == N


def test_a_gap_in_the_log_and_settings_that_changed_begin_one_lineage(tmp_path: Path) -> None:
    scenario = killed_ahead_of_its_checkpoint(tmp_path / "job")
    newest, before = checkpoints(scenario)[-1].manifest.progress, store(scenario).lineages()
    delete_before(scenario.log, TP, newest.position + 3)
    scenario.edit = learning(lr=0.001)
    with pytest.raises(RecoveryError, match="offsets are gone"):
        scenario.run()
    scenario.run(checkpoint=f"{KEPT}, on_gap: continue")
    assert len(store(scenario).lineages()) == len(before) + 1
    assert checkpoints(scenario)[-1].manifest.progress.ordinal == N - 3


@pytest.mark.parametrize("gone", [False, True])
def test_a_job_that_began_with_a_model_may_change_like_any_other(tmp_path: Path, gone: bool) -> None:
    first = Edited(tmp_path / "first")
    first.fill(60)
    first.run()

    class Warm(Edited):
        def config(self, **changes: str) -> Config:
            config = Scenario.config(self, **changes)
            begun = replace(config.model, warm_start=str(tmp_path / "first" / "checkpoints" / "j"))
            return self.edit(replace(config, job="second", model=begun))

    scenario = Warm(tmp_path / "second", checkpoint=KEPT)
    scenario.fill(N)
    scenario.run(stop_after=8)
    before = scenario.mark()["lineage"]
    if gone:
        (tmp_path / "first").rename(tmp_path / "elsewhere")
    scenario.edit = all_of(learning(lr=0.001), features(Numeric(field="z")))
    scenario.run()
    assert scenario.mark()["lineage"] != before
    assert_each_predicted_once_in_order(scenario)
