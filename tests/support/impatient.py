"""The command line, less patient with a cluster that does not answer: ``python -m tests.support.impatient ...``."""

from __future__ import annotations

import sys

from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.cli import main

COMMAND = [sys.executable, "-m", "tests.support.impatient"]

if __name__ == "__main__":
    KafkaConnection.__init__.__kwdefaults__["connect_timeout_s"] = 0.5
    main()
