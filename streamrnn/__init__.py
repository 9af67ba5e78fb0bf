"""streamrnn: recurrent networks that learn online from Kafka, one hidden state per stream.

What a Python program needs is importable from here: the River estimators ``RNNRegressor``, ``RNNMultiTargetRegressor``,
``RNNClassifier``, ``RNNForecaster``, ``RNNAnomalyDetector`` and ``RNNLanguageModel``, and of whole sequences
``RNNSequenceClassifier``, ``RNNSequenceRegressor``, ``RNNTagger``, ``RNNTranscriber`` and ``RNNTranslator``;
``Learner`` with the specifications that describe one, ``Block`` for the records it is given, ``FeatureEncoder`` with
its encoders to fill a block, ``save_weights``, ``load_weights``, the errors and warnings. Everything is loaded when it
is first asked for: ``import streamrnn`` itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from streamrnn.version import __version__

if TYPE_CHECKING:
    from streamrnn.errors import (
        CheckpointError,
        ConfigError,
        DelayedLabelsWarning,
        RecordError,
        StreamKeyWarning,
        StreamrnnError,
    )
    from streamrnn.estimators.anomaly import RNNAnomalyDetector
    from streamrnn.estimators.classifier import RNNClassifier
    from streamrnn.estimators.forecaster import RNNForecaster
    from streamrnn.estimators.language_model import RNNLanguageModel
    from streamrnn.estimators.regressor import RNNMultiTargetRegressor, RNNRegressor
    from streamrnn.estimators.sequence_label import RNNSequenceClassifier, RNNSequenceRegressor
    from streamrnn.estimators.tagger import RNNTagger
    from streamrnn.estimators.transcriber import RNNTranscriber, RNNTranslator
    from streamrnn.learner.block import Block
    from streamrnn.learner.features import Cyclic, FeatureEncoder, Hash, Log1p, Numeric, OneHot, Symbol
    from streamrnn.learner.learner import Learner
    from streamrnn.learner.model_spec import ModelSpec
    from streamrnn.learner.predictions import Predictions
    from streamrnn.learner.spec import LearnerSpec
    from streamrnn.learner.spec_fields import InputSpec, LearningSpec, StreamSpec
    from streamrnn.learner.symbols import Symbols, TextSpec
    from streamrnn.learner.target_spec import TargetSpec
    from streamrnn.storage.tensors import load_weights, save_weights

__all__ = [
    "Block",
    "CheckpointError",
    "ConfigError",
    "Cyclic",
    "DelayedLabelsWarning",
    "FeatureEncoder",
    "Hash",
    "InputSpec",
    "Learner",
    "LearnerSpec",
    "LearningSpec",
    "Log1p",
    "ModelSpec",
    "Numeric",
    "OneHot",
    "Predictions",
    "RNNAnomalyDetector",
    "RNNClassifier",
    "RNNForecaster",
    "RNNLanguageModel",
    "RNNMultiTargetRegressor",
    "RNNRegressor",
    "RNNSequenceClassifier",
    "RNNSequenceRegressor",
    "RNNTagger",
    "RNNTranscriber",
    "RNNTranslator",
    "RecordError",
    "StreamKeyWarning",
    "StreamSpec",
    "StreamrnnError",
    "Symbol",
    "Symbols",
    "TargetSpec",
    "TextSpec",
    "__version__",
    "load_weights",
    "save_weights",
]

_MODULES = {
    "errors": (
        "CheckpointError",
        "ConfigError",
        "DelayedLabelsWarning",
        "RecordError",
        "StreamKeyWarning",
        "StreamrnnError",
    ),
    "estimators.anomaly": ("RNNAnomalyDetector",),
    "estimators.classifier": ("RNNClassifier",),
    "estimators.forecaster": ("RNNForecaster",),
    "estimators.language_model": ("RNNLanguageModel",),
    "estimators.regressor": ("RNNMultiTargetRegressor", "RNNRegressor"),
    "estimators.sequence_label": ("RNNSequenceClassifier", "RNNSequenceRegressor"),
    "estimators.tagger": ("RNNTagger",),
    "estimators.transcriber": ("RNNTranscriber", "RNNTranslator"),
    "learner.block": ("Block",),
    "learner.features": ("Cyclic", "FeatureEncoder", "Hash", "Log1p", "Numeric", "OneHot", "Symbol"),
    "learner.learner": ("Learner",),
    "learner.predictions": ("Predictions",),
    "learner.spec": ("LearnerSpec", "ModelSpec"),
    "learner.spec_fields": ("InputSpec", "LearningSpec", "StreamSpec"),
    "learner.symbols": ("Symbols", "TextSpec"),
    "learner.target_spec": ("TargetSpec",),
    "storage.tensors": ("load_weights", "save_weights"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'streamrnn' has no attribute {name!r}")
    value = getattr(import_module(f"streamrnn.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
