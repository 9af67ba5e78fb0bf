"""A job that begins with a model file: what comes along, what a restart asks of the file, and what is refused."""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from streamrnn import Block, RNNRegressor
from streamrnn.broker.protocol import TopicPartition
from streamrnn.cli import app
from streamrnn.core.counts import UPDATES
from streamrnn.errors import ConfigError, FingerprintMismatch
from streamrnn.job import warm_start
from streamrnn.job.config import Config, ModelSection
from streamrnn.job.fingerprint import learner_settings
from streamrnn.job.job import Job
from streamrnn.job.job_file import json_schema, load, parse
from streamrnn.learner.features import Cyclic, Hash
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearningSpec
from streamrnn.learner.state import LearnerState
from streamrnn.storage.model_file import ModelFile, load_model, save_model
from streamrnn.storage.tensors import encode
from tests.support.learners import Bits, bits_of, differing
from tests.support.scenario import FREQUENT, TP, KilledError, Scenario
from tests.support.warm_start import FEATURES, JOB, NETWORK, event, job_file, refusal

N = 150


pytestmark = pytest.mark.usefixtures("no_pauses")


def trained(**parameters: Any) -> RNNRegressor:
    """A model from a notebook, of the scenario's job unless parameters say otherwise."""
    given = {**NETWORK, "k1": 2, "k2": 4, "features": FEATURES, "stream_key": "s", "readout": "rls", "lags": 20}
    model = RNNRegressor(**(given | parameters))
    rng = random.Random(1)
    for _ in range(120):
        x = event(rng)
        model.learn_one(x, 10.0 + 3.0 * x["a"] + rng.gauss(0, 0.1))
    return model


class Warm(Scenario):
    """The scenario's job with a model section of its own."""

    def __init__(self, directory: Path, file: Path | None, readout: str = "rls", **settings: Any) -> None:
        super().__init__(directory, **settings)
        self.file, self.readout = file, readout

    def config(self, **changes: str) -> Config:
        config = super().config(**changes)
        file = None if self.file is None else str(self.file)
        return replace(config, model=replace(config.model, readout=self.readout, warm_start=file))


@pytest.fixture(scope="module")
def notebook() -> RNNRegressor:
    return trained()


@pytest.fixture
def file(tmp_path: Path, notebook: RNNRegressor) -> Path:
    path = tmp_path / "model.safetensors"
    notebook.save(path)
    return path


@pytest.fixture
def scenario(tmp_path: Path, file: Path) -> Warm:
    made = Warm(tmp_path / "job", file)
    made.fill(N)
    return made


# -- what comes along -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("readout", ["rls", "linear"])
def test_the_first_predictions_are_those_of_the_notebook_for_a_stream_it_never_saw(
    tmp_path: Path, readout: str
) -> None:
    model, path = trained(readout=readout), tmp_path / "model.safetensors"
    model.save(path)
    job = Job(Warm(tmp_path / "job", path, readout).config())
    rng = random.Random(2)
    events = [event(rng) | {"s": "unseen"} for _ in range(20)]
    rows = [job.config.feature_encoder().encode_dict(x) for x in events]
    block = Block.events([b"unseen"] * 20, rows, np.full((20, 1), np.nan))
    predictions = job.first_learner(TP).predict(block).value[:, 0]
    expected = [model.predict_one(x) for x in events]
    np.testing.assert_allclose(predictions, expected, rtol=1e-5)
    blank = job.learner(TP).predict(block).value[:, 0]
    np.testing.assert_allclose(blank, 0.0, atol=1.0)
    np.testing.assert_allclose(predictions, 10.0, atol=9.0)


def test_the_daemon_s_first_output_is_the_notebook_s_prediction(scenario: Warm, notebook: RNNRegressor) -> None:
    scenario.run()
    first = json.loads(scenario.records("in")[0].value or b"")
    output = json.loads(scenario.records("out")[0].value or b"")
    assert output["prediction"] == pytest.approx(notebook.predict_one(first | {"s": "unseen"}), rel=1e-5)
    assert output["updates"] == notebook.counters()["updates"] > 0


