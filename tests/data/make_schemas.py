"""Makes ``schemas/``: the schemas of files that other programs read, without their prose, and strict.

    python tests/data/make_schemas.py

They come from the Go modules named below, all Apache-2.0, which `go mod download` brings. A resource of Kubernetes
that no core schema knows has its schema in a CustomResourceDefinition; there an object allows no fields beside those
that are named, so that a misspelled one is found.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

COMPOSE = "github.com/compose-spec/compose-go/v2@v2.16.2"
OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
KEDA = "github.com/kedacore/keda/v2@v2.21.0"
SOURCES = {
    "compose": (COMPOSE, "schema/compose-spec.json"),
    "ServiceMonitor": (OPERATOR, "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"),
    "PrometheusRule": (OPERATOR, "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"),
    "ScaledObject": (KEDA, "config/crd/bases/keda.sh_scaledobjects.yaml"),
    "TriggerAuthentication": (KEDA, "config/crd/bases/keda.sh_triggerauthentications.yaml"),
}


def module(name: str) -> Path:
    """Where Go keeps the module."""
    with tempfile.TemporaryDirectory() as elsewhere:
        found = subprocess.check_output(["go", "mod", "download", "-json", name], cwd=elsewhere, text=True)
    return Path(json.loads(found)["Dir"])


def shortened(schema: Any) -> Any:
    """Without descriptions, as properties of that name are kept."""
    if isinstance(schema, list):
        return [shortened(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: shortened(one) for name, one in value.items()} if key == "properties" else shortened(value)
        for key, value in schema.items()
        if key != "description"
    }


def strict(schema: Any) -> Any:
    """Objects with named fields allow no others."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if "properties" in schema and "x-kubernetes-preserve-unknown-fields" not in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def of_resource(definition: dict[str, Any]) -> dict[str, Any]:
    """The schema of the version that is stored."""
    (version,) = [version for version in definition["spec"]["versions"] if version["storage"]]
    schema = shortened(version["schema"]["openAPIV3Schema"])
    group, kind = definition["spec"]["group"], definition["spec"]["names"]["kind"]
    properties = {name: strict(one) for name, one in schema["properties"].items() if name != "status"}
    properties["apiVersion"] = {"const": f"{group}/{version['name']}"}
    properties["kind"] = {"const": kind}
    properties["metadata"] = {"type": "object", "required": ["name"]}
    return {**schema, "properties": properties, "additionalProperties": False}


def main() -> None:
    """Write them."""
    folder = Path(__file__).with_name("schemas")
    folder.mkdir(exist_ok=True)
    for name, (source, path) in SOURCES.items():
        content = yaml.safe_load((module(source) / path).read_text())
        schema = shortened(content) if name == "compose" else of_resource(content)
        schema["$comment"] = f"From {source}, {path}; Apache-2.0"
        (folder / f"{name}.json").write_text(json.dumps(schema, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
