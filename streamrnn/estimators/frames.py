"""Which feature of a frame stands in which column of the learner's input, and a sequence's frames in these columns.

A sequence's frames are an array (T, d), a list of dicts, a list of plain values, or a text, whose characters they are.
Arrays go through without a loop over their frames. Columns are fixed beforehand, by names or by the daemon's encoders,
or found out from the first sequence: the columns of an array by their places, the features of dicts by their names, of
which new ones may come later; plain values are one column, or, where they are text, symbols that are looked up.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from streamrnn.errors import RecordError
from streamrnn.estimators.columns import Columns, Floats
from streamrnn.learner.features import FeatureEncoder, FeatureSpec, Numeric, Symbol
from streamrnn.learner.hashing import KNOWN_KEY
from streamrnn.learner.spec import Imputed
from streamrnn.learner.symbols import Symbols
from streamrnn.learner.values import canonical_text, describe, is_missing, number

FRAMES = "frames"
"""The feature of a sequence that holds its frames."""

Form = Literal["places", "names", "symbols"]
"""What frames were found to be: arrays or plain numbers, dicts, or symbols."""


class Read(NamedTuple):
    """A sequence's frames as the learner takes them."""

    x: Floats  # (T, n_features), NaN = missing
    symbols: tuple[list[str | None], ...]  # per input that is a symbol, of each frame


