"""What ``kubectl kustomize`` makes of a folder, as far as deploy/kubernetes uses it; anything else is refused.

Resources, namespace, images, files of a ConfigMap, patches: JSON (RFC 6902: add, replace, remove) or strategic merge,
where lists of named things are merged by their names. Left out is the digest at the end of a ConfigMap's name.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

Resource = dict[str, Any]

MERGED_BY = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath"}
KNOWN = {"apiVersion", "kind", "namespace", "resources", "images", "configMapGenerator", "patches"}
CLUSTER_WIDE = {"Namespace"}


def build(folder: Path) -> list[Resource]:
    """Every resource of the folder, patched."""
    given = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert given.keys() <= KNOWN, given.keys() - KNOWN
    found: list[Resource] = []
    for name in given.get("resources", ()):
        place = folder / name
        found += build(place) if place.is_dir() else list(yaml.safe_load_all(place.read_text()))
    for made in given.get("configMapGenerator", ()):
        assert made.keys() <= {"name", "files", "options"}
        data = {name: (folder / name).read_text() for name in made["files"]}
        metadata = {"name": made["name"], **made.get("options", {})}
        metadata.pop("disableNameSuffixHash", None)
        found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    for patch in given.get("patches", ()):
        _patch(found, patch, folder)
    for resource in found:
        if "namespace" in given and resource["kind"] not in CLUSTER_WIDE:
            resource["metadata"]["namespace"] = given["namespace"]
        for image in given.get("images", ()):
            _name_image(resource, image)
    return found


def of_kind(resources: list[Resource], kind: str, name: str | None = None) -> Resource:
    """The only one of a kind, or of a kind and name."""
    (found,) = [one for one in resources if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    return found


def _patch(resources: list[Resource], patch: dict[str, Any], folder: Path) -> None:
    assert patch.keys() in ({"path"}, {"target", "patch"}), patch.keys()
    if "path" in patch:
        content = yaml.safe_load((folder / patch["path"]).read_text())
        target = {"kind": content["kind"], "name": content["metadata"]["name"]}
    else:
        content, target = yaml.safe_load(patch["patch"]), patch["target"]
    (resource,) = [
        one for one in resources if (one["kind"], one["metadata"]["name"]) == (target["kind"], target["name"])
    ]
    if isinstance(content, list):
        for operation in content:
            _operate(resource, **operation)
    else:
        _merge(resource, content)


def _operate(resource: Any, op: str, path: str, value: Any = None) -> None:
    *way, last = path.removeprefix("/").split("/")
    for step in way:
        resource = resource[int(step) if isinstance(resource, list) else step]
    if op == "add":
        resource[last] = value
    elif op == "replace":
        assert last in resource
        resource[last] = value
    else:
        assert op == "remove"
        del resource[last]


def _merge(base: dict[str, Any], patch: dict[str, Any]) -> None:
    for name, value in patch.items():
        if isinstance(value, dict) and isinstance(base.get(name), dict):
            _merge(base[name], value)
        elif name in MERGED_BY and name in base:
            key = MERGED_BY[name]
            present = {one[key]: one for one in base[name]}
            for one in value:
                if one[key] in present:
                    _merge(present[one[key]], one)
                else:
                    base[name].append(copy.deepcopy(one))
        else:
            base[name] = copy.deepcopy(value)


def _name_image(resource: Resource, image: dict[str, str]) -> None:
    assert {"name", "newTag"} <= image.keys() <= {"name", "newName", "newTag"}
    pod = resource.get("spec", {}).get("template", {}).get("spec", {})
    for container in (*pod.get("containers", ()), *pod.get("initContainers", ())):
        if container["image"] == image["name"]:
            container["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"
