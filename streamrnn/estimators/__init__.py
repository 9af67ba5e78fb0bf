"""River estimators over the same learner the daemon runs: one hidden state per stream, learned event by event."""

from streamrnn.estimators.anomaly import RNNAnomalyDetector
from streamrnn.estimators.classifier import RNNClassifier
from streamrnn.estimators.forecaster import RNNForecaster
from streamrnn.estimators.regressor import RNNMultiTargetRegressor, RNNRegressor

__all__ = ["RNNAnomalyDetector", "RNNClassifier", "RNNForecaster", "RNNMultiTargetRegressor", "RNNRegressor"]
