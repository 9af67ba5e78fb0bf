"""Nothing is imported from where a command is started, by it or by any process that it starts."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
from pathlib import Path

import pytest

import streamrnn
from streamrnn.core import compiled
from streamrnn.core.jit import JIT_DISABLED
from streamrnn.demo import rivals
from streamrnn.system import child
from streamrnn.system.import_path import independent
from tests.support.jobs import yaml

SHADOWED = ("streamrnn", "numpy", "numba", "llvmlite", "yaml", "river", "json", "ctypes", "hashlib", "sitecustomize")
REPORT = "import sys, json, streamrnn; print(json.dumps([streamrnn.__file__, sys.path, sys.argv[1:]]))"


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, full of what leaves a trace when it is imported."""
    folder = tmp_path / "hostile"
    for name in SHADOWED:
        (folder / name).mkdir(parents=True)
        trap = f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n"
        (folder / name / "__init__.py").write_text(trap)
        (folder / f"{name}.pth").write_text(f"import sys; {trap}")
    (folder / ".numba_config.yaml").write_text("disable_jit: 1\n")
    monkeypatch.chdir(folder)
    return folder


def ran(hostile: Path) -> str:
    trace = hostile.parent / "ran"
    return trace.read_text() if trace.exists() else ""


def test_the_trap_catches_a_plain_child(hostile: Path) -> None:
    subprocess.run([sys.executable, "-c", "import streamrnn, json"], check=True)
    assert ran(hostile).endswith("streamrnnjson")


@pytest.mark.parametrize("path", [None, "/nowhere"])
def test_a_child_has_its_parent_s_package_and_path_and_nothing_of_the_working_directory(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    monkeypatch.setattr(sys, "path", ["", ".", *sys.path])  # as of an interactive session
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", f"{path}{os.pathsep}")  # ends in a working directory, as is easily done
    command = child.command(REPORT, ["--given", "x"])
    printed = subprocess.run(command, env=child.environment(), check=True, capture_output=True, text=True).stdout
    file, has, given = json.loads(printed)
    assert file == streamrnn.__file__
    assert has == [entry for entry in sys.path if os.path.isabs(entry)]  # noqa: PTH117
    assert given == ["--given", "x"]
    assert ran(hostile) == ""


def test_settings_of_python_stay_behind_but_for_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "NUMBA_DEBUG", "KEPT"):
        monkeypatch.setenv(name, "x")
    found = child.environment(without=("NUMBA_",))
    assert (found["KEPT"], found["PYTHONHOME"]) == ("x", "x")
    assert not {"PYTHONPATH", "PYTHONSTARTUP", "NUMBA_DEBUG"} & found.keys()


@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
def test_the_compiler_is_started_without_what_stands_in_the_working_directory(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its imports, and the first of its work: the rest takes half a minute and imports nothing more."""
    before, emits, _ = compiled.CHILD.partition("write_object(family, dtype, output)")
    assert emits
    monkeypatch.setattr(compiled, "CHILD", f"{before}\nopen(output, 'w').write(__import__('numba').__file__)\n")
    compiled.compile_in_child("float32", hostile / "kernels")
    assert "site-packages" in (hostile / "kernels").read_text()
    assert ran(hostile) == ""


def test_the_demo_s_baselines_are_computed_without_what_stands_in_the_working_directory(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rivals, "CHILD", rivals.CHILD.replace("main()", "print(1_000)"))
    with rivals.RivalsProcess(hostile / "job.yaml", None, hostile / "out") as process:
        assert list(process.reports()) == [1_000]
    assert ran(hostile) == ""


@pytest.mark.parametrize("command", [["validate", "-c", "job.yaml"], ["warmup"], ["--version"]])
def test_the_command_runs_nothing_from_where_it_is_started(hostile: Path, command: list[str]) -> None:
    (hostile / "job.yaml").write_text(yaml())
    installed = Path(sys.executable).with_name("streamrnn")
    done = subprocess.run([installed, *command], capture_output=True, text=True)
    assert (done.returncode, ran(hostile)) == (0, ""), done.stderr
    named = subprocess.run([sys.executable, "-P", "-m", "streamrnn", *command], capture_output=True, text=True)
    assert (named.returncode, ran(hostile)) == (0, ""), named.stderr


@pytest.mark.parametrize("given", [":{0}/x", "{0}/x:", ".", "", "lib", "{0}/x::{0}/y", "{0}/hostile", "../hostile/"])
@pytest.mark.parametrize("command", [["validate", "-c", "job.yaml"], ["warmup"]])
def test_the_command_runs_nothing_from_there_though_pythonpath_leads_there(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, given: str, command: list[str]
) -> None:
    """But for what Python looks for before the command's first line: the package itself and ``sitecustomize``."""
    for name in ("streamrnn", "sitecustomize"):
        (hostile / name / "__init__.py").unlink()
        (hostile / name).rmdir()
    (hostile / "lib").symlink_to(hostile)
    (hostile / "job.yaml").write_text(yaml())
    monkeypatch.setenv("PYTHONPATH", given.format(hostile.parent))
    trapped = subprocess.run([sys.executable, "-P", "-c", "import json, numpy"], capture_output=True, text=True)
    assert (ran(hostile) != "") == (given != ""), trapped.stderr  # Python takes an empty variable for none
    (hostile.parent / "ran").unlink(missing_ok=True)
    installed = Path(sys.executable).with_name("streamrnn")
    done = subprocess.run([installed, *command], capture_output=True, text=True)
    assert (done.returncode, ran(hostile)) == (0, ""), done.stderr


def test_what_is_installed_where_the_command_is_started_stays_on_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = site.getsitepackages()[0]
    root = str(Path(streamrnn.__file__).parents[1])
    for here in (packages, root):
        monkeypatch.chdir(here)
        assert independent(["", ".", here, "/elsewhere"]) == [here, "/elsewhere"]


def test_a_program_that_imports_the_package_keeps_its_path(hostile: Path) -> None:
    code = "import sys; before = list(sys.path); import streamrnn; streamrnn.Learner; assert sys.path == before"
    for name in SHADOWED:
        (hostile / name / "__init__.py").unlink()
        (hostile / name).rmdir()
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_run_by_its_name_imports_nothing_else_from_where_it_is_started(hostile: Path) -> None:
    """Python itself looks there for the package; where that is not shadowed, nothing else is."""
    for name in SHADOWED:
        if name in ("streamrnn", "sitecustomize"):
            (hostile / name / "__init__.py").unlink()
            (hostile / name).rmdir()
    (hostile / "job.yaml").write_text(yaml())
    done = subprocess.run(
        [sys.executable, "-m", "streamrnn", "validate", "-c", "job.yaml"], capture_output=True, text=True
    )
    assert (done.returncode, ran(hostile)) == (0, ""), done.stderr


def test_no_process_of_the_package_is_started_otherwise() -> None:
    users = {
        path.relative_to(Path(streamrnn.__file__).parent).as_posix()
        for path in Path(streamrnn.__file__).parent.rglob("*.py")
        if "sys.executable" in path.read_text() or "multiprocessing" in path.read_text()
    }
    assert users == {"system/child.py", "core/compiled.py"}
