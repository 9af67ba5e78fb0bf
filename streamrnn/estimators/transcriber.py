"""Symbols for a sequence, as many as there are in it: a transcript without alignment, or another sequence.

An answer is a list of symbols, or a text whose characters or words they are; what is said is of the same form. Symbols
are compared by their text, and are said as they were first told: 1 is 1 again, and where "1" was told first, that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
from river import base

from streamrnn.errors import ConfigError, RecordError
from streamrnn.estimators.columns import Floats, Integers
from streamrnn.estimators.edits import edit_distance
from streamrnn.estimators.given import Given, Told, require_sequence
from streamrnn.estimators.language_model import Mark
from streamrnn.estimators.parameters import checked, field_types, plain, section
from streamrnn.estimators.sequences import SequenceEstimator
from streamrnn.estimators.tagger import answers_of
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.symbols import OTHER, Label, Symbols
from streamrnn.learner.texts import units_of
from streamrnn.learner.values import canonical_text, describe, number
from streamrnn.learner.vocabulary import Vocabulary

Unit = Literal["element", "character", "word"]

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Stands in a text for a symbol that has no number of its own."""


@dataclass(eq=False, repr=False)
class SpeakingEstimator(SequenceEstimator):
    """What estimators have in common whose answers are made of symbols."""

    OTHER: ClassVar[Mark] = Mark.OTHER

    unit: str = "element"
    symbols: Sequence[Label] | None = None
    max_vocabulary: int = 1_000
    max_symbols: int = 100
    beam: int = 1

    def __post_init__(self) -> None:
        checked(type(self).__name__, "unit", self.unit, Unit)
        self._as_told: dict[str, Label | float] = {}  # of symbols with a number that are no text
        super().__post_init__()

    def _most_inputs(self) -> int:
        most: int = checked(type(self).__name__, "max_vocabulary", self.max_vocabulary, field_types(Symbols)["max"])
        return most

    def _model_fields(self) -> dict[str, Any]:
        return {"readout": "softmax", "beam": self.beam}

    def _target(self) -> dict[str, Any]:
        return {"classes": self._set(), "max_symbols": self.max_symbols}

    def _set(self) -> Symbols:
        """The symbols that there are."""
        owner, types = type(self).__name__, field_types(Symbols)
        values = checked(owner, "symbols", self.symbols, types["values"])
        if values is not None:
            return section(owner, Symbols, {"values": values})
        return Symbols(open=True, max=self._most_inputs())

    # ---- answers

    def _answer(self, y: Any, frames: int) -> list[Any] | None:  # noqa: ARG002
        if y is None:
            return None
        symbols = self._units_of(y) if isinstance(y, str) else [symbol_in(each) for each in self._listed(y)]
        if self.symbols is not None:
            unknown = np.flatnonzero(self._numbers_of(symbols) < 0)
            if len(unknown):
                raise RecordError("unknown_symbol", f"y: {symbols[unknown[0]]!r} is not one of the symbols given")
        return symbols

    def _listed(self, y: Any) -> list[Any]:
        if self.unit != "element":
            raise RecordError("wrong_type", f"y: expected text, got {describe(y)}; unit='element' takes lists")
        return require_sequence(y) or []

    def _units_of(self, text: str) -> list[str]:
        if self.unit == "element":
            expected = "a list of symbols; unit='character' or 'word' takes text"
            raise RecordError("wrong_type", f"y: expected {expected}, got {describe(text)}")
        return [str(unit) for unit in units_of(text, "word" if self.unit == "word" else "character")]

    def _numbers_of(self, symbols: Sequence[Any]) -> Integers:
        """Numbers of the symbols of a closed set."""
        return Vocabulary(self._set()).units(texts_of(symbols), assign=False)

    def _told(self, answers: Sequence[Any]) -> Told:
        symbols = [symbol for answer in answers for symbol in answer or ()]
        if self.symbols is None:
            told = answers_of(answers, np.full(len(symbols), np.nan), list(texts_of(symbols)))
        else:
            told = answers_of(answers, self._numbers_of(symbols).astype(np.float64))
        return Told(np.full((len(answers), 1), np.nan), answers=told)

    def _process(self, sequences: Sequence[Given], *, end: bool = True) -> Predictions:
        predictions = super()._process(sequences, end=end)
        classes = None if self._learner is None else self._learner.classes
        if self.symbols is None and classes is not None:
            told = [symbol for each in sequences for symbol in each.answer or () if type(symbol) is not str]
            for symbol, text in zip(told, texts_of(told), strict=True):
                # Of those that have a number, so that there are no more than the vocabulary takes.
                if text not in self._as_told and classes.number(text) != OTHER:
                    self._as_told[text] = symbol
        return predictions

    # ---- what is said

    def _said(self, predictions: Predictions, i: int, known: int) -> Any:  # noqa: ARG002
        said, learner = predictions.sequences, self._learner
        assert said is not None
        assert learner is not None
        assert learner.classes is not None
        numbers = said.number[slice(*said.bounds[i : i + 2].tolist())].tolist()
        return self._joined([learner.classes.label(number) for number in numbers])

    def _joined(self, symbols: list[Label | None]) -> Any:
        """Symbols in the form of an answer; None stands for one that has no number of its own."""
        if self.unit == "element":
            return [self.OTHER if symbol is None else self._as_told.get(str(symbol), symbol) for symbol in symbols]
        return ("" if self.unit == "character" else " ").join(UNKNOWN if s is None else str(s) for s in symbols)

    def _nothing(self, frames: int) -> Any:  # noqa: ARG002
        return self._joined([])

    # ---- state

    def _own_state(self) -> dict[str, Any]:
        return {**super()._own_state(), "as_told": list(self._as_told.values())}

    def _set_own_state(self, state: Mapping[str, Any]) -> None:
        super()._set_own_state(state)
        # A job tells all of them as text.
        told = msgspec.convert(state.get("as_told", []), list[int | float | bool])
        self._as_told = dict(zip(texts_of(told), told, strict=True))
        if len(self._as_told) != len(told):
            raise ValueError(f"as_told: must differ as text, got {told}")

    # ---- for users

    def confidence_one(self, x: Mapping[Any, Any]) -> list[float]:
        """The probability of each symbol that ``predict_one`` says. Changes nothing."""
        with self._lock:
            predictions = self._predictions([self._read(self._columns, x, None)])
            if predictions is None or predictions.sequences is None:
                return []
            probabilities: list[float] = predictions.sequences.value.tolist()
            return probabilities

    def score_one(self, x: Mapping[Any, Any], y: Any) -> float:
        """The symbol error rate of the prediction, given y: edits that make y of it, for each symbol of y. Changes
        nothing."""
        with self._lock:
            truth = self._read(self._columns, x, y).answer
            said = self._predict([x])[0]
        if truth is None:
            return np.nan
        found = self._units_of(said) if isinstance(said, str) else said
        texts = [each if each is self.OTHER else canonical_text(each, "y") for each in found]
        return edit_distance(texts, texts_of(truth)) / max(1, len(truth))


