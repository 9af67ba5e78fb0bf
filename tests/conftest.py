"""Shared by the whole suite: Hypothesis' profile, and one real Apache Kafka broker for the session.

Examples are the same in every run unless ``HYPOTHESIS_PROFILE=explore`` asks for new ones.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

collect_ignore = ["data/make_golden.py"]  # the only file that needs PyTorch

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_configure(config: pytest.Config) -> None:
    """Let kafka-python be imported on Python 3.11 and 3.12, where reading its own schemas warns."""
    for name in ("read_text", "open_text"):
        config.addinivalue_line("filterwarnings", f"ignore:{name} is deprecated. Use files:DeprecationWarning")


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["KafkaServer"]:  # noqa: F821
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