class FrameColumns:
    """The input columns of an estimator of sequences.

    Parameters
    ----------
    features
        Names, or encoders, in column order; None = found out.
    stream_key
        Name of the feature of a sequence that tells streams apart; None = there is one stream.
    hash_key
        What encoders hash values under.
    max_vocabulary
        Most symbols that get a number where symbols are found out.

    >>> columns, read = FrameColumns(None, None).read({"frames": [[1, 2], [3, None]]})
    >>> columns.labels, read.x.tolist()
    (('0', '1'), [[1.0, 2.0], [3.0, nan]])
    """

    def __init__(
        self,
        features: Sequence[Hashable | FeatureSpec] | None,
        stream_key: Hashable | None,
        hash_key: str = KNOWN_KEY,
        max_vocabulary: int = 1_000,
    ) -> None:
        given = list(features) if isinstance(features, list | tuple) else []
        encoders = [feature for feature in given if isinstance(feature, FeatureSpec)]
        # What is absent from a frame is missing: of frames nothing is judged, and encoders say it themselves.
        self._columns = Columns(features, stream_key, "auto" if encoders else "mean", hash_key)
        self._max_vocabulary = max_vocabulary
        self._encoder: FeatureEncoder | None = None
        if encoders:
            self._encoder = FeatureEncoder(encoders, hash_key)
        self.form: Form | None = None

    @property
    def known(self) -> bool:
        """Whether the columns are known, as far as they can be."""
        return self._columns.fixed or self.form is not None

    @property
    def n_features(self) -> int:
        """Columns so far."""
        return self._columns.n_features if self._encoder is None else self._encoder.n_features

    @property
    def indicator(self) -> tuple[bool, ...]:
        """Which columns are 0/1 or bounded and need no standardising."""
        return self._columns.indicator if self._encoder is None else self._encoder.indicator

    @property
    def imputed(self) -> tuple[Imputed, ...]:
        """What each column counts as where its feature is missing; empty: all as their mean."""
        return self._columns.imputed

    @property
    def symbols(self) -> tuple[Symbols, ...]:
        """The sets that the inputs looked up are of."""
        return () if self._encoder is None else self._encoder.symbols

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns' names as text."""
        return self._columns.labels if self._encoder is None else self._encoder.names

    @property
    def hash_check(self) -> str | None:
        """What tells which key values are hashed under; None where none are."""
        return self._columns.hash_check

    def key(self, x: Mapping[Any, Any]) -> bytes:
        """The stream's key. Raises RecordError when the sequence does not name its stream."""
        return self._columns.key(x)

    def read(self, x: Mapping[Any, Any]) -> tuple[FrameColumns, Read]:
        """These columns, or more of them, and a sequence's frames there. Raises RecordError; changes nothing."""
        if not isinstance(x, Mapping) or FRAMES not in x:
            raise RecordError(
                "no_frames", f"x: expected a dict whose {FRAMES!r} are the frames of a sequence, got {describe(x)}"
            )
        frames = x[FRAMES]
        if isinstance(frames, np.ma.MaskedArray):
            frames = np.ma.filled(frames.astype(np.float64), np.nan) if frames.dtype.kind in "fiub" else frames.tolist()
        if isinstance(frames, np.ndarray):
            return self._of_array(frames)
        if isinstance(frames, str):
            return self._of_values(list(frames))
        if not isinstance(frames, list | tuple):
            raise RecordError("wrong_type", f"{FRAMES}: expected an array, a list or a text, got {describe(frames)}")
        first = next((frame for frame in frames if not is_missing(frame)), None)
        if isinstance(first, Mapping):
            return self._of_dicts(frames)
        if isinstance(first, list | tuple | np.ndarray):
            return self._of_array(_stacked(frames))
        return self._of_values(list(frames))

    # ---- frames of each kind

    def _of_array(self, frames: np.ndarray[Any, Any]) -> tuple[FrameColumns, Read]:
        if self._encoder is not None and len(self._encoder.specs) == 1 and frames.size == len(frames):
            return self._of_values(frames.ravel().tolist())
        if frames.ndim == 1 and frames.dtype.kind in "US":
            return self._of_values(frames.tolist())
        if frames.ndim not in (1, 2) or (frames.ndim == 2 and frames.shape[1] == 0):
            raise RecordError(
                "wrong_type", f"{FRAMES}: expected an array (frames, columns), got one of shape {frames.shape}"
            )
        rows = _floats(frames if frames.ndim == 2 else frames[:, None])
        columns = self._placed(rows.shape[1])
        if rows.shape[1] != columns.n_features:
            raise RecordError(
                "wrong_width",
                f"{FRAMES}: expected frames of {columns.n_features} numbers, as those before or as features, got "
                f"{rows.shape[1]}",
            )
        return columns, Read(rows, ())

    def _placed(self, width: int) -> FrameColumns:
        """The columns of arrays."""
        if self._encoder is not None:
            # Encoders read dicts; where all of them take a number as it is, its place says which one it is.
            if all(isinstance(spec, Numeric) for spec in self._encoder.specs):
                return self
            raise RecordError("wrong_type", f"{FRAMES}: expected {self._expected()}, got an array of numbers")
        if self.form == "names" and not self._columns.fixed:
            raise RecordError(
                "wrong_type",
                f"{FRAMES}: expected dicts, as those before, got an array; name its columns: features=[...]",
            )
        if self.known:
            return self
        more = copy.copy(self)
        more._columns = self._columns.appended(map(str, range(width)))
        more.form = "places"
        return more

    def _of_dicts(self, frames: Sequence[Any]) -> tuple[FrameColumns, Read]:
        if self.form not in (None, "names"):
            raise RecordError("wrong_type", f"{FRAMES}: expected {self._expected()}, got dicts")
        columns = self._columns
        for i, frame in enumerate(frames):
            if not isinstance(frame, Mapping):
                raise RecordError("wrong_type", f"{FRAMES}[{i}]: expected a dict, got {describe(frame)}")
            columns = columns.extended(frame)
        if self._encoder is not None:
            rows = [self._encoder.encode_dict(frame) for frame in frames]
            texts = [self._encoder.symbols_of([frame.get(field) for field in self._encoder.fields]) for frame in frames]
            symbols = tuple(map(list, zip(*texts, strict=True))) if texts else ()
            return self, Read(np.array(rows, np.float64).reshape(len(frames), self.n_features), symbols)
        more = self
        if columns is not self._columns or self.form is None:
            more = copy.copy(self)
            more._columns, more.form = columns, "names"
        return more, Read(np.array([columns.row(frame) for frame in frames], np.float64), ())

    def _of_values(self, values: list[Any]) -> tuple[FrameColumns, Read]:
        """Of plain values: numbers in one column, or symbols."""
        if self._encoder is None and not any(isinstance(value, str) for value in values):
            if not values:
                return self, Read(np.zeros((0, self.n_features)), ())
            return self._of_array(np.array([number(value, FRAMES) for value in values]))
        columns = self._with_symbols() if self._encoder is None else self
        encoder = columns._encoder
        assert encoder is not None
        if not values:
            return columns, Read(np.zeros((0, encoder.n_features)), tuple([] for _ in encoder.symbols))
        if len(encoder.specs) != 1:
            raise RecordError("wrong_type", f"{FRAMES}: expected {self._expected()}, got plain values")
        rows = np.zeros((len(values), encoder.n_features))
        if encoder.symbols:
            return columns, Read(rows, ([_text(value) for value in values],))
        for value, row in zip(values, rows, strict=True):
            encoder.encode([value], row)
        return columns, Read(rows, ())

    def _with_symbols(self) -> FrameColumns:
        if self.known:
            raise RecordError("wrong_type", f"{FRAMES}: expected {self._expected()}, got text")
        return self._as("symbols", ())

    def _as(self, form: Form | None, names: Sequence[Hashable]) -> FrameColumns:
        """These columns where frames were found to be of this form."""
        more = copy.copy(self)
        more.form = form
        if form == "symbols":
            open_set = Symbols(open=True, max=self._max_vocabulary)
            more._encoder = FeatureEncoder([Symbol(field=FRAMES, symbols=open_set)])
        else:
            more._columns = self._columns.appended(names)
        return more

    def _expected(self) -> str:
        if self._encoder is not None and self.form is None:
            one = " or plain values" if len(self._encoder.specs) == 1 else ""
            return f"dicts{one}, which the encoders read"
        what = {"places": "an array", "names": "dicts", "symbols": "text or a list of symbols", None: "frames"}
        return f"{what[self.form]}, as those before"

    # ---- taking over, saving

    def changed(self, features: Sequence[Hashable | FeatureSpec] | None) -> FrameColumns:
        """These columns where ``features`` are others, with new columns behind those there are. Raises ConfigError."""
        more = FrameColumns(features, self._columns.stream_key, self._columns.hash_key, self._max_vocabulary)
        more._columns = self._columns.changed(features, "mean" if more._encoder is None else "auto")
        more.form = self.form
        return more

    def state(self) -> dict[str, Any]:
        """What was found out, as JSON values; raises TypeError for names JSON cannot hold."""
        return {"form": self.form, "columns": self._columns.state()}

    def restored(self, state: Mapping[str, Any]) -> FrameColumns:
        """The columns whose ``state`` this is."""
        form = state["form"]
        if form not in (None, "places", "names", "symbols"):
            raise ValueError(f"columns: frames are none that there are: {form!r}")
        more = self._as(form, ())
        more._columns = self._columns.restored(state["columns"])
        return more


def _stacked(frames: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Frames that are lists, as one array. Raises RecordError where they differ in width."""
    for i, frame in enumerate(frames):
        if not isinstance(frame, list | tuple | np.ndarray):
            raise RecordError(
                "wrong_type", f"{FRAMES}[{i}]: expected a list of numbers, as others are, got {describe(frame)}"
            )
    widths = {len(frame) for frame in frames}
    if len(widths) > 1:
        raise RecordError("wrong_width", f"{FRAMES}: expected frames of one width, got {sorted(widths)} numbers")
    rows = np.array(frames)
    return np.array(frames, object) if rows.dtype.kind in "US" else rows  # else numbers beside text would be text


def _floats(frames: np.ndarray[Any, Any]) -> Floats:
    """An array of numbers as the learner reads it, NaN where it holds none. Raises RecordError for other values."""
    if frames.dtype.kind in "fiub":
        return np.array(frames, np.float64, order="C")
    rows = [[number(value, f"{FRAMES}[{i}]") for value in frame] for i, frame in enumerate(frames.tolist())]
    return np.array(rows, np.float64).reshape(frames.shape)


def _text(value: Any) -> str | None:
    return None if is_missing(value) or value != value else canonical_text(value, FRAMES)
