"""Where a process's log goes, one line an entry: to stderr, or to a file while something else has the screen.

The Kafka client is told to be quieter than the daemon by one level, unless the daemon is being debugged; Numba, whose
compiler logs every step it takes, is always quiet.

As JSON (``log.format``), an entry is one object a line: ``time`` (UTC), ``level``, ``logger``, ``message``, then what
the entry is about: ``topic`` and ``partition`` where one stands among its arguments, whatever it was given as
``fields``, how many like it were held back, and its traceback, as one text. What else the process would write to stderr
is an entry as well: an error that nobody caught, and what ``run`` complains of once its job file is read.

Lines hold text of records, topics, brokers and other people's errors, so everything is escaped, see
``streamrnn.escaping``: an entry stays one line whatever it is about. Only a traceback takes more, each of them indented
so that none passes for an entry. Warnings, and exceptions of threads that nobody caught, come by here too: Python would
write them to stderr as they are.

A warning or an error that comes again and again is a line when it begins and then one a minute, with how many there
were: a client that does not find its topic says so ten times a second. The same is what has the same words and is about
the same partition or server, whatever the numbers in it.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

from streamrnn.broker.records import TopicPartition
from streamrnn.escaping import lines, one_line

_log = logging.getLogger(__name__)

_KINDS = 1000  # how many kinds of lines are told apart; with more, all are forgotten
_TOLD_BY = 500  # characters by which lines are told apart
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
_PLACEHOLDER = re.compile(r"%[-#0 +]*[0-9.]*[a-zA-Z%]")
_WORDS = 12  # letters from which on what a line says stands in itself, and not in its arguments

Format = Literal["text", "json"]


class Seldom:
    """Says when it is time for another line about the same: at first, and then at most once in ``interval_s``."""

    def __init__(self, interval_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s, self._clock = interval_s, clock
        self._said_at: float | None = None
        self._since = 0

    def due(self, count: int = 1) -> int | None:
        """Add to what has happened; returns how much that is since the last line, when another one is due."""
        self._since += count
        now = self._clock()
        if self._said_at is not None and now - self._said_at < self._interval_s:
            return None
        self._said_at, total, self._since = now, self._since, 0
        return total


class _Repeated(logging.Filter):
    """Lets one warning or error of a kind through a minute; ``_Formatter`` adds how many were held back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seldom: dict[tuple[str, int, str, str], Seldom] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or logging.getLogger().level <= logging.DEBUG:
            return True
        kind = _kind(record)
        if kind not in self._seldom and len(self._seldom) >= _KINDS:
            self._seldom.clear()
        seldom = self._seldom.setdefault(kind, Seldom(clock=self._clock))
        if (count := seldom.due()) is None:
            return False
        record.held_back = count - 1
        return True


def _kind(record: logging.LogRecord) -> tuple[str, int, str, str]:
    """What makes one entry the same as another: its words without what was put into them, and what it is about."""
    text = str(record.msg)
    if record.name.startswith("streamrnn") and sum(map(str.isalpha, _PLACEHOLDER.sub("", text))) < _WORDS:
        text = record.getMessage()  # as "%s: %s"
    about = " ".join(map(str, _about(record).values()))
    return record.name, record.levelno, text[:_TOLD_BY], about[:_TOLD_BY]


