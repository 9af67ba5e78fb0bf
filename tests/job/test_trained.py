"""A job that begins with a checkpoint of another one: which is taken, what comes along, what a restart asks of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from streamrnn.broker.protocol import TopicPartition
from streamrnn.errors import ConfigError
from streamrnn.job import warm_start
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.learner.features import Numeric
from streamrnn.learner.spec import InputSpec
from streamrnn.offline.export import choose, export
from streamrnn.storage.fingerprints import canonical_sha256
from streamrnn.storage.listing import find
from streamrnn.storage.manifest import Manifest, manifest_bytes, sign
from streamrnn.storage.snapshot import Checkpoint
from tests.support.learners import bits_of, differing
from tests.support.scenario import TP, Scenario

N = 120


pytestmark = pytest.mark.usefixtures("no_pauses")


class Second(Scenario):
    """The scenario's job under another name, beginning with what is at ``path``; all else as ``edit`` has it."""

    path: Path
    edit: Callable[[Config], Config] = staticmethod(lambda config: config)

    def config(self, **changes: str) -> Config:
        config = super().config(**changes)
        model = replace(config.model, warm_start=str(self.path))
        return self.edit(replace(config, job="second", model=model))


@pytest.fixture
def first(tmp_path: Path) -> Scenario:
    made = Scenario(tmp_path / "first")
    made.fill(N)
    made.run()
    return made


def second(first: Scenario, path: Path, directory: Path | None = None) -> Second:
    made = Second(first.directory.parent / "second" if directory is None else directory)
    made.path = path
    return made


def newest(scenario: Scenario) -> Checkpoint:
    found = Job(scenario.config()).checkpoints(TP).newest(scenario.mark()["lineage"]).checkpoint
    assert found is not None
    return found


@pytest.mark.parametrize("where", ["manifest", "lineage", "partition", "job", "directory"])
def test_weights_moments_and_statistics_are_those_of_the_checkpoint_and_streams_are_not(
    first: Scenario, where: str
) -> None:
    manifest = first.manifests()[-1]
    above = ("lineage", "partition", "job", "directory")
    path = manifest if where == "manifest" else manifest.parents[above.index(where)]
    learner = Job(second(first, path).config()).first_learner(TP)
    mine, theirs = learner.state().model, newest(first).model
    for name in ("theta", "moment1", "moment2", "x_mean", "x_m2", "y_count", "y_mean", "y_m2"):
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
        assert np.any(mine[name]), name
    assert learner.counters()["updates"] == newest(first).manifest.progress.updates > 0
    assert (learner.streams.n_slots, learner.counters()["records_predicted"]) == (0, 0)


def test_an_older_checkpoint_may_be_named(first: Scenario) -> None:
    older = first.manifests()[0]
    learner = Job(second(first, older).config()).first_learner(TP)
    updates = json.loads(older.read_bytes())["progress"]["updates"]
    assert learner.counters()["updates"] == updates < newest(first).manifest.progress.updates


def test_columns_are_matched_by_name_and_layers_may_be_wider(first: Scenario) -> None:
    def edit(config: Config) -> Config:
        features = (Numeric(field="z"), *reversed(config.features))
        return replace(config, features=features, model=replace(config.model, hidden_size=6))

    made = second(first, first.manifests()[-1])
    made.edit = edit  # type: ignore[method-assign]
    weights = Job(made.config()).first_learner(TP).get_weights()["rnn.weight_ih_l0"]
    before = Job(first.config()).learner(TP)
    before.resume(newest(first).state())
    rows = [gate * 6 + unit for gate in range(4) for unit in range(4)]
    # z, b.c=x, b.c=y, a, then dt, the previous target and its flag; before a, b.c=x, b.c=y.
    np.testing.assert_array_equal(weights[rows][:, [3, 1, 2, 4, 5, 6]], before.get_weights()["rnn.weight_ih_l0"])
    assert not weights[rows][:, 0].any()


def test_what_does_not_fit_is_said_like_of_a_model_file(first: Scenario) -> None:
    made = second(first, first.manifests()[-1])
    made.edit = (
        lambda config: replace(  # type: ignore[method-assign]
            config, features=config.features[:1], model=replace(config.model, cell="gru")
        )
    )
    with pytest.raises(ConfigError) as caught:
        warm_start.check(made.config())
    assert "model.cell: 'lstm' in what was learned, 'gru' here" in str(caught.value)
    assert "the columns 'b.c=x', 'b.c=y' of what was learned are not among those here: 'a'" in str(caught.value)


# -- a directory goes on to change ------------------------------------------------------------------------------------