def test_weights_readout_moments_and_statistics_come_along_and_streams_do_not(scenario: Warm, file: Path) -> None:
    learner = Job(scenario.config()).first_learner(TP)
    saved = load_model(file).saved
    assert saved is not None
    before, now = saved.model, learner.state().model
    for name in ("y_count", "y_mean", "y_m2", "readout_loss_count"):
        np.testing.assert_array_equal(now[name], before[name], err_msg=name)
        assert np.any(now[name]), name
    # The file's columns are b.c=x, b.c=y, a; the job's are a, b.c=x, b.c=y and dt; the last input is the known target.
    places = [1, 2, 0]
    for name in ("x_count", "x_mean", "x_m2"):
        np.testing.assert_array_equal(now[name][places], before[name][:3], err_msg=name)
    weights, file_weights = learner.get_weights(), trained_weights(file)
    np.testing.assert_array_equal(weights["rnn.weight_ih_l0"][:, places], file_weights["rnn.weight_ih_l0"][:, :3])
    np.testing.assert_array_equal(weights["rnn.weight_ih_l0"][:, 3], 0.0)
    np.testing.assert_array_equal(weights["rnn.weight_ih_l0"][:, 4:], file_weights["rnn.weight_ih_l0"][:, 3:])
    np.testing.assert_array_equal(weights["rls.weight"][:, [5, 6, 4]], file_weights["rls.weight"][:, 4:7])
    for name in ("rnn.weight_hh_l0", "rnn.bias_ih_l0", "rnn.bias_hh_l0"):
        np.testing.assert_array_equal(weights[name], file_weights[name], err_msg=name)
    moments = learner.layout.named(now["moment1"])["rnn.weight_hh_l0"]
    assert np.any(moments)
    assert (learner.streams.n_slots, learner.progress().streams, learner.counters()["records_predicted"]) == (0, 0, 0)
    assert learner.counters()["updates"] == int(before["counters"][UPDATES])
    assert learner.digest == 0


