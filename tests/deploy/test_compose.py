"""docker/compose.yaml is what Compose takes, names what exists, and shows one machine's whole picture at one command.

It has not been run by an engine. Its schema is the Compose specification's own; what the schema cannot know is looked
at here: files, topics, ports, names, variables, what waits for what.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from streamrnn.cli import app
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from tests.test_docs import HANDBOOK

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
TEXT = (DOCKER / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SCHEMA = json.loads((ROOT / "tests" / "data" / "schemas" / "compose.json").read_text())
WORKERS = ("worker-1", "worker-2")
PROMETHEUS = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
DOCKERFILE = (DOCKER / "Dockerfile").read_text()

PROGRAMS = {
    "apache/kafka": {"/opt/kafka/bin/kafka-topics.sh"},  # where the official image unpacks Kafka
    "prom/prometheus": {"wget"},  # busybox
    "grafana/grafana": {"wget"},  # Alpine's busybox
}
"""What health checks call, by image: known of the images, which are not here."""


def job(worker: str) -> Config:
    (source,) = [volume.split(":")[0] for volume in SERVICES[worker]["volumes"] if "job.yaml" in volume]
    return parse((DOCKER / source).read_text(), env=SERVICES[worker].get("environment", {}))


def published() -> dict[str, str]:
    """Service and port inside, by address on this machine."""
    found = {}
    for name, service in SERVICES.items():
        for port in service.get("ports", ()):
            host, outside, inside = port.split(":")
            assert host == "127.0.0.1", "for this machine alone"
            found[f"localhost:{outside}"] = f"{name}:{inside}"
    return found


# ---- what Compose takes


def test_it_is_what_the_schema_of_compose_allows() -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(COMPOSE)


@pytest.mark.parametrize("wrong", ["imag", "depends", "port"])
def test_a_misspelled_field_is_found(wrong: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate({"services": {"one": {"image": "x", wrong: []}}})


def test_it_is_one_picture() -> None:
    own = {"kafka", "topics", "feeder", *WORKERS, "prometheus", "grafana", "addresses"}
    assert SERVICES.keys() == own


# ---- what exists


def test_files_that_are_mounted_exist_and_are_read_only_and_volumes_are_declared() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source, target, *mode = volume.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert (DOCKER / source).exists(), (name, source)
                assert mode == ["ro"], (name, source)
            else:
                assert source in COMPOSE["volumes"], (name, source)
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert COMPOSE["volumes"].keys() <= used


def test_what_is_waited_for_exists_and_can_become_what_is_waited_for() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            awaited = SERVICES[other]
            if how["condition"] == "service_healthy":
                own = "test" in awaited.get("healthcheck", {})
                of_image = "build" in awaited and "target" not in awaited["build"] and "healthcheck" not in awaited
                assert own or of_image, (name, other)
            else:
                assert how["condition"] == "service_completed_successfully"
                assert "restart" not in awaited and awaited["command"][0] == "topics"
    order: list[str] = []
    while len(order) < len(SERVICES):
        ready = [n for n, s in SERVICES.items() if n not in order and set(s.get("depends_on", ())) <= set(order)]
        assert ready, "they wait for each other"
        order += ready


def test_health_checks_call_programs_that_their_images_have() -> None:
    for name, service in SERVICES.items():
        if "test" in service.get("healthcheck", {}):
            how, program, *arguments = service["healthcheck"]["test"]
            assert how == "CMD" and program in PROGRAMS[service["image"].partition(":")[0]], name
            (asked,) = [re.sub(r"^http://|/.*$", "", one) for one in arguments if re.search(r":\d", one)]
            assert asked.replace("127.0.0.1", name) in {*published().values(), "kafka:9092"}, name


def test_what_is_built_is_what_the_dockerfile_builds() -> None:
    for name, service in SERVICES.items():
        if "build" in service:
            build = service["build"]
            assert (DOCKER / build["context"] / build["dockerfile"]) == DOCKER / ".." / "docker" / "Dockerfile"
            target = build.get("target")
            assert (service["image"], target) in {("streamrnn", None), ("streamrnn-demo", "demo")}, name
            assert target is None or f" AS {target}\n" in DOCKERFILE


def test_commands_are_those_of_the_command_line() -> None:
    from typer.main import get_command

    commands = get_command(app).commands  # type: ignore[attr-defined]
    for name, service in SERVICES.items():
        if "build" in service and "entrypoint" not in service and "command" in service:
            command, *words = service["command"]
            known = {flag for parameter in commands[command].params for flag in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= known, name
            (where,) = [volume.split(":")[1] for volume in service["volumes"] if "job.yaml" in volume]
            assert words[words.index("--config") + 1] == where


# ---- what fits together


def test_the_job_finds_its_broker_topics_and_place() -> None:
    jobs = [job(worker) for worker in WORKERS]
    assert [one.kafka.group_instance_id for one in jobs if one.kafka is not None] == list(WORKERS)
    for one in jobs:
        assert one.kafka is not None and one.http is not None
        (server,) = one.kafka.servers
        listeners = dict(
            part.split("://") for part in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
        )
        assert server == listeners["INSIDE"]
        assert published()[listeners["OUTSIDE"]] == "kafka:9094"
        assert one.http.host == "0.0.0.0"
        assert one.checkpoint.directory.startswith("/var/lib/streamrnn/")
    mounted = {volume for name in ("topics", "feeder", *WORKERS) for volume in SERVICES[name]["volumes"]}
    assert mounted == {"../deploy/examples/compose.yaml:/etc/streamrnn/job.yaml:ro", "state:/var/lib/streamrnn"}
    assert SERVICES["topics"]["command"][-2:] == ["--partitions", "4"]


def test_what_the_log_forgets_no_restart_needs() -> None:
    settings, config = SERVICES["kafka"]["environment"], job("worker-1")
    # A departure with its batch's share is smaller than half a KiB, and segments go as a whole.
    kept = (settings["KAFKA_LOG_RETENTION_BYTES"] - settings["KAFKA_LOG_SEGMENT_BYTES"]) / 512
    assert kept > config.checkpoint.max_replay_records * config.checkpoint.retain / 2
    assert f"log:{settings['KAFKA_LOG_DIRS']}" in SERVICES["kafka"]["volumes"], "else it goes with its container"


def test_prometheus_scrapes_both_workers_and_grafana_asks_prometheus() -> None:
    (scraped,) = PROMETHEUS["scrape_configs"]
    targets = {target for config in scraped["static_configs"] for target in config["targets"]}
    http = job("worker-1").http
    assert http is not None and targets == {f"{worker}:{http.port}" for worker in WORKERS}
    for path in PROMETHEUS["rule_files"]:
        assert (ROOT / "deploy" / "prometheus" / path).exists()
    assert "../deploy/prometheus:/etc/prometheus:ro" in SERVICES["prometheus"]["volumes"]
    (source,) = yaml.safe_load(next((ROOT / "deploy/grafana/provisioning/datasources").iterdir()).read_text())[
        "datasources"
    ]
    assert source["url"].removeprefix("http://") == published()["localhost:9090"]


def test_grafana_finds_its_dashboards_and_opens_with_the_overview() -> None:
    grafana = SERVICES["grafana"]
    mounts = dict(volume.split(":")[1::-1] for volume in grafana["volumes"])
    (provider,) = yaml.safe_load(next((ROOT / "deploy/grafana/provisioning/dashboards").iterdir()).read_text())[
        "providers"
    ]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == provider["options"]["path"]
    assert (DOCKER / mounts[str(home.parent)] / home.name).is_file()
    assert (DOCKER / mounts["/etc/grafana/provisioning"] / "datasources").is_dir()
    assert grafana["environment"]["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def test_addresses_that_are_printed_are_published_and_stand_in_the_handbook() -> None:
    said = " ".join(SERVICES["addresses"]["command"])
    shown = set(re.findall(r"localhost:\d+", said))
    heading = set(re.findall(r"^# +(?:http://)?(localhost:\d+)", TEXT, re.MULTILINE))
    assert shown == heading == published().keys()
    assert shown <= set(re.findall(r"localhost:\d+", HANDBOOK))
    assert SERVICES["addresses"]["depends_on"].keys() >= {"grafana", *WORKERS}


def test_the_speed_is_chosen_by_one_variable() -> None:
    assert SERVICES["feeder"]["command"][-2:] == ["--rate", "${RECORDS_PER_S:-200}"]
    assert set(re.findall(r"\$\{(\w+)", yaml.safe_dump(SERVICES))) == {"RECORDS_PER_S"}
    assert "RECORDS_PER_S" in HANDBOOK


@pytest.mark.parametrize("name", WORKERS)
def test_a_stop_leaves_the_worker_the_time_it_may_take(name: str) -> None:
    assert float(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= job(name).shutdown_timeout_s + 5
    assert SERVICES[name]["restart"] == "on-failure", "it leaves with status 1 when Kafka is away for long"
