"""A demo as a user's process, which Ctrl-C ends once it has predicted something."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

DEADLINE_S = 300.0


def interrupted_demo(*arguments: str, predicted: Path, **environment: str) -> tuple[str, str]:
    """Run ``streamrnn demo`` until there is something in the file ``predicted``; what it then said, on both streams."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streamrnn", "demo", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
        # A suite that runs in the background of a shell ignores Ctrl-C, and its children would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + DEADLINE_S
    while process.poll() is None and time.monotonic() < deadline:
        if predicted.is_file() and predicted.stat().st_size:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    return stdout, stderr
