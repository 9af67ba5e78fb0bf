"""From YAML text to plain data, with the line of everything.

YAML is read as version 1.2 means it, because version 1.1 turns ``1e-3`` into text and ``12:30`` into 750; words and
digits that the two versions read as different values (``no``, ``on``, ``010``) are refused and want quotes. Duplicate
keys are refused, and so are anchors and aliases: ten lines of them can stand for more values than there is memory.
``${NAME}`` and ``${NAME:-default}`` in a value come from the environment (``$${`` is a literal ``${``); where the field
cannot be text, the result is read as a YAML value, so ``port: ${PORT}`` works.

No message repeats text that may be secret: PyYAML's own excerpts are dropped. Only plain data are ever built: no tags,
no objects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec.inspect as mi
import yaml

from streamrnn.errors import ConfigError
from streamrnn.job.field_types import field_types, item_types

_TAG = "tag:yaml.org,2002:"
_AMBIGUOUS = "!ambiguous"
_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


MOST_BYTES = 1 << 20
"""Of a job file; ten thousand features take less."""

MOST_LEVELS = 32


MOST_NODES = 100_000
"""Names, values, lists and mappings in a job file: of each, the parser makes an object."""


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars by YAML 1.2's core schema; used to compose nodes only, never to construct objects."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own class attribute, here emptied
    _depth = 0
    _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        where = f"line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise ConfigError(
                f"{where}: found a YAML anchor or alias (& or *), expected the value itself: write it out"
            )
        if getattr(event, "tag", None) is not None:
            raise ConfigError(f"{where}: YAML tags are not supported here; found one, expected the value alone")
        if self._depth == MOST_LEVELS:
            raise ConfigError(f"{where}: nested too deeply: found more than {MOST_LEVELS} levels")
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise ConfigError(f"{where}: not usable as configuration: found more than {MOST_NODES} names and values")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


for _tag, _pattern, _first in (
    (_TAG + "null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_TAG + "bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_TAG + "int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    (_TAG + "float", r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
    (_AMBIGUOUS, r"(?i:yes|no|on|off)", list("yYnNoO")),
    (_AMBIGUOUS, r"[-+]?0[0-9]+", list("-+0")),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)


@dataclass
class Document:
    """The file's data, with the line of every path and the raw text of every value that came from the environment.

    ``environment`` holds the values that were taken from there, with the names of their variables.
    """

    data: Any
    lines: dict[str, int] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def read(text: str, env: Mapping[str, str], root: type) -> Document:
    """Parse ``text`` into plain data for ``root``, resolving references to ``env``. Raises ``ConfigError``."""
    if len(text) > MOST_BYTES:
        raise ConfigError(f"not usable as configuration: found {len(text)} characters, expected at most {MOST_BYTES}")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise ConfigError(
                "the configuration is empty; expected a mapping with at least: job, input, target, output"
            )
        if not isinstance(node, yaml.MappingNode):
            found = "a list" if isinstance(node, yaml.SequenceNode) else "a single value"
            raise ConfigError(f"the configuration must be a mapping of fields (job: ...), found {found}")
        builder = _Builder(loader, env)
        data = builder.build(node, "", [mi.type_info(root)])
        return Document(data, builder.lines, builder.references, builder.environment)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        hint = "; inside { } and [ ] a reference ${NAME} needs quotes" if "${" in text else ""
        raise ConfigError(f"{where}not valid YAML: {_unquoted(error.problem or error.context or '')}{hint}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {_unquoted(str(error))}") from None
    except RecursionError:
        raise ConfigError("not usable as configuration: nested too deeply") from None


def _unquoted(problem: str) -> str:
    # PyYAML quotes pieces of the file (a tag, an alias), which may be a password written without quotes; tokens such as
    # '<block end>' and single characters are its own words.
    if problem.startswith(r"found character '\t'"):
        return "a tab; indent with spaces"
    head = re.match(r"(?:[^'\"]|'<[^']*>'|'.')*", problem)
    return (head.group() if head else "").strip() or "syntax error"


class _Builder:
    def __init__(self, loader: yaml.SafeLoader, env: Mapping[str, str]) -> None:
        self.loader = loader
        self.env = env
        self.lines: dict[str, int] = {}
        self.references: dict[str, str] = {}
        self.environment: dict[str, str] = {}

    def build(self, node: yaml.Node, path: str, expected: list[mi.Type]) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, expected)
        if isinstance(node, yaml.SequenceNode):
            items = [t for e in expected for t in item_types(e)]
            return [self.build(item, f"{path}[{i}]", items) for i, item in enumerate(node.value)]
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"line {key_line}: {path or 'top level'}: a field's name must be plain text")
            key = key_node.value
            at = f"{path}.{key}" if path else key
            children = [t for e in expected if isinstance(e, mi.StructType) for t in field_types(e, key)]
            if key in result:
                # Of a name that no field has, nothing tells whether it is a password in the wrong place.
                shown = at if children else f"{path or 'top level'}: a field"
                raise ConfigError(
                    f"line {key_line}: {shown}: given twice, first on line {self.lines[at]}; keep one of them"
                )
            self.lines[at] = key_line
            result[key] = self.build(value_node, at, children)
        return result

    def _scalar(self, node: yaml.ScalarNode, path: str, expected: list[mi.Type]) -> Any:
        text = node.value
        tag = node.tag
        if tag == _AMBIGUOUS:
            shown = "text" if any(isinstance(e, mi.CustomType) for e in expected) else f"`{text}`"
            raise ConfigError(
                f"line {self.lines[path]}: {path}: unquoted {shown} is a boolean or an octal number to some YAML "
                "readers and text to others; put quotes around text, or write true, false or a plain number"
            )
        if "${" in text:
            self.references[path] = text
            text = self._substitute(text, path)
            if expected and not any(_accepts_text(e, text) for e in expected):
                tag = self.loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        if tag == _TAG + "null":
            return None
        if tag == _TAG + "bool":
            return text.lower() == "true"
        if tag in (_TAG + "int", _TAG + "float"):
            if len(text) > 400:
                raise ConfigError(f"line {self.lines[path]}: {path}: found a number of {len(text)} characters")
            return int(text) if tag == _TAG + "int" else float(text)
        return text

    def _substitute(self, text: str, path: str) -> str:
        where = f"line {self.lines[path]}: {path}"

        def value(match: re.Match[str]) -> str:
            if match.group() == "$${":
                return "${"
            reference = _NAME.fullmatch(match.group(1) or "")
            if reference is None:
                raise ConfigError(
                    f"{where}: a reference to the environment is ${{NAME}} or ${{NAME:-default}}; "
                    "write $${ for a literal ${"
                )
            name, default = reference.groups()
            found = self.env.get(name)
            if default is not None and not found:
                return default
            if found is None:
                raise ConfigError(
                    f"{where}: the environment variable {name} is not set; set it, "
                    f"or give a default: ${{{name}:-default}}"
                )
            self.environment[found] = name
            return found

        return _REFERENCE.sub(value, text)


def _accepts_text(t: mi.Type, text: str) -> bool:
    """Whether ``text`` itself is a value of the type, or any text is."""
    return isinstance(t, mi.StrType | mi.CustomType) or (isinstance(t, mi.LiteralType) and text in t.values)
