"""Directories, space, port and kernels: what the job needs of the machine on which this runs."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from streamrnn.broker.kafka_compression import PACKAGES, missing_codecs, what_is_missing
from streamrnn.broker.kafka_settings import reading_bytes
from streamrnn.core.compiled import HOW_LONG, is_compiled, shown
from streamrnn.core.kinds import Family
from streamrnn.core.object_file import cache_directories
from streamrnn.daemon.endpoint.certificate import certificate_of
from streamrnn.daemon.opening import kernels_of
from streamrnn.daemon.pace import MOST_BYTES
from streamrnn.daemon.preflight.findings import Finding, fine, problem, warning
from streamrnn.errors import ConfigError
from streamrnn.job.config import Config
from streamrnn.job.http_config import HttpConfig
from streamrnn.learner.lowering import bytes_per_stream, copying_bytes, layout_of, most_bytes
from streamrnn.storage.names import folder_of
from streamrnn.system.memory import memory_limit

UNIT_BYTES = 100
"""What a unit of a text takes while it is learned; 40 to 70 were measured."""


def machine(config: Config) -> Iterator[Finding]:
    """What can be said without asking the broker."""
    directory = Path(config.checkpoint.directory)
    yield from writable("checkpoint.directory", directory)
    yield from owned(directory / folder_of(config.job))
    if config.embedded is not None:
        yield from writable("embedded.directory", Path(config.embedded.directory))
    if config.http is not None:
        yield from port(config.http)
        yield from certificate(config.http)
    yield from kernels(config)
    if config.kafka is not None:
        yield codecs(config)


def codecs(config: Config) -> Finding:
    """Whether every codec that a producer may choose can be read."""
    if missing := missing_codecs():
        return problem(f"topic {config.input.topic}: {what_is_missing(missing)}")
    return fine(f"compressed records can be read: {', '.join(PACKAGES)}")


def writable(name: str, directory: Path) -> Iterator[Finding]:
    """Whether the directory can be written, or made."""
    at = _nearest(directory)
    if not at.is_dir():
        yield problem(f"{name}: {at} is a file, expected a directory")
    elif not os.access(at, os.W_OK | os.X_OK):
        yield problem(f"{name}: {at} may not be written by this user; grant it or choose another directory")
    elif at == directory.absolute():
        yield fine(f"{name}: {directory} may be written")
    else:
        yield fine(f"{name}: {directory} is not there yet and can be made")


def owned(folder: Path) -> Iterator[Finding]:
    """Whether the folders of earlier checkpoints may be written: another user may have made them."""
    for at in (folder, *(sorted(folder.iterdir()) if os.access(folder, os.R_OK | os.X_OK) else ())):
        if at.is_dir() and not os.access(at, os.R_OK | os.W_OK | os.X_OK):
            yield problem(
                f"checkpoint.directory: {at} holds checkpoints of this job and may not be read and written by this "
                f"user (uid {os.getuid()}); give it to that user"
            )


def space(config: Config, partitions: int) -> Iterator[Finding]:
    """Whether the checkpoints of full learners would fit; ``partitions`` is how many the input topic has.

    A slot that did not change is stored once for all checkpoints that have it, so this is the most they can take.
    """
    spec = config.learner_spec()
    # Three vectors of the weights' size: the weights and an optimiser's two moments, in eight bytes at most.
    each = bytes_per_stream(spec) * config.streams.max_streams + 3 * 8 * layout_of(spec).size
    most = each * (config.checkpoint.retain + 1) * max(1, partitions)
    free = shutil.disk_usage(_directory(Path(config.checkpoint.directory))).free
    where = f"checkpoint.directory: {config.checkpoint.directory}"
    have = f"{_size(free)} are free"
    if free < each:
        yield problem(f"{where}: {have}, and one checkpoint of a full learner takes {_size(each)}; make room")
    elif free < most:
        yield warning(
            f"{where}: {have}; with all streams in use {config.checkpoint.retain} checkpoints of {max(1, partitions)} "
            f"partitions may take {_size(most)}; lower checkpoint.retain or streams.max_streams, or make room"
        )
    else:
        yield fine(f"{where}: {have}, at most {_size(most)} are needed")


def memory(config: Config, partitions: int) -> Iterator[Finding]:
    """Whether full learners, the names of their streams counted, fit into what this process may have.

    What records may take while they are read counts, too, and what a checkpoint takes while it is made, of one
    partition at a time: most jobs' take less, so that its lack is no problem yet.
    """
    spec, key, limit = config.learner_spec(), config.input.max_key_bytes, memory_limit()
    if limit is None:
        return
    least, each = most_bytes(spec, 0), most_bytes(spec, key)
    reading = 0 if config.kafka is None else reading_bytes(config.input.max_record_bytes)
    learning = texts_bytes(config)
    copying = copying_bytes(spec)
    most = each * max(1, partitions) + copying + reading + learning
    text = f"memory: {_size(limit)} may be used here"
    what = "to read records, with one broker" if not learning else "to read records and learn their texts"
    parts = [f"{_size(reading + learning)} of it {what}"] if reading + learning else []
    beside = f" ({'; '.join([*parts, f'{_size(copying)} of it for a checkpoint while it is made'])})"
    remedy = "lower streams.max_streams, or set streams.max_bytes, which streams are then kept within"
    if least > limit:
        yield problem(f"{text}, and with all streams in use one partition takes {_size(least)}; {remedy}")
    elif most > limit:
        yield warning(
            f"{text}; with all streams in use, and names as long as input.max_key_bytes lets them be, {partitions} "
            f"partitions may take {_size(most)}{beside}, should one worker have them all; {remedy}"
        )
    else:
        yield fine(f"{text}, at most {_size(most)} are needed for streams and their names{beside}")


def texts_bytes(config: Config) -> int:
    """What the units of texts take while they are learned: of a piece of a poll, which no single text has more of."""
    return 0 if config.input.text is None else UNIT_BYTES * max(MOST_BYTES, config.input.text.max_units)


def port(http: HttpConfig) -> Iterator[Finding]:
    """Whether the endpoint for metrics can be opened."""
    address = f"http: {http.host}:{http.port}"
    try:
        family, kind, proto, _, at = socket.getaddrinfo(http.host, http.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(at)
    except OSError as error:
        yield warning(
            f"{address} cannot be opened on this machine now ({error.strerror}); if no worker of this job runs here, "
            "choose another http.port or http.host"
        )
    else:
        yield fine(f"{address} can be opened")


def certificate(http: HttpConfig) -> Iterator[Finding]:
    """Whether the endpoint's certificate can be used, if it has one."""
    try:
        if certificate_of(http) is not None:
            yield fine(f"http.certfile: {http.certfile} can be used")
    except ConfigError as error:
        yield problem(str(error))


