"""The rules of deploy/prometheus as a resource of the Prometheus operator.

    python -P -m tests.deploy.prometheus_rule      writes it where the production overlay has it

A test holds the two equal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
RULE_FILES = (DEPLOY / "prometheus" / "recording.yml", DEPLOY / "prometheus" / "alerts.yml")
WRITTEN = DEPLOY / "kubernetes" / "overlays" / "production" / "prometheusrule.yaml"
HEADING = """\
# The rules of deploy/prometheus, which say what they are for. Written by: python -P -m tests.deploy.prometheus_rule
"""


def resource() -> dict[str, Any]:
    """Recording rules first, as alerts use what they record."""
    groups = [group for path in RULE_FILES for group in yaml.safe_load(path.read_text())["groups"]]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "streamrnn",
            "labels": {"app.kubernetes.io/name": "streamrnn", "release": "kube-prometheus-stack"},
        },
        "spec": {"groups": groups},
    }


def text() -> str:
    """As it is written."""
    return HEADING + yaml.safe_dump(resource(), sort_keys=False, allow_unicode=True, width=110)


if __name__ == "__main__":
    WRITTEN.write_text(text())
