"""What the image is made of: pinned by hash, listed with its licences, confined; its build runs here without Docker.

The build's commands are those of the Dockerfile's first stage, with its directories put elsewhere. They ask pip for the
locked packages, so they need what pip needs.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.test_docs import HANDBOOK, PAGES, ROOT, rows, snippets

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
LOCKS = {name: (ROOT / "docker" / name).read_text() for name in ("requirements.lock", "build.lock")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIGEST = r"@sha256:[0-9a-f]{64}$"

FAMILIES = ("LGPL", "GNU Lesser", "GPL", "AGPL", "MPL", "Apache", "BSD", "MIT", "ISC", "PSF", "0BSD", "Zlib", "CC0")
"""By which words a licence is known, however a package spells it."""


def pinned(lock: str) -> dict[str, str]:
    """Version by name."""
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", LOCKS[lock], re.MULTILINE))


def families(licence: str) -> set[str]:
    found = {name for name in FAMILIES if re.search(rf"(?<![A-Za-z0-9]){name}", licence)}
    return {"LGPL" if name == "GNU Lesser" else name for name in found}


@functools.cache
def run_lines() -> list[str]:
    stage = DOCKERFILE.partition("\nFROM ")[2].partition("\nFROM ")[0]
    return [re.sub(r"\\\n\s*", " ", line) for line in re.findall(r"^RUN (.*?[^\\])$", stage, re.MULTILINE | re.DOTALL)]


# ---- what is pinned


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_of_a_lock_has_its_hashes_and_no_line_names_a_place(lock: str) -> None:
    entries = re.split(r"^(?=[a-z0-9.-]+==)", LOCKS[lock], flags=re.MULTILINE)[1:]
    assert len(entries) == len(pinned(lock)) >= 25
    for entry in entries:
        hashes = re.findall(r"--hash=sha256:([0-9a-f]+)(?: \\)?$", entry, re.MULTILINE)
        assert hashes, entry
        assert all(len(digest) == 64 for digest in hashes)
    assert not re.search(r"://|^\s*-[a-zI]|^--|@ ", LOCKS[lock], re.MULTILINE)


def test_the_locks_hold_what_the_project_asks_for() -> None:
    required = [Requirement(text) for text in PROJECT["dependencies"]]
    for requirement in required:
        name = canonicalize_name(requirement.name)
        assert requirement.specifier.contains(pinned("requirements.lock")[name]), name
    for requirement in map(Requirement, PROJECT["optional-dependencies"]["image"]):
        assert requirement.specifier.contains(pinned("build.lock")[canonicalize_name(requirement.name)])


def test_the_image_is_built_with_the_packages_that_run_in_it() -> None:
    assert pinned("requirements.lock").items() <= pinned("build.lock").items()


def test_images_are_named_by_digest_and_the_same_everywhere() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(bases) == 2 and len(set(bases)) == 1
    brokers = {service["image"] for service in COMPOSE["services"].values() if "build" not in service}
    assert len(brokers) == 1
    for image in (*bases, *brokers):
        assert re.search(DIGEST, image), image


def test_no_package_is_installed_without_its_hash_or_from_source() -> None:
    installs = [part for line in run_lines() for part in line.split("&&") if re.search(r"\bpip\b.* install ", part)]
    assert len(installs) == 3
    for command in installs:
        assert "--require-hashes --only-binary :all:" in command or re.search(r"--no-deps \S*/streamrnn-", command)


def test_the_handbook_renews_the_locks_as_they_say_they_were_made() -> None:
    (commands,) = [text for text in snippets(HANDBOOK, "bash") if "pip-compile" in text]
    for renewed in re.findall(r"^(pip-compile (?:.*\\\n)*.*)$", commands, re.MULTILINE):
        options = set(re.sub(r"\\\n", " ", renewed).replace("=", " ").split()) - {"--quiet", "--upgrade"}
        (lock,) = [name for name in LOCKS if f"--output-file docker/{name}" in renewed]
        (made_by,) = re.findall(r"^#    (pip-compile .*)$", LOCKS[lock], re.MULTILINE)
        assert options == set(made_by.replace("=", " ").split())


# ---- how it is confined


def test_no_container_has_a_capability_or_gains_one_and_the_worker_writes_to_its_volume_alone() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged") and not service.get("cap_add"), name
    worker = COMPOSE["services"]["worker"]
    assert worker["read_only"] is True
    writable = [volume for volume in worker["volumes"] if not volume.endswith(":ro")]
    assert writable == ["state:/var/lib/streamrnn"]
    assert all(
        port.startswith("127.0.0.1:") for service in COMPOSE["services"].values() for port in service.get("ports", [])
    )


def test_the_image_runs_as_a_user_by_number_and_imports_nothing_from_where_it_works() -> None:
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001$", last, re.MULTILINE)
    assert "PYTHONSAFEPATH=1" in last
    for command in re.findall(r"\bpython\b[\", ]+-\w.*", DOCKERFILE):
        assert re.match(r'python[", ]+-I\b', command), command


def test_the_handbook_s_manifest_confines_the_container_as_compose_does() -> None:
    (text,) = [text for text in snippets(HANDBOOK, "text") if text.startswith("securityContext:")]
    context: dict[str, Any] = yaml.safe_load(text)["securityContext"]
    assert context["readOnlyRootFilesystem"] is context["runAsNonRoot"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert f"USER {context['runAsUser']}\n" in DOCKERFILE


# ---- its build


pytestmark = pytest.mark.timeout(1_200)  # packages of half a gigabyte are fetched, and kernels compiled


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first stage of the Dockerfile, carried out: what stands in the image below its root."""
    root = tmp_path_factory.mktemp("image")
    for line in run_lines():
        moved = line.replace("/opt/", f"{root}/opt/").replace("/dist", f"{root}/dist")
        moved = re.sub(r"^python\b", sys.executable, moved)
        done = subprocess.run(["sh", "-ec", moved], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}"
    return root


