"""``streamrnn demo`` and the demos in it: that of the departures, unless another one is named."""

from __future__ import annotations

from pathlib import Path

import typer

from streamrnn.cli.application import INTERRUPTED, command, reported
from streamrnn.cli.options import (
    BaselinesOption,
    DemoBootstrapOption,
    DemoDirectoryOption,
    DemoLimitOption,
    DemoPortOption,
    MemoryDirectoryOption,
    PlotOption,
    PronounceDirectoryOption,
    PronouncePlotOption,
    PronounceQuickOption,
    PronounceWordsOption,
    SpeechDirectoryOption,
    SpeechPlotOption,
    SpeechQuickOption,
    SpeechStringsOption,
    SpeechWavOption,
    TextArgument,
    TextBytesOption,
    TextDirectoryOption,
    TextPlotOption,
    TextSecondsOption,
)
from streamrnn.cli.terminal import stdout
from streamrnn.errors import ConfigError

OTHERS = "Other demos"
"""Panel of the help of ``demo``."""

demos = typer.Typer(rich_markup_mode="rich", invoke_without_command=True, subcommand_metavar="[OTHER DEMO]")


@demos.callback()
@reported
def demo(
    context: typer.Context,
    limit: DemoLimitOption = None,
    bootstrap: DemoBootstrapOption = None,
    directory: DemoDirectoryOption = Path("streamrnn-demo"),
    port: DemoPortOption = 9308,
    baselines: BaselinesOption = True,
    plot: PlotOption = None,
) -> None:
    r"""Predict the departures of New York in 2013: the daemon, end to end, on real data.

    The whole year takes about half a minute, more on a busy machine. From a source tree the
    first time takes as long again, to compile the kernels.

    Needs the extra streamrnn\[demo].
    """
    if (other := context.invoked_subcommand) is not None:
        _refuse_options_before(context, other)
        return
    from streamrnn.demo.run import Options, run_demo

    options = Options(directory=directory, limit=limit, bootstrap=bootstrap, port=port, baselines=baselines, plot=plot)
    result = run_demo(options, stdout())
    status = INTERRUPTED if result is None else result.status
    if status:
        raise typer.Exit(status)


def _refuse_options_before(context: typer.Context, other: str) -> None:
    """Options before a demo's name are the departures', and would be without effect."""
    for option in context.command.params:
        source = option.name and context.get_parameter_source(option.name)
        if source and source.name == "COMMANDLINE":
            raise ConfigError(
                f"{option.opts[0]}: belongs to the demo of departures; options of {other} go behind its name: "
                f"streamrnn demo {other} --help"
            )


@command(OTHERS, demos)
def text(
    file: TextArgument = None,
    size: TextBytesOption = 3_000_000,
    seconds: TextSecondsOption = 120.0,
    directory: TextDirectoryOption = Path("streamrnn-demo-text"),
    port: DemoPortOption = 9308,
    plot: TextPlotOption = None,
) -> None:
    r"""Learn a text byte by byte, beside gzip, bz2 and xz, and show what the network would write.

    Every byte is predicted before it is learned, by the daemon's own worker.
    At the end: bits per byte, samples, a plot, and a model file to go on from.
    Takes one or two minutes; --seconds bounds it on a busy machine.

    The plot needs the extra streamrnn\[demo].
    """
    from streamrnn.demo.text.run import Options, run_text_demo

    options = Options(directory=directory, file=file, size=size, seconds=seconds, port=port, plot=plot)
    result = run_text_demo(options, stdout())
    status = INTERRUPTED if result is None else result.status
    if status:
        raise typer.Exit(status)


@command(OTHERS, demos)
def memory(directory: MemoryDirectoryOption = Path("streamrnn-demo-memory")) -> None:
    r"""Show the limits of recurrent networks on this learner, and what overcomes them.

    How far back a gradient reaches, which lags each cell bridges, what happens
    when gradients explode, what depth adds, and sequences of many lengths: one
    table and one picture. Takes one or two minutes, more on a busy machine.

    The picture needs the extra streamrnn\[demo].
    """
    from streamrnn.demo.memory.run import run_memory_demo

    if run_memory_demo(directory, stdout()).interrupted:
        raise typer.Exit(INTERRUPTED)


@command(OTHERS, demos)
def pronounce(
    words: PronounceWordsOption = None,
    quick: PronounceQuickOption = False,
    directory: PronounceDirectoryOption = Path("streamrnn-demo-pronounce"),
    plot: PronouncePlotOption = None,
) -> None:
    r"""Learn how English is pronounced: an encoder reads a word, a decoder says it.

    Each word of CMU's dictionary is said before its pronunciation is learned.
    Shows how many sounds and words are wrong, the latest ten, and where the
    network looks in a word. Takes about a minute, more on a busy machine.

    Needs the extra streamrnn\[pronounce], the plot streamrnn\[demo].
    """
    from streamrnn.demo.pronounce.run import QUICK, Options, run_pronounce_demo

    if quick and words is not None:
        raise ConfigError("--quick: says how many words, as --words does; leave one of them out")
    options = Options(directory=directory, words=QUICK if quick else words, plot=plot)
    result = run_pronounce_demo(options, stdout())
    status = INTERRUPTED if result is None else result.status
    if status:
        raise typer.Exit(status)


@command(OTHERS, demos)
def speech(
    strings: SpeechStringsOption = None,
    quick: SpeechQuickOption = False,
    wav: SpeechWavOption = None,
    directory: SpeechDirectoryOption = Path("streamrnn-demo-speech"),
    plot: SpeechPlotOption = None,
) -> None:
    r"""Learn to hear spoken digits, and half-way an accent that was never heard before.

    Each string is transcribed before its truth is seen. Voices kept out of
    learning are heard beside, and a copy of the model that stops learning when
    the newcomer joins. Takes some minutes, fewer again or with --quick.

    Needs the program espeak-ng; the plot needs the extra streamrnn\[demo].
    """
    from streamrnn.demo.speech.run import QUICK, STRINGS, Options, run_speech_demo

    if quick and strings is not None:
        raise ConfigError("--quick: says how many strings, as --strings does; leave one of them out")
    options = Options(directory=directory, strings=strings or (QUICK if quick else STRINGS), wav=wav, plot=plot)
    if run_speech_demo(options, stdout()).interrupted:
        raise typer.Exit(INTERRUPTED)
