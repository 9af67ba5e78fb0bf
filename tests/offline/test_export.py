"""A checkpoint written as a model file: the estimator that loads it predicts and learns what the daemon would have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from streamrnn import RNNClassifier, RNNForecaster, RNNMultiTargetRegressor, RNNRegressor
from streamrnn.cli import app
from streamrnn.errors import CheckpointError
from streamrnn.job.config import Config
from streamrnn.job.job import Job
from streamrnn.learner.features import Numeric, Symbol
from streamrnn.learner.spec import InputSpec, LearningSpec
from streamrnn.learner.streams import LAST_SEEN, LIVED, RECORD
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.offline.export import Exported, choose, export
from streamrnn.storage.listing import find
from streamrnn.storage.model_file import load_model
from tests.support.scenario import START_MS, TP, Scenario

N, MORE = 150, 60


pytestmark = pytest.mark.usefixtures("no_pauses")


def call(*arguments: Any) -> Result:
    """One invocation in a wide terminal without colours."""
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).invoke(app, [str(a) for a in arguments])


class Kind(Scenario):
    """The scenario's job, with another target, and inputs without time unless ``edit`` says so."""

    edit: Callable[[Config], Config] = staticmethod(lambda config: config)

    def config(self, **changes: str) -> Config:
        return self.edit(replace(super().config(**changes), inputs=InputSpec(dt=False)))

    def fill(self, n: int, seed: int = 0, gaps: bool = False) -> None:  # noqa: ARG002
        """Records with a number, two more and a class."""
        rng = np.random.default_rng(seed)
        for i in range(n):
            stream, a, c = int(rng.integers(5)), float(rng.normal()), str(rng.choice(["x", "y", "z"]))
            event = {"a": a, "b": {"c": c}, "y": stream + 2 * a, "u": stream - a, "class": ["lo", "hi"][a > 0]}
            self.append(b"s%d" % stream, json.dumps(event).encode(), START_MS + 1000 * i)


def as_it_is(config: Config) -> Config:
    return config


def of_model(**changes: Any) -> Callable[[Config], Config]:
    return lambda config: replace(config, model=replace(config.model, **changes))


def of_classes(readout: str) -> Callable[[Config], Config]:
    def edit(config: Config) -> Config:
        target = TargetSpec(fields=("class",), classes=("hi", "lo"))
        return replace(config, declared_target=target, model=replace(config.model, readout=readout))

    return edit


def of_forecasts(readout: str, baseline: Any, horizon: int = 2) -> Callable[[Config], Config]:
    def edit(config: Config) -> Config:
        target = TargetSpec(fields=("y",), known="forecast", horizon=horizon, baseline=baseline)
        model = replace(config.model, readout=readout, lags=4)
        learning = LearningSpec(k1=1, k2=6)
        return replace(config, declared_target=target, features=(), model=model, learning=learning)

    return edit


def learned(directory: Path, edit: Callable[[Config], Config]) -> tuple[Kind, Exported, Path]:
    """A job that learned, and its export; then the daemon went on."""
    scenario = Kind(directory / "job", streams="{max_streams: 9}")
    scenario.edit = edit  # type: ignore[method-assign]
    scenario.fill(N)
    scenario.run()
    out = directory / "model.safetensors"
    done = export(choose(find(directory / "job" / "checkpoints"), None), out)
    scenario.fill(MORE, seed=1)
    scenario.run()
    return scenario, done, out