def symbol_in(value: Any) -> Label | float:
    """A symbol of an answer as a plain value. Raises RecordError for what cannot be one."""
    symbol = plain(value)
    if isinstance(symbol, float) and not math.isfinite(symbol):
        raise RecordError("wrong_type", f"y: found {describe(symbol)}, expected symbols: text, numbers or booleans")
    text = canonical_text(symbol, "y")
    # No file holds larger whole numbers; they are told, and said, as text.
    keeps = isinstance(symbol, float | bool) or (isinstance(symbol, int) and symbol.bit_length() < 64)
    return symbol if keeps else text


def texts_of(symbols: Sequence[Any]) -> list[str]:
    """The texts by which symbols are compared."""
    return [symbol if type(symbol) is str else canonical_text(symbol, "y") for symbol in symbols]


@dataclass(eq=False, repr=False)
class RNNTranscriber(SpeakingEstimator, base.Estimator):
    """Recurrent network that writes down what is in a sequence, though nobody says where: speech, handwriting, signals.

    Learned by connectionist temporal classification: of a sequence only its symbols are told, in order, and the network
    finds out at which steps they are. There have to be as many steps as symbols, and one more between two that are
    alike; of other sequences nothing is learned. Symbols get their numbers as they come.

    Parameters
    ----------
    unit
        ``"element"``: y is a list of symbols: text, whole numbers and the like, which are one where their texts are;
        ``"character"``, ``"word"``: it is a text.
    symbols
        The symbols there are. None: each as it comes first, up to ``max_vocabulary``; those behind share one,
        ``OTHER``, which also stands for a symbol at its first appearance.
    max_vocabulary
        Most symbols that get a number as they come, of y, and of frames that are text.
    max_symbols
        Longest y; a longer one is not learned.
    beam
        How many beginnings are followed at once when symbols are read off; 1: the best symbol of each step.

    All other parameters, and what is raised, are those of ``RNNSequenceClassifier``.

    Examples
    --------
    Pulses of two heights, at unknown places:

    >>> import numpy as np
    >>> from streamrnn import RNNTranscriber
    >>> rng = np.random.default_rng(1)
    >>> model = RNNTranscriber(unit="character", hidden_size=16)
    >>> rates = []
    >>> for i in range(300):
    ...     y = "".join(rng.choice(list("ab"), size=3))
    ...     x = {"frames": np.concatenate([[0] * int(rng.integers(1, 4)) + [1 + (c == "b")] for c in y])}
    ...     rates.append(model.score_one(x, y))
    ...     model.learn_one(x, y)
    >>> float(np.mean(rates[-50:])) < 0.1
    True

    References
    ----------
    Graves, A., Fernandez, S., Gomez, F. and Schmidhuber, J. 2006. Connectionist temporal classification. ICML.
    """

    def _target(self) -> dict[str, Any]:
        return {"kind": "transcript", **super()._target()}


