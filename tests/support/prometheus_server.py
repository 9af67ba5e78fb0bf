"""A real Prometheus on loopback, Debian's, with the rules of deploy/prometheus and targets of a test's own."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.alerts import PROMETHEUS, RULE_FILES
from tests.support.programs import program

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
SCRAPE_INTERVAL_S = 1


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [s.getsockname()[1] for s in sockets]


class PrometheusServer:
    """One server process, which scrapes every second as deploy/prometheus/prometheus.yml says, but other targets.

    ``tokens`` are the files with what scrape jobs want to be asked with. Rules are evaluated every second, changed by
    ``hastened``: alerts whose thresholds are of time that no test has.
    """

    def __init__(
        self,
        directory: Path,
        tokens: Mapping[str, Path],
        hastened: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.directory, (self.port,) = directory, free_ports(1)
        self._tokens = tokens
        self._process: subprocess.Popen[bytes] | None = None
        self.log_path = directory / "prometheus.log"
        for path in RULE_FILES:
            (directory / path.name).write_text(yaml.safe_dump(_hastened(path, hastened)))

    def watch(self, ports: Mapping[str, list[int]]) -> None:
        """Scrape these workers of each scrape job from now on."""
        settings = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        settings["global"] = dict.fromkeys(settings["global"], f"{SCRAPE_INTERVAL_S}s")
        (scrape,) = settings["scrape_configs"]
        settings["scrape_configs"] = [
            {
                **scrape,
                "job_name": job,
                "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in found]}],
                **({"authorization": {"credentials_file": str(self._tokens[job])}} if job in self._tokens else {}),
            }
            for job, found in ports.items()
        ]
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(settings))
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)  # reads it again

    def start(self) -> None:
        """Start it, and return once it answers; ``watch`` has been called."""
        command = [
            program("prometheus"),
            f"--config.file={self.directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            assert self._process.poll() is None, self.log_path.read_text()
            assert time.monotonic() < deadline, self.log_path.read_text()
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5.0).close()
                return
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it by its process id. Idempotent."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_TIMEOUT_S)
            self._process = None

    def now(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is at present: labels and value of each series."""
        return self._ask("query", query=expression)["result"]

    def since(self, start_s: float, expression: str) -> list[dict[str, Any]]:
        """What an expression was in each second since then: labels and values of each series."""
        return self._ask("query_range", query=expression, start=start_s, end=time.time(), step=SCRAPE_INTERVAL_S)[
            "result"
        ]

    def series(self, selector: str, start_s: float) -> list[dict[str, str]]:
        """Labels of all series that there were since then."""
        return self._ask("series", **{"match[]": selector, "start": start_s, "end": time.time()})

    def rules(self) -> list[dict[str, Any]]:
        """All rules with their health, alerts with those that are pending or fire."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def metadata(self) -> dict[str, set[str]]:
        """Types of all metrics, as targets have declared them."""
        return {name: {entry["type"] for entry in found} for name, found in self._ask("metadata").items()}

    def _ask(self, what: str, **parameters: Any) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30.0) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error


def _hastened(path: Path, changes: Mapping[str, Mapping[str, str]]) -> Any:
    document = yaml.safe_load(path.read_text())
    for group in document["groups"]:
        for rule in group["rules"]:
            for old, new in changes.get(rule.get("alert", ""), {}).items():
                assert old in rule["expr"], f"{rule['alert']}: {old!r} is not in it"
                rule["expr"] = rule["expr"].replace(old, new)
    return document