@pytest.fixture(scope="module")
def bill(image: Path) -> dict[str, Any]:
    """Its bill of materials: every package by its canonical name."""
    content = json.loads((image / "opt" / "streamrnn" / "sbom.cdx.json").read_text())
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    return {canonicalize_name(component["name"]): component for component in content["components"]}


@pytest.mark.slow
def test_the_bill_of_materials_is_what_is_locked_and_streamrnn(bill: dict[str, Any]) -> None:
    versions = {name: component["version"] for name, component in bill.items()}
    assert versions.pop("streamrnn") == streamrnn_version()
    assert versions == pinned("requirements.lock")
    for name, version in versions.items():
        assert bill[name]["purl"] == f"pkg:pypi/{name}@{version}"


@pytest.mark.slow
def test_every_licence_is_listed_and_is_what_the_package_says(bill: dict[str, Any]) -> None:
    listed = rows(PAGES["deploy/LICENCES.md"], "package")
    assert listed.keys() == bill.keys() - {"streamrnn"}
    for name, row in listed.items():
        licences = [entry.get("license", entry) for entry in bill[name]["licenses"]]
        said = " ".join(str(one.get("id") or one.get("name") or one.get("expression")) for one in licences)
        assert families(row.partition(" | ")[0]) == families(said) != set(), (name, said)
    assert [name for name, row in listed.items() if "GPL" in row] == ["crc32c"]


@pytest.mark.slow
def test_what_was_built_starts_without_pip_and_with_the_kernels_it_brought(image: Path, tmp_path: Path) -> None:
    python = image / "opt" / "streamrnn" / "bin" / "python"
    script = "from streamrnn.core import compiled; print(compiled.kernels('float32').path)"
    alone = {"STREAMRNN_CACHE_DIR": "/dev/null"}
    found = subprocess.check_output([python, "-I", "-c", script], cwd=tmp_path, env=alone, text=True)
    assert found.startswith(f"{image}/opt/streamrnn/")
    version = subprocess.check_output([python.with_name("streamrnn"), "--version"], cwd=tmp_path, env=alone, text=True)
    assert version == f"streamrnn {streamrnn_version()}\n"
    assert not list(python.parent.glob("pip*"))


def streamrnn_version() -> str:
    (version,) = re.findall(r'^__version__ = "(.+)"$', (ROOT / "streamrnn" / "version.py").read_text(), re.MULTILINE)
    return str(version)
