"""What ``validate`` says of sets of symbols: which there are, what thousands of them take, and whether streams fit."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from streamrnn.escaping import names
from streamrnn.job.config import Config
from streamrnn.learner.lowering import bytes_per_slot, most_bytes
from streamrnn.learner.symbols import Symbols
from streamrnn.system.memory import memory_limit

LISTED = 10
"""So many values of a set are named."""
MUCH = 256 << 20
"""Bytes that probabilities of streams may take before there is a word about it."""


def of_set(symbols: Symbols) -> str:
    """A set of symbols in words.

    >>> of_set(Symbols(open=True)), of_set(Symbols(bytes=True)), of_set(Symbols(values=("a", 2)))
    ('an open set of up to 5,000 and other', 'the 256 bytes', 'a, 2')
    """
    if symbols.open:
        return f"an open set of up to {symbols.max:,} and other"
    return "the 256 bytes" if symbols.bytes else names([str(value) for value in symbols.values or ()], most=LISTED)


def of_text(config: Config) -> str:
    """What is predicted of a text."""
    text = config.input.text
    assert text is not None
    marked = ", and its end" if text.mark_end else ""
    goes_on = "goes on from the stream's last one" if text.carry else "begins anew"
    return f"{text.field}: the text's next {text.unit}, one of {of_set(text.units)}{marked}; each text {goes_on}"


def remarks_on_memory(config: Config) -> Iterator[str]:
    """What thousands of classes cost each stream, where that is much, and what to do about it."""
    spec, target = config.learner_spec(), config.target
    if target.symbols is None or config.input.text is not None or spec.sequence is not None:
        return
    fewer = replace(target, classes=("0", "1"))  # which every readout of classes takes
    each = bytes_per_slot(spec) - bytes_per_slot(replace(spec, target=fewer))
    if (total := each * config.streams.max_streams) > MUCH:
        bound = ["target.classes.max"] if target.is_open else []
        levers = [*(["target.label_memory"] if target.known == "label" else []), *bound, "streams.max_streams"]
        events = f" for up to {target.label_memory:,} events" if target.known == "label" else ""
        yield (
            f"target.classes: a stream keeps the probabilities of {target.symbols.size:,} classes{events} until it is "
            f"known which one came, {each / 1000:,.1f} kB, and {config.streams.max_streams:,} streams "
            f"{total / 1e9:,.1f} GB; where that is too much, lower {' or '.join(levers)}, or set streams.max_bytes"
        )


def remarks_on_room(config: Config) -> Iterator[str]:
    """Whether the streams of one partition fit into this machine."""
    most, limit = most_bytes(config.learner_spec(), 0), memory_limit()
    if limit is not None and most > limit:
        yield (
            f"streams: with all of them in use one partition takes {most / 1e9:,.1f} GB, and this machine lets a "
            f"process have {limit / 1e9:,.1f}; lower streams.max_streams, or set streams.max_bytes"
        )
