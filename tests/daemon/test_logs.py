"""Claims about where the log goes."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

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


OURS = "streamrnn.daemon.delivery"


def test_our_lines_with_other_numbers_in_them_are_the_same_line():
    from streamrnn.broker.protocol import TopicPartition
    from streamrnn.daemon.logs import _Repeated

    repeated = _Repeated(clock=lambda: 0.0)

    def passes(text: str, *args: object, **extra: object) -> bool:
        record = entry(text, *args, name=OURS, level=logging.WARNING)
        record.__dict__.update(extra)
        return repeated.filter(record)

    doubt = "commit in doubt, reading back what is committed: %s"
    assert [passes(doubt, f"in/0 at {offset}") for offset in range(3)] == [True, False, False]
    of_batch = "%s: of the batch with the offsets %d to %d the last %d records cannot be read"
    assert [passes(of_batch, "in/0", i, i + 9, 3) for i in range(3)] == [True, False, False]
    ahead = "%s: a record is more than streams.max_time_jump_s (%g s) ahead of stream time"
    assert [passes(ahead, TopicPartition("in", p), i) for p in range(2) for i in range(2)] == [True, False] * 2
    away = "no connection to Kafka at %s: %s%s"
    servers = [passes(away, server, "", "", fields={"server": server}) for server in ("a:1", "b:1", "a:1")]
    assert servers == [True, True, False]


def test_lines_whose_words_stand_in_their_arguments_are_told_apart_by_these():
    from streamrnn.daemon.logs import _Repeated

    repeated = _Repeated(clock=lambda: 0.0)
    for text, args in (("%s", ("one warning of the job",)), ("%s", ("another one",)), ("%s: %s", ("in/0", "offset 7"))):
        for passes in (True, False):
            assert repeated.filter(entry(text, *args, name=OURS, level=logging.WARNING)) is passes


def test_kinds_of_lines_that_never_come_again_are_forgotten(monkeypatch):
    from streamrnn.daemon import logs

    monkeypatch.setattr(logs, "_KINDS", 10)
    repeated = logs._Repeated(clock=lambda: 0.0)
    assert all(repeated.filter(entry(f"number {i}")) for i in range(1000))
    assert len(repeated._seldom) <= 10


FORGED = "2026-01-01 00:00:00,000 ERROR   streamrnn.daemon.loop: forged"
HOSTILE = [
    f"a\n{FORGED}",
    "a\r" + FORGED,
    "\x1b[2J\x9b31m\x07\x7f",
    "\u202ea\u2066",
    "\u2028\u2029\u200b",
    "\ud83d",
    "\x00",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_an_entry_is_one_line_whatever_it_is_about(text):
    from streamrnn.daemon.logs import _FORMAT, _Formatter

    class Error(Exception):
        pass

    for message, arguments in (("%s", (text,)), (text, ()), ("%r %s", (text, Error(text))), ("%(x)s", ({"x": text},))):
        line = _Formatter(_FORMAT).format(entry(message, *arguments, name=f"kafka.{text}"))
        assert line.isprintable()
        line.encode()


@pytest.mark.parametrize("text", HOSTILE)
def test_a_traceback_stays_readable_and_passes_for_no_entry(text):
    from streamrnn.daemon.logs import _FORMAT, _Formatter

    def fail():
        try:
            raise KeyError(text)
        except KeyError as error:
            raise RuntimeError(f"{text} {error}") from None

    record = entry("it failed")
    try:
        fail()
    except RuntimeError:
        record.exc_info = sys.exc_info()
    record.exc_text = f"of another handler: {text}"
    record.stack_info = f"Stack:\n{text}"
    first, *others = _Formatter(_FORMAT).format(record).split("\n")
    assert first.endswith("ERROR   kafka.cluster: it failed")
    assert others[0] == "  Traceback (most recent call last):"
    assert any(line.strip() == "fail()" for line in others)
    assert all(line.startswith("  ") and line.isprintable() for line in others)
    assert "another handler" not in "".join(others)


def test_a_line_is_bounded_and_shows_no_password():
    from streamrnn.daemon.logs import _FORMAT, _Formatter, _Repeated

    shown = _Formatter(_FORMAT).format(entry("%s and %s", "SASL_SSL://me:secret@host:9092", "x" * 10_000_000))
    assert len(shown) < 5_000
    assert "SASL_SSL://***@host:9092 and xxx" in shown
    deep = entry("deep")
    deep.exc_info = (RecursionError, RecursionError("x\n" * 1_000_000), None)
    assert len(_Formatter(_FORMAT).format(deep)) < 5_000
    repeated = _Repeated(clock=lambda: 0.0)
    assert repeated.filter(entry("x" * 1_000_000))
    assert all(len(text) < 1_000 for _, _, text, _ in repeated._seldom)


def test_an_entry_whose_arguments_do_not_fit_is_a_line_too():
    from streamrnn.daemon.logs import _FORMAT, _Formatter

    class Error:
        def __str__(self):
            raise ValueError(f"a\n{FORGED}\x1b[2J")

    for message, arguments in (("%d", ("\x1b[2J",)), ("%s %s", (f"a\n{FORGED}",)), ("%s", (Error(),))):
        assert _Formatter(_FORMAT).format(entry(message, *arguments, name="kafka.\x1b")).isprintable()


def test_the_level_may_be_asked_for_again_and_a_display_that_stands_in_for_stderr_is_written_to():
    code = (
        "import io, logging, sys\nfrom streamrnn.daemon.logs import to_stderr\nto_stderr('warning')\n"
        "log = logging.getLogger('streamrnn')\nlog.info('no')\nto_stderr('info')\nlog.info('yes')\n"
        "sys.stderr = io.StringIO()\nlog.info('elsewhere')\nprint(sys.stderr.getvalue())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == ["yes"]
    assert done.stdout.strip().endswith("elsewhere")


def test_a_log_in_a_file_is_not_one_on_the_screen_too(tmp_path):
    code = (
        "import logging, pathlib, sys, warnings\nfrom streamrnn.daemon.logs import to_file, to_stderr\n"
        "to_stderr('warning')\nlog = logging.getLogger('streamrnn')\n"
        "with to_file(pathlib.Path(sys.argv[1])):\n    log.info('in'); log.warning('the'); warnings.warn('file')\n"
        "log.info('nowhere'); log.warning('here')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "log"], capture_output=True, text=True, check=True)
    assert [line.split(": ")[-1] for line in done.stderr.splitlines()] == ["here"]
    assert len((tmp_path / "log").read_text().splitlines()) >= 3


def test_what_nobody_caught_is_shown_without_what_a_terminal_would_obey():
    code = (
        "from streamrnn.daemon.logs import to_stderr\nto_stderr('warning')\n"
        "raise BaseException('a\\n2026-01-01 forged \\x1b[2J')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    first, *others = done.stderr.splitlines()
    assert (done.returncode, first) == (1, "Traceback (most recent call last):")
    assert all(line.startswith("  ") and line.isprintable() for line in others)
    assert any("BaseException: a" in line for line in others)


def test_what_nobody_caught_in_a_thread_and_warnings_are_entries_too():
    code = (
        "import threading, warnings\nfrom streamrnn.daemon.logs import to_stderr\nto_stderr('info')\n"
        "def fail(): raise RuntimeError('a\\n2026-01-01 forged \\x1b[2J')\n"
        "thread = threading.Thread(target=fail, name='t\\n2026'); thread.start(); thread.join()\n"
        "warnings.warn('w\\n2026-01-01 forged \\x1b[2J')\n"
        "class Bad:\n    def __del__(self): raise ValueError('d\\n2026-01-01 forged \\x1b[2J')\n"
        "Bad()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    entries = [line for line in done.stderr.splitlines() if not line.startswith("  ")]
    assert [" ".join(line.split()[2:4]) for line in entries] == [
        "ERROR streamrnn.daemon.logs:",
        "WARNING py.warnings:",
        "ERROR streamrnn.daemon.logs:",
    ]
    assert "\x1b" not in done.stderr
    assert "the thread t\\n2026 ended by an error" in entries[0]


# ---- JSON


def as_json(record: logging.LogRecord) -> dict[str, Any]:
    from streamrnn.daemon.logs import _JsonFormatter

    line = _JsonFormatter().format(record)
    assert line.isprintable(), "one line, which no terminal obeys"
    found: dict[str, Any] = json.loads(line)
    return found


def test_an_entry_as_json_has_what_it_is_about_in_fields_of_their_own():
    from streamrnn.broker.protocol import TopicPartition

    record = entry("%s: caught up at offset %d", TopicPartition("in", 3), 7, name=OURS, level=logging.INFO)
    record.created = 1_790_000_000.1239
    record.fields = {"away_s": 1.5, "note": "a\x1b", "message": "not this one", "partitions": [0, 2]}
    record.held_back = 4
    assert as_json(record) == {
        "time": "2026-09-21T14:13:20.123Z", "level": "info", "logger": OURS, "message": "in/3: caught up at offset 7",
        "topic": "in", "partition": 3, "away_s": 1.5, "note": "a\\x1b", "partitions": [0, 2], "held_back": 4,
    }  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_an_entry_as_json_is_one_line_whatever_it_is_about(text):
    for message, arguments in (("%s", (text,)), (text, ()), ("%(x)s", ({"x": text},)), ("%d", (text,))):
        record = entry(message, *arguments, name=f"kafka.{text}")
        record.fields = {"server": text}
        found = as_json(record)
        assert all(value.isprintable() for value in found.values() if isinstance(value, str))


def test_a_traceback_is_inside_its_object_and_bounded():
    record = entry("it failed")
    try:
        raise RuntimeError(f"a\n{FORGED}")
    except RuntimeError:
        record.exc_info = sys.exc_info()
    found = as_json(record)
    assert found["message"] == "it failed"
    assert found["traceback"].lstrip().startswith("Traceback (most recent call last):")
    assert f"RuntimeError: a\n  {FORGED}" in found["traceback"]
    record.exc_info = (RecursionError, RecursionError("x\n" * 1_000_000), None)
    assert len(as_json(record)["traceback"]) < 5_000


def test_a_password_in_an_address_is_in_no_field():
    record = entry("at %s", "SASL_SSL://me:secret@host:9092")
    record.fields = {"server": "SASL_SSL://me:secret@host:9092"}
    assert "secret" not in json.dumps(as_json(record))


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        (
            "raise BaseException('a\\n2026 forged')",
            {"level": "critical", "message": "an error that nobody caught: BaseException"},
        ),
        ("warnings.warn('w\\n2026')", {"level": "warning", "logger": "py.warnings"}),
        (
            "thread = threading.Thread(target=lambda: 1 / 0, name='t'); thread.start(); thread.join()",
            {"level": "error", "message": "the thread t ended by an error"},
        ),
        ("terminal.show_error('no\\n  server')", {"level": "error", "message": "no\\n  server"}),
        ("terminal.show_traceback(ValueError('v'))", {"message": "an error that nobody caught: ValueError"}),
    ],
)  # fmt: skip
def test_whatever_is_written_to_stderr_is_an_object_where_the_log_is_json(fails, told):
    code = (
        "import threading, warnings\nfrom streamrnn.cli import terminal\nfrom streamrnn.daemon.logs import to_stderr\n"
        f"to_stderr('warning')\nto_stderr('info', 'json')\n{fails}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert told.items() <= json.loads(line).items()


def test_a_level_that_is_asked_for_again_leaves_the_format_as_it_is():
    code = (
        "import logging\nfrom streamrnn.daemon.logs import to_stderr\nto_stderr('info', 'json')\nto_stderr('debug')\n"
        "logging.getLogger('streamrnn').info('one')\nto_stderr('info', 'text')\n"
        "logging.getLogger('streamrnn').info('two')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    one, two = done.stderr.splitlines()
    assert json.loads(one)["message"] == "one"
    assert two.endswith("INFO    streamrnn: two")
