"""From YAML text to plain data, and from a validation error to a message an operator can act on.

YAML is read as version 1.2 means it, because version 1.1 turns ``1e-3`` into text and ``12:30`` into 750; words and
digits that the two versions read as different values (``no``, ``on``, ``010``) are refused and want quotes. Duplicate
keys are refused. ``${NAME}`` and ``${NAME:-default}`` in a value come from the environment; where the field cannot be
text, the result is read as a YAML value, so ``port: ${PORT}`` works.

No message repeats text that may be secret: PyYAML's own excerpts are dropped, a value from the environment is shown as
its reference, and values in a section that has secret fields are not shown at all. Only plain data are ever built: no
tags, no objects.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import msgspec.inspect as mi
import yaml

from streamrnn.errors import ConfigError
from streamrnn.learner.features import FIELD_PATH

# The lookahead keeps out a trailing newline, which `$` alone lets pass.
NAME_PATTERN = r"^(?!\.{1,2}$)[a-zA-Z0-9._-]{1,249}$(?!\n)"
_MEANING = {NAME_PATTERN: "1 to 249 letters, digits and . _ -", FIELD_PATH: "the name of a field, a.b for b inside a"}

_TAG = "tag:yaml.org,2002:"
_AMBIGUOUS = "!ambiguous"
_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_AT = re.compile(r" - at `\$\.?(.*)`$")


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars by YAML 1.2's core schema; used to compose nodes only, never to construct objects."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own class attribute, here emptied


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
    """The file's data, with the line of every path and the raw text of every value that came from the environment."""

    data: Any
    lines: dict[str, int] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)


def read(text: str, env: Mapping[str, str], root: type) -> Document:
    """Parse ``text`` into plain data for ``root``, resolving references to ``env``. Raises ``ConfigError``."""
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
        return Document(builder.build(node, "", [mi.type_info(root)]), builder.lines, builder.references)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        hint = "; inside { } and [ ] a reference ${NAME} needs quotes" if "${" in text else ""
        raise ConfigError(f"{where}not valid YAML: {_unquoted(error.problem or error.context or '')}{hint}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML: {_unquoted(str(error))}") from None
    except RecursionError:
        raise ConfigError("not usable as configuration: nested too deeply, or an alias that contains itself") from None


def _unquoted(problem: str) -> str:
    # PyYAML quotes pieces of the file (a tag, an alias), which may be a password written without quotes; tokens such as
    # '<block end>' and single characters are its own words.
    head = re.match(r"(?:[^'\"]|'<[^']*>'|'.')*", problem)
    return (head.group() if head else "").strip() or "syntax error"


class _Builder:
    def __init__(self, loader: yaml.SafeLoader, env: Mapping[str, str]) -> None:
        self.loader = loader
        self.env = env
        self.lines: dict[str, int] = {}
        self.references: dict[str, str] = {}

    def build(self, node: yaml.Node, path: str, expected: list[mi.Type]) -> Any:
        line = self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path, expected)
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            raise ConfigError(f"line {line}: {path}: YAML tags are not supported here")
        if isinstance(node, yaml.SequenceNode):
            items = [t for e in expected for t in _item_types(e)]
            return [self.build(item, f"{path}[{i}]", items) for i, item in enumerate(node.value)]
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"line {key_line}: {path or 'top level'}: a field's name must be plain text")
            key = key_node.value
            at = f"{path}.{key}" if path else key
            if key in result:
                raise ConfigError(
                    f"line {key_line}: {at}: given twice, first on line {self.lines[at]}; keep one of them"
                )
            self.lines[at] = key_line
            children = [t for e in expected if isinstance(e, mi.StructType) for t in _field_types(e, key)]
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
            if expected and not any(_takes_text(e, text) for e in expected):
                tag = self.loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        if tag == _TAG + "null":
            return None
        if tag == _TAG + "bool":
            return text.lower() == "true"
        if tag in (_TAG + "int", _TAG + "float"):
            if len(text) > 400:
                raise ConfigError(f"line {self.lines[path]}: {path}: found a number of {len(text)} characters")
            return int(text) if tag == _TAG + "int" else float(text)
        if tag in (_TAG + "str", _AMBIGUOUS, "!"):
            return text
        raise ConfigError(f"line {self.lines[path]}: {path}: YAML tags are not supported here")

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
            if default is not None:
                return found or default
            if found is None:
                raise ConfigError(
                    f"{where}: the environment variable {name} is not set; set it, "
                    f"or give a default: ${{{name}:-default}}"
                )
            return found

        return _REFERENCE.sub(value, text)


# --- types ---------------------------------------------------------------------------------------------------------


def _alternatives(t: mi.Type) -> list[mi.Type]:
    if isinstance(t, mi.Metadata):
        return _alternatives(t.type)
    if isinstance(t, mi.UnionType):
        return [a for member in t.types for a in _alternatives(member)]
    return [t]


def _takes_text(t: mi.Type, text: str) -> bool:
    """Whether ``text`` itself is a value of the type, or any text is."""
    return isinstance(t, mi.StrType | mi.CustomType) or (isinstance(t, mi.LiteralType) and text in t.values)


def _field_types(struct: mi.StructType, name: str) -> list[mi.Type]:
    if name == struct.tag_field:
        return [mi.LiteralType((struct.tag,))]
    return [a for f in struct.fields if f.encode_name == name for a in _alternatives(f.type)]


def _item_types(t: mi.Type) -> list[mi.Type]:
    if isinstance(t, mi.CollectionType):
        return _alternatives(t.item_type)
    if isinstance(t, mi.TupleType):
        return [a for item in t.item_types for a in _alternatives(item)]
    return []


