"""The application that commands belong to, and what becomes of the errors that a user can meet."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import typer

from streamrnn.cli.terminal import Commands, show_error, stderr
from streamrnn.errors import ConfigError, StreamrnnError
from streamrnn.escaping import name

P = ParamSpec("P")

ERROR, USAGE, INTERRUPTED = 1, 2, 130

HELP = """
A daemon that learns recurrent networks online from Kafka. It keeps a hidden state for every stream, predicts every
record as it arrives, and learns from it a moment later.

See it at work on real data, with no broker:  [bold cyan]streamrnn demo[/bold cyan]

Then have a job file drafted from a topic, and go through these:

  [cyan]streamrnn init --bootstrap localhost:9092 --topic T[/cyan]  writes job.yaml
  [cyan]streamrnn validate -c job.yaml --connect[/cyan]             will it run, and run well?
  [cyan]streamrnn evaluate -c job.yaml --topic[/cyan]               how well does it predict?
  [cyan]streamrnn topics -c job.yaml[/cyan]                         create the topics it writes
  [cyan]streamrnn run -c job.yaml[/cyan]                            run the daemon
  [cyan]streamrnn inspect -c job.yaml[/cyan]                        what has it learned?
"""
FIRST, JOB, DEPLOY = "See it work", "A job, from file to daemon", "For editors and images"
"""Panels of the help, in their order."""

app = typer.Typer(
    name="streamrnn",
    cls=Commands,
    help=HELP,
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def command(panel: str, group: typer.Typer = app) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a command, of the application or of a group in it."""

    def register(function: Callable[P, None]) -> Callable[P, None]:
        command = reported(function)
        group.command(rich_help_panel=panel)(command)
        return command

    return register


def reported(function: Callable[P, None]) -> Callable[P, None]:
    """The function, its expected errors become one message and an exit status."""

    @functools.wraps(function)
    def reporting(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except StreamrnnError as error:
            show_error(str(error))
            raise typer.Exit(USAGE if isinstance(error, ConfigError) else ERROR) from None
        except OSError as error:
            if error.filename is None:  # of no file that somebody named
                raise
            show_error(f"{name(str(error.filename))}: {error.strerror}")
            raise typer.Exit(ERROR) from None
        except KeyboardInterrupt:
            stderr().print("interrupted")
            raise typer.Exit(INTERRUPTED) from None

    return reporting
