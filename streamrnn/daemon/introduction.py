"""The first lines of a log: which version runs, which job, where it reads and writes, and which model learns."""

from __future__ import annotations

import logging

from streamrnn.job.config import Config
from streamrnn.learner.lessons import lessons, network
from streamrnn.learner.lowering import layout_of
from streamrnn.version import __version__

_log = logging.getLogger(__name__)


def introduce(config: Config) -> None:
    """Say all that once, before anything is opened."""
    _log.info(
        "streamrnn %s runs the job %s (%s, commits every %d ms): reads topic %s, writes topic %s, dead letters to %s",
        __version__, config.job, config.delivery, config.commit_interval_ms,
        config.input.topic, config.output.topic, config.output.dead_letter_topic,
        extra={"fields": {"version": __version__, **config.labels()}},
    )  # fmt: skip
    _log.info("%s, %s", log_of(config), _place(config))
    _log.info("model: %s", _model(config), extra={"fields": {"parameters": layout_of(config.learner_spec()).size}})


def log_of(config: Config) -> str:
    """What the job reads from, as a sentence begins with it."""
    if config.kafka is not None:
        return f"Kafka at {', '.join(config.kafka.servers)}"
    assert config.embedded is not None
    return f"the embedded log in {config.embedded.directory}"


def _place(config: Config) -> str:
    """This worker's place in its group."""
    if config.kafka is None:
        return f"group {config.group_id}"
    name = config.kafka.group_instance_id
    worker = f"this worker as {name}" if name else "this worker named after its host"
    return f"{config.kafka.security.protocol}, group {config.group_id}, {worker}"


def _model(config: Config) -> str:
    model, spec = config.model, config.learner_spec()
    readout = f"{model.readout} on {spec.n_regressors} regressors" if spec.n_regressors else model.readout
    return (
        f"{network(model.spec)}, readout {readout}, {model.effective_loss} loss, "
        f"{model.dtype}: {layout_of(spec).size:,} parameters, columns of features: {spec.n_features}; "
        f"{lessons(spec)}"
    )
