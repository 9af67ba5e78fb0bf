"""Puts a worker together: broker, metrics, endpoint and loop, and runs it until a signal or an error ends it.

SIGTERM and SIGINT ask for a drain; a second one ends the process at once. Errors end it with a clear last line and a
non-zero status: 1 for what an operator has to look at, 3 when another worker holds this one's place, 4 when it was
stopped and all is committed, but a last checkpoint could not be written. The first lines of the log say what runs, the
last one why it ended, with the status.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from msgspec.structs import replace
from prometheus_client import CollectorRegistry, disable_created_metrics

from streamrnn.broker.protocol import Broker
from streamrnn.core.compiled import CompilationCancelled, warm_up
from streamrnn.daemon import collector
from streamrnn.daemon.background import Background
from streamrnn.daemon.endpoint.certificate import certificate_of
from streamrnn.daemon.endpoint.http import HttpServer
from streamrnn.daemon.health import Health
from streamrnn.daemon.introduction import introduce, log_of
from streamrnn.daemon.loop import Loop
from streamrnn.daemon.metrics import Metrics
from streamrnn.daemon.opening import kernels_of, open_broker
from streamrnn.daemon.outage import Outages
from streamrnn.daemon.questions import Questions
from streamrnn.daemon.stopping import stopping
from streamrnn.errors import BrokerError, ConfigError, FencedError, StreamrnnError, UnsavedError
from streamrnn.job.config import Config
from streamrnn.job.http_config import HttpConfig
from streamrnn.job.job import Job
from streamrnn.job.job_file import warnings

_log = logging.getLogger(__name__)

OK, FAILED, MISCONFIGURED, FENCED, UNSAVED, INTERRUPTED = 0, 1, 2, 3, 4, 130
CLOSE_TIMEOUT_S = 5.0


def run_worker(
    config: Config,
    broker: Broker,
    stop: threading.Event,
    *,
    idle: Callable[[], None] | None = None,
    started: Callable[[Loop, HttpServer | None], None] | None = None,
    questions: Questions | None = None,
) -> None:
    """Run one worker until ``stop`` is set; ``started`` is told of the loop and the endpoint before it begins.

    ``questions`` are those of whoever started it, beside the endpoint's. Raises what ended it otherwise. The broker is
    closed in any case.
    """
    job = Job(config)
    disable_created_metrics()
    metrics, questions = Metrics(CollectorRegistry()), questions or Questions()
    health = Health(show=metrics.partition_state, connectivity=broker.connectivity)
    with contextlib.ExitStack() as stack:
        stack.callback(broker.close, CLOSE_TIMEOUT_S)  # or what is left of a stop
        server = None
        if config.http is not None:
            server = stack.enter_context(_endpoint(config.http, metrics.registry, health, questions))
        try:
            needed = kernels_of(config)
            seconds = sum(warm_up(dtype, stop.is_set, family) for dtype, family in needed)
            _log.info("kernels ready after %.1f s", seconds)
        except CompilationCancelled:
            return  # there was nothing to finish yet
        metrics.name_build(job.build)
        metrics.name_job(config.labels())
        stack.enter_context(collector.seldom())  # with all that was imported by now frozen
        loop = Loop(
            job, broker, metrics, health, stop, idle,
            restored=collector.freeze, background=Background(), questions=questions,
        )  # fmt: skip
        if started is not None:
            started(loop, server)
        stack.enter_context(Outages(broker, log_of(config), metrics, health, loop.partitions.copy))
        _run(loop, stop)


def _run(loop: Loop, stop: threading.Event) -> None:
    try:
        loop.run()
    except BrokerError:
        if loop.subscribed or not stop.is_set():
            raise
        _log.info("stopped before the broker had answered; nothing had been begun")


def _endpoint(http: HttpConfig, registry: CollectorRegistry, health: Health, questions: Questions) -> HttpServer:
    certificate = certificate_of(http)
    server = HttpServer(
        http.host, http.port, registry, health, token=http.token, certificate=certificate, questions=questions
    )
    address = replace(http, port=server.port).address
    _log.info("serving a page, /metrics, /healthz and /readyz on %s, %s", address, http.audience)
    return server


def serve(config: Config) -> int:
    """Run as a daemon: until a signal (returns 0) or an error (logged; returns non-zero)."""
    stop = threading.Event()
    introduce(config)
    for text in warnings(config):
        _log.warning("%s", text)
    loops: list[Loop] = []

    def nothing_begun() -> bool:
        return bool(loops) and not loops[0].subscribed

    try:
        with stopping(stop, config.shutdown_timeout_s, FAILED, nothing_begun) as received:
            run_worker(config, open_broker(config), stop, started=lambda loop, _: loops.append(loop))
    except FencedError as error:
        return _ended(FENCED, str(error))
    except ConfigError as error:
        return _ended(MISCONFIGURED, str(error))
    except UnsavedError as error:
        return _ended(UNSAVED, f"all is committed, but {error}")
    except StreamrnnError as error:
        return _ended(FAILED, str(error))
    except KeyboardInterrupt:
        return _ended(INTERRUPTED, "a second SIGINT")
    except Exception as error:  # a defect: the last line is ours all the same
        _log.critical("an error that nobody expected", exc_info=True)
        return _ended(FAILED, f"an error that nobody expected, {type(error).__name__}, whose traceback stands above")
    _log.info(
        "stopped cleanly, exit status %d: %s", OK, " and ".join(received) or "nothing is left to do",
        extra={"fields": {"exit_status": OK}},
    )  # fmt: skip
    return OK


def _ended(status: int, why: str) -> int:
    _log.error("stopped, exit status %d: %s", status, why, extra={"fields": {"exit_status": status}})
    return status
