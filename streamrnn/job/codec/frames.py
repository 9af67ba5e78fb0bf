"""The frames of a whole sequence: the values of a document as rows of an array.

A frame is an array of numbers, an object, or a single value (see ``job.sequence_config``). Where all features are plain
numbers, those of all frames become one flat list, which is packed at once, without Python for each number; any other
value (null, text that stands for a number, a category) leads to the slower way, frame by frame through the encoder,
with the same outcome. What is wrong is told with the number of the frame, counted from 0.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from streamrnn.errors import AbsentError, RecordError
from streamrnn.job.codec.fields import numbers_in
from streamrnn.job.codec.parser import DocumentLayout
from streamrnn.job.config import Config
from streamrnn.learner.features import FeatureEncoder, Numeric, Symbol
from streamrnn.learner.paths import parse_path
from streamrnn.learner.values import descend, describe

Columns = Sequence[list[str | None]]
"""Of each feature that is a symbol, its text in every frame."""


class FramesRead(NamedTuple):
    """The frames of one record: float64 numbers row by row, how many rows, their symbols, and a byte for each feature,
    1 where no frame has a value in it."""

    x: bytes
    n: int
    symbols: Columns
    absent: bytes


class FrameReader:
    """Reads the frames of the records of one job."""

    def __init__(self, config: Config, encoder: FeatureEncoder, layout: DocumentLayout, *, lenient: bool) -> None:
        source = config.input.sequence
        assert source is not None
        self._field, self._encoder, self._lenient = source.field, encoder, lenient
        self._read = layout.reader(source.field)
        self._in_chunks = config.input.end_field is not None
        self._most = source.spec(chunks=self._in_chunks).max_frames
        self._n_specs, self._n_symbols = len(encoder.specs), len(encoder.symbols)
        self._width = None if source.columns is None else len(source.columns)
        self._places = None if source.columns is None else [source.columns.index(field) for field in encoder.fields]
        self._readers = [_reader(field) for field in encoder.fields]
        self._of_values = source.columns is None and self._n_specs == 1
        self._of_symbols = self._of_values and isinstance(encoder.specs[0], Symbol)
        self._flatten = self._flattener() if all(isinstance(spec, Numeric) for spec in encoder.specs) else None
        self.nothing = FramesRead(b"", 0, tuple([] for _ in encoder.symbols), bytes(self._n_specs))

    def read(self, document: Any) -> FramesRead:
        """The frames of a document; of a chunk there may be none. Raises RecordError."""
        found = self._found(document)
        if not found:
            return self.nothing
        if self._of_symbols and set(map(type, found)) == {str}:
            return FramesRead(b"", len(found), (found,), bytes(1))
        if self._flatten is not None and (flat := self._flatten(found)) is not None:
            try:
                return FramesRead(struct.pack(f"{len(flat)}d", *flat), len(found), (), bytes(self._n_specs))
            except (struct.error, OverflowError):
                pass  # a value among them is no number
        return self._one_by_one(found)

    def _found(self, document: Any) -> list[Any]:
        field, found = self._field, self._read(document)
        if found is None or found != found:
            if self._in_chunks:
                return []
            raise AbsentError("empty_sequence", f"field {field!r}: missing or null, expected an array of frames")
        if type(found) is str and self._of_values:
            found = list(found)
        if type(found) is not list:
            text = ", or a text" if self._of_values else ""
            raise RecordError("wrong_type", f"field {field!r}: found {describe(found)}, expected an array{text}")
        if not found and not self._in_chunks:
            raise RecordError("empty_sequence", f"field {field!r}: found no frames, expected at least one")
        if len(found) > self._most and not self._in_chunks:
            raise RecordError(
                "too_long",
                f"field {field!r}: found {len(found)} frames, expected at most {self._most} "
                "(input.sequence.max_steps, each step being stack frames)",
            )
        return found

    # -- all at once --------------------------------------------------------------------------------------------------

    def _flattener(self) -> Callable[[list[Any]], list[Any] | None]:
        """What makes one list of all values of frames, None where one of them is not as it should be."""
        if self._of_values:
            return lambda frames: frames
        of_frames = dict if self._places is None else list
        if self._places is not None:
            wanted: list[Any] = self._places
        else:
            paths = [parse_path(field) for field in self._encoder.fields]
            if any(len(path) > 1 for path in paths):
                return lambda frames: None  # noqa: ARG005 - the slower way can go into objects
            wanted = [path[0] for path in paths]
        whole = wanted == list(range(self._width or 0))
        pick = itemgetter(*wanted) if len(wanted) > 1 else lambda frame: (frame[wanted[0]],)

        def flatten(frames: list[Any]) -> list[Any] | None:
            if set(map(type, frames)) != {of_frames}:
                return None
            if self._width is not None and set(map(len, frames)) != {self._width}:
                return None
            try:
                return list(chain.from_iterable(frames if whole else map(pick, frames)))
            except KeyError:
                return None

        return flatten

    # -- one by one ---------------------------------------------------------------------------------------------------

    def _one_by_one(self, frames: list[Any]) -> FramesRead:
        encode, row, x = self._encode, [0.0] * self._encoder.n_features, list[float]()
        symbols: list[list[str | None]] = [[] for _ in range(self._n_symbols)]
        unseen = set(range(self._n_specs))
        for t, frame in enumerate(frames):
            try:
                values = self._values(frame)
                encode(values, row)
                if symbols:
                    for column, text in zip(symbols, self._encoder.symbols_of(values), strict=True):
                        column.append(text)
            except RecordError as error:
                where = f"field {self._field!r}, frame {t}"
                raise RecordError(error.reason, f"{where}: {error.detail}") from None
            x += row
            if unseen:
                unseen = {i for i in unseen if values[i] is None or values[i] != values[i]}
        absent = bytearray(self._n_specs)
        for i in unseen:
            absent[i] = 1
        return FramesRead(struct.pack(f"{len(x)}d", *x), len(frames), symbols, bytes(absent))

    def _values(self, frame: Any) -> Sequence[Any]:
        """The value of each feature in one frame."""
        if frame is None:
            return [None] * self._n_specs
        if self._places is not None:
            if type(frame) is not list:
                expected = f"an array of {self._width} numbers (input.sequence.columns)"
                remedy = "leave columns out, and list features, where frames are objects or single values"
                raise RecordError("wrong_type", f"found {describe(frame)}, expected {expected}; {remedy}")
            if len(frame) != self._width:
                raise RecordError(
                    "wrong_length",
                    f"found {len(frame)} numbers, expected {self._width}, as many as input.sequence.columns",
                )
            return [frame[place] for place in self._places]
        if type(frame) is dict:
            return [read(frame) for read in self._readers]
        if self._of_values:
            return [frame]
        raise RecordError("wrong_type", f"found {describe(frame)}, expected an object")

    def _encode(self, values: Sequence[Any], row: list[float]) -> None:
        try:
            self._encoder.encode(values, row)
        except RecordError:
            if not self._lenient:
                raise
            self._encoder.encode(numbers_in(values, self._encoder.specs), row)


def _reader(field: str) -> Callable[[dict[str, Any]], Any]:
    """The value of a field in a frame that is an object; its whole path may be the name of one field."""
    top, *rest = parse_path(field)
    if not rest:
        return lambda frame: frame.get(str(top))
    path = (top, *rest)

    def read(frame: dict[str, Any]) -> Any:
        whole = frame.get(field)
        return descend(frame, path, field) if whole is None else whole

    return read
