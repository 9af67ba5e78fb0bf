"""Records that are whole sequences, or chunks of them: what a document holds of one, and a block's arrays of many.

Of a sequence in chunks the answer is read from the record that ends it, as before nobody asks for it; labels come with
each chunk, one for each of its frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from streamrnn.job.codec.answers import UNKNOWN, Answer, AnswerReader
from streamrnn.job.codec.frames import FrameReader, FramesRead
from streamrnn.job.codec.parser import DocumentLayout
from streamrnn.job.config import Config
from streamrnn.learner.block import Answers, Frames
from streamrnn.learner.features import FeatureEncoder


class Whole(NamedTuple):
    """What one record holds of a sequence."""

    frames: FramesRead
    answer: Answer


class SequenceReader:
    """Reads the records of one job. ``nothing`` is what a tombstone holds.

    Attributes
    ----------
    has_answers
        Whether several things are said of a sequence, and not one label.
    """

    def __init__(self, config: Config, encoder: FeatureEncoder, layout: DocumentLayout, *, lenient: bool) -> None:
        self._frames = FrameReader(config, encoder, layout, lenient=lenient)
        self.has_answers = config.target.kind != "label"
        self._answers = AnswerReader(config, layout, lenient=lenient) if self.has_answers else None
        self._in_chunks = config.input.end_field is not None
        self._each_chunk = config.target.kind == "labels"
        self._open, self._width, self._n_symbols = config.target.is_open, encoder.n_features, len(encoder.symbols)
        self.nothing = Whole(self._frames.nothing, UNKNOWN)

    def tells(self, end: bool | None) -> bool:
        """Whether the answer is read from a record that ends its sequence, or does not."""
        return bool(end) or not self._in_chunks

    def read(self, document: Any, end: bool | None) -> Whole:
        """What the document holds. Raises RecordError."""
        frames = self._frames.read(document)
        if self._answers is None or not (self._each_chunk or self.tells(end)):
            return Whole(frames, UNKNOWN)
        return Whole(frames, self._answers.read(document, frames.n))

    def arrays(self, wholes: Sequence[Whole]) -> dict[str, Any]:
        """What a block holds of so many records, beside one label each."""
        frames = [whole.frames for whole in wholes]
        packed = bytearray().join([each.x for each in frames])  # a bytearray, as arrays over bytes are read-only
        bounds = _bounds([each.n for each in frames])
        x = np.frombuffer(packed).reshape(-1, self._width) if self._width else np.empty((bounds[-1], 0))
        symbols = tuple([text for each in frames for text in each.symbols[i]] for i in range(self._n_symbols))
        return {"frames": Frames(bounds, x, symbols), "answers": self._block_of_answers(wholes)}

    def _block_of_answers(self, wholes: Sequence[Whole]) -> Answers | None:
        if not self.has_answers:
            return None
        answers = [whole.answer for whole in wholes]
        known = np.array([answer.known for answer in answers], np.bool_)
        if self._open:
            labels = [label for answer in answers for label in answer.labels]
            bounds = _bounds([len(answer.labels) for answer in answers])
            return Answers(bounds, np.full(len(labels), np.nan), known, labels)
        value = np.array([value for answer in answers for value in answer.values], np.float64)
        return Answers(_bounds([len(answer.values) for answer in answers]), value, known)


def _bounds(lengths: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.cumsum([0, *lengths], dtype=np.int64)
