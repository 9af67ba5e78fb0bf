"""Claims about where the log goes."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

EVERYTHING_OF_BOTH = [f"{level:7} {name}" for level in ("DEBUG", "INFO", "WARNING") for name in ("streamrnn", "kafka")]


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("warning", {"WARNING streamrnn", "WARNING kafka", "WARNING numba"}),
        ("info", {"INFO    streamrnn", "WARNING streamrnn", "WARNING kafka", "WARNING numba"}),
        (
            "debug",
            {f"{n:7} {of}" for n in ("DEBUG", "INFO", "WARNING") for of in ("streamrnn", "kafka")} | {"WARNING numba"},
        ),
    ],
)
def test_libraries_are_quieter_on_stderr_than_the_daemon(level, shown):
    code = (
        f"import logging\nfrom streamrnn.daemon.logs import to_stderr\nto_stderr({level!r})\n"
        "for name in ('streamrnn', 'kafka', 'numba'):\n"
        "    for entry in ('debug', 'info', 'warning'):\n"
        "        getattr(logging.getLogger(name), entry)('text')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert all(line.endswith(": text") for line in lines)
    assert {line.split(" ", 2)[2].removesuffix(": text") for line in lines} == shown


def test_a_log_in_a_file_ends_with_its_context_and_leaves_no_trace(tmp_path):
    from streamrnn.daemon.logs import to_file

    loggers = [logging.getLogger(name) for name in (None, "kafka", "numba")]
    before = [(logger.level, list(logger.handlers)) for logger in loggers]
    with pytest.raises(RuntimeError), to_file(tmp_path / "worker.log"):
        for name in ("streamrnn.daemon", "kafka.client", "numba.core"):
            logging.getLogger(name).info("of %s", name)
        raise RuntimeError
    logging.getLogger("streamrnn.daemon").warning("later")
    (line,) = (tmp_path / "worker.log").read_text().splitlines()
    assert line.endswith("INFO    streamrnn.daemon: of streamrnn.daemon")
    assert [(logger.level, list(logger.handlers)) for logger in loggers] == before
