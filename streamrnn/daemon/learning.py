"""Does a partition's learner learn? Its metrics, worked out of the learner's arrays when they are shown.

Values of a field that are out of bounds are counted by the kernel, column by column; those of replayed records are
left out here, like everything that is counted for a partition. Of inputs that may drift only the first
``MOST_COLUMNS`` in the order of the job are shown, and no category: a series that came and went with the column that
happens to drift most could not be compared with itself.
"""

from __future__ import annotations

import numpy as np

from streamrnn.broker.protocol import TopicPartition
from streamrnn.daemon.drift_alarms import DriftAlarms
from streamrnn.daemon.metrics import PartitionMetrics
from streamrnn.daemon.vocabularies import Vocabularies
from streamrnn.job.job import Job
from streamrnn.learner import gauges
from streamrnn.learner.foundation import Foundation
from streamrnn.learner.predictions import Predictions
from streamrnn.learner.skill import rivals_of

MOST_COLUMNS = 64
DT = "inputs.dt"
"""What the column of elapsed time is called: it has no field, and this setting asks for it."""


class Learning:
    """Shows how one partition's learner learns under one job."""

    def __init__(self, tp: TopicPartition, job: Job, learner: Foundation, metrics: PartitionMetrics) -> None:
        self._learner, self._metrics = learner, metrics
        self._alarms = DriftAlarms(tp, classes=job.spec.target.classes is not None)
        encoder, fields = job.config.feature_encoder(), job.config.target.fields
        measured = [(name, k) for k, name in enumerate(encoder.names) if not encoder.indicator[k]]
        self._drifting = [*measured, *([(DT, encoder.n_features)] if job.spec.inputs.dt else [])][:MOST_COLUMNS]
        # Where values of a field are counted: in its columns, and where it is a target behind all of those and dt's.
        self._places: dict[str, list[int]] = {}
        owners = [spec.field for spec in encoder.specs for _ in spec.columns]
        for _, k in measured:
            self._places.setdefault(owners[k], []).append(k)
        if job.spec.target.classes is None:
            for f, field in enumerate(fields):
                self._places.setdefault(field, []).append(encoder.n_features + 1 + f)
        self._vocabularies = Vocabularies(job, learner, metrics)
        self._before = self._clamped()  # as of the last ``begin``, and then as shown last
        self._live = False

    def begin(self) -> None:
        """A batch is about to be processed that is no replay."""
        if not self._live:
            self._before, self._live = self._clamped(), True
        self._vocabularies.begin()

    def saw(self, predictions: Predictions) -> None:
        """What was predicted of that batch, and what it let us score."""
        if alarms := self._alarms.take(predictions.error):
            self._metrics.count("streamrnn_drift_alarms_total", alarms)

    def show(self) -> None:
        """Bring the metrics up to date."""
        model, show = self._learner.model_arrays(), self._metrics.set
        show("streamrnn_weight_norm", gauges.finite(gauges.weight_norm(model)))
        show("streamrnn_update_to_weight_ratio", gauges.finite(gauges.update_to_weight_ratio(model)))
        norms = gauges.state_gradient_norms(model)
        for steps in gauges.steps_followed(model):
            show("streamrnn_state_gradient_norm", gauges.finite(norms.get(steps)), str(steps))
        show("streamrnn_gradient_reach_steps", gauges.gradient_reach_steps(norms))
        for expert, share in gauges.mixture_shares(model).items():
            show("streamrnn_mixture_share", share, expert)
        drift = gauges.input_drift(model)
        for name, k in self._drifting:
            show("streamrnn_input_drift", gauges.finite(drift[k]), name)
        self._show_clamped()
        self._vocabularies.show()

    def end(self) -> None:
        """Another job takes over: what this one alone shows has no samples any more."""
        model, show = self._learner.model_arrays(), self._metrics.set
        self._vocabularies.end()
        for name, _ in self._drifting:
            show("streamrnn_input_drift", None, name)
        for steps in gauges.steps_followed(model):
            show("streamrnn_state_gradient_norm", None, str(steps))
        for expert in gauges.mixture_shares(model):
            show("streamrnn_mixture_share", None, expert)
        for rival in rivals_of(self._learner.spec):
            show("streamrnn_skill", None, rival)

    def _show_clamped(self) -> None:
        now = self._clamped() if self._live else self._before
        grown, self._before = now - self._before, now
        for field, places in self._places.items():
            # A field with several encoders has several columns, and each of its values counts once.
            self._metrics.count("streamrnn_field_clamped_total", int(grown[places].max()), field)

    def _clamped(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        model = self._learner.model_arrays()
        return np.concatenate([model["x_clamped"], model["y_clamped"]])
