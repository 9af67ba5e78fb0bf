"""A manifest that was altered and signed again is believed as far as nothing else contradicts it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from streamrnn import cli
from streamrnn.daemon.restored import Restoring
from streamrnn.errors import FingerprintMismatch
from streamrnn.job.job import Job
from streamrnn.storage.fingerprints import canonical_sha256
from streamrnn.storage.manifest import _self_check
from tests.support.forgeries import forge_json
from tests.support.scenario import TP, Scenario

Raw = dict[str, Any]


def altered(path: Path, change: Callable[[Raw], None], *, digests: bool = True) -> None:
    """Change a manifest and sign it, as whoever can write it can."""
    raw = json.loads(path.read_bytes())
    change(raw)
    if digests:
        raw["configuration_sha256"] = canonical_sha256(raw["configuration"])
    raw["sha256"] = _self_check(raw)
    path.write_text(json.dumps(raw))


def into(*path: str, value: Any) -> Callable[[Raw], None]:
    """``value``, or what it makes of what is there, at that place."""

    def change(raw: Raw) -> None:
        at = raw
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value(at.get(path[-1])) if callable(value) else value

    return change


LIES: dict[str, Callable[[Raw], None]] = {
    "digest": into("progress", "digest", value=lambda v: v ^ 1),
    "one record more": into("progress", "ordinal", value=lambda v: v + 1),
    "one record less": into("progress", "ordinal", value=lambda v: v - 1),
    "ordinal": into("progress", "ordinal", value=2**63 - 1),
    "updates": into("progress", "updates", value=2**63 - 1),
    "parameters": into("progress", "parameters", value=1),
    "stream time": into("progress", "stream_time_ms", value=None),
    "counters": into("progress", "counters", "gradient_clips", value=10**9),
    "began with half": into("progress", "counters", "began_with", value=0.5),
    "began with many": into("progress", "counters", "began_with", value=1e308),
    "many counters": into("progress", "counters", value={f"{i:x}": i for i in range(200_000)}),
    "learning rate": into("spec", "learning", "lr", value=0.5),
    "optimizer": into("spec", "learning", "optimizer", value="sgd"),
    "room": into("spec", "streams", "max_streams", value=7),
    "more room": into("spec", "streams", "max_streams", value=10**8),
    "field": into("spec", "target", "fields", value=["z"]),
    "no configuration": into("configuration", value={}),
    "no features": into("configuration", "features", value=[]),
    "odd features": into("configuration", "features", value=[{"a": 1}]),
    "odd input": into("configuration", "input", value=7),
    "odd job": into("configuration", "job", value=1),
    "another job": into("configuration", "job", value="k"),
    "another topic": into("configuration", "input", "topic", value="other"),
    "odd hashing": into("configuration", "hashing", value=None),
    "odd beginning": into("configuration", "model.warm_start", value=[]),
    "odd learning": into("configuration", "learning", value="x"),
    "unknown setting": into("configuration", "learning", "dreams", value=3),
    "cell": into("configuration", "model", "cell", value="gru"),
    "odd build": into("build", value=[]),
    "size of the model": into("model", "bytes", value=10**9),
    "slots": into("slots_per_segment", value=2**62),
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """A run that stopped, with several checkpoints."""
    scenario = Scenario(tmp_path_factory.mktemp("ran"))
    scenario.fill(300)
    scenario.run(stop_after=12)
    return scenario


@pytest.fixture
def scenario(ran: Scenario, tmp_path: Path) -> Scenario:
    """The same, to be altered."""
    shutil.copytree(ran.directory, tmp_path / "copy")
    return Scenario(tmp_path / "copy")


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_gives_way_to_the_one_before(scenario: Scenario, lie: str) -> None:
    altered(scenario.manifests()[-1], LIES[lie])
    run = scenario.run()
    assert run.value("streamrnn_corrupt_checkpoints_total") == 1
    assert list(scenario.predictions()) == list(range(300))


def test_a_configuration_that_is_not_the_one_of_its_digest_is_damage(scenario: Scenario) -> None:
    altered(scenario.manifests()[-1], into("configuration_sha256", value="0" * 64), digests=False)
    assert scenario.run().value("streamrnn_corrupt_checkpoints_total") == 1


def test_what_another_version_tells_besides_is_no_damage(scenario: Scenario) -> None:
    altered(scenario.manifests()[-1], into("configuration", "later", value={"a": [1, None]}))
    assert scenario.run().value("streamrnn_corrupt_checkpoints_total") == 0


def test_settings_that_no_checkpoint_of_the_lineage_has_otherwise_are_told_and_not_passed_over(
    scenario: Scenario,
) -> None:
    for path in scenario.manifests():
        altered(path, into("configuration", "learning", "dreams", value=3))
    with pytest.raises(FingerprintMismatch, match=r"does not know(.|\n)*dreams"):
        scenario.run()


def test_whatever_its_settings_progress_and_build_are_nothing_but_a_documented_error_comes_of_it(
    scenario: Scenario, tmp_path: Path
) -> None:
    path, directory = scenario.manifests()[-1], scenario.directory / "checkpoints"
    good = path.read_bytes()
    job, lineage = Job(scenario.config()), scenario.mark()["lineage"]
    commands = CliRunner()
    for seed in range(120):
        rng = np.random.default_rng(seed)

        def forge(raw: Raw, rng: np.random.Generator = rng) -> None:
            for part in rng.choice(["configuration", "progress", "build"], 2, p=[0.6, 0.2, 0.2]):
                raw[part] = forge_json(raw[part], rng)
            if not isinstance(raw["configuration"], dict):
                raw["configuration"] = {}

        path.write_bytes(good)
        try:
            altered(path, forge)
        except ValueError:  # not a number that JSON has
            continue
        try:
            assert job.checkpoints(TP).use_newest(lineage, Restoring(job, TP)).made is not None, seed
        except FingerprintMismatch:  # the settings make sense, and are others that cannot be changed to these
            before, now = (json.loads(text)["configuration"] for text in (good, path.read_bytes()))
            assert before != now, seed
        if seed % 10 == 0:
            for command in (
                ["inspect", str(path)],
                ["inspect", str(directory)],
                ["export", str(path), "-o", str(tmp_path / "m")],
            ):
                done = commands.invoke(cli.app, command)
                assert done.exception is None or isinstance(done.exception, SystemExit), (seed, command)
