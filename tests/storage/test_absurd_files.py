"""A checkpoint's files may hold anything and be anything: it is corrupt then, and the one before is used.

What is tried in a row runs in a process that is given little memory and seconds of CPU, of which starting takes most.
"""

from __future__ import annotations

import copy
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamrnn.errors import CheckpointError, FingerprintMismatch
from streamrnn.job.input_config import MAX_KEY_BYTES
from streamrnn.storage import manifest as manifests
from streamrnn.storage import segments
from streamrnn.storage.fingerprints import canonical_sha256
from streamrnn.storage.model_file import load_model
from streamrnn.storage.tensors import load_weights, save_weights
from tests.support.checkpoints import LINEAGE, Learner, assert_restores, folder, open_store, paths, progress

LEVELS = 200_000


def written(tmp_path: Path) -> tuple[Any, Learner, Path]:
    """A store with checkpoints at 10 and 20, what the first one holds, and the second one's manifest."""
    store, old = open_store(tmp_path), Learner(20, seed=1)
    store.write(old.snapshot(), progress(10))
    store.write(Learner(20, seed=2).snapshot(), progress(20))
    return store, old, folder(store) / LINEAGE / "manifest-00000000000000000020.json"


def assert_falls_back(store: Any, old: Learner, reason: str) -> None:
    found = store.newest(LINEAGE)
    assert [bool(re.search(reason, bad.reason)) for bad in found.rejected] == [True], found.rejected
    assert found.checkpoint.manifest.progress.position == 10
    assert_restores(store, found.checkpoint.manifest, old)
    assert store.flaw(LINEAGE, 20) != ""


