"""``validate`` says what becomes of what a job has learned before ``run`` does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from streamrnn.cli import app
from streamrnn.storage.fingerprints import canonical_sha256
from tests.support.scenario import Scenario

N = 80
Edit = Callable[[dict[str, Any]], None]


def call(*arguments: Any) -> Result:
    """One invocation in a wide terminal without colours."""
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).invoke(app, [str(a) for a in arguments])


class Learned:
    """The job file of a job that has learned, with its partitions' checkpoints."""

    def __init__(self, directory: Path, partitions: int = 1) -> None:
        self.scenario = Scenario(directory / "job", partitions=partitions)
        self.scenario.fill(N)
        self.scenario.run()
        self.file = directory / "job.yaml"

    def validate(self, edit: Edit = lambda job: None) -> Result:
        """``validate`` for the job as ``edit`` has it."""
        config = self.scenario.config()
        assert config.embedded is not None
        job: dict[str, Any] = {
            "job": "j",
            "embedded": {"directory": config.embedded.directory},
            "input": {"topic": "in", "start": "earliest"},
            "features": [
                {"field": "a", "encoder": "numeric"},
                {"field": "b.c", "encoder": "onehot", "categories": ["x", "y"]},
            ],
            "target": {"fields": ["y"]},
            "model": {"cell": "lstm", "hidden_size": 4, "dtype": "float32"},
            "learning": {"k1": 2, "k2": 4},
            "streams": {"max_streams": 6},
            "output": {"topic": "out", "dead_letter_topic": "dead"},
            "checkpoint": {"directory": config.checkpoint.directory},
            "http": None,
        }
        edit(job)
        self.file.write_text(yaml.safe_dump(job))
        return call("validate", "-c", self.file)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    return Learned(tmp_path_factory.mktemp("learned"))


def test_nothing_is_said_where_nothing_changed(learned: Learned) -> None:
    for edit in (lambda job: None, lambda job: job["output"].update(topic="other"), lambda job: job.update(http=None)):
        result = learned.validate(edit)
        assert result.exit_code == 0, result.output
        assert result.output.rstrip().endswith("the job file is valid")


def test_what_changes_at_once_and_what_by_growth_is_told(learned: Learned) -> None:
    def edit(job: dict[str, Any]) -> None:
        job["learning"]["lr"] = 0.001
        job["features"].append({"field": "z", "encoder": "numeric"})

    result = learned.validate(edit)
    assert result.exit_code == 0, result.output
    said = result.output.partition("the job file is valid\n")[2].splitlines()
    assert said == [
        "settings changed since the checkpoints of in/0 were written:",
        '  features[z]: (absent) -> "numeric": by growth: new columns begin at zero',
        "  learning.lr: 0.003 -> 0.001: at once",
        "the job goes on from what it has learned, in a new lineage",
    ]


def test_what_is_not_possible_is_told_with_the_ways_out_and_an_exit_status(learned: Learned) -> None:
    result = learned.validate(lambda job: job["model"].update(cell="gru"))
    assert result.exit_code == 1, result.output
    assert '  model.cell: "lstm" -> "gru": not possible: gates and states of one cell mean nothing' in result.output
    assert "error: the job cannot go on from what it has learned. Either put the old values back, or" in result.output
    assert "warm_start" not in result.output  # another cell could not begin with these weights either
    result = learned.validate(lambda job: job["input"].update(stream_key="k"))
    assert result.exit_code == 1
    assert "With model.warm_start the new job can begin with the model in these checkpoints" in result.output


def test_what_was_taken_up_is_changed_no_more(tmp_path: Path) -> None:
    learned = Learned(tmp_path)

    def fewer(job: dict[str, Any]) -> None:
        job["streams"]["max_streams"] = 3

    assert "  streams.max_streams: 6 -> 3: at once" in learned.validate(fewer).output
    learned.scenario.run(streams="{max_streams: 3}")
    assert learned.validate(fewer).output.rstrip().endswith("the job file is valid")
    assert "  streams.max_streams: 3 -> 6: at once" in learned.validate().output


def test_partitions_of_which_the_same_is_to_be_said_are_told_together(tmp_path: Path) -> None:
    learned = Learned(tmp_path, partitions=3)
    result = learned.validate(lambda job: job["learning"].update(lr=0.1))
    assert result.output.count("learning.lr") == 1
    assert "the checkpoints of in/0-2 were written" in result.output


def test_a_job_of_another_name_and_one_without_checkpoints_have_nothing_to_go_on_from(learned: Learned) -> None:
    def renamed(job: dict[str, Any]) -> None:
        job["job"] = "other"
        job["model"]["cell"] = "gru"

    assert learned.validate(renamed).output.rstrip().endswith("the job file is valid")


def test_another_topic_is_begun_anew(learned: Learned) -> None:
    result = learned.validate(lambda job: job["input"].update(topic="elsewhere"))
    assert result.exit_code == 0
    assert "input.topic: the job's checkpoints are of in; of elsewhere it begins anew" in result.output


def test_a_partition_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    learned = Learned(tmp_path, partitions=2)
    for path in learned.scenario.manifests():
        path.write_text('{"format": 3}')
    result = learned.validate(lambda job: job["learning"].update(lr=0.1))
    assert result.exit_code == 1
    assert "settings changed since the checkpoints of in/1 were written" in result.output
    assert "error: no checkpoint of a partition can be read, the newest is " in result.output
    assert "in-0/" in result.output
    assert "the manifest has format 3" in result.output


def test_checkpoints_of_a_later_version_are_an_error_that_names_the_setting(tmp_path: Path) -> None:
    learned = Learned(tmp_path)
    for path in learned.scenario.manifests():
        raw = json.loads(path.read_bytes())
        raw["configuration"]["learning"]["dreams"] = 3
        raw["configuration_sha256"] = canonical_sha256(raw["configuration"])
        raw["sha256"] = canonical_sha256({name: value for name, value in raw.items() if name != "sha256"})
        path.write_text(json.dumps(raw))
    result = learned.validate()
    assert result.exit_code == 1
    assert "the checkpoint of in/0: it was written under settings that this version" in result.output
    assert "dreams" in result.output
