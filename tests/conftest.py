"""Shared by the whole suite: compiled kernels, how tests are dealt out to processes, one real Kafka broker, Hypothesis.

Tests run in three processes (pytest-xdist), for two cores: the one with the broker mostly waits. All tests of a file
go to one of them, so that what a file sets up is set up once; those with kafka in their names go to one as well, which
therefore starts the only broker. ``-n 0`` runs everything in the present process.

Examples are the same in every run unless ``HYPOTHESIS_PROFILE=explore`` asks for new ones.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from streamrnn.core import jit

if TYPE_CHECKING:
    from tests.kafka.server import KafkaServer

jit.use_numba()  # tests/core call single kernels; learners load the object file here as everywhere

collect_ignore = ["data/make_golden.py", "data/make_decoder_golden.py"]  # nothing else needs PyTorch

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_configure(config: pytest.Config) -> None:
    """Let kafka-python be imported on Python 3.11 and 3.12, where reading its own schemas warns."""
    for name in ("read_text", "open_text"):
        config.addinivalue_line("filterwarnings", f"ignore:{name} is deprecated. Use files:DeprecationWarning")


# ---- processes


SAME_KERNELS = "tests/core/sequences/test_deco"
"""Files that begin so call the same single kernels, which take a minute to compile, once in a process."""


class ByFile(LoadScopeScheduling):
    """Deals out whole files, and what needs the broker, or compiles the same, as if it were one file.

    All it is told of a test is its id.
    """

    def _split_scope(self, nodeid: str) -> str:
        if "kafka" in nodeid:
            return "kafka"
        return SAME_KERNELS if nodeid.startswith(SAME_KERNELS) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the broker comes first and files with slow tests next, lest one of them be left alone at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    for item in items:
        if item.get_closest_marker("kafka") and "kafka" not in item.nodeid:
            raise pytest.UsageError(
                f"{item.nodeid}: a test marked kafka has it in its name, which decides where it runs"
            )
    items.sort(key=lambda item: ("kafka" not in item.nodeid, item.path not in slow))


def pytest_collection_finish() -> None:
    """Keep the garbage collector off all that was imported and collected: it was a fifth of the estimators' time."""
    gc.collect()
    gc.freeze()


GROWN = 128 << 20
"""Bytes by which a process may grow until its garbage is collected, which takes a twentieth of a second."""


def _resident() -> int:
    """Bytes of memory that this process has by now; 0 where the system does not say so."""
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else 0


@pytest.fixture(scope="session")
def _collected() -> list[int]:
    """What the process had when its garbage was collected last."""
    return [_resident()]


@pytest.fixture(autouse=True)
def _few_leftovers(_collected: list[int]) -> Iterator[None]:
    """Collect garbage once there is much of it.

    The collector counts objects. A killed loop is some thousand of them in a circle, which is nothing to it, and has a
    learner's whole memory: a process that ran through the suite came to gigabytes.
    """
    yield
    if _resident() > _collected[0] + GROWN:
        gc.collect()
        _collected[0] = _resident()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Before the whole suite, compile the kernels of both precisions side by side; all processes load them from disk.

    Where some files alone are run, they have compiled what they need and when they need it.
    """
    config = session.config
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.collectonly
    if whole and not hasattr(config, "workerinput"):
        from streamrnn.core.compiled import ensure_compiled
        from streamrnn.core.kinds import COMPILED

        with ThreadPoolExecutor() as pool:
            dtypes, families = zip(*COMPILED, strict=True)
            list(pool.map(ensure_compiled, dtypes, families))


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop in this process waits neither for records nor between two attempts to send."""
    from streamrnn.daemon import delivery, loop

    monkeypatch.setattr(delivery, "FIRST_PAUSE_S", 0.0001)
    monkeypatch.setattr(loop, "IDLE_POLL_S", 0.001)


# ---- Kafka


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker started from Maven's jars, with its process at hand; skips where none can run."""
    from tests.kafka.server import KafkaServer, KafkaUnavailableError

    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    try:
        server.start()
    except KafkaUnavailableError as missing:
        if os.environ.get("STREAMRNN_REQUIRE_KAFKA") == "1":
            pytest.fail(f"STREAMRNN_REQUIRE_KAFKA=1, but {missing}")
        pytest.skip(str(missing))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> str:
    """``host:port`` of a real broker: STREAMRNN_TEST_BOOTSTRAP, else :func:`kafka_server`'s."""
    return os.environ.get("STREAMRNN_TEST_BOOTSTRAP") or request.getfixturevalue("kafka_server").bootstrap
