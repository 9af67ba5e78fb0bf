"""The documents are complete and true: all that should be named is named, what is named exists, and snippets run."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import typer
import yaml

import streamrnn
from streamrnn.cli import app
from streamrnn.core.exact.cells import ELSTM, GLRU, LRU
from streamrnn.core.exact.layout import ExactLayout
from streamrnn.daemon import metric_table
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from streamrnn.learner import state
from streamrnn.learner.features import FeatureSpec
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearningSpec
from tests.bench import kernels
from tests.test_imports import ALLOWED

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for folder in ("", "deploy", "docker", "streamrnn", "tests")
    for path in sorted((ROOT / folder).glob("**/*.md" if folder else "*.md"))
}
README = PAGES["README.md"]
HANDBOOK = PAGES["deploy/README.md"]
SECURITY = PAGES["deploy/SECURITY.md"]
FROM_PYTHON = PAGES["streamrnn/estimators/README.md"]
NUMBERS = PAGES["streamrnn/core/README.md"]
BENCH = PAGES["tests/bench/README.md"]
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))
ENVIRONMENT = {"KAFKA_PASSWORD": "not-shown"}
README_LINES, README_WORDS = 190, 1_500
INTERNAL_VARIABLES = {"STREAMRNN_TEST_JOB"}
"""Set by a process for its child, or by one test for itself."""

GROUP = typer.main.get_command(app).commands  # type: ignore[attr-defined]
COMMANDS = GROUP | {f"demo {name}": command for name, command in GROUP["demo"].commands.items()}
SECTIONS = {field.encode_name: field.type for field in msgspec.structs.fields(Config)}
page = pytest.mark.parametrize("name", PAGES)


def snippets(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """What stands in backticks in the running text and in tables."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def rows(text: str, title: str) -> dict[str, str]:
    """The table whose first column has this title: rest of each row by what its first column has in backticks."""
    (table,) = re.findall(rf"^\| {title} \|.*\n\|[-:|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    cells_of_rows = [row.removeprefix("| ").split(" | ", 1) for row in table.splitlines()]
    return {name.strip("`"): rest for name, rest in cells_of_rows}


def options() -> Iterator[tuple[str, str]]:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if parameter.param_type_name == "option":
                for flag in (*parameter.opts, *parameter.secondary_opts):
                    yield name, flag


def names(pattern: str, text: str) -> set[str]:
    return set(re.findall(rf"(?<![\w-]){pattern}", text))


# ---- the README


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= README_LINES
    assert len(README.split()) <= README_WORDS


def test_the_readme_leads_to_every_page() -> None:
    linked = {target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", README)}
    reached = linked | {
        os.path.normpath(Path(name).parent / target.partition("#")[0])
        for name in linked & PAGES.keys()
        for target in re.findall(r"\]\(([^)]+)\)", PAGES[name])
    }
    assert PAGES.keys() - {"README.md"} <= reached


def test_the_map_shows_every_folder_and_what_a_folder_may_import_stands_above_it() -> None:
    shown = [row.split("/")[1] for row in rows(README, "where") if row.startswith("streamrnn/")]
    assert shown == [name for name in ALLOWED if (ROOT / "streamrnn" / name).is_dir()]


def test_the_map_asks_what_the_folder_s_docstring_asks() -> None:
    for folder, text in rows(README, "where").items():
        if folder.startswith("streamrnn/"):
            documentation = importlib.import_module(folder.strip("/").replace("/", ".")).__doc__ or ""
            question, mark, _ = documentation.partition("?")
            assert text.startswith(f"{question}?") or not mark, folder


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert script.rstrip().endswith('eval "$test_command"')
    (pipeline,) = re.findall(r"^test_command=\$\((.*)\)$", script, re.MULTILINE)
    found = subprocess.run(["bash", "-c", pipeline], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    after_mark = README.partition("<!-- test command -->\n")[2]
    assert after_mark.startswith(f"```bash\n{found}```\n")
    assert found.count("\n") == 1
    assert found.rstrip().endswith(".venv/bin/python -m pytest")


# ---- the command line


def test_the_table_of_commands_has_every_command_and_no_other() -> None:
    assert rows(HANDBOOK, "command").keys() == {f"streamrnn {name}" for name in COMMANDS}


@pytest.mark.parametrize(("name", "flag"), [pair for pair in options() if pair[1] not in ("--help", "-h")])
def test_every_option_is_in_its_command_s_row(name: str, flag: str) -> None:
    assert flag in names("--?[a-z-]+", rows(HANDBOOK, "command")[f"streamrnn {name}"])


def test_the_table_of_commands_has_no_option_that_is_not_there() -> None:
    for command, row in rows(HANDBOOK, "command").items():
        own = {flag for name, flag in options() if f"streamrnn {name}" == command}
        assert names("--?[a-z-]+", row.rpartition(" | ")[0]) <= own, command


@page
def test_command_lines_name_commands_options_and_modules_that_exist(name: str) -> None:
    lines = "\n".join(snippets(PAGES[name], "bash")).splitlines() + spans(PAGES[name])
    for line in (line.partition("#")[0] for line in lines):
        for call in re.split("&&|;", line):
            if found := re.search(r"(?:^|[ /])streamrnn ((?:demo )?[a-z]+)(.*)", call):
                own = {flag for command, flag in options() if command == found[1]}
                assert found[1] in COMMANDS, line
                assert names("--?[a-z][a-z-]*", found[2].replace("/", " ")) <= own, line
            if found := re.search(r"python[0-9]? -m ((?:streamrnn|tests)\.[\w.]+)(.*)", call):
                module = ROOT / found[1].replace(".", "/")
                source = (module / "__main__.py" if module.is_dir() else module.with_suffix(".py")).read_text()
                assert all(f'"{flag}"' in source for flag in names("--[a-z-]+", found[2])), line
            if found := re.search(r"python[0-9]? (\w+/[\w/]+\.py)", call):
                assert (ROOT / found[1]).exists(), line
            if found := re.search(r"-m pytest(.*)", call):
                known = (ROOT / "pyproject.toml").read_text()
                marks = set(re.findall(r'-m "([^"]*)"', found[1]))
                for mark in {word for marked in marks for word in marked.split()} - {"not", "and", "or"}:
                    assert f'"{mark}: ' in known, line
                for path in re.findall(r"(?<!\S)tests/\S+", found[1]):
                    assert (ROOT / path).exists(), line


def test_exit_codes_are_those_of_the_code() -> None:
    from streamrnn.cli import application
    from streamrnn.daemon import run

    ours = {application.ERROR, application.USAGE, application.INTERRUPTED}
    given = {run.OK, run.FAILED, run.MISCONFIGURED, run.FENCED, run.UNSAVED, *ours}
    assert {int(code) for code in rows(HANDBOOK, "exit status")} == given


# ---- the job file


def struct_fields(kind: type) -> Iterator[str]:
    """Names of all fields of a section and of the sections in it."""
    for field in msgspec.structs.fields(kind):
        yield field.encode_name
        for section in sections_in(field.type):
            yield from struct_fields(section)


def sections_in(kind: object) -> Iterator[type]:
    for inner in re.findall(r"streamrnn\.[\w.]+", str(kind)):
        module, _, name = inner.rpartition(".")
        section = getattr(importlib.import_module(module), name, None)
        if isinstance(section, type) and issubclass(section, msgspec.Struct):
            yield section


def test_the_table_of_sections_has_every_section_and_no_other() -> None:
    assert rows(HANDBOOK, "section").keys() == SECTIONS.keys()


def test_the_table_of_encoders_has_every_encoder_and_no_other() -> None:
    tags = {encoder.__struct_config__.tag for encoder in FeatureSpec.__args__}  # type: ignore[attr-defined]
    assert rows(HANDBOOK, "encoder").keys() == tags


@page
def test_fields_of_the_job_file_named_on_a_page_exist(name: str) -> None:
    for span in spans(PAGES[name]):
        section, dot, field = span.partition(".")
        if dot and section in SECTIONS and re.fullmatch(r"[\w.]+", field):
            inside = {name for kind in sections_in(SECTIONS[section]) for name in struct_fields(kind)}
            assert set(field.split(".")) <= inside or not inside, span


def test_every_field_is_in_the_full_example() -> None:
    text = (ROOT / "deploy/examples/full.yaml").read_text()
    missing = {name for name in struct_fields(Config) if not re.search(rf"\b{name}:", text)}
    assert len(set(struct_fields(Config))) > 60
    assert not missing


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_example_jobs_are_valid_and_listed(path: Path) -> None:
    parse(path.read_text(), env=ENVIRONMENT)
    assert f"](examples/{path.name})" in HANDBOOK


@page
def test_yaml_snippets_are_jobs_or_parts_of_one(name: str) -> None:
    whole = yaml.safe_load((ROOT / "deploy/examples/minimal.yaml").read_text())
    for text in snippets(PAGES[name], "yaml"):
        part = yaml.safe_load(text)
        parse(text if "job" in part else yaml.safe_dump(whole | part), env=ENVIRONMENT)


# ---- what goes in and comes out


@page
def test_json_snippets_are_what_the_daemon_writes(name: str) -> None:
    for text in snippets(PAGES[name], "json"):
        found = msgspec.json.decode(text)
        predicts_classes = isinstance(found["prediction"], dict) and "class" in found["prediction"]
        assert list(found) == [
            "stream", "topic", "partition", "offset", "timestamp", "prediction", "target", "updates",
            *(["surprise"] if predicts_classes else []),
            *(name for name in ("frames", "complete", "not_learned") if name in found),
        ]  # fmt: skip


def test_the_table_of_dead_letters_has_every_reason_and_no_other() -> None:
    from streamrnn.job.codec.dead_letters import REASONS

    assert rows(HANDBOOK, "reason").keys() == set(REASONS)


def test_the_metrics_reference_is_up_to_date() -> None:
    assert metric_table.markdown() in PAGES["deploy/METRICS.md"]


def test_the_tables_of_a_learner_s_arrays_are_up_to_date() -> None:
    assert state.markdown() in PAGES["streamrnn/learner/ARRAYS.md"]


@page
def test_metrics_named_on_a_page_exist(name: str) -> None:
    known = {name for name, *_ in metric_table.reference()}
    for found in re.findall(r"\bstreamrnn_\w+", PAGES[name]):
        assert found in known or found.removesuffix("_sum").removesuffix("_count") in known, found


# ---- what is computed


def choices(kind: type, name: str) -> set[str]:
    """What a field of few values may be."""
    (found,) = (field.type for field in msgspec.structs.fields(kind) if field.name == name)
    return set(re.findall(r"'(\w+)'", re.findall(r"Literal\[(.*?)\]", str(found))[0]))


def test_weights_of_exact_cells_are_listed_with_their_shapes() -> None:
    table = re.findall(r"^\| (`(?:glru|elstm)`.*?) \| (.*?) \| (.*?) \|$", NUMBERS, re.MULTILINE)
    lru, gates, elstm = (
        dict.fromkeys(spans(matrices), (5, 3)) | dict.fromkeys(spans(vectors), (5,)) for _, matrices, vectors in table
    )
    for cell, rnn, read in ((LRU, lru, 2 * 5 + 3), (GLRU, lru | gates, 2 * 5 + 3), (ELSTM, elstm, 5 + 3)):
        layout = ExactLayout(cell, n_inputs=3, hidden_size=5, n_outputs=4, hidden_layer=2)
        shapes = {name: tensor.shape for name, tensor in layout.named(np.zeros(layout.size)).items()}
        readout = {"hidden.weight": (2, read), "hidden.bias": (2,), "head.weight": (4, 2 + 3), "head.bias": (4,)}
        assert shapes == rnn | readout


def test_every_cell_loss_and_optimiser_is_listed_and_no_other() -> None:
    table = re.findall(r"^\| `(cell|loss|optimizer)`.*? \| (.*) \|$", NUMBERS, re.MULTILINE)
    listed = {kind: {n for k, row in table if k == kind for n in re.findall(r"`(\w+)`", row)} for kind, _ in table}
    assert listed == {
        "cell": choices(ModelSpec, "cell"),
        "loss": choices(ModelSpec, "loss"),
        "optimizer": choices(LearningSpec, "optimizer"),
    }


def test_bytes_per_stream_are_those_of_the_bench() -> None:
    table = re.findall(r"^\| (lstm|gru|rnn) \| (\d+) \|.* ([\d,]+) \|$", BENCH, re.MULTILINE)
    assert len(table) == len(kernels.CELLS) * len(kernels.HIDDEN) * len(kernels.STREAMS)
    for cell, hidden, size in table:
        assert size == f"{kernels.bytes_per_stream(cell, int(hidden)):,}", (cell, hidden)


def test_every_bench_has_its_command_on_its_page() -> None:
    for path in (ROOT / "tests" / "bench").glob("*.py"):
        if "__main__" in path.read_text():
            assert f"python -m tests.bench.{path.stem}\n" in BENCH, path.name


# ---- Python


@page
def test_python_snippets_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for text in snippets(PAGES[name], "python"):
        exec(compile(text, name, "exec"), namespace)


def test_every_export_is_named() -> None:
    for name in streamrnn.__all__:
        assert f"`{name}`" in FROM_PYTHON, name


def test_every_parameter_of_the_estimators_is_named() -> None:
    estimators = {getattr(streamrnn, name) for name in rows(FROM_PYTHON, "estimator")}
    assert estimators == {getattr(streamrnn, name) for name in streamrnn.__all__ if name.startswith("RNN")}
    parameters = {field.name for estimator in estimators for field in dataclasses.fields(estimator)}
    assert not {name for name in parameters if f"`{name}`" not in FROM_PYTHON}


def test_environment_variables_are_named_if_and_only_if_they_are_read() -> None:
    sources = [*(ROOT / "streamrnn").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), ROOT / ".ci" / "run"]
    variable = re.compile(r"\b(?:STREAMRNN|HYPOTHESIS|NUMBA)_[A-Z_]+\b")
    read = {name for path in sources if path != Path(__file__) for name in variable.findall(path.read_text())}
    named = {name for text in PAGES.values() for name in variable.findall(text)}
    assert named <= read
    assert {name for name in read - named if name.startswith("STREAMRNN")} <= INTERNAL_VARIABLES


# ---- links


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


@page
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[name]):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        found = (ROOT / name).parent / path if path else ROOT / name
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(PAGES[str(found.resolve().relative_to(ROOT))]), target


@page
def test_paths_named_on_a_page_exist(name: str) -> None:
    for span in spans(PAGES[name]):
        if re.fullmatch(r"(?:streamrnn|tests|deploy|docker|\.ci)/[\w./]*", span):
            assert (ROOT / span).exists(), span
