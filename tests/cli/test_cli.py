"""Claims about the command line: what each command prints, how it fails, and that help is quick."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from streamrnn import __version__
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.cli import app
from streamrnn.job.job_file import load
from tests.support import impatient
from tests.support.jobs import small
from tests.support.learners import carried_state

COMMANDS = ("demo", "feed", "init", "validate", "topics", "evaluate", "run", "inspect", "export", "schema", "warmup")
DEMOS = ("text", "memory")
EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
RECORDS = 300


def call(*arguments):
    """One invocation in a wide terminal without colours."""
    return CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).invoke(app, [str(a) for a in arguments])


@pytest.fixture
def job(tmp_path):
    """The path of a small valid job file over an embedded log."""
    return write_job(tmp_path)


def write_job(tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump({**small(tmp_path), "http": None}))
    return path


def fill(job, n=RECORDS):
    """n records of streams s0, s1, s2 in the job's input topic; returns the log."""
    log = EmbeddedLog(load(job).embedded.directory)
    log.create_topic("in")
    for i in range(n):
        value = json.dumps({"a": i % 7, "y": i % 5}).encode()
        log.append("in", f"s{i % 3}".encode(), value, timestamp_ms=1_700_000_000_000 + 1_000 * i)
    log.flush()
    return log


def run_until(job, log, n, number=signal.SIGTERM):
    """`streamrnn run` in a process of its own until n outputs are there, then ``number``; its status and stderr."""
    command = [sys.executable, "-m", "streamrnn", "run", "-c", str(job)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        if log.partitions("out") and sum(1 for _ in log.read("out", 0)) >= n:
            break
        time.sleep(0.05)
    process.send_signal(number)
    stderr = process.communicate(timeout=60)[1]
    return process.returncode, stderr


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A job that has run over its records, been stopped, and left a checkpoint; to be read only."""
    job = write_job(tmp_path_factory.mktemp("learned"))
    log = fill(job)
    assert run_until(job, log, RECORDS)[0] == 0
    return job


@pytest.fixture
def learned_copy(learned, tmp_path):
    """The same job in a directory of its own, to be spoiled."""
    shutil.copytree(learned.parent, tmp_path, dirs_exist_ok=True)
    return write_job(tmp_path)


# -- help -------------------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_what_to_run_first():
    result = call("--help")
    assert result.exit_code == 0
    assert {*(info.callback.__name__ for info in app.registered_commands), "demo"} == set(COMMANDS)
    assert [info.name for info in app.registered_groups] == ["demo"]
    for command in COMMANDS:
        assert re.search(rf"│ {command} ", result.output), command
    assert result.output.index("streamrnn demo") < result.output.index("streamrnn run")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_each_option(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    for row in re.findall(r"^│ .*--[a-z].*│$", result.output, re.MULTILINE):
        assert re.search(r"[a-z]{3,}.*\.|[Ss]how this message", row), row


@pytest.mark.parametrize("other", DEMOS)
def test_every_other_demo_is_named_in_the_help_of_the_first_and_explains_itself(other):
    assert re.search(rf"│ {other} ", call("demo", "--help").output)
    result = call("demo", other, "--help")
    assert result.exit_code == 0
    assert f"streamrnn demo {other}" in result.output.replace("root", "streamrnn")
    refused = call("demo", "--limit", "5", other)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert f"--limit: belongs to the demo of departures; options of {other} go behind its name" in refused.stderr


@pytest.mark.parametrize("other", DEMOS)
def test_no_line_of_a_demo_s_explanation_is_broken_at_80_columns(other):
    from streamrnn.cli.demos import demos

    (told,) = [of.callback for of in demos.registered_commands if of.callback.__name__.startswith(other)]
    _, *paragraphs = inspect.getdoc(told).split("\n\n")
    for line in "\n".join(paragraphs).splitlines():
        assert len(line.replace("\\[", "[")) <= 78, line


def test_help_answers_without_the_numeric_libraries():
    code = (
        "import sys\nfrom streamrnn.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'numpy', 'numba', 'kafka', 'river', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_version():
    assert call("--version").output.strip() == f"streamrnn {__version__}"


# -- validate, schema -------------------------------------------------------------------------------------------------


def test_validate_shows_the_job_it_understood(job):
    result = call("validate", "-c", job, "--connect")
    assert result.exit_code == 0
    for text in ("small", "embedded log", "a (numeric)", "lstm, 4 units", "valid", "can be made"):
        assert text in result.output
    parameters = 4 * 4 * (1 + 1 + 2 + 4 + 2) + 5  # feature, dt, previous target and its flag; state; two biases; head
    assert f"{parameters} parameters" in result.output
    assert "4 columns: 1 of features, 1 dt, 2 previous_target" in result.output


@pytest.mark.parametrize("name", ["minimal.yaml", "flights.yaml", "next-event.yaml", "log-anomaly.yaml"])
def test_validate_accepts_the_examples(name):
    result = call("validate", "-c", EXAMPLES / name)
    assert result.exit_code == 0, result.output


def test_validate_shows_warnings(job):
    job.write_text(job.read_text().replace("topic: in\n", "topic: in\n  stream_key: k\n"))
    result = call("validate", "-c", job)
    assert result.exit_code == 0
    assert "warning: input.stream_key" in result.output


def test_a_wrong_configuration_is_one_message_and_status_2(job):
    job.write_text(job.read_text().replace("hidden_size: 4", "hidden_size: four"))
    for command in ("validate", "run"):
        result = call(command, "-c", job)
        assert result.exit_code == 2
        assert re.match(r"error: .*job\.yaml: line \d+: model\.hidden_size: found the text .four.", result.stderr)
        assert "Traceback" not in result.output


def test_a_missing_file_is_status_2(tmp_path):
    result = call("validate", "-c", tmp_path / "none.yaml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "none.yaml: cannot be read" in result.stderr


def test_a_cluster_that_does_not_answer_is_status_1(job):
    document = yaml.safe_load(job.read_text())
    del document["embedded"]
    job.write_text(yaml.safe_dump(document | {"kafka": {"bootstrap_servers": "127.0.0.1:1"}}))
    # In a process of its own: the client leaves its sockets to the garbage collector.
    command = [*impatient.COMMAND, "validate", "-c", str(job), "--connect"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_that_cannot_be_written_is_reported(job, tmp_path):
    (tmp_path / "file").write_text("")
    job.write_text(job.read_text().replace(str(tmp_path / "checkpoints"), str(tmp_path / "file" / "c")))
    result = call("validate", "-c", job, "--connect")
    assert result.exit_code == 1
    assert "checkpoint.directory" in result.output


@pytest.mark.kafka
def test_validate_connect_names_topics_that_are_missing_in_kafka(job, kafka_bootstrap):
    document = yaml.safe_load(job.read_text())
    del document["embedded"]
    job.write_text(yaml.safe_dump(document | {"kafka": {"bootstrap_servers": kafka_bootstrap}}))
    result = call("validate", "-c", job, "--connect")
    assert result.exit_code == 1
    assert "topic dead does not exist" in result.output


def test_topics_that_are_missing_are_created_with_as_many_partitions_as_the_input(job):
    result = call("topics", "-c", job)
    assert result.exit_code == 2
    assert "input.topic: in does not exist" in result.stderr
    assert call("topics", "-c", job, "--partitions", 3).exit_code == 0
    log = EmbeddedLog(load(job).embedded.directory)
    assert [len(log.partitions(name)) for name in ("in", "out", "dead")] == [3, 3, 3]
    log.delete_topic("out")
    result = call("topics", "-c", job)
    assert result.exit_code == 0
    assert [line.strip() for line in result.stdout.splitlines()] == [
        "in: there already, 3 partitions",
        "out: created, 3 partitions",
        "dead: there already, 3 partitions",
    ]
    result = call("topics", "-c", job, "--partitions", 4)
    assert result.exit_code == 2
    assert "in exists and has 3 partitions, found 4" in result.stderr


def test_schema_is_json_and_accepts_what_the_loader_accepts(job):
    schema = json.loads(call("schema").output)
    assert set(yaml.safe_load(job.read_text())) <= set(schema["$defs"]["Config"]["properties"])


# -- run, inspect -----------------------------------------------------------------------------------------------------


def test_run_stops_cleanly_on_sigterm_and_goes_on_where_it_stopped(job):
    log = fill(job)
    status, stderr = run_until(job, log, RECORDS)
    assert status == 0, stderr
    assert "stopped cleanly" in stderr
    fill(job)
    assert run_until(job, log, 2 * RECORDS, signal.SIGINT)[0] == 0
    assert [json.loads(r.value)["offset"] for r in log.read("out", 0)] == list(range(2 * RECORDS))


def test_run_reports_an_error_with_status_1(job, tmp_path):
    log = fill(job)
    log.create_topic("out")
    log.store_commits("small", {})
    (tmp_path / "log" / "groups" / "small.json").write_text('{"in": {"0": [5, "not ours"]}}')
    status, stderr = run_until(job, log, 1)
    assert status == 1
    assert "was not written by streamrnn" in stderr
    assert "Traceback" not in stderr


def test_inspect_shows_position_streams_and_norms(learned):
    result = call("inspect", "-c", learned)
    assert result.exit_code == 0
    assert f"offset {RECORDS}, after {RECORDS} records" in result.output
    assert "3 of 10, in 1 segment;" in result.output
    assert re.search(r"^skill +-?\d\S* against last, -?\d\S* against mean *$", result.output, re.MULTILINE)
    assert re.search(r"^gradients +reach \d+ steps back, of \d+ that were looked at *$", result.output, re.MULTILINE)
    assert re.search(r"^weights +norm \d\S*, the newest step \d\S* of that *$", result.output, re.MULTILINE)
    assert "rnn.weight_hh_l0" in result.output
    assert re.search(r"^learning\.betas +\[0\.2, 0\.999\] *$", result.output, re.MULTILINE)
    assert "learning.momentum" not in result.output, "Adam has none"


def test_inspect_shows_a_stream_and_nothing_else(learned):
    result = call("inspect", "-c", learned, "--stream", "s1")
    assert result.exit_code == 0
    assert f"partition in/0, offset {RECORDS}" in result.output
    assert "100 in its sequence" in result.output
    assert "|h| = " in result.output
    assert "rnn.weight_hh_l0" not in result.output


def test_inspect_leaves_the_path_in_one_piece(learned):
    narrow = CliRunner(env={"COLUMNS": "40", "NO_COLOR": "1", "TERM": "dumb"}).invoke(
        app, ["inspect", "-c", str(learned)]
    )
    assert str(max((learned.parent / "checkpoints").rglob("manifest-*.json"))) in narrow.output


def test_inspect_finds_the_same_checkpoint_by_file_directory_and_job(learned):
    checkpoints = learned.parent / "checkpoints"
    manifest = max(checkpoints.rglob("manifest-*.json"))
    by_job, by_directory, by_file = (
        json.loads(call("inspect", *how, "--json").output) for how in (("-c", learned), (checkpoints,), (manifest,))
    )
    assert {one[0].pop("path") for one in (by_job, by_directory, by_file)} == {str(manifest)}
    assert by_job == by_directory == by_file
    assert by_file[0]["position"] == by_file[0]["ordinal"] == RECORDS
    assert by_file[0]["configuration"]["model"]["hidden_size"] == 4


def test_inspected_norms_are_those_of_the_learner(learned):
    from streamrnn.broker.protocol import TopicPartition
    from streamrnn.job.job import Job
    from streamrnn.offline.inspection import find, inspect

    checkpoints = Path(load(learned).checkpoint.directory)
    inspection = inspect(*find(max(checkpoints.rglob("manifest-*.json"))))
    learner = Job(load(learned)).learner(TopicPartition("in", 0))
    learner.resume(inspection.checkpoint.state())
    for tensor in inspection.tensors():
        weights = learner.get_weights()[tensor["name"]]
        assert tensor["shape"] == list(weights.shape)
        assert tensor["norm"] == pytest.approx(np.linalg.norm(weights.astype(float)), rel=1e-6)
    (layer,) = inspection.stream(b"s2")["state_norms"]
    for name, state in carried_state(learner, b"s2").items():
        assert layer[name] == pytest.approx(np.linalg.norm(state.astype(float)), rel=1e-6)
    assert inspection.stream(b"nobody") is None


def test_inspect_reports_what_it_cannot_read(learned_copy, tmp_path):
    manifests = sorted((tmp_path / "checkpoints").rglob("manifest-*.json"))
    manifests[0].write_text("{}")
    result = call("inspect", "-c", learned_copy)
    assert result.exit_code == 0
    assert "unreadable" in result.output
    for segment in (tmp_path / "checkpoints").rglob("*.safetensors"):
        segment.write_bytes(b"rot" + segment.read_bytes()[3:])
    result = call("inspect", "-c", learned_copy)
    assert result.exit_code == 1
    assert "differ from their digest" in result.stderr


def test_inspect_says_what_is_missing(learned, tmp_path):
    for arguments, status, message in [
        ((), 2, "either a checkpoint"),
        ((tmp_path / "nowhere",), 2, "does not exist"),
        ((learned.parent / "log",), 1, "holds no checkpoint"),
        (("-c", learned, "--stream", "nobody"), 1, "'nobody' is in none"),
    ]:
        result = call("inspect", *arguments)
        assert result.exit_code == status, result.output
        assert message in result.stderr


def test_inspect_looks_for_the_bytes_that_were_typed(learned):
    result = call("inspect", "-c", learned, "--stream", os.fsdecode(b"\xff"))
    assert result.exit_code == 1
    assert "is in none of these checkpoints" in result.stderr
    assert "forgotten by a tombstone" in result.stderr


def test_an_error_stands_alone(learned, job, tmp_path):
    """Nothing is printed before it, and above all no result that says nothing."""
    empty, data, model = tmp_path / "empty.jsonl", tmp_path / "data.jsonl", tmp_path / "model.safetensors"
    empty.write_text("[]\n")
    data.write_text('{"k": "s", "a": 1, "y": 2}\n' * 3)
    model.write_bytes(bytes(64))
    evaluate = ("evaluate", "-c", job, "--key", "k", "--data")
    for arguments, message in [
        (("inspect", "-c", learned, "--stream", "nobody"), "'nobody' is in none"),
        (("inspect", "-c", learned, "--stream", "nobody", "--json"), "'nobody' is in none"),
        (("inspect", model), "model.safetensors: the manifest is not JSON"),
        (("inspect", model, "--json"), "give a manifest-*.json, or a directory above some"),
        ((*evaluate, tmp_path / "nowhere.jsonl"), "does not exist"),
        ((*evaluate, empty), "none of its 1 records could be used"),
        ((*evaluate, data, "--predictions", data), "data.jsonl is the file of --data and would be overwritten"),
        (
            ("demo", "--directory", tmp_path / "demo", "--plot", tmp_path / "none" / "a.png"),
            "none/a.png does not exist",
        ),
        (("demo", "pronounce", "--quick", "--words", "9000"), "--quick: says how many words, as --words does"),
        (("demo", "speech", "--quick", "--strings", "900"), "--quick: says how many strings, as --strings does"),
    ]:
        result = call(*arguments)
        assert result.exit_code in (1, 2), arguments
        assert result.stdout == "", arguments
        assert message in result.stderr.replace("\n", ""), arguments
    assert data.read_text().count("\n") == 3


def test_inspect_names_every_checkpoint_that_cannot_be_read_when_there_is_no_other(learned_copy, tmp_path):
    manifests = sorted((tmp_path / "checkpoints").rglob("manifest-*.json"))
    for manifest in manifests:
        manifest.write_text("{}")
    result = call("inspect", "-c", learned_copy)
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"none of its {len(manifests)} checkpoints can be read" in result.stderr
    assert all(manifest.name in result.stderr for manifest in manifests)


# -- evaluate, warmup -------------------------------------------------------------------------------------------------


def test_evaluate_predicts_what_the_daemon_predicted(learned, tmp_path):
    log = EmbeddedLog(load(learned).embedded.directory)
    data, out = tmp_path / "data.jsonl", tmp_path / "out.jsonl"
    with data.open("w") as lines:
        for record in log.read("in", 0):
            fields = {"k": record.key.decode(), "t": record.timestamp_ms}
            lines.write(json.dumps(json.loads(record.value) | fields) + "\n")
    result = call("evaluate", "-c", learned, "--data", data, "--key", "k", "--timestamp", "t", "--predictions", out)
    assert result.exit_code == 0, result.output
    assert "running median" in result.output
    assert out.read_bytes().splitlines() == [record.value for record in log.read("out", 0)]


def test_predictions_go_into_a_pipe_that_somebody_reads_and_wait_for_nobody(job, tmp_path):
    data, pipe, file = tmp_path / "data.jsonl", tmp_path / "pipe", tmp_path / "file"
    data.write_text(
        "".join(json.dumps({"k": "s", "a": i, "y": i}) + "\n" for i in range(3_000))
    )  # more than a pipe holds
    os.mkfifo(pipe)
    evaluate = ("evaluate", "-c", job, "--data", data, "--key", "k", "--predictions")
    result = call(*evaluate, pipe)
    assert result.exit_code == 1
    assert f"{pipe}: cannot be written: is a pipe that nobody reads from; start its reader first" in result.stderr
    file.write_text("longer than what comes" * 100_000)
    assert call(*evaluate, file).exit_code == 0
    expected = file.read_bytes()
    assert expected.count(b"\n") == 3_000
    with (tmp_path / "read").open("wb") as read, subprocess.Popen(["cat", pipe], stdout=read) as reader:
        while call(*evaluate, pipe).exit_code:  # until it has opened its end
            assert reader.poll() is None
    assert (tmp_path / "read").read_bytes() == expected
    called = [sys.executable, "-m", "streamrnn", *map(str, evaluate), "/dev/stdout"]
    done = subprocess.run(called, capture_output=True)
    assert done.stdout.startswith(expected), done.stderr


def test_evaluate_says_when_no_record_could_be_used(job, tmp_path):
    data = tmp_path / "data.jsonl"
    data.write_text('{"k": null}\n[]\n')
    result = call("evaluate", "-c", job, "--data", data, "--key", "k")
    assert result.exit_code == 2
    assert "none of its 2 records could be used" in result.stderr
    assert "null_key: 1" in result.output


def test_evaluate_says_when_the_target_is_nowhere(job, tmp_path):
    data = tmp_path / "data.csv"
    data.write_text("k,a,delay\n" + "s,1,2\n" * 5)
    result = call("evaluate", "-c", job, "--data", data, "--key", "k")
    assert result.exit_code == 2
    assert "none of its 5 records has a value in the target field 'y'; the fields of the first one: k, a, delay" in (
        result.stderr
    )


def test_evaluate_needs_a_key(job, tmp_path):
    data = tmp_path / "data.csv"
    data.write_text("a,y\n1,2\n")
    result = call("evaluate", "-c", job, "--data", data)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --key: ")


def test_warmup_says_where_the_kernels_are():
    result = call("warmup")
    assert result.exit_code == 0
    assert ".kernels\n" in result.output
    assert re.search(r"float32 .* in [0-9.]+ s", result.output)


def test_unknown_options_are_status_2():
    assert call("run").exit_code == 2
    assert call("warmup", "--dtype", "float16").exit_code == 2
    assert call("frobnicate").exit_code == 2


def test_the_installed_command_is_main():
    scripts = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert 'streamrnn = "streamrnn.cli:main"' in scripts
    done = subprocess.run(
        [sys.executable, "-m", "streamrnn", "--version"], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout.strip() == f"streamrnn {__version__}"
