"""The demo's directory: made, marked, and made afresh, without touching anything somebody else put there.

A marker file says that the directory is the demo's. Only in a marked directory is anything removed, and there only
what a run writes: its topics, its group's commits, its job's checkpoints, and its own files, each by name, whichever
demo ran there. A job file that was edited is put aside. The marker is locked while a demo runs, so that a second one
cannot pull the log from under it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from streamrnn.broker.embedded_log import EmbeddedLog
from streamrnn.errors import ConfigError
from streamrnn.system.documents import parsed_json
from streamrnn.system.memory import AS_MUCH_AS_FITS
from streamrnn.system.reading import read
from streamrnn.system.writing import PRIVATE, open_or_create

_MOST_BYTES: Final = 1 << 16
MARKER: Final = ".streamrnn-demo"
JOB_FILE, LOG_FILE, PLOT_FILE, RIVALS_FILE = "job.yaml", "worker.log", "errors.png", "baselines.npz"
BITS_FILE, SAMPLES_FILE, MODEL_FILE = "bits.png", "samples.txt", "model.safetensors"
PICTURE_FILE, PRONUNCIATION_FILE, SPEECH_FILE = "memory.png", "pronunciation.png", "speech.png"
FILES: Final = (
    *(JOB_FILE, LOG_FILE, PLOT_FILE, RIVALS_FILE, BITS_FILE, SAMPLES_FILE, MODEL_FILE),
    *(PICTURE_FILE, PRONUNCIATION_FILE, SPEECH_FILE),
)
JOBS: Final = {"flights": ("departures", "delay-predictions"), "text": ("text", "surprises")}
"""By job the topics that it reads and writes."""
DEAD_LETTERS: Final = "dead-letters"


@contextlib.contextmanager
def claimed(directory: Path) -> Iterator[list[str]]:
    """An empty demo directory for as long as the context lasts; gives remarks on what was found.

    Raises:
        ConfigError: it cannot be made; holds files and no marker; or another demo, or a worker, is at it.
    """
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"--directory: {directory} is a file; name a directory")
    marker = directory / MARKER
    if directory.is_dir() and not marker.is_file() and any(directory.iterdir()):
        raise ConfigError(
            f"--directory: {directory} is not empty and was not made by the demo, which leaves it alone; name another"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = open_or_create(marker, PRIVATE)
    except OSError as error:
        raise ConfigError(f"--directory: {directory} cannot be written: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"--directory: another demo is running in {directory}; name another") from None
        yield _cleared(directory)
    finally:
        os.close(descriptor)  # gives up the lock


def write_job(directory: Path, text: str) -> Path:
    """Write the job file and remember how it was written, so that an edit is noticed."""
    path = directory / JOB_FILE
    path.write_text(text)
    note = {"made by": "streamrnn demo, which may remove what it made here", "job.yaml": _digest(path)}
    (directory / MARKER).write_text(json.dumps(note) + "\n")
    return path


def _cleared(directory: Path) -> list[str]:
    remarks = []
    log, checkpoints = directory / "log", directory / "checkpoints"
    for path in (log, checkpoints, *(log.glob("*") if log.is_dir() else ())):
        if path.is_symlink():
            raise ConfigError(f"--directory: {path} is a link, which the demo did not make; remove it or name another")
    if log.is_dir() and _emptied(EmbeddedLog(log)):
        remarks.append(f"{directory} held an earlier run, which was removed")
    for job in JOBS:
        shutil.rmtree(checkpoints / job, ignore_errors=True)
    if (aside := _put_aside(directory)) is not None:
        remarks.append(f"the job file had been edited; it is kept as {aside}")
    for name in FILES:
        (directory / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not there, or somebody else's files are in it
        checkpoints.rmdir()
    return remarks


def _emptied(log: EmbeddedLog) -> bool:
    """Remove what an earlier run left in the log; whether there was any."""
    there = any(read in log.topics() for read, _ in JOBS.values())
    for job in JOBS:  # first of all: refuses, naming the process, while a worker is at it
        log.delete_group(job)
        log.delete_group(f"{job}-reader")
    for topic in (*itertools.chain.from_iterable(JOBS.values()), DEAD_LETTERS):
        log.delete_topic(topic)
    log.remove_if_empty()
    return there


def _put_aside(directory: Path) -> Path | None:
    path = directory / JOB_FILE
    try:
        note = parsed_json(read(directory / MARKER, _MOST_BYTES) or b"{}")
    except (OSError, ValueError):
        note = {}
    if not path.is_file() or (isinstance(note, dict) and note.get("job.yaml") == _digest(path)):
        return None
    number = 1
    while (aside := directory / f"job.edited-{number}.yaml").exists():
        number += 1
    path.rename(aside)
    return aside


def _digest(path: Path) -> str:
    return hashlib.sha256(read(path, AS_MUCH_AS_FITS, links=True)).hexdigest()
