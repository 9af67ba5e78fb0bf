"""The documentation is complete and true: commands, options, sections, metrics and exports are in it, snippets work."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import typer
import yaml

import streamrnn
from streamrnn.cli import app
from streamrnn.daemon import metrics
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from streamrnn.learner.features import FeatureSpec

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
EXAMPLES = sorted((ROOT / "deploy" / "examples").glob("*.yaml"))
ENVIRONMENT = {"KAFKA_PASSWORD": "not-shown"}

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def options() -> Iterator[tuple[str, str]]:
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if parameter.param_type_name == "option":
                for flag in (*parameter.opts, *parameter.secondary_opts):
                    yield name, flag


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_readme(name: str) -> None:
    assert f"| `streamrnn {name}` |" in README


@pytest.mark.parametrize(("name", "flag"), [pair for pair in options() if pair[1] not in ("--help", "-h")])
def test_every_option_is_in_its_command_s_row(name: str, flag: str) -> None:
    (row,) = re.findall(rf"^\| `streamrnn {name}` \|.*$", README, re.MULTILINE)
    assert re.search(rf"(?<![\w-]){flag}(?![\w-])", row), f"streamrnn {name} {flag}"


def test_the_readme_names_no_command_and_no_option_that_is_not_there() -> None:
    known = {*dict(options()).values()} | {flag for _, flag in options()} | {"--version", "--help"}
    for row in re.findall(r"^\| `streamrnn \w+` \|.*$", README, re.MULTILINE):
        assert set(re.findall(r"(?<![\w-])--[a-z-]+", row)) <= known
    for line in "\n".join(snippets("bash")).splitlines():
        for name in re.findall(r"streamrnn (?!-)([a-z]+)", line.partition("#")[0]):
            assert name in COMMANDS, line
        if found := re.search(r"streamrnn ([a-z]+) ([^#&]*)", line):
            own = {flag for name, flag in options() if name == found[1]}
            assert set(re.findall(r"(?:^| )(--?[a-z-]+)", found[2])) <= own, line


@pytest.mark.parametrize("section", [field.name for field in msgspec.structs.fields(Config)])
def test_every_configuration_section_is_in_the_readme(section: str) -> None:
    assert f"\n| `{section}` |" in README


def test_every_encoder_is_in_the_readme() -> None:
    for encoder in FeatureSpec.__args__:  # type: ignore[attr-defined]
        assert f"`{encoder.__struct_config__.tag}`" in README


def struct_fields(kind: type) -> Iterator[str]:
    """Names of all fields of a section and of the sections in it."""
    for field in msgspec.structs.fields(kind):
        yield field.name
        for inner in re.findall(r"streamrnn\.[\w.]+", str(field.type)):
            module, _, name = inner.rpartition(".")
            section = getattr(__import__(module, fromlist=[name]), name, None)
            if isinstance(section, type) and issubclass(section, msgspec.Struct):
                yield from struct_fields(section)


def test_every_field_is_in_the_full_example() -> None:
    text = (ROOT / "deploy/examples/full.yaml").read_text()
    missing = {name for name in struct_fields(Config) if not re.search(rf"\b{name}:", text)}
    assert len(set(struct_fields(Config))) > 60
    assert not missing


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_example_jobs_are_valid(path: Path) -> None:
    parse(path.read_text(), env=ENVIRONMENT)


def test_yaml_snippets_of_the_readme_are_valid_jobs() -> None:
    assert snippets("yaml")
    for text in snippets("yaml"):
        parse(text, env=ENVIRONMENT)


def test_json_snippets_are_what_the_daemon_writes() -> None:
    (text,) = snippets("json")
    assert list(msgspec.json.decode(text)) == [
        "stream", "topic", "partition", "offset", "timestamp", "prediction", "target", "updates",
    ]  # fmt: skip


def test_python_snippets_of_the_readme_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    assert snippets("python")
    for text in snippets("python"):
        exec(compile(text, "README.md", "exec"), namespace)


def test_every_export_is_in_the_readme() -> None:
    for name in streamrnn.__all__:
        assert f"`{name}`" in README, name


def test_the_metrics_reference_is_up_to_date() -> None:
    assert metrics.markdown() in (ROOT / "deploy" / "METRICS.md").read_text()


def test_metrics_named_in_the_readme_exist() -> None:
    known = {name for name, *_ in metrics.reference()}
    for name in re.findall(r"\bstreamrnn_\w+", README):
        assert name.removesuffix("_sum").removesuffix("_count") in known, name


@pytest.mark.parametrize("document", ["README.md", "deploy/README.md", "deploy/METRICS.md"])
def test_links_and_paths_lead_somewhere(document: str) -> None:
    text, folder = (ROOT / document).read_text(), (ROOT / document).parent
    targets = set(re.findall(r"\]\(([^)#]+)\)", text))
    targets |= {
        path for row in re.findall(r"^\| (`\w+/.*?`) \|", text, re.MULTILINE) for path in re.findall(r"`(.*?)`", row)
    }
    for target in targets:
        assert (folder / target).exists(), target
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        assert anchor in {
            re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.M)
        }


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert script.rstrip().endswith('eval "$test_command"')
    (pipeline,) = re.findall(r"^test_command=\$\((.*)\)$", script, re.MULTILINE)
    found = subprocess.run(["bash", "-c", pipeline], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    after_mark = README.partition("<!-- test command -->\n")[2]
    assert after_mark.startswith(f"```bash\n{found}```\n")
    assert found.count("\n") == 1
    assert found.rstrip().endswith(".venv/bin/python -m pytest")


def test_compose_file_names_what_exists() -> None:
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    worker = compose["services"]["worker"]
    job = parse((ROOT / "docker" / worker["volumes"][0].partition(":")[0]).read_text(), env={})
    created = compose["services"]["topics"]["command"][0]
    for topic in (job.input.topic, job.output.topic, job.output.dead_letter_topic):
        assert topic in created
    assert job.kafka is not None
    assert job.kafka.servers == ("kafka:9092",)
    assert (ROOT / "docker" / worker["build"]["context"] / worker["build"]["dockerfile"]).exists()
