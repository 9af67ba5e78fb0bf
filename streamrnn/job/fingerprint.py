"""What makes a job's fingerprint: all that determines the learner, together with the log.

A checkpoint carries the fingerprint of the job that wrote it; what becomes of one written under another fingerprint is
for ``changes`` to say.
"""

from __future__ import annotations

from typing import Any

import msgspec

from streamrnn.job import warm_start
from streamrnn.job.config import Config

INPUT_SETTINGS = (
    "topic", "stream_key", "timestamp", "end_field", "text", "sequence", "where", "tombstones", "numbers",
    "max_record_bytes", "max_unpacked_bytes", "max_key_bytes",
)  # fmt: skip
"""What in the section ``input`` decides which records the learner sees, and as what."""


def fingerprint(config: Config) -> dict[str, Any]:
    """The settings, and the digest of the model file the job begins with, if it does.

    Raises ConfigError when that digest cannot be told.
    """
    whole = learner_settings(config)
    if config.model.warm_start is not None:
        whole[warm_start.FIELD] = {"sha256": warm_start.digest(config)}
    return whole


def learner_settings(config: Config) -> dict[str, Any]:
    """The part of the fingerprint that stands in the job file.

    ``max_record_bytes`` and ``max_key_bytes`` are in it because they decide which records the learner sees. Defaults
    are spelled out, and what is left open as it is in force, so that writing it down changes nothing.
    ``model.warm_start`` is not in it, as the place of that file does not matter: its bytes do. Of ``hashing.key`` there
    is a digest, where anything is hashed.
    """
    parts: dict[str, Any] = {
        name: msgspec.to_builtins(getattr(config, name))
        for name in ("job", "features", "inputs", "model", "learning", "streams")
    }
    if config.declared_target is not None:  # of texts there is none: what they predict stands in input
        parts["target"] = msgspec.to_builtins(config.declared_target)
    del parts["model"]["warm_start"]
    for path, value in config.learner_spec().in_force.items():
        section, field = path.split(".")
        if section in parts:
            parts[section][field] = value
    source = msgspec.to_builtins(config.input)
    parts["input"] = {name: source[name] for name in INPUT_SETTINGS}
    if (check := config.feature_encoder().hash_check) is not None:
        parts["hashing"] = {"check": check}
    return parts