def _about(record: logging.LogRecord) -> dict[str, Any]:
    """The partition among an entry's arguments, and the fields it was given."""
    found: dict[str, Any] = {}
    if isinstance(record.args, tuple):
        for argument in record.args:
            if isinstance(argument, TopicPartition):
                found = {"topic": argument.topic, "partition": argument.partition}
                break
    fields = record.__dict__.get("fields")
    return found | fields if isinstance(fields, dict) else found


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # another handler's, which need not have escaped it
        try:
            text = super().format(record)
        except Exception as error:  # of a library whose arguments do not fit; logging would print them as they are
            return one_line(f"an entry of {record.name} that cannot be written: {record.msg!r}: {error!r}")
        record.exc_text = None
        return text

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        held_back = record.__dict__.get("held_back", 0)
        more = f" ({held_back} more like it since the last such line)" if held_back else ""
        return one_line(super().formatMessage(record)) + more

    def formatException(self, ei: Any) -> str:  # noqa: N802 - as above
        return "  " + lines(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - as above
        return "  " + lines(super().formatStack(stack_info))


class _JsonFormatter(_Formatter):
    """One JSON object a line, whatever the entry is about."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            message = record.getMessage()
        except Exception as error:  # as above
            message = f"an entry of {record.name} that cannot be written: {record.msg!r}: {error!r}"
        entry: dict[str, object] = {
            "time": f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z",
            "level": record.levelname.lower(),
            "logger": one_line(record.name),
            "message": one_line(message),
        }
        entry |= {name: _shown(value) for name, value in _about(record).items() if name not in entry}
        if held_back := record.__dict__.get("held_back", 0):
            entry["held_back"] = held_back
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = self.formatStack(record.stack_info)
        return msgspec.json.encode(entry).decode()


def _shown(value: object) -> object:
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return value if isinstance(value, bool | int | float) or value is None else one_line(str(value))


class _Stderr(logging.Handler):
    """Writes to what stderr is at that time: a display of progress stands in for it, so that both stay readable."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
            print(self.format(record), file=sys.stderr, flush=True)


def _prepared(handler: logging.Handler, form: Format = "text") -> logging.Handler:
    handler.setFormatter(_JsonFormatter() if form == "json" else _Formatter(_FORMAT))
    handler.addFilter(_Repeated())
    return handler


def to_stderr(level: str, form: Format | None = None) -> None:
    """Log to stderr at ``level`` (any case) for as long as the process lives, or until another level is asked for.

    Whatever else Python writes there by itself comes by here too: warnings, and errors that nobody caught. ``form``
    None leaves the format as it is, which is text at first.
    """
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(_prepared(_Stderr()))
    for handler in root.handlers:
        if isinstance(handler, _Stderr):
            root.setLevel(level.upper())
            if form is not None:
                handler.setFormatter(_JsonFormatter() if form == "json" else _Formatter(_FORMAT))
    logging.captureWarnings(True)
    sys.excepthook = _show_uncaught
    threading.excepthook = _log_of_thread
    sys.unraisablehook = _log_unraisable
    _quieten_libraries()


def as_json() -> bool:
    """Whether stderr has JSON alone, so that whoever would write there makes an entry instead."""
    return any(isinstance(handler.formatter, _JsonFormatter) for handler in logging.getLogger().handlers)


@contextlib.contextmanager
def to_file(path: Path) -> Iterator[None]:
    """Log to a file at INFO, not to stderr, for as long as the context lasts; afterwards all is what it was before."""
    root = logging.getLogger()
    before = {logger: logger.level for logger in (root, logging.getLogger("kafka"), logging.getLogger("numba"))}
    handler = _prepared(logging.FileHandler(path, encoding="utf-8"))
    handlers = list(root.handlers)
    root.handlers = [other for other in handlers if not isinstance(other, _Stderr)]
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    _quieten_libraries()
    try:
        yield
    finally:
        root.handlers = handlers
        handler.close()
        for logger, level in before.items():
            logger.setLevel(level)


def _show_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if as_json():
        _log.critical("an error that nobody caught: %s", kind.__name__, exc_info=(kind, error, trace))
        return
    print(lines("".join(traceback.format_exception(kind, error, trace)).rstrip()), file=sys.stderr)


def _log_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_type is not SystemExit and ended.exc_value is not None:
        name = "?" if ended.thread is None else ended.thread.name
        _log.error("the thread %s ended by an error", name, exc_info=ended.exc_value)


def _log_unraisable(lost: Any) -> None:
    _log.error("%s: %r", lost.err_msg or "an error that nobody could be told of", lost.object, exc_info=lost.exc_value)


def _quieten_libraries() -> None:
    ours = logging.getLogger().level
    logging.getLogger("kafka").setLevel(ours if ours <= logging.DEBUG else max(ours, logging.WARNING))
    logging.getLogger("numba").setLevel(max(ours, logging.WARNING))
