"""The job file: one YAML document as validated, immutable values.

Every field has a type, a range and a description; unknown fields and duplicate keys are refused at every level; rules
that tie fields of different sections together stand in ``Config.__post_init__`` and nowhere else. An error names the
field by its path, what was found and what is allowed. Text may refer to the environment (``${NAME}``,
``${NAME:-default}``; ``$${`` is a literal ``${``). Values of password fields are ``Secret``: they appear in no
repr, log, error message, fingerprint or redacted view.

The YAML itself is read by ``yaml_text``; error messages are composed by ``explain``. Nothing here touches the network or
looks whether a directory exists.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from streamrnn.errors import ConfigError
from streamrnn.features import FIELD_PATH, FeatureEncoder, FeatureSpec, canonical_text
from streamrnn.service.config_explain import explain, fields_by_path
from streamrnn.service.config_yaml import interpolate, read_yaml
from streamrnn.spec import InputSpec, LearnerSpec, LearningSpec, ModelSpec, StreamSpec, TargetSpec