def test_a_job_that_began_with_a_directory_goes_on_whatever_is_in_it_later(first: Scenario) -> None:
    made = second(first, Path(Job(first.config()).checkpoints(TP).place))
    made.fill(60)
    made.run(stop_after=4)
    before = made.mark()
    first.fill(40, seed=3)
    first.run()
    made.run()
    assert made.mark()["lineage"] == before["lineage"]
    # What is there now need not even fit, or be readable.
    for path in first.manifests():
        path.write_text("{")
    made.fill(20, seed=2)
    warm_start.check(made.config())
    made.run()
    assert made.mark()["lineage"] == before["lineage"]
    assert sorted(made.predictions()) == list(range(80))


def test_a_partition_that_is_new_begins_with_the_same_checkpoint_while_it_is_there(first: Scenario) -> None:
    made = second(first, Path(Job(first.config()).checkpoints(TP).place))
    begun = Job(made.config()).first_learner(TP)
    made.fill(30)
    made.run()
    first.fill(10, seed=3)
    first.run()
    later = Job(made.config()).first_learner(TopicPartition("in", 1))
    assert differing(bits_of(later), bits_of(begun)) == []


def test_partitions_may_have_begun_with_different_checkpoints_of_a_directory(first: Scenario) -> None:
    made = Second(first.directory.parent / "second", partitions=2)
    made.path = Path(Job(first.config()).checkpoints(TP).place)
    made.fill(40)
    made.run()
    before = made.mark()["lineage"]
    for path in made.manifests():
        raw = json.loads(path.read_bytes())
        raw["configuration"][warm_start.FIELD]["sha256"] = "0" * 64
        raw["configuration_sha256"] = canonical_sha256(raw["configuration"])
        path.write_bytes(manifest_bytes(sign(msgspec.convert(raw, Manifest))))
    made.fill(20, seed=3)
    made.run()
    assert made.mark()["lineage"] == before


def test_a_named_manifest_that_is_another_one_by_now_is_a_changed_setting(first: Scenario) -> None:
    made = second(first, first.manifests()[-1])
    made.fill(30)
    made.run()
    digest = Job(made.config()).configuration[warm_start.FIELD]["sha256"]
    assert digest == newest(first).manifest.sha256
    made.path = first.manifests()[0]
    assert Job(made.config()).configuration[warm_start.FIELD]["sha256"] != digest


def test_the_newest_that_can_be_read_is_taken(first: Scenario) -> None:
    last, before = first.manifests()[-1], first.manifests()[-2]
    last.write_text("{")
    learner = Job(second(first, last.parents[3]).config()).first_learner(TP)
    assert learner.counters()["updates"] == json.loads(before.read_bytes())["progress"]["updates"]
    for path in first.manifests():
        path.write_text("{")
    with pytest.raises(ConfigError, match=r"is not usable: none of its \d+ checkpoints can be read:(.|\n)*not JSON"):
        warm_start.check(second(first, last.parents[3]).config())


def test_a_directory_of_several_jobs_has_to_be_narrowed_down(first: Scenario, tmp_path: Path) -> None:
    third = Second(first.directory)
    third.path = first.manifests()[-1]
    third.fill(9, seed=1)
    third.run()
    everything = first.manifests()[-1].parents[3]
    made = second(first, everything, tmp_path / "elsewhere")
    made.edit = lambda config: replace(config, job="fourth")  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"holds checkpoints of the jobs j, second: name the folder of one, .*/j;"):
        warm_start.check(made.config())
    # Its own checkpoints in there do not count.
    third.path = everything
    assert Job(third.config()).first_learner(TP).counters()["updates"] > 0
    made.path = everything / "second"
    made.edit = lambda config: config  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="holds checkpoints of this very job only"):
        warm_start.check(made.config())


# -- there and back ---------------------------------------------------------------------------------------------------


def test_what_was_exported_is_begun_with_as_the_checkpoint_itself(tmp_path: Path) -> None:
    class Untimed(Scenario):
        def config(self, **changes: str) -> Config:
            return replace(super().config(**changes), inputs=InputSpec(dt=False))

    first = Untimed(tmp_path / "first")
    first.fill(N)
    first.run()
    manifest, out = first.manifests()[-1], first.directory / "model.safetensors"
    export(choose(find(manifest), None), out)
    learners = []
    for path in (manifest, out):
        made = second(first, path)
        made.edit = lambda config: replace(config, inputs=InputSpec(dt=False))  # type: ignore[method-assign]
        learners.append(Job(made.config()).first_learner(TP))
    assert differing(bits_of(learners[0]), bits_of(learners[1])) == []
    np.testing.assert_array_equal(learners[0].state().model["theta"], newest(first).model["theta"])


def test_what_does_not_fit_is_said_of_an_export_too(first: Scenario) -> None:
    out = first.directory / "model.safetensors"
    export(choose(find(first.manifests()[-1]), None), out)
    made = second(first, out)
    made.edit = lambda config: replace(config, features=(Numeric(field="a"),))  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match=r"the columns 'b\.c=x', 'b\.c=y' of what was learned"):
        warm_start.check(made.config())
