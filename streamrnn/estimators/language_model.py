"""What comes next in a text, or in a sequence of symbols: one unit after the other, each predicted, then learned.

There are no features: an event is a symbol, whose number the network is shown at the next step. So River's ``x`` would
be empty and has no place in the methods; where there are several streams, the ``key`` of one stands there, as in
``end_sequence``. The learner is that of a job of texts (``input.text``), taught unit by unit: a text that is learned at
once leaves the same bits as its units one by one, since both go through the kernel as the same rows.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from msgspec import Meta
from river import base

from streamrnn.errors import ConfigError, RecordError
from streamrnn.estimators.base import RecurrentEstimator
from streamrnn.estimators.columns import Floats, Integers, is_name
from streamrnn.estimators.parameters import Natural, checked, field_types, section
from streamrnn.learner.block import EVENT, PREDICT, Block
from streamrnn.learner.drawing import draw
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import InputSpec
from streamrnn.learner.symbols import Label, Symbols, TextSpec
from streamrnn.learner.target_spec import TargetSpec
from streamrnn.learner.texts import units_of
from streamrnn.learner.vocabulary import Vocabulary

OUTPUT_BYTES = 1 << 24
"""What the probabilities of one call of the kernel may take: long texts go through it in pieces, which leaves the same
bits."""

Text = str | bytes | Sequence[Any]


class Mark(enum.Enum):
    """What a symbol may be besides those of a text."""

    OTHER = "other"
    """Of an open set: whatever was not seen before, or has no number of its own any more."""
    END = "end"
    """The end of a text."""


@dataclass(eq=False, repr=False)
class RNNLanguageModel(RecurrentEstimator, base.Estimator):
    """Recurrent network that predicts the next symbol of a text and learns from each as it comes, online.

    Parameters
    ----------
    unit
        What a text is made of: ``"byte"`` (of its UTF-8), ``"character"`` or ``"word"`` (runs of letters, digits and
        ``_``, and each other character but blanks). With ``"word"`` symbols of any kind may be learned as lists of
        text: pages, templates, states.
    symbols
        The symbols there are, in the order of their numbers. None: the 256 bytes; of characters and words each as it
        comes first, up to ``max_symbols``.
    max_symbols
        Most symbols that get a number as they come; those behind share one, ``OTHER``, which also stands for a symbol
        at its first appearance, since nothing could have told it from others.
    mark_end
        Whether a text's end is a symbol, too (``END``), which is learned and predicted like others: for messages and
        names. Without it texts are pieces of one that goes on.
    carry
        Whether a text goes on from the state after the stream's last one; else each begins anew.
    hidden_size, k1, k2, optimizer, lr, schedule, schedule_updates, betas
        As in ``RNNRegressor``, with defaults that were good for text: the row "medium" in ``tests/bench/README.md``.
        ``hidden_size=64, lr=0.015`` is more than twice as fast; more steps (``k1=8``) take half as long again and win a
        little, most of it in a text's first kilobytes.
    stream_key
        What tells streams apart, for instance ``"user"``; every method then needs the ``key`` of the stream that is
        meant. None: there is one stream.

    All other parameters are those of ``RNNRegressor``. The loss is the cross-entropy.

    Raises
    ------
    ConfigError
        For a parameter that is not usable.
    RecordError
        For what is no symbol, or not one of ``symbols``. It changes nothing.

    Examples
    --------
    >>> from streamrnn import RNNLanguageModel
    >>> model = RNNLanguageModel()
    >>> bits = model.learn_many("to be or not to be, " * 100)
    >>> print(f"{bits[:200].mean():.1f} bits a byte at first, {bits[-200:].mean():.1f} at the end")
    2.6 bits a byte at first, 0.0 at the end
    >>> model.generate(20, temperature=0), chr(model.predict_one())
    (b'to be or not to be, ', 't')
    >>> model.score_one("t") < 1 < 8 < model.score_one("z")
    True

    References
    ----------
    Mikolov, T., Karafiat, M., Burget, L., Cernocky, J. and Khudanpur, S. 2010. Recurrent neural network based language
    model. Interspeech. Graves, A. 2013. Generating sequences with recurrent neural networks. arXiv:1308.0850.
    """

    OTHER: ClassVar[Mark] = Mark.OTHER
    END: ClassVar[Mark] = Mark.END

    _windowed: ClassVar[Mapping[str, Any]] = {
        "k1": 16, "k2": 16, "optimizer": "adam", "lr": 1e-2, "schedule": "inverse_sqrt", "betas": (0.2, 0.999),
    }  # fmt: skip
    _exact: ClassVar[Mapping[str, Any]] = {"optimizer": "adam"}

    hidden_size: int = 128
    schedule_updates: int | None = 2_000
    unit: str = "byte"
    symbols: Sequence[Label] | None = None
    max_symbols: int = 5_000
    mark_end: bool = False
    carry: bool = True

    def _fields(self) -> dict[str, Any]:
        owner = type(self).__name__
        if not is_name(self.stream_key):
            raise ConfigError(f"{owner}: stream_key: expected a name or None, got {self.stream_key!r}")
        names = ("cell", "gates", "hidden_layer", "hidden_size", "num_layers", "memory", "dtype")
        return {
            "n_features": 0,
            "inputs": InputSpec(dt=False, previous_target=True),
            "model": section(owner, ModelSpec, {**self._values(names), "readout": "softmax"}),
            "target": TargetSpec(fields=("text",), classes=self._symbols()),
            "text": self._text(),
        }

    def _text(self) -> TextSpec:
        return section(type(self).__name__, TextSpec, self._values(("unit", "carry", "mark_end")))

    def _symbols(self) -> Symbols:
        owner, types = type(self).__name__, field_types(Symbols)
        values = checked(owner, "symbols", self.symbols, types["values"])
        most = checked(owner, "max_symbols", self.max_symbols, types["max"])
        if values is not None:
            if self.unit == "byte":
                raise ConfigError(f"{owner}: symbols: goes with characters and words; bytes are all known")
            return section(owner, Symbols, {"values": tuple(map(self._declared, values))})
        return Symbols(bytes=True) if self.unit == "byte" else Symbols(open=True, max=most)

    def _declared(self, symbol: Label) -> str:
        """A symbol among those that there are. Raises ConfigError."""
        try:
            return str(self._units_of_one(symbol)[0])
        except RecordError as error:
            raise ConfigError(f"{type(self).__name__}: symbols: {error.detail}") from None

    # ---- for users

    def learn_one(self, symbol: Label | bytes | Mark, key: Hashable | None = None) -> None:
        """Learn that ``symbol`` comes next in the stream of this key."""
        with self._lock:
            name = self._stream_name(key)
            if symbol is Mark.END:
                self._end_text(name, marked=self._marked())
            else:
                units = self._units_of_one(symbol)
                with self._taken_back():
                    number = self._numbers(units, assign=True)[0]
                    self._existing().step(name, EVENT, (), float(number))

    def learn_many(self, text: Text, key: Hashable | None = None) -> Floats:
        """Learn a text, whose units may also be given as a list; the same result as ``learn_one`` for each.

        With ``mark_end``, or without ``carry``, the text ends there, as by ``end_text``. Returns the bits that each
        unit, and the end, took before it was learned, (n,): what ``score_one`` would have said.
        """
        with self._lock:
            name, units = self._stream_name(key), self._units(text)
            bits = self._learn_units(name, units)
            return np.concatenate([bits, self._end_text(name, marked=self.mark_end)])

    def end_text(self, key: Hashable | None = None) -> None:
        """A text whose units were learned one by one is over: learn its end where ends are marked, and go back to the
        beginning where texts do not carry."""
        with self._lock:
            self._end_text(self._stream_name(key), marked=self.mark_end)

    def predict_proba_one(self, key: Hashable | None = None) -> dict[Any, float]:
        """The probability of each symbol to come next, of ``OTHER`` in open sets and of ``END`` where ends are marked.

        All alike before anything was learned. Changes nothing.
        """
        with self._lock:
            probabilities = self._probabilities(self._stream_name(key))
            vocabulary = self._vocabulary()
            return {_shown(vocabulary, i): p for i, p in enumerate(probabilities.tolist()[: vocabulary.known])}

    def predict_one(self, key: Hashable | None = None) -> Any:
        """The most probable of them; ``OTHER`` only where there is nothing else. Changes nothing."""
        with self._lock:
            return _shown(self._vocabulary(), self._most_probable(self._probabilities(self._stream_name(key))))

    def score_one(self, symbol: Label | bytes | Mark, key: Hashable | None = None) -> float:
        """The bits of surprise if ``symbol`` came next: 0 = it was sure to come. Changes nothing.

        Of ``OTHER`` those of any symbol that has no number, and of one that comes for the first time.
        """
        with self._lock:
            name = self._stream_name(key)
            if symbol is Mark.END:
                self._marked()
                number = self._vocabulary().end
            elif symbol is Mark.OTHER and self._vocabulary().other is not None:
                number = self._vocabulary().other
            else:
                number = int(self._numbers(self._units_of_one(symbol), assign=False)[0])
            probability = float(self._probabilities(name)[number])
            return -math.log2(probability) if probability > 0.0 else math.inf

    def generate(
        self, n: int, temperature: float = 1.0, seed: int | None = None, key: Hashable | None = None
    ) -> bytes | str | list[Any]:
        """At most ``n`` units that the model would write next: bytes, text, or for words a list.

        Drawn one after the other, each seen by the next, in a copy of the stream's state: the model is not changed.
        ``temperature`` is what logarithms of probabilities are divided by: 1 draws as predicted, less keeps to the
        probable, 0 takes the most probable. The same ``seed`` draws the same from the same model; None draws anew.
        Where ends are marked it stops at one, which is not returned. ``OTHER`` is never drawn.
        """
        with self._lock:
            _require_sound(n, temperature, seed)
            name, vocabulary = self._stream_name(key), self._vocabulary()
            numbers = list(self._drawn(name, n, float(temperature), np.random.default_rng(seed)))
            symbols: list[Any] = [vocabulary.label(number) for number in numbers]
        if self.unit == "byte":
            return bytes(symbols)
        return "".join(symbols) if self.unit == "character" else symbols

    @classmethod
    def load(cls, path: str | Path) -> Self:
        def parameters_in(owner: Mapping[str, Any]) -> dict[str, Any]:
            parameters = owner["parameters"]
            return {name: tuple(value) if isinstance(value, list) else value for name, value in parameters.items()}

        return cls._loaded(path, parameters_in)

    # ---- the learner

    def _vocabulary(self) -> Vocabulary:
        """The symbols and their numbers; of a model that has learned nothing, blank."""
        if self._learner is not None and self._learner.classes is not None:
            return self._learner.classes
        return Vocabulary(self._symbols(), end=self.mark_end)

    def _learn_units(self, name: bytes, units: Any) -> Floats:
        """These units through the learner, in pieces; the bits that each took."""
        if self.symbols is not None:
            self._numbers(units, assign=False)  # a text with a symbol that is refused is refused as a whole
        piece = max(1, OUTPUT_BYTES // (8 * self._existing().spec.n_outputs))
        bits = np.empty(len(units))
        for start in range(0, len(units), piece):
            part = slice(start, min(start + piece, len(units)))
            with self._taken_back():
                bits[part] = self._learn(name, self._numbers(units[part], assign=True))
        return bits

    def _learn(self, name: bytes, numbers: Integers, *, end: bool = False) -> Floats:
        y = numbers.astype(np.float64)[:, None]
        block = Block.events([name] * len(y), np.empty((len(y), 0)), y, end=np.full(len(y), end))
        return self._existing().process(block).loss / math.log(2.0)

    @contextmanager
    def _taken_back(self) -> Iterator[None]:
        """Numbers that symbols were given are taken back where nothing was learned of them, since Ctrl-C was pressed,
        say: a class has a number and an output, or neither."""
        try:
            yield
        except BaseException:
            if self._learner is not None:
                self._learner.take_back_classes()
            raise

    def _end_text(self, name: bytes, *, marked: bool) -> Floats:
        bits = np.empty(0)
        if marked:
            end = self._vocabulary().end
            bits = self._learn(name, np.array([end]), end=not self.carry)
        elif not self.carry and self._learner is not None:
            self._learner.close(name)
        return bits

    def _probabilities(self, name: bytes) -> Floats:
        """Of each number to come next (n_outputs,)."""
        if self._learner is not None:
            return self._learner.step(name, PREDICT, (), math.nan)
        vocabulary = self._vocabulary()
        return np.full(vocabulary.known, 1.0 / vocabulary.known)

    def _most_probable(self, probabilities: Floats) -> int:
        first = 0 if self._vocabulary().other is None or len(probabilities) == 1 else 1
        return first + int(probabilities[first:].argmax())

    def _drawn(self, name: bytes, n: int, temperature: float, rng: np.random.Generator) -> Iterator[int]:
        """Numbers of at most ``n`` units, up to an end."""
        learner, vocabulary = self._learner, self._vocabulary()
        if learner is not None:
            learner.imagine(name)
        for _ in range(n):
            probabilities = self._probabilities(name) if learner is None else learner.imagine_one(())
            weights = probabilities[: vocabulary.known].copy()
            if vocabulary.other is not None:
                weights[vocabulary.other] = 0.0
            if not weights.any():  # nothing was seen yet
                return
            number = draw(weights, temperature, rng)
            if number == vocabulary.end:
                return
            yield number
            if learner is not None:
                learner.turned_out(number)

    # ---- symbols

    def _marked(self) -> Literal[True]:
        """Raise RecordError where ends are no symbols."""
        if not self.mark_end:
            raise RecordError("unknown_symbol", "symbol: END is one where mark_end=True alone")
        return True

    def _units(self, text: Text) -> Any:
        """A text's units: bytes, text by character, or a list."""
        if isinstance(text, bytes | bytearray) and self.unit != "byte":
            try:
                text = text.decode()
            except UnicodeDecodeError as error:
                raise RecordError("wrong_type", f"text: expected UTF-8 for {self.unit}s, got {error}") from None
        if isinstance(text, bytes | bytearray):
            return bytes(text)
        if isinstance(text, str):
            return units_of(text, self._text().unit)
        if not isinstance(text, Sequence):
            raise RecordError("wrong_type", f"text: expected str, bytes or a list of symbols, got {_quoted(text)}")
        parts = [self._units_of_one(symbol) for symbol in text]
        return b"".join(parts) if self.unit == "byte" else [unit for part in parts for unit in part]

    def _units_of_one(self, symbol: Any) -> Any:
        """The one unit that a symbol is, as ``_units`` has it."""
        if isinstance(symbol, np.generic):
            symbol = symbol.item()
        if self.unit == "byte":
            return _byte(symbol)
        if not isinstance(symbol, str):
            raise RecordError("wrong_type", f"symbol: expected text for {self.unit}s, got {_quoted(symbol)}")
        if self.unit == "character" and len(symbol) != 1:
            raise RecordError("wrong_type", f"symbol: expected one character, got {_quoted(symbol)}; {_MANY}")
        return [symbol]

    def _numbers(self, units: Any, *, assign: bool) -> Integers:
        """The numbers of units. Raises RecordError for one that is not in a closed set."""
        # What a closed set refuses is to change nothing: no learner is made for it.
        vocabulary = self._existing().classes if assign and self.symbols is None else self._vocabulary()
        assert vocabulary is not None
        numbers = vocabulary.units(units, assign)
        if len(unknown := np.flatnonzero(numbers < 0)):
            raise RecordError("unknown_symbol", f"symbol: {units[unknown[0]]!r} is not one of the symbols given")
        return numbers


