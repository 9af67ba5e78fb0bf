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


def entry(text: str, *args: object, name: str = "kafka.cluster", level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord(name, level, "file.py", 1, text, args, None)


def test_a_line_that_comes_ten_times_a_second_is_one_a_minute_with_how_many_there_were():
    from streamrnn.daemon.logs import _Formatter, _Repeated

    now = [0.0]
    repeated = _Repeated(clock=lambda: now[0])
    shown = []
    for i in range(1500):
        now[0] = i / 10
        record = entry("Topic %s is not available, request %d", "t", i)
        if repeated.filter(record):
            shown.append((now[0], _Formatter("%(message)s").format(record)))
    assert shown == [
        (0.0, "Topic t is not available, request 0"),
        (60.0, "Topic t is not available, request 600 (599 more like it since the last such line)"),
        (120.0, "Topic t is not available, request 1200 (599 more like it since the last such line)"),
    ]


def test_different_lines_and_lines_that_tell_of_progress_are_not_held_back():
    from streamrnn.daemon.logs import _Repeated

    repeated = _Repeated(clock=lambda: 0.0)
    ours = "streamrnn.daemon.loop"
    assert repeated.filter(entry("%s: restoring", "in/0", name=ours, level=logging.WARNING))
    assert repeated.filter(entry("%s: restoring", "in/1", name=ours, level=logging.WARNING))
    assert not repeated.filter(entry("%s: restoring", "in/0", name=ours, level=logging.WARNING))
    assert repeated.filter(entry("one")) and repeated.filter(entry("another"))
    assert all(repeated.filter(entry("again", level=logging.INFO)) for _ in range(3))


def test_kinds_of_lines_that_never_come_again_are_forgotten(monkeypatch):
    from streamrnn.daemon import logs

    monkeypatch.setattr(logs, "_KINDS", 10)
    repeated = logs._Repeated(clock=lambda: 0.0)
    assert all(repeated.filter(entry(f"number {i}")) for i in range(1000))
    assert len(repeated._seldom) <= 10