@dataclass(eq=False, repr=False)
class RNNTranslator(SpeakingEstimator, base.Estimator):
    """Recurrent network that makes another sequence of a sequence: sounds of letters, a forecast of a history.

    An encoder reads the frames, a decoder says symbol by symbol, looking back at what the encoder says of each step,
    until it says the end.

    Parameters
    ----------
    unit, symbols, max_vocabulary, max_symbols, beam
        As in ``RNNTranscriber``; of answers that are numbers (``horizon``) there are no symbols to say this of.
    hidden_size, lr, schedule_updates, clip_norm
        As in ``RNNSequenceClassifier``, with defaults that were good for the sounds of words.
    attention
        Whether the decoder looks back at each step; else it knows the final states alone.
    horizon
        y is a list of so many numbers, not of symbols.

    All other parameters, and what is raised, are those of ``RNNSequenceClassifier``.

    Examples
    --------
    Words spelled backwards:

    >>> import numpy as np
    >>> from streamrnn import RNNTranslator
    >>> rng = np.random.default_rng(1)
    >>> model = RNNTranslator(unit="character", hidden_size=16, lr=0.01)
    >>> rates = []
    >>> for i in range(600):
    ...     word = "".join(rng.choice(list("abcd"), size=int(rng.integers(2, 5))))
    ...     rates.append(model.score_one({"frames": word}, word[::-1]))
    ...     model.learn_one({"frames": word}, word[::-1])
    >>> float(np.mean(rates[-50:])) < 0.2
    True

    References
    ----------
    Sutskever, I., Vinyals, O. and Le, Q. V. 2014. Sequence to sequence learning with neural networks. NIPS. Luong,
    M.-T., Pham, H. and Manning, C. D. 2015. Effective approaches to attention-based neural machine translation. EMNLP.
    """

    hidden_size: int = 64
    lr: float = 4e-3
    schedule_updates: int | None = 1_000
    clip_norm: float | str | None = 1.0
    attention: bool = True
    horizon: int | None = None

    def _model_fields(self) -> dict[str, Any]:
        fields = {**super()._model_fields(), "attention": self.attention}
        return fields if self.horizon is None else {**fields, "readout": "linear"}

    def _target(self) -> dict[str, Any]:
        if self.horizon is None:
            return {"kind": "sequence", **super()._target()}
        for name in ("unit", "symbols", "max_symbols", "beam"):
            value, default = getattr(self, name), getattr(RNNTranslator, name)
            if value != default:
                raise ConfigError(
                    f"{type(self).__name__}: {name}: {value!r} goes with symbols, and with horizon numbers are said; "
                    f"leave it at {default!r}"
                )
        return {"kind": "sequence", "horizon": self.horizon}

    def _answer(self, y: Any, frames: int) -> list[Any] | None:
        if self.horizon is None:
            return super()._answer(y, frames)
        numbers = require_sequence(y)
        if numbers is not None and len(numbers) != self.horizon:
            raise RecordError("wrong_length", f"y: expected {self.horizon} numbers, got {len(numbers)}")
        return None if numbers is None else [number(each, "y") for each in numbers]

    def _told(self, answers: Sequence[Any]) -> Told:
        if self.horizon is None:
            return super()._told(answers)
        numbers = np.array([each for answer in answers for each in answer or ()], np.float64)
        return Told(np.full((len(answers), 1), np.nan), answers=answers_of(answers, numbers))

    def _said(self, predictions: Predictions, i: int, known: int) -> Any:
        if self.horizon is None:
            return super()._said(predictions, i, known)
        assert predictions.sequences is not None
        said = predictions.sequences
        numbers: list[float] = said.value[slice(*said.bounds[i : i + 2].tolist())].tolist()
        return numbers

    def _nothing(self, frames: int) -> Any:
        return super()._nothing(frames) if self.horizon is None else [0.0] * self.horizon

    def score_one(self, x: Mapping[Any, Any], y: Any) -> float:
        """The symbol error rate of the prediction, or of numbers the mean absolute error. Changes nothing."""
        if self.horizon is None:
            return super().score_one(x, y)
        with self._lock:
            truth = self._read(self._columns, x, y).answer or []
            said = self._predict([x])[0]
        errors = [abs(a - b) for a, b in zip(said, truth, strict=False) if b == b]
        return float(np.mean(errors)) if errors else np.nan

    def confidence_one(self, x: Mapping[Any, Any]) -> list[float]:
        """The probability of each symbol that ``predict_one`` says. Changes nothing.

        Raises ConfigError with ``horizon``: numbers have none.
        """
        if self.horizon is not None:
            raise ConfigError(
                f"{type(self).__name__}: horizon: confidence_one is the probability of symbols, and numbers are said"
            )
        return super().confidence_one(x)

    def attention_one(self, x: Mapping[Any, Any]) -> Floats:
        """How much each symbol that ``predict_one`` says looked at each step, (symbols, steps); rows sum to 1.

        Steps are those of x, with ``chunks`` of the whole sequence, which x ends. Empty without ``attention``, and
        before anything was learned. Changes nothing.
        """
        with self._lock:
            predictions = self._predictions([self._read(self._columns, x, None)])
            if predictions is None or self._learner is None or not self.attention:
                return np.zeros((0, 0))
            return self._learner.attention()