_MANY = "learn_many takes many"


def _byte(symbol: Any) -> bytes:
    if isinstance(symbol, int) and not isinstance(symbol, bool):
        if 0 <= symbol < 256:
            return bytes([symbol])
    elif isinstance(symbol, bytes | bytearray | str):
        raw = units_of(symbol, "byte") if isinstance(symbol, str) else bytes(symbol)
        if isinstance(raw, bytes) and len(raw) == 1:
            return raw
        raise RecordError("wrong_type", f"symbol: expected one byte, got {len(raw)}: {_quoted(symbol)}; {_MANY}")
    raise RecordError("wrong_type", f"symbol: expected a byte: 0 to 255, or bytes of length 1, got {_quoted(symbol)}")


def _quoted(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]} ..."


def _shown(vocabulary: Vocabulary, number: int) -> Any:
    """The symbol of a number, as users know it."""
    if number == vocabulary.end:
        return Mark.END
    return Mark.OTHER if number == vocabulary.other else vocabulary.label(number)


def _require_sound(n: int, temperature: float, seed: int | None) -> None:
    owner = "generate"
    checked(owner, "n", n, Natural)
    checked(owner, "seed", seed, Natural | None)
    checked(owner, "temperature", temperature, Annotated[float, Meta(ge=0)])
    if not math.isfinite(temperature):
        raise ConfigError(f"{owner}: temperature: expected a finite number, got {temperature!r}")