def later(scenario: Scenario) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The events after the export, with their stream, and what the daemon predicted."""
    outputs = [json.loads(record.value or b"") for record in scenario.records("out")]
    events = [{**json.loads(r.value or b""), "stream": (r.key or b"").decode()} for r in scenario.records("in")]
    return list(zip(events, outputs, strict=True))[N:]


# -- what an estimator loads ------------------------------------------------------------------------------------------

REGRESSIONS = [
    as_it_is,
    of_model(readout="rls", lags=3),
    of_model(cell="gru", loss="absolute"),
    of_model(loss="quantile", quantiles=(0.25, 0.5, 0.75), num_layers=2),
    lambda config: replace(config, learning=replace(config.learning, optimizer="momentum", batch_size=3)),
    lambda config: replace(config, input=replace(config.input, end_field="end")),
    lambda config: of_model(cell="elstm")(replace(config, learning=LearningSpec())),
    lambda config: of_model(cell="glru")(replace(config, learning=LearningSpec())),
    lambda config: of_model(cell="elstm")(
        replace(config, learning=LearningSpec(optimizer="adamw", weight_decay=0.0, schedule_updates=50))
    ),
]


@pytest.mark.parametrize("edit", REGRESSIONS)
def test_a_regressor_goes_on_as_the_daemon_did_to_the_bit(tmp_path: Path, edit: Callable[[Config], Config]) -> None:
    scenario, done, out = learned(tmp_path, edit)
    assert done.estimator == "RNNRegressor"
    model = RNNRegressor.load(out)
    for event, output in later(scenario):
        expected = output["prediction"]
        found = model.predict_one(event)
        assert found == (expected["y"]["0.5"] if isinstance(expected, dict) else expected)
        model.learn_one(event, event["y"])
    expected = Job(scenario.config())
    newest = expected.checkpoints(TP).newest(scenario.mark()["lineage"]).checkpoint
    assert newest is not None
    assert model.counters()["updates"] == newest.manifest.progress.updates


@pytest.mark.parametrize("missing", ["zero", "mean", "last"])
def test_fields_that_are_missing_count_as_in_the_job(tmp_path: Path, missing: Any) -> None:
    def edit(config: Config) -> Config:
        return replace(config, features=(Numeric(field="a", missing=missing), *config.features[1:]))

    class Sparse(Kind):
        def append(self, key: bytes | None, value: bytes | None, time_ms: int = START_MS, partition: int = 0) -> None:
            event = json.loads(value or b"")
            if event["u"] > 1.5:
                del event["a"]
            super().append(key, json.dumps(event).encode(), time_ms, partition)

    scenario = Sparse(tmp_path / "job", streams="{max_streams: 9}")
    scenario.edit = edit  # type: ignore[method-assign]
    scenario.fill(N)
    scenario.run()
    export(choose(find(tmp_path / "job" / "checkpoints"), None), tmp_path / "m.safetensors")
    scenario.fill(MORE, seed=1)
    scenario.run()
    model = RNNRegressor.load(tmp_path / "m.safetensors")
    assert sum("a" not in event for event, _ in later(scenario)) > 20
    for event, output in later(scenario):
        assert model.predict_one(event) == output["prediction"]
        model.learn_one(event, event["y"])


def test_several_targets_go_on_in_one_estimator(tmp_path: Path) -> None:
    scenario, done, out = learned(tmp_path, lambda c: replace(c, declared_target=TargetSpec(fields=("u", "y"))))
    assert done.estimator == "RNNMultiTargetRegressor"
    model = RNNMultiTargetRegressor.load(out)
    for event, output in later(scenario):
        assert model.predict_one(event) == output["prediction"]
        model.learn_one(event, {name: event[name] for name in ("u", "y")})


@pytest.mark.parametrize("cell", ["elstm", "glru", "lstm"])
@pytest.mark.parametrize("numbers", [True, False])
def test_an_estimator_goes_on_learning_as_the_job_did(tmp_path: Path, cell: str, numbers: bool) -> None:
    def edit(config: Config) -> Config:
        config = config if numbers else of_classes("softmax")(config)
        return replace(config, model=replace(config.model, cell=cell), learning=LearningSpec())

    scenario, _, out = learned(tmp_path, edit)
    owner: type[RNNRegressor] | type[RNNClassifier] = RNNRegressor if numbers else RNNClassifier
    model = owner.load(out)
    job, found = scenario.config().learner_spec(), model._spec()
    for name in ("rule", "k1", "k2", "lr", "schedule", "betas", "lessons_per_step", "optimizer"):
        assert getattr(found, name) == getattr(job, name), name


@pytest.mark.parametrize("readout", ["softmax", "logistic"])
def test_a_classifier_goes_on_with_the_same_classes(tmp_path: Path, readout: str) -> None:
    scenario, done, out = learned(tmp_path, of_classes(readout))
    assert done.estimator == "RNNClassifier"
    model = RNNClassifier.load(out)
    assert model.classes == ["hi", "lo"]
    for event, output in later(scenario):
        found, expected = model.predict_proba_one(event), output["prediction"]["probabilities"]
        assert found == pytest.approx(expected, rel=1e-12)
        model.learn_one(event, event["class"])


@pytest.mark.parametrize("readout", ["linear", "rls"])
@pytest.mark.parametrize("baseline", [None, "last", 3])
def test_a_forecaster_goes_on_with_the_forecasts_of_the_daemon(tmp_path: Path, readout: str, baseline: Any) -> None:
    scenario, done, out = learned(tmp_path, of_forecasts(readout, baseline))
    assert done.estimator == "RNNForecaster"
    model = RNNForecaster.load(out)
    for event, output in later(scenario):
        x = {"stream": event["stream"]}
        model.learn_one(event["y"], x)
        assert model.forecast(2, [x, x]) == list(output["prediction"]["y"].values())


def test_a_job_of_labels_goes_on_with_targets_that_are_given(tmp_path: Path) -> None:
    def edit(config: Config) -> Config:
        return replace(
            config,
            declared_target=TargetSpec(fields=("y",), known="label", event_field="e", label_field="of", label_memory=5),
        )

    scenario = Kind(tmp_path / "job", streams="{max_streams: 9}")
    scenario.edit = edit  # type: ignore[method-assign]
    rng = np.random.default_rng(0)
    for i in range(N):
        stream, a = b"s%d" % (i % 3), float(rng.normal())
        scenario.append(stream, json.dumps({"e": i, "a": a, "b": {"c": "x"}}).encode(), START_MS + 2000 * i)
        scenario.append(stream, json.dumps({"of": i, "y": 3 + a}).encode(), START_MS + 2000 * i + 1000)
    scenario.run()
    done = export(choose(find(tmp_path / "job" / "checkpoints"), None), tmp_path / "m.safetensors")
    assert done.estimator == "RNNRegressor"
    assert any(note.startswith("target.known: label: predictions that wait") for note in done.notes)
    model = RNNRegressor.load(tmp_path / "m.safetensors")
    scenario.append(b"s1", json.dumps({"e": N, "a": 0.5, "b": {"c": "x"}}).encode(), START_MS + 2000 * N)
    scenario.run()
    event = {"a": 0.5, "b": {"c": "x"}, "stream": "s1"}
    assert model.predict_one(event) == json.loads(scenario.records("out")[-1].value or b"")["prediction"]
    model.learn_one(event, 3.5)
    assert model.counters()["updates"] > 0


def test_weights_stand_under_pytorch_s_names(tmp_path: Path) -> None:
    scenario, _, out = learned(tmp_path, as_it_is)
    tensors = safetensors.numpy.load_file(out)
    assert tensors["rnn.weight_ih_l0"].shape == (16, 3 + 2)
    for name, weights in RNNRegressor.load(out).get_weights().items():
        np.testing.assert_array_equal(tensors[name], weights, err_msg=name)
    assert scenario.mark()["offset"] == N + MORE


def test_times_stay_behind(tmp_path: Path) -> None:
    _, _, out = learned(tmp_path, as_it_is)
    saved = load_model(out).saved
    assert saved is not None
    assert not saved.model["clock"].any()  # not begun
    assert not saved.streams["last_ms"].any()
    assert not saved.streams["seen"][:, [LAST_SEEN, LIVED]].any()
    assert sorted(saved.streams["seen"][:, RECORD])[-1] == N  # the order in which they were seen stays
    assert len(set(saved.streams["seen"][:, RECORD])) == len(saved.keys) == 5


def test_settings_that_estimators_lack_are_told(tmp_path: Path) -> None:
    def edit(config: Config) -> Config:
        learning = replace(config.learning, eps=1e-6, betas=(0.8, 0.9), target_shrinkage=3.0)
        return replace(config, learning=learning, streams=replace(config.streams, ttl_s=9e9))

    _, done, out = learned(tmp_path, edit)
    assert RNNRegressor.load(out).betas == (0.8, 0.9)
    assert done.notes == (
        "learning.eps: 1e-06 in the job; an estimator goes on with 1e-08",
        "learning.target_shrinkage: 3.0 in the job; an estimator goes on with 10.0",
        "streams.ttl_s: 9000000000.0 in the job; an estimator goes on with None",
    )


@pytest.mark.parametrize("readout", ["linear", "rls"])
def test_the_time_between_events_is_left_out_and_said(tmp_path: Path, readout: str) -> None:
    class Timed(Kind):
        def config(self, **changes: str) -> Config:
            return replace(super().config(**changes), inputs=InputSpec(dt=True))

    scenario = Timed(tmp_path / "job", streams="{max_streams: 9}")
    scenario.edit = of_model(readout=readout, lags=3)  # type: ignore[method-assign]
    scenario.fill(N)
    scenario.run()
    done = export(choose(find(tmp_path / "job" / "checkpoints"), None), tmp_path / "m.safetensors")
    assert done.estimator == "RNNRegressor"
    assert done.notes[0].startswith("inputs.dt: left out, since an estimator's events carry no time")
    model = RNNRegressor.load(tmp_path / "m.safetensors")
    job = Job(scenario.config())
    learner = job.learner(TP)
    newest = job.checkpoints(TP).newest(scenario.mark()["lineage"]).checkpoint
    assert newest is not None
    learner.resume(newest.state())
    mine, theirs = model.get_weights(), learner.get_weights()
    columns = [0, 1, 2, 4, 5]  # a, b.c=x, b.c=y, without dt, the previous target and its flag
    np.testing.assert_array_equal(mine["rnn.weight_ih_l0"], theirs["rnn.weight_ih_l0"][:, columns])
    errors, of_daemon = [], []
    scenario.fill(MORE, seed=1)
    scenario.run()
    for event, output in later(scenario):
        errors.append(abs(model.predict_one(event) - event["y"]))
        of_daemon.append(abs(output["prediction"] - event["y"]))
        model.learn_one(event, event["y"])
    assert np.mean(errors) < 1.3 * np.mean(of_daemon)


def test_what_no_estimator_can_go_on_from_is_a_model_file_all_the_same(tmp_path: Path) -> None:
    def edit(config: Config) -> Config:
        return replace(of_forecasts("linear", None)(config), features=config.features)

    _, done, out = learned(tmp_path, edit)
    assert done.estimator is None
    (reason,) = done.notes
    assert reason.startswith("features: an estimator's forecasts see features of the next step")
    assert "rnn.weight_ih_l0" in safetensors.numpy.load_file(out)
    with pytest.raises(CheckpointError, match=r"no estimator can go on from: features: an estimator's forecasts"):
        RNNForecaster.load(out)


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_writes_the_newest_checkpoint_and_says_how_it_is_loaded(tmp_path: Path) -> None:
    scenario, _, expected = learned(tmp_path, as_it_is)
    out = tmp_path / "other.safetensors"
    result = call("export", tmp_path / "job" / "checkpoints", out)
    assert result.exit_code == 0, result.output
    assert f"the learner of in/0 at offset {N + MORE}" in result.output
    assert f'RNNRegressor.load("{out}") goes on from it' in result.output
    assert "streams are told apart by the feature 'stream'" in result.output
    assert out.read_bytes() != expected.read_bytes()
    first = sorted(scenario.manifests())[0]
    assert call("export", first, out).exit_code == 0


def test_a_partition_can_be_chosen_and_others_are_named(tmp_path: Path) -> None:
    scenario = Kind(tmp_path / "job", partitions=2)
    for partition in (0, 1):
        for i in range(40):
            scenario.append(b"s", json.dumps({"a": 1.0, "y": float(i % 3)}).encode(), START_MS + i, partition)
    scenario.run()
    result = call("export", tmp_path / "job" / "checkpoints", tmp_path / "m.safetensors", "--partition", 1)
    assert "the learner of in/1 at offset 40" in result.output
    assert "partitions with learners of their own: 0 (--partition)" in result.output
    result = call("export", tmp_path / "job" / "checkpoints", tmp_path / "m.safetensors", "--partition", 7)
    assert result.exit_code == 1
    assert "no checkpoint can be read of partition 7; there are checkpoints of 0, 1" in result.output


def test_wrong_arguments_are_one_message(tmp_path: Path) -> None:
    for arguments, said in (
        (["m.safetensors"], "give either a checkpoint (a manifest or a directory) or a job file with -c"),
        (["a", "b", "c"], "export: expected at most a checkpoint and a file, got a b c"),
        ([tmp_path / "none", "m.safetensors"], "does not exist; give a manifest or a directory of checkpoints"),
        ([tmp_path, "m.safetensors"], "holds no checkpoint"),
    ):
        result = call("export", *arguments)
        assert result.exit_code in (1, 2)
        assert said in result.output


SYMBOL = Symbol(field="b.c", symbols=Symbols(values=("x", "y", "z")))


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda c: replace(c, features=(SYMBOL,)), "features: encoder symbol"),
        (
            lambda c: replace(
                c,
                declared_target=TargetSpec(fields=("class",), classes=Symbols(open=True, max=4)),
                model=replace(c.model, readout="softmax"),
            ),
            "target.classes: an open set",
        ),
        (
            lambda c: replace(
                c,
                features=(),
                declared_target=TargetSpec(fields=("class",), known="forecast", classes=("hi", "lo")),
                model=replace(c.model, readout="logistic"),
            ),
            "model.readout: logistic",
        ),
    ],
)
def test_what_no_estimator_can_go_on_from_is_told_and_not_promised(
    tmp_path: Path, edit: Callable[[Config], Config], why: str
) -> None:
    _, done, out = learned(tmp_path, edit)
    assert done.estimator is None
    assert any(note.startswith(why) for note in done.notes)
    with pytest.raises(CheckpointError, match=why):
        RNNRegressor.load(out)


def test_a_classifier_of_bytes_goes_on_as_the_daemon_did(tmp_path: Path) -> None:
    def edit(config: Config) -> Config:
        target = TargetSpec(fields=("n",), classes=Symbols(bytes=True))
        return replace(config, declared_target=target, model=replace(config.model, readout="softmax"))

    class Numbered(Kind):
        def append(self, key: bytes | None, value: bytes | None, time_ms: int = START_MS, partition: int = 0) -> None:
            event = json.loads(value or b"")
            super().append(key, json.dumps(event | {"n": int(event["a"] > 0)}).encode(), time_ms, partition)

    scenario = Numbered(tmp_path / "job", streams="{max_streams: 9}")
    scenario.edit = edit  # type: ignore[method-assign]
    scenario.fill(N)
    scenario.run()
    done = export(choose(find(tmp_path / "job" / "checkpoints"), None), tmp_path / "m.safetensors")
    assert done.estimator == "RNNClassifier"
    model = RNNClassifier.load(tmp_path / "m.safetensors")
    scenario.fill(MORE, seed=1)
    scenario.run()
    for event, output in later(scenario):
        said = model.predict_proba_one(event)
        for name, probability in output["prediction"]["probabilities"].items():
            assert said[int(name)] == pytest.approx(probability, rel=1e-12)  # a sum of all brings them to 1
        model.learn_one(event, event["n"])


def test_attention_that_has_no_effect_keeps_no_estimator_from_going_on(tmp_path: Path) -> None:
    _, done, out = learned(tmp_path, of_model(attention=False))
    assert done.estimator == "RNNRegressor"
    assert RNNRegressor.load(out).counters()["updates"] > 0
