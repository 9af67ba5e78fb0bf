"""Where kernels come from does not depend on who runs: a user nobody knows, without a home, with another's files.

These run as processes of their own, as users that have no entry anywhere, which only root can start.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamrnn.core import compiled, object_file
from streamrnn.core.jit import JIT_DISABLED

NOBODY, SOMEBODY_ELSE = 54_321, 54_322
PREDICT = """
import sys
from streamrnn import RNNRegressor
from streamrnn.core import compiled
model = RNNRegressor(seed=3)
for i in range(50):
    model.learn_one({"a": float(i % 5)}, float(i % 7))
print(compiled.kernels("float32").path, compiled.kernels("float32").digest, model.predict_one({"a": 1.0}).hex())
"""
WHERE = "from streamrnn.core import object_file; print(object_file.writable_directory())"
NUMBA_FIRST = """
from numba import njit, vectorize
@njit(cache=False)
def more(x):
    return x + 1
@vectorize(["float64(float64)"])
def twice(x):
    return 2 * x
assert (more(1), twice(2.0)) == (2, 4.0)
"""

pytestmark = pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
as_root = pytest.mark.skipif(
    os.getuid() != 0 or shutil.which("setpriv") is None, reason="only root can run as somebody else, with setpriv"
)


@pytest.fixture
def baked(tmp_path: Path) -> Path:
    """A cache directory as an image holds it: made by root, and not to be written to by whoever runs."""
    path = compiled.kernels("float32").path
    folder = tmp_path / "baked" / "streamrnn"
    folder.mkdir(parents=True)
    # One that came with the package is looked for under its own name; then the copy is not needed.
    shutil.copy(path, folder / path.name)
    for each in (folder / path.name, folder, folder.parent):
        each.chmod(0o444 if each.is_file() else 0o555)
    _open(tmp_path)
    return folder.parent


def _open(directory: Path, mode: int = 0o755) -> None:
    """Let others in, also into the directories above that pytest, in one process or several, keeps for itself."""
    directory.chmod(mode)
    for parent in directory.parents:
        if parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o755)


def run(script: str, *command: str, **env: str) -> str:
    """What a process prints, with this environment and nothing else."""
    done = subprocess.run([*command, sys.executable, "-c", script], env=env, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "compiling" not in done.stderr
    return done.stdout


def nobody() -> list[str]:
    """Run as a user that has no entry. It may read everything, since Python itself may stand in somebody's home."""
    capabilities = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *capabilities]


@as_root
def test_kernels_that_root_baked_are_loaded_by_a_user_without_home_or_entry(baked: Path) -> None:
    printed = run(PREDICT, *nobody(), STREAMRNN_CACHE_DIR=str(baked))
    path, digest, predicted = printed.split()
    assert Path(path).parent in (baked / "streamrnn", object_file.SHIPPED)
    ours = run(PREDICT, STREAMRNN_CACHE_DIR=str(baked))
    assert ours.split() == [path, digest, predicted], "the same code, the same bits"


@as_root
def test_the_directory_that_is_named_is_used_without_home_or_entry(tmp_path: Path) -> None:
    named = tmp_path / "named"
    named.mkdir()
    os.chown(named, NOBODY, NOBODY)
    _open(tmp_path)
    assert run(WHERE, *nobody(), STREAMRNN_CACHE_DIR=str(named)).strip() == str(named / "streamrnn")


FOUND = """
from streamrnn.core import object_file
print([path for path in [object_file.find("float32")] if path and path.parent != object_file.SHIPPED])
"""


@as_root
@pytest.mark.parametrize("whose", ["directory", "file", "parent"])
def test_kernels_that_a_third_user_could_have_written_are_not_loaded(baked: Path, whose: str) -> None:
    (file,) = (baked / "streamrnn").iterdir()
    read = f"from streamrnn.core import object_file as o; print(len(o.read(o.Path({str(file)!r})).data) > 1)"
    assert run(read, *nobody(), STREAMRNN_CACHE_DIR=str(baked)) == "True\n"
    os.chown({"file": file, "directory": file.parent, "parent": baked}[whose], SOMEBODY_ELSE, SOMEBODY_ELSE)
    refused = f"""
from streamrnn.system.trusted import UntrustedError
try:
    {read.replace("; ", chr(10) + "    ")}
except UntrustedError as error:
    print(error)
"""
    assert f"is of user {SOMEBODY_ELSE}" in run(refused, *nobody(), STREAMRNN_CACHE_DIR=str(baked))
    if whose != "file":
        assert run(FOUND, *nobody(), STREAMRNN_CACHE_DIR=str(baked)) == "[]\n"


@as_root
def test_without_home_entry_or_a_named_directory_there_is_none(tmp_path: Path) -> None:
    _open(tmp_path, 0o777)
    assert run(WHERE, *nobody(), TMPDIR=str(tmp_path)).strip() == "None"
    assert list(tmp_path.iterdir()) == []


def test_what_numba_compiled_before_changes_neither_the_kernels_nor_their_bits(baked: Path) -> None:
    alone = run(PREDICT, STREAMRNN_CACHE_DIR=str(baked))
    after = run(NUMBA_FIRST + PREDICT, STREAMRNN_CACHE_DIR=str(baked))
    assert after == alone