def kernels(config: Config) -> Iterator[Finding]:
    """Whether the first start has to compile."""
    for dtype, family in kernels_of(config):
        yield _compiled(dtype, family)


def _compiled(dtype: str, family: Family) -> Finding:
    called = shown(dtype, family)
    if is_compiled(dtype, family):
        return fine(f"kernels for {called} are compiled")
    if not any(os.access(_nearest(directory), os.W_OK | os.X_OK) for directory in cache_directories()):
        return problem(
            f"kernels for {called} are not compiled for this machine, and there is no directory to keep them in: give "
            "STREAMRNN_CACHE_DIR one that this user may write, or install the wheel"
        )
    return warning(
        f"kernels for {called} are not compiled for this machine: the first start takes about {HOW_LONG[family]} "
        "longer; run `streamrnn warmup` before, or install the wheel"
    )


def _size(n_bytes: float) -> str:
    """Bytes for people who look at a disk.

    >>> _size(58_000), _size(2.5e9)
    ('0.058 MB', '2.5 GB')
    """
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.3g} MB"


def _nearest(directory: Path) -> Path:
    """The directory, or the nearest thing above it that is there."""
    at = directory.absolute()
    while not os.access(at, os.F_OK):  # which says no where it may not look; Path.exists raises there
        at = at.parent
    return at


def _directory(path: Path) -> Path:
    at = _nearest(path)
    return at if at.is_dir() else at.parent
