"""The reference has every field, says what the code checks, and is current."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import msgspec.inspect as mi
import pytest
import yaml

from streamrnn.errors import ConfigError
from streamrnn.job import reference
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from streamrnn.learner.spec import LearningSpec
from tests.support.jobs import yaml as job_text

DEPLOY = Path(__file__).parents[2] / "deploy"


def rows(title: str) -> dict[str, list[str]]:
    """The table below a title: its cells by field."""
    text = reference.markdown().partition(f"## {title}\n")[2].partition("\n## ")[0]
    cells = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `"))
    return {name.strip("`"): rest for name, *rest in cells}


def test_the_page_is_current() -> None:
    assert (DEPLOY / "CONFIGURATION.md").read_text() == reference.markdown(), "see the page for how to print it"


def test_every_field_is_described() -> None:
    config = mi.type_info(Config)
    assert isinstance(config, mi.StructType)
    fields = [(path, field) for path, struct in reference.structs(config, "") for field in struct.fields]
    assert len(fields) > 80
    assert [f"{path}.{field.encode_name}" for path, field in fields if not reference.description(field.type)] == []


def test_a_row_says_kind_range_default_and_meaning() -> None:
    assert rows("learning")["batch_size"] == [
        "whole number from 1 to 1,000,000",
        "`1`",
        "With rule tbptt: windows per optimiser step.",
    ]
    assert rows("learning")["k1"][:2] == ["whole number from 1 to 1,000,000 or `null`", "`null`"]
    assert rows("model")["beam"][:2] == ["whole number from 1 to 100", "`1`"]
    assert rows("model")["num_layers"][1] == "`1`"
    assert rows("learning")["momentum"][:2] == ["number from 0 to 0.999999", "`0.9`"]
    assert rows("kafka.security")["sasl_password"][:2] == ["text, never shown or `null`", "`null`"]
    assert rows("The whole")["job"][1] == "required"


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(LearningSpec)])
def test_numbers_just_outside_the_range_that_is_told_are_refused(field: str) -> None:
    kind = rows("learning")[field][0]
    found = re.match(r"(?:whole )?number from (\S+)", kind)
    if found is None:
        return
    least = float(found[1].replace(",", ""))
    below = least - 1 if "whole" in kind else least - max(1e-6, abs(least)) if least else -1e-9
    with pytest.raises(ConfigError, match=field):
        parse(job_text(learning=f"{{{field}: {below:.12g}}}"), {})


def test_values_of_the_full_example_that_are_no_defaults_say_so() -> None:
    """As its head promises; so the defaults stand in the code alone, and example and reference cannot disagree."""
    text = (DEPLOY / "examples" / "full.yaml").read_text()
    told = {
        match[1] for match in re.finditer(r"^ *(?:- \{)?(\w+):.*#.*\b(?:default|required|secret)\b", text, re.MULTILINE)
    }
    given, defaults = yaml.safe_load(text.replace("${", "$ {")), msgspec.structs.fields(Config)
    wrong = [
        f"{section.name}.{field.encode_name}"
        for section in defaults
        if isinstance(section.default, msgspec.Struct) and isinstance(given.get(section.name), dict)
        for field in msgspec.structs.fields(section.default)
        if field.encode_name in given[section.name]
        and field.encode_name not in told
        and not isinstance(value := getattr(section.default, field.name), msgspec.Struct)
        and (list(value) if isinstance(value, tuple) else value) != given[section.name][field.encode_name]
    ]
    assert not wrong
