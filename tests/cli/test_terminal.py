"""The terminal shows text as text, whoever renders it."""

from __future__ import annotations

import ast
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

import streamrnn
from streamrnn.cli.terminal import Terminal, show_error

PACKAGE = Path(streamrnn.__file__).parent
HOSTILE = "[red]a[/b]:smile:\x1b[2J\nforged\u202e\x9b"
SHOWN = r"[red]a[/b]:smile:\x1b[2J\nforged\u202e\x9b"


def terminal(encoding: str = "utf-8") -> tuple[Terminal, io.BytesIO]:
    raw = io.BytesIO()
    return Terminal(file=io.TextIOWrapper(raw, encoding=encoding, write_through=True), width=200), raw


@pytest.mark.parametrize(
    "rendered",
    [
        HOSTILE,
        Text(HOSTILE, "bold"),
        Text.assemble(("x ", "red"), HOSTILE),
    ],
)
def test_strings_and_texts_are_shown_literally_wherever_they_stand(rendered: str | Text) -> None:
    console, raw = terminal()
    console.print(rendered)
    table = Table(title=rendered, caption=rendered)
    table.add_column(rendered)
    table.add_row(rendered)
    console.print(table)
    console.print("a", rendered, soft_wrap=True)
    with Progress(TextColumn("{task.description}", markup=False), console=console) as progress:
        progress.add_task(HOSTILE, total=1)
    with console.status(Text(HOSTILE)):
        pass
    written = raw.getvalue().decode()
    # In a table Rich reckons with the width before the escapes, so that a text may go on in the next line there.
    assert "".join(written.split()).count(SHOWN) >= 4
    assert not [c for c in written if not c.isprintable() and c != "\n"]


def test_styles_stay_where_they_were() -> None:
    raw = io.StringIO()
    console = Terminal(file=raw, force_terminal=True, color_system="standard", width=80)
    console.print(Text.assemble("\x07\x1b", ("b\x9bc", "red"), "d"))
    assert raw.getvalue() == "\\x1b\x1b[31mb\\x9bc\x1b[0md\n"  # Rich itself leaves the bell out


def test_our_own_lines_are_kept_apart_and_no_other_ones(capsys: pytest.CaptureFixture[str]) -> None:
    show_error("first\n  second\nthird\x1b")
    assert capsys.readouterr().err == "error: first\n  second\n  third\\x1b\n"


def test_what_the_encoding_does_not_have_is_escaped() -> None:
    console, raw = terminal("ascii")
    console.print("größe", Text("\ud83d"))
    assert raw.getvalue() == b"gr\\xf6\\xdfe \\ud83d\n"


def test_what_is_too_long_is_cut_and_passwords_are_left_out() -> None:
    console, raw = terminal()
    console.print("x" * 1_000_000, soft_wrap=True)
    console.print("Kafka at SASL_SSL://me:secret@broker:9092")
    assert len(raw.getvalue()) < 30_000
    assert b"secret" not in raw.getvalue()


def test_an_exception_that_nobody_expected_does_nothing_to_the_terminal() -> None:
    code = (
        "from streamrnn import cli\n"
        "def fail(*_, **__): raise RuntimeError('\\x1b[2J\\n2026 forged me:secret@host')\n"
        "cli.app = fail\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    first, *others = done.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert all(line.startswith("  ") for line in others)
    assert r"\x1b[2J" in done.stderr
    assert "secret" not in done.stderr


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Calls in a file, by the last part of the name that is called."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            found.append((called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", ""), node))
    return found


@pytest.mark.parametrize("path", sorted([*PACKAGE.glob("cli/*.py"), *PACKAGE.glob("demo/*.py")]), ids=lambda p: p.stem)
def test_every_console_is_a_terminal_and_nothing_is_read_as_markup(path: Path) -> None:
    """Rich reads markup in a console that is not a ``Terminal``, in a status, and in a column that is not told."""
    for name, call in calls(ast.parse(path.read_text())):
        where = f"{path.name}:{call.lineno}"
        assert name not in ("Console", "from_markup", "get_console", "rprint"), where
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert given.get("markup", "False") == "False", where
        if name == "TextColumn":
            assert "markup" in given, where
        if name in ("status", "SpinnerColumn") and (call.args or "finished_text" in given):
            shown = ast.unparse(call.args[0]) if call.args else given["finished_text"]
            assert shown.startswith("Text("), where
