"""A terminal that shows text as text: nothing it is given becomes markup, an emoji, a colour or a command to it.

Rich reads ``[red]`` in any plain string as markup, and fails over ``[/b]``; and it hands escape sequences through. What
the commands print holds names and texts from job files, records, checkpoints and clusters. So every console is made
here, takes strings literally and escapes whatever is no plain character, in whatever it is asked to render. Colours
come as ``Text`` with a style, and a line of text stays one line: a line break is kept only before two spaces, which is
how our own messages go on.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import traceback
from collections.abc import Iterable, Iterator
from typing import Any

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Span, Text
from typer.core import TyperGroup

from streamrnn.daemon.logs import as_json
from streamrnn.escaping import MAX_NAME, escaped, lines, one_line, without_credentials

_log = logging.getLogger(__name__)

_MAX_TEXT = 20_000  # characters of one text


class Terminal(Console):
    """Rich's console, for text from anywhere."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as it is, whatever is asked for."""
        return self._visible(super().render_str(text, **{**options, "markup": False, "emoji": False}))

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Every text comes by here, in tables and displays too."""
        return super().render(self._visible(renderable) if isinstance(renderable, Text) else renderable, options)

    def _visible(self, text: Text) -> Text:
        """The text with escapes in place of what is no plain character, styled as before."""
        plain = text.plain
        if plain.isprintable() and plain.isascii() and len(plain) <= _MAX_TEXT and "@" not in plain:
            return text
        if (safe := without_credentials(plain)) != plain:  # before anything is cut
            return self._visible(text.blank_copy(safe))
        shown = [self._shown(c, plain[i + 1 : i + 3]) for i, c in enumerate(plain[:_MAX_TEXT])]
        at = [0]
        for each in shown:
            at.append(at[-1] + len(each))
        visible = text.blank_copy("".join(shown) + ("..." if len(plain) > _MAX_TEXT else ""))
        if (safe := without_credentials(visible.plain)) != visible.plain:
            return text.blank_copy(safe)
        last = len(shown)
        visible.spans = [Span(at[min(s.start, last)], at[min(s.end, last)], s.style) for s in text.spans]
        return visible

    def _shown(self, character: str, behind: str) -> str:
        if not (character.isprintable() or (character == "\n" and behind == "  ")):
            return escaped(character)
        if character.isascii() or self.encoding.startswith("utf"):
            return character
        return character.encode(self.encoding, "backslashreplace").decode(self.encoding)


def stdout() -> Terminal:
    """Where results go."""
    return Terminal()


def stderr() -> Terminal:
    """Where everything else goes."""
    return Terminal(stderr=True)


def show_error(message: str) -> None:
    """One message to stderr, perhaps of several lines; an entry of the log where that is JSON."""
    if as_json():
        _log.error("%s", message)
        return
    first, *others = message.split("\n")
    text = "\n".join([first, *(line if line.startswith("  ") else f"  {line}" for line in others)])
    stderr().print(Text.assemble(("error: ", "bold red"), (text, "red")), soft_wrap=True)


def show_traceback(error: BaseException) -> None:
    """A traceback, which nobody should see, without anything that the error's text would have the terminal do."""
    if as_json():
        _log.critical("an error that nobody caught: %s", type(error).__name__, exc_info=error)
        return
    print(lines("".join(traceback.format_exception(error)).rstrip()), file=sys.stderr)


_OptionError: type[Exception] = typer.BadParameter.__mro__[2]
"""What every complaint about options derives from. Releases of typer keep it in different places."""


class Commands(TyperGroup):
    """The commands; what the options were given is quoted without anything that a terminal would obey."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Typer has groups behind commands; the demo is what a newcomer runs first."""
        return sorted(super().list_commands(ctx), key=lambda command: command != "demo")

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """The options before the command."""
        with _quoting():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """The command and its options."""
        with _quoting():
            return super().invoke(ctx)


@contextlib.contextmanager
def _quoting() -> Iterator[None]:
    try:
        yield
    except _OptionError as error:
        error.message = one_line(error.message, 10 * MAX_NAME)  # type: ignore[attr-defined]
        raise