def _field_names(struct: mi.StructType) -> list[str]:
    names = [f.encode_name for f in struct.fields]
    return [struct.tag_field, *names] if struct.tag_field else names


def _has_secret(t: mi.Type) -> bool:
    if isinstance(t, mi.StructType):
        return any(isinstance(a, mi.CustomType) for f in t.fields for a in _alternatives(f.type))
    return isinstance(t, mi.CustomType)


# --- messages ------------------------------------------------------------------------------------------------------


def explain(error: msgspec.ValidationError, document: Document, root: type) -> ConfigError:
    """The message of a failed conversion: the field's path and line, what was found, what is allowed."""
    match = _AT.search(str(error))
    path = match.group(1) if match else ""
    problem = _AT.sub("", str(error))
    if isinstance(error.__cause__, ValueError):  # a rule of ours; it names its field itself
        text = str(error.__cause__)
        named = re.match(r"([a-z_0-9.\[\]]+): ", text)
        if path:
            return ConfigError(f"{_where(document, path)}{path}{'.' if named else ': '}{text}")
        return ConfigError(f"{_where(document, named[1]) if named else ''}{text}")

    value: Any = document.data
    types = [mi.type_info(root)]
    hidden = False
    for step in re.findall(r"[^.\[\]]+", path):
        hidden = hidden or any(_has_secret(t) for t in types)
        if isinstance(value, list):
            value, types = value[int(step)], [a for t in types for a in _item_types(t)]
        else:
            types = [a for t in _matching(types, value) for a in _field_types(t, step)]
            value = value.get(step)
    hidden = (hidden and not any(isinstance(t, mi.LiteralType) for t in types)) or any(_has_secret(t) for t in types)

    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", problem, re.DOTALL):
        known = [name for t in _matching(types, value) for name in _field_names(t)]
        at = f"{path}.{unknown[1]}" if path else unknown[1]
        return _message(document, at, "unknown field", _suggest(unknown[1], known), "allowed here: " + ", ".join(known))
    if missing := re.fullmatch(r"Object missing required field `(.*)`", problem):
        at = f"{path}.{missing[1]}" if path else missing[1]
        wanted = [a for t in _matching(types, value) for a in _field_types(t, missing[1])]
        return _message(document, at, "required, but missing", "", f"expected: {_allowed(wanted)}", line_of=path)
    found = "a value that is not shown" if hidden else document.references.get(path) or _found(value)
    literals = [str(v) for t in types if isinstance(t, mi.LiteralType) for v in t.values]
    hint = _suggest(value, literals) if isinstance(value, str) and not hidden else ""
    return _message(document, path, f"found {found}", hint, f"allowed: {_allowed(types)}")


def _matching(types: Sequence[mi.Type], value: Any) -> list[mi.StructType]:
    """The structs among ``types``; of tagged ones only that which the value names, if it does."""
    structs = [t for t in types if isinstance(t, mi.StructType)]
    if isinstance(value, dict):
        return [t for t in structs if t.tag_field and value.get(t.tag_field) == t.tag] or structs
    return structs


def _message(
    document: Document, path: str, problem: str, hint: str, *lines: str, line_of: str | None = None
) -> ConfigError:
    head = f"{_where(document, path if line_of is None else line_of)}{path or 'top level'}: {problem}{hint}"
    return ConfigError("\n  ".join([head, *lines]))


def _where(document: Document, path: str) -> str:
    line = document.lines.get(path)
    return f"line {line}: " if line and path else ""


def _suggest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1)
    return f" (did you mean {next(k for k in known if k.lower() == close[0])!r}?)" if close else ""


def _found(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {value[:60]!r}" + ("..." if len(value) > 60 else "")
    return str(value)[:60]


def _allowed(types: Sequence[mi.Type]) -> str:
    texts: list[str] = []
    values = [str(v) for t in types if isinstance(t, mi.LiteralType) for v in t.values]
    if values:
        texts.append("one of " + ", ".join(dict.fromkeys(values)))
    tagged = [t for t in types if isinstance(t, mi.StructType) and t.tag_field]
    if tagged:
        texts.append(f"a mapping with {tagged[0].tag_field}: {', '.join(str(t.tag) for t in tagged)}")
    for t in types:
        if isinstance(t, mi.IntType | mi.FloatType):
            texts.append(("an integer" if isinstance(t, mi.IntType) else "a number") + _range(t))
        elif isinstance(t, mi.StrType):
            texts.append(_MEANING.get(t.pattern or "", f"text matching {t.pattern}") if t.pattern else "text")
        elif isinstance(t, mi.BoolType):
            texts.append("true or false")
        elif isinstance(t, mi.NoneType):
            texts.append("null")
        elif isinstance(t, mi.CollectionType):
            texts.append(f"a list{_length(t)} of: {_allowed(_alternatives(t.item_type))}")
        elif isinstance(t, mi.TupleType):
            texts.append(f"a list of exactly {len(t.item_types)}: {_allowed(_alternatives(t.item_types[0]))}")
        elif isinstance(t, mi.StructType) and not t.tag_field:
            texts.append("a mapping with " + ", ".join(_field_names(t)))
        elif isinstance(t, mi.CustomType):
            texts.append("text (in quotes if it looks like a number)")
    return " or ".join(dict.fromkeys(texts))


def _range(t: mi.IntType | mi.FloatType) -> str:
    words = ((">=", t.ge), (">", t.gt), ("<=", t.le), ("<", t.lt))
    limits = [f"{word} {limit}" for word, limit in words if limit is not None]
    return " " + " and ".join(limits) if limits else ""


def _length(t: mi.CollectionType) -> str:
    low, high = t.min_length, t.max_length
    if low and high:
        return f" of {low} to {high}"
    return f" of at least {low}" if low else ""