def trained_weights(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    return RNNRegressor.load(file).get_weights()


def test_columns_the_file_lacks_weigh_nothing_at_first(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    trained(features=["a"]).save(path)
    learner = Job(Warm(tmp_path / "job", path).config()).first_learner(TP)
    weights = learner.get_weights()["rnn.weight_ih_l0"]
    assert np.all(weights[:, 1:4] == 0.0)
    assert np.any(weights[:, 0])


def test_a_file_written_from_a_bare_learner_will_do(scenario: Warm, tmp_path: Path) -> None:
    learner = Job(scenario.config()).first_learner(TP)
    names = scenario.config().feature_encoder().names
    save_model(tmp_path / "bare.safetensors", ModelFile(learner.state(), names, {}))
    scenario.file = tmp_path / "bare.safetensors"
    assert differing(bits_of(Job(scenario.config()).first_learner(TP)), bits_of(learner)) == []


def test_every_partition_begins_with_the_file(tmp_path: Path, file: Path) -> None:
    job = Job(Warm(tmp_path / "job", file, partitions=2).config())
    first, second = (job.first_learner(TopicPartition("in", i)) for i in (0, 1))
    assert differing(bits_of(first), bits_of(second)) == []


# -- restarts ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, notebook: RNNRegressor) -> tuple[Bits, dict[int, bytes]]:
    """State and predictions of a run that nothing happened to."""
    directory = tmp_path_factory.mktemp("reference")
    notebook.save(directory / "model.safetensors")
    undisturbed = Warm(directory / "job", directory / "model.safetensors")
    undisturbed.fill(N)
    undisturbed.run()
    return undisturbed.saved(), undisturbed.predictions()


def killed_at(number: int) -> dict[str, Callable[[int], None]]:
    def hook(n: int) -> None:
        if n == number:
            raise KilledError

    return {"commit": hook}


def gone(scenario: Warm) -> None:
    assert scenario.file is not None
    scenario.file.unlink()


def moved(scenario: Warm) -> None:
    assert scenario.file is not None
    scenario.file = scenario.file.rename(scenario.file.with_name("elsewhere.safetensors"))


@pytest.mark.parametrize("then", [lambda _: None, gone, moved], ids=["stays", "gone", "moved"])
def test_a_restart_goes_on_exactly_whether_the_file_stays_moves_or_goes(
    scenario: Warm,
    reference: tuple[Bits, dict[int, bytes]],
    then: Callable[[Warm], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(KilledError):
        scenario.run(before=killed_at(4))
    then(scenario)
    for stop_after in (3, None):
        scenario.run(stop_after=stop_after)
    assert differing(scenario.saved(), reference[0]) == []
    assert scenario.predictions() == reference[1]
    assert ("does not exist; going on from the checkpoints" in caplog.text) == (then is gone)


def test_a_kill_before_the_genesis_commit_begins_with_the_file_again(
    scenario: Warm, reference: tuple[Bits, dict[int, bytes]]
) -> None:
    with pytest.raises(KilledError):
        scenario.run(before=killed_at(1))
    scenario.run()
    assert differing(scenario.saved(), reference[0]) == []
    assert scenario.predictions() == reference[1]


def test_another_file_or_another_model_under_a_running_job_is_a_changed_setting(
    scenario: Warm, tmp_path: Path, file: Path
) -> None:
    scenario.run(stop_after=3)
    other = trained(seed=8)
    other.save(tmp_path / "other.safetensors")
    scenario.file = tmp_path / "other.safetensors"
    with pytest.raises(FingerprintMismatch, match=r'model\.warm_start\.sha256: "[0-9a-f]{64}" -> "') as caught:
        scenario.run()
    assert "this job has begun" in str(caught.value)
    assert "Either put the old values back" in str(caught.value)
    other.save(file)
    scenario.file = file
    with pytest.raises(FingerprintMismatch, match=r"model\.warm_start\.sha256"):
        scenario.run()


def test_a_job_that_has_begun_goes_on_without_naming_what_it_began_with(
    scenario: Warm, reference: tuple[Bits, dict[int, bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    scenario.run(stop_after=3)
    lineage = scenario.mark()["lineage"]
    gone(scenario)
    scenario.file = None
    caplog.set_level("INFO")
    scenario.run()
    assert scenario.mark()["lineage"] != lineage
    assert "-> (absent): at once: the job has begun, and does not need it any more" in caplog.text
    assert differing(scenario.saved(), reference[0]) == []
    assert scenario.predictions() == reference[1]


@pytest.mark.parametrize("policy", ["fail", "resume", "restart"])
def test_a_first_start_that_was_interrupted_goes_on_with_what_it_had_begun_with_though_the_file_is_gone(
    scenario: Warm, reference: tuple[Bits, dict[int, bytes]], policy: str
) -> None:
    with pytest.raises(KilledError):
        scenario.run(before=killed_at(1))
    gone(scenario)
    scenario.run(checkpoint=f"{FREQUENT}, on_lost_offsets: {policy}")
    assert differing(scenario.saved(), reference[0]) == []
    assert scenario.predictions() == reference[1]


def test_a_running_job_cannot_be_given_a_model_afterwards(scenario: Warm, file: Path) -> None:
    scenario.file = None
    scenario.run(stop_after=3)
    scenario.file = file
    with pytest.raises(FingerprintMismatch, match=r'model\.warm_start\.sha256: \(absent\) -> "'):
        scenario.run()
    gone(scenario)
    with pytest.raises(ConfigError, match="has no checkpoint that began with it"):
        scenario.run()


def test_a_partition_without_checkpoints_needs_the_file(scenario: Warm) -> None:
    scenario.run(stop_after=3)
    gone(scenario)
    job = Job(scenario.config())
    with pytest.raises(ConfigError, match="a partition without a committed offset is to begin with it"):
        job.first_learner(TopicPartition("in", 1))


def test_a_file_replaced_while_the_worker_runs_is_not_taken_for_the_first(scenario: Warm, file: Path) -> None:
    job = Job(scenario.config())
    job.first_learner(TP)
    trained(seed=8).save(file)
    with pytest.raises(ConfigError, match="was replaced while this worker ran; start the worker again"):
        job.first_learner(TP)


def test_corrupt_checkpoints_do_not_hide_the_digest(scenario: Warm) -> None:
    scenario.run()
    digest = Job(scenario.config()).configuration[warm_start.FIELD]
    assert len(scenario.manifests()) > 1
    scenario.manifests()[-1].write_text("{")
    gone(scenario)
    assert Job(scenario.config()).configuration[warm_start.FIELD] == digest


# -- refusals ---------------------------------------------------------------------------------------------------------


def test_a_job_whose_file_fits_loads(tmp_path: Path, file: Path) -> None:
    assert load(job_file(tmp_path, file), {}).model.warm_start == str(file)


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_file_that_cannot_be_used_is_one_message_and_status_2(tmp_path: Path, command: str) -> None:
    path = job_file(tmp_path, tmp_path / "none.safetensors")
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [command, "-c", str(path)])
    assert result.exit_code == 2
    assert "model.warm_start: " in result.output
    assert "none.safetensors does not exist" in result.output
    assert "Traceback" not in result.output


def test_validate_shows_the_file(tmp_path: Path, file: Path) -> None:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["validate", "-c", str(job_file(tmp_path, file))])
    assert result.exit_code == 0
    assert re.search(rf"(?m)^warm start +{re.escape(str(file))} *$", result.output)


def test_a_job_with_checkpoints_is_valid_without_its_file(scenario: Warm) -> None:
    scenario.run(stop_after=3)
    config = scenario.config()
    warm_start.check(config)
    gone(scenario)
    warm_start.check(config)
    with pytest.raises(ConfigError, match="does not exist"):
        warm_start.check(replace(config, job="other"))


def test_what_is_missing_unreadable_or_no_model_is_said(tmp_path: Path, file: Path) -> None:
    missing = refusal(tmp_path, tmp_path / "none.safetensors")
    assert "does not exist, and the job has no checkpoint" in missing
    assert "an estimator's save() writes" in missing
    assert "leave the field out" in missing
    assert "holds no checkpoint; expected manifest-*.json below it" in refusal(tmp_path, tmp_path)
    bad = tmp_path / "bad.safetensors"
    whole = file.read_bytes()
    for content, expected in (
        (b"", "not a complete safetensors file"),
        (whole[: len(whole) // 2], "not a complete safetensors file"),
        (encode({"rnn.weight_ih_l0": np.zeros(3)}), "does not describe a model"),
        (whole.replace(b"rnn.weight_hh_l0", b"rnn.weight_hx_l0"), "differ from their digest"),
    ):
        bad.write_bytes(content)
        message = refusal(tmp_path, bad)
        assert expected in message
        assert "is not usable" in message
        assert "expected a file written by an estimator's save()" in message
    RNNRegressor(features=["a"]).save(bad)
    assert "nothing was learned when it was written" in refusal(tmp_path, bad)
    model = load_model(file)
    for columns in (("a",), ("a", "a", "b")):
        save_model(bad, ModelFile(model.saved, columns, {}))
        assert "its 3 columns are named ['a'" in refusal(tmp_path, bad)


def test_a_state_that_does_not_fit_its_own_specification_is_said(scenario: Warm, tmp_path: Path, file: Path) -> None:
    model = load_model(file)
    assert model.saved is not None
    scenario.file = tmp_path / "odd.safetensors"
    arrays = dict(model.saved.model)
    without = {name: array for name, array in arrays.items() if name not in ("y_mean", "moment1")}
    for odd, expected in (
        ({**arrays, "y_mean": np.zeros(7)}, r"odd\.safetensors is not usable: "),
        ({**arrays, "counters": np.zeros(0)}, r"odd\.safetensors is not usable: "),
        (without, r"odd\.safetensors is not usable: the state lacks moment1, y_mean; expected a file written by"),
    ):
        saved = LearnerState(model.saved.spec, odd, model.saved.streams, model.saved.keys)
        save_model(scenario.file, ModelFile(saved, model.columns, model.owner))
        with pytest.raises(ConfigError, match=expected):
            scenario.run()


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"model": {"cell": "gru"}}, "model.cell: 'lstm' in what was learned, 'gru' here"),
        ({"model": {"hidden_size": 3}}, "model.hidden_size: 4 in what was learned, 3 here"),
        ({"model": {"num_layers": 2}}, "model.num_layers: 1 in what was learned, 2 here"),
        ({"model": {"dtype": "float64"}}, "model.dtype: 'float32' in what was learned, 'float64' here"),
        ({"model": {"readout": "linear"}}, "model.readout: 'rls' in what was learned, 'linear' here"),
        ({"model": {"lags": 3}}, "model.lags: 20 in what was learned, 3 here"),
        ({"learning": {"scale": False}}, "learning.scale: True in what was learned, False here"),
        ({"learning": {"optimizer": "sgd"}}, "learning.optimizer: 'adam' in what was learned, 'sgd' here"),
        ({"inputs": {"previous_target": False}}, "inputs.previous_target: True in what was learned, False here"),
        ({"target": {"fields": ["y", "z"]}}, "target.fields: "),
        (
            {"target": {"fields": ["y"], "known": "forecast"}},
            "target.known: 'record' in what was learned, 'forecast' here",
        ),
        (
            {"model": {"readout": "softmax"}, "target": {"fields": ["y"], "classes": [0, 1]}},
            "model.readout: 'rls' in what was learned, 'softmax' here",
        ),
        (
            {"features": [{"field": "a", "encoder": "log1p"}, {"field": "z", "encoder": "onehot", "categories": [1]}]},
            "features: the columns 'b.c=x', 'b.c=y', 'a' of what was learned are not among those here: 'log1p(a)', "
            "'z=1'; declare the features that give them",
        ),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, file: Path, sections: dict[str, Any], expected: str) -> None:
    message = refusal(tmp_path, file, **sections)
    assert "does not fit the job (here):\n  " in message
    assert f"\n  {expected}" in message
    assert "Give the job what the file has, train the model as the job wants it" in message


def test_all_that_does_not_fit_is_said_at_once(tmp_path: Path, file: Path) -> None:
    message = refusal(tmp_path, file, model={"cell": "gru", "hidden_size": 3}, learning={"optimizer": "sgd"})
    assert all(name in message for name in ("model.cell", "model.hidden_size", "learning.optimizer"))


def test_what_may_differ_does_not_hinder(tmp_path: Path, file: Path) -> None:
    features = [*JOB["features"], {"field": "more", "encoder": "hash", "buckets": 3}]
    sections = {
        "learning": {"k1": 1, "k2": 9, "lr": 0.1, "clip_norm": None, "batch_size": 4},
        "model": {"rls_forgetting": 0.99, "rls_prior": 1.0},
        "target": {"fields": ["delay"], "known": "label", "event_field": "id", "label_field": "of"},
        "streams": {"max_streams": 7},
    }
    load(job_file(tmp_path, file, features=features, **sections), {})
    load(job_file(tmp_path, file, inputs={"dt": False}), {})


def test_encoders_that_agree_in_name_only_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"

    def refused(features: list[Any], declared: dict[str, Any]) -> str:
        model = RNNRegressor(**NETWORK, readout="rls", lags=20, features=features)
        model.learn_one({"b": 1, "b=1": 1}, 1.0)
        model.save(path)
        return refusal(tmp_path, path, features=[declared])

    hashed = {"field": "b", "encoder": "hash", "buckets": 5}
    assert "features: b: 3 buckets in what was learned, 5 here" in refused([Hash(field="b", buckets=3)], hashed)
    cyclic = {"field": "b", "encoder": "cyclic", "period": 24}
    assert "features: b: period 7 in what was learned, 24 here" in refused([Cyclic(field="b", period=7)], cyclic)
    one_hot = {"field": "b", "encoder": "onehot", "categories": [1]}
    message = refused(["b=1"], one_hot)
    assert "features: 'b=1': standardised in one of the two, taken as 0/1 or bounded in the other" in message
    assert "train with the encoders of the job" in message


# -- the field --------------------------------------------------------------------------------------------------------


def test_the_field_belongs_to_the_job_and_not_to_the_learner(tmp_path: Path, file: Path) -> None:
    config = load(job_file(tmp_path, file), {})
    assert type(config.learner_spec().model) is ModelSpec
    assert config.learner_spec() == replace(config, model=ModelSection(**plain(config))).learner_spec()
    assert "warm_start" not in learner_settings(config)["model"]
    assert "warm_start" in json_schema()["$defs"]["ModelSection"]["properties"]
    assert config.learner_spec().learning == LearningSpec(k1=2, k2=4)


def plain(config: Config) -> dict[str, Any]:
    return {name: getattr(config.model, name) for name in ModelSpec.__struct_fields__}


def test_the_fingerprint_of_a_job_without_it_is_as_it_was(tmp_path: Path, file: Path) -> None:
    without = Job(Warm(tmp_path / "job", None).config()).configuration
    with_it = Job(Warm(tmp_path / "job", file).config()).configuration
    assert with_it.pop(warm_start.FIELD).keys() == {"sha256"}
    assert with_it == without


def test_parsing_alone_reads_no_file(tmp_path: Path) -> None:
    text = job_file(tmp_path, tmp_path / "none.safetensors").read_text()
    assert parse(text, {}).model.warm_start == str(tmp_path / "none.safetensors")
    with pytest.raises(ConfigError, match=r"model\.warm_start: found the text ''"):
        parse(text.replace(str(tmp_path / "none.safetensors"), "''"), {})


def test_inspect_names_the_bytes_a_lineage_began_with(scenario: Warm) -> None:
    scenario.run(stop_after=2)
    digest = Job(scenario.config()).configuration[warm_start.FIELD]["sha256"]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["inspect", str(scenario.directory / "checkpoints")])
    assert result.exit_code == 0
    assert re.search(rf"(?m)^model\.warm_start\.sha256 +{digest}", result.output)


def test_what_was_begun_with_is_logged(scenario: Warm, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        scenario.run(stop_after=2)
    assert f"beginning with {scenario.file}, after " in caplog.text
