"""The demo's log: its job file, the text in its records, and the surprises that the worker wrote of them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.opening import open_sender
from streamrnn.demo.log import FLUSH_TIMEOUT_S, quoted, replaced
from streamrnn.demo.text.source import Source
from streamrnn.job.config import Config
from streamrnn.job.yaml_text import MOST_BYTES
from streamrnn.system.reading import read

STREAM: Final = b"text"
"""The key of all records: one text is one stream."""
_AT_ONCE: Final = 8_192


def job_text(directory: Path, *, is_utf8: bool) -> str:
    """The demo's job file with ``directory`` filled in; what is not UTF-8 has each byte as a character of 256."""
    text = read(Path(__file__).with_name("text.yaml"), MOST_BYTES, links=True).decode()
    for name in ("checkpoints", "log"):
        text = replaced(text, f"./streamrnn-demo-text/{name}", quoted(str(directory / name)))
    if is_utf8:
        return text
    values = ", ".join(json.dumps(chr(byte)) for byte in range(256))
    return replaced(text, "unit: byte", f"unit: character, symbols: {{values: [{values}]}}")


class Feed:
    """Writes the text to the log, a part at a time; ``written`` records are there."""

    def __init__(self, config: Config, source: Source) -> None:
        self._sender, self._topic = open_sender(config), config.input.topic
        self._texts = source.texts()
        self.written = 0

    def write(self, until: int) -> None:
        """Write records up to number ``until``."""
        for text in itertools.islice(self._texts, until - self.written):
            self._sender.send(self._topic, STREAM, msgspec.json.encode({"text": text}), partition=0)
            self.written += 1
        self._sender.flush(FLUSH_TIMEOUT_S)

    def close(self) -> None:
        """Nothing is written any more."""
        self._sender.close(timeout_s=5.0)


class _Surprise(msgspec.Struct):
    symbols: int
    bits: float


class _Scored(msgspec.Struct):
    offset: int
    surprise: _Surprise | None = None


class Surprises:
    """The output topic as it grows: ``bits`` and ``symbols`` of each record in order, of the first ``records``."""

    def __init__(self, config: Config, n: int) -> None:
        assert config.embedded is not None
        log = EmbeddedLog(config.embedded.directory)
        self._reader = log.reader(TopicPartition(config.output.topic, 0), 0)
        self._decode = msgspec.json.Decoder(_Scored).decode
        self._bits = np.zeros(n)
        self._symbols = np.zeros(n, np.int64)
        self.records = 0

    def look(self) -> None:
        """Read what has come since the last look."""
        while found := self._reader.next_records(_AT_ONCE):
            for value in found.values:
                scored = self._decode(value or b"{}")
                if scored.surprise is not None:
                    self._bits[scored.offset] = scored.surprise.bits
                    self._symbols[scored.offset] = scored.surprise.symbols
                self.records = max(self.records, scored.offset + 1)

    @property
    def bits(self) -> npt.NDArray[np.float64]:
        """Bits of each record."""
        return self._bits[: self.records]

    @property
    def symbols(self) -> npt.NDArray[np.int64]:
        """Symbols of each record that were scored."""
        return self._symbols[: self.records]