def full(piece: str, ends: str = "[]") -> str:
    """As many pieces as a manifest may have bytes."""
    return ends[0] + ",".join([piece] * ((manifests.MOST_BYTES - 2) // (len(piece) + 1) - 1)) + ends[1]


ABSURD: dict[str, Callable[[str], str]] = {
    "levels of lists": lambda good: "[" * LEVELS + "]" * LEVELS,
    "levels of objects": lambda good: '{"a":' * LEVELS + "1" + "}" * LEVELS,
    "levels that never end": lambda good: '{"format":[' * LEVELS,
    "levels within": lambda good: good.replace('"configuration": {', '"configuration": {"x":' + "[" * LEVELS),
    "levels that Python bears": lambda good: good.replace(
        '"configuration": {', '"configuration": {"x":' + "[" * 900 + "]" * 900 + ","
    ),
    "one level too many": lambda good: good.replace(
        '"configuration": {', '"configuration": {"x":' + "[" * 63 + "]" * 63 + ","
    ),
    "a whole number of 400 digits": lambda good: good.replace('"position": 20', f'"position": {10**399}'),
    "a fraction of 400 digits": lambda good: good.replace('"position": 20', f'"position": {10**399}.5'),
    "a whole number of 4,000,000 digits": lambda good: good.replace('"position": 20', f'"position": {"9" * 4_000_000}'),
    "many numbers of 4,000 digits": lambda good: full("9" * 4_000),
    "an exponent": lambda good: good.replace('"position": 20', '"position": 2e999999999'),
    "not a number": lambda good: good.replace('"position": 20', '"position": NaN'),
    "empty lists to the brim": lambda good: full("[]"),
    "empty objects to the brim": lambda good: full("{}"),
    "numbers to the brim": lambda good: full("1"),
    "names to the brim": lambda good: "{" + ",".join(f'"{n:06}":0' for n in range(manifests.MOST_BYTES // 12)) + "}",
    "a name twice": lambda good: good.replace('"position": 20', '"position": 20, "position": 20'),
    "one byte too many": lambda good: good + " " * (manifests.MOST_BYTES + 1 - len(good.encode())),
    "half a character": lambda good: good.replace('"job": "', '"job": "\\ud800'),
}


@pytest.mark.parametrize("kind", ABSURD)
def test_an_absurd_manifest_is_corrupt_and_the_one_before_is_used(tmp_path: Path, kind: str) -> None:
    store, old, path = written(tmp_path)
    good = path.read_text()
    absurd = ABSURD[kind](good)
    assert absurd != good
    path.write_text(absurd)
    assert_falls_back(store, old, "^the manifest|cannot be read: .* bytes, expected at most")


SWEEP = """
import resource, sys
from pathlib import Path
from tests.storage.test_absurd_files import ABSURD, assert_falls_back, written
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
store, old, path = written(Path(sys.argv[1]))
good = path.read_text()
for make in ABSURD.values():
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    path.write_text(make(good))
    limit = int(used) + 3  # whole seconds: this one and the fallback have at least two of CPU, and need a fifth
    resource.setrlimit(resource.RLIMIT_CPU, (limit, 600))
    assert_falls_back(store, old, "")
print("all")
"""


def test_no_absurd_manifest_takes_seconds_or_gigabytes(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", SWEEP, tmp_path], cwd=root, capture_output=True, text=True)
    assert done.stdout == "all\n", done.stderr[-2000:]


def numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where all values are that are no lists or objects."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from numbers(inner, (*path, name))
    if not items:
        yield path


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    value = copy.deepcopy(value)
    at = value
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = new
    return value


@pytest.mark.parametrize("new", [10**10, -1, 2**63, 10**400, 1e308, 0.5, None, [[[]]], "x" * 10_000])
def test_any_value_in_place_of_any_other_ends_as_a_corrupt_checkpoint_or_fits(tmp_path: Path, new: object) -> None:
    """Signed again, so that only its meaning can be wrong. Nothing but the documented errors comes out."""
    store, _, path = written(tmp_path)
    good = json.loads(path.read_bytes())
    fell_back = 0
    for at in numbers(good):
        raw = replaced(good, at, new)
        raw["sha256"] = canonical_sha256({name: value for name, value in raw.items() if name != "sha256"})
        path.write_text(json.dumps(raw))
        try:
            found = store.newest(LINEAGE)
        except FingerprintMismatch:
            assert at[0] == "configuration"
            continue
        assert found.checkpoint is not None
        fell_back += found.checkpoint.manifest.progress.position == 10
    assert fell_back >= 20


def pipe(path: Path) -> None:
    os.mkfifo(path)


def socket_at(path: Path) -> None:
    listener, here = socket.socket(socket.AF_UNIX), Path.cwd()
    os.chdir(path.parent)  # a socket's name is short
    listener.bind(path.name)
    os.chdir(here)
    listener.close()


THINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pipe": (pipe, "is a pipe, expected a regular file"),
    "a socket": (socket_at, "is a socket, expected a regular file"),
    "a directory": (lambda path: path.mkdir(), "is a directory, expected a regular file"),
    "a link to itself": (lambda path: path.symlink_to(path), "is a link, expected a regular file"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "is a link, expected a regular file"),
    "a link to what it was": (
        lambda path: path.symlink_to(path.rename(path.parent.parent.parent / "moved")),
        "is a link, expected a regular file",
    ),
    "a terabyte": (lambda path: (path.touch(), os.truncate(path, 1 << 40)), f"of {1 << 40} bytes, expected at most"),
}


@pytest.mark.parametrize("kind", THINGS)
@pytest.mark.parametrize("victim", ["manifest", "segment"])
def test_what_is_no_file_of_a_fitting_size_is_neither_waited_for_nor_read(
    tmp_path: Path, kind: str, victim: str
) -> None:
    store, old, path = written(tmp_path)
    if victim == "segment":
        entry = json.loads(path.read_bytes())["segments"][0]["sha256"]
        path = path.parent / "segments" / f"{entry}.safetensors"
    make, reason = THINGS[kind]
    if kind != "a link to what it was":
        path.unlink()
    make(path)
    assert_falls_back(store, old, reason)


def test_a_folder_that_is_a_link_is_not_gone_through(tmp_path: Path) -> None:
    store, _, path = written(tmp_path)
    path.parent.rename(tmp_path / "moved")
    path.parent.symlink_to(tmp_path / "moved")
    assert store.newest(LINEAGE).checkpoint is None
    with pytest.raises(Exception, match="is a link, expected a directory"):
        store.write(Learner(20, seed=2).snapshot(), progress(30))


def test_no_file_is_for_others_unless_that_is_asked_for(tmp_path: Path) -> None:
    store, _, path = written(tmp_path / "new")
    assert {found.stat().st_mode & 0o777 for found in (tmp_path / "new").rglob("*") if found.is_file()} == {0o600}
    assert {found.stat().st_mode & 0o777 for found in (tmp_path / "new").rglob("*") if found.is_dir()} == {0o700}
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert len(paths(store, "manifest-*")) == 2
    path.chmod(0o644)
    store.write(Learner(20, seed=2).snapshot(), progress(30))
    assert path.stat().st_mode & 0o777 == 0o644  # what is there keeps its mode


# ---- model files


def model_file(header: bytes, length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + bytes(8)


TENSOR = '"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}'


def described(text: str) -> bytes:
    return model_file(f'{{{TENSOR}, "__metadata__": {{"streamrnn": {json.dumps(text)}}}}}'.encode())


DEEP = "[" * LEVELS + "]" * LEVELS
HEADERS = {
    "longer than the file": model_file(b"{}", 1000),
    "2^64 - 1": model_file(b"{}", 2**64 - 1),
    "no header": model_file(b""),
    "shorter than its length": b"1234567",
    "levels": model_file(DEEP.encode()),
    "objects": model_file(b'{"a":' * LEVELS),
    "a tensor twice": model_file(f"{{{TENSOR}, {TENSOR}}}".encode()),
    "two descriptions": model_file(b'{"__metadata__": {}, "__metadata__": {}}'),
    "too many tensors": model_file(json.dumps({str(n): 0 for n in range(10_001)}).encode()),
    "overlapping tensors": model_file(f"{{{TENSOR}, {TENSOR.replace(chr(97), 'b', 1)}}}".encode()),
    "a tensor beyond the file": model_file(TENSOR.join("{}").replace("0, 8", f"0, {2**63}").encode()),
    "a tensor that ends before it begins": model_file(TENSOR.join("{}").replace("0, 8", "8, 0").encode()),
    "a shape of 2^80": model_file(TENSOR.join("{}").replace("[2]", f"[{2**40}, {2**40}]").encode()),
    "a shape of 400 digits": model_file(TENSOR.join("{}").replace("[2]", "[" + "9" * 400 + "]").encode()),
    "a description of levels": described(DEEP),
    "an owner of levels": described(
        f'{{"format": 9, "columns": [], "owner": {{"x": {DEEP}}}, "spec": null, "sha256": ""}}'
    ),
    "an owner of 400 digits": described(
        f'{{"format": 9, "columns": [], "owner": {{"x": {"9" * 400}}}, "spec": null, "sha256": ""}}'
    ),
    "a format of 400 digits": described(
        f'{{"format": {"9" * 400}, "columns": [], "owner": {{}}, "spec": null, "sha256": ""}}'
    ),
    "a terabyte": b"",
}


@pytest.mark.parametrize("kind", HEADERS)
def test_an_absurd_model_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model"
    path.write_bytes(HEADERS[kind])
    if kind == "a terabyte":
        os.truncate(path, 1 << 40)
    with pytest.raises(CheckpointError, match="no model can be read from"):
        load_model(path)
    if not kind.startswith(("a description", "an owner", "a format", "two")):
        with pytest.raises(CheckpointError, match="weights cannot be read from"):
            load_weights(path)


def test_a_model_file_may_be_named_by_a_link_and_is_its_writer_s_own(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save_weights(tmp_path / "weights", {"a": np.zeros(1)})
    finally:
        os.umask(before)
    assert (tmp_path / "weights").stat().st_mode & 0o777 == 0o644
    (tmp_path / "link").symlink_to("weights")
    assert load_weights(tmp_path / "link").keys() == {"a"}
    pipe(tmp_path / "pipe")
    for load in (load_weights, load_model):
        with pytest.raises(CheckpointError, match="is a pipe, expected a regular file"):
            load(tmp_path / "pipe")


@pytest.mark.parametrize("which", ["model", "streams"])
def test_a_hole_in_a_file_costs_no_memory_beyond_what_the_specification_makes(tmp_path: Path, which: str) -> None:
    store, old, path = written(tmp_path)
    raw = json.loads(path.read_bytes())
    entry = raw["model"] if which == "model" else raw["segments"][0]
    entry |= {"sha256": "0" * 64, "bytes": 1 << 40}
    raw["sha256"] = manifests._self_check(raw)
    path.write_text(json.dumps(raw))
    hole = path.parent / "segments" / f"{'0' * 64}.safetensors"
    hole.touch()
    os.truncate(hole, 1 << 40)
    assert_falls_back(store, old, r"has 1099511627776 bytes, its specification makes at most \d{5,9}$")


def test_the_longest_name_that_a_job_may_allow_fits_into_a_segment() -> None:
    assert segments.LONGEST_KEY >= MAX_KEY_BYTES


def test_of_thousands_of_differing_settings_the_first_are_told(tmp_path: Path) -> None:
    open_store(tmp_path, configuration={"a": {str(i): i for i in range(5000)}}).write(
        Learner(2).snapshot(), progress(1)
    )
    with pytest.raises(FingerprintMismatch, match="and 4981 more") as caught:
        open_store(tmp_path, configuration={"b": 1}).newest(LINEAGE)
    assert len(str(caught.value)) < 2000
