"""The README's steps on Kafka do what it says they do, with a broker that has no topic yet."""

from __future__ import annotations

import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.daemon.opening import topics_of
from streamrnn.job.config import Config
from streamrnn.job.job_file import load

pytestmark = pytest.mark.kafka

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.fixture
def job(kafka_bootstrap: str, tmp_path: Path) -> Iterator[Config]:
    """The README's job, on this broker and with names of its own."""
    (text,) = re.findall(r"^```yaml\n(job: .*?)^```$", README, re.MULTILINE | re.DOTALL)
    name = uuid.uuid4().hex[:8]
    text = text.replace("localhost:9092", kafka_bootstrap)
    text = re.sub(r"(topic: )([a-z-]+)", rf"\1\2-{name}", text).replace("job: delays", f"job: delays-{name}")
    (tmp_path / "job.yaml").write_text(text + "http: null\n")
    config = load(tmp_path / "job.yaml")
    yield config
    KafkaAdministration(KafkaConnection(bootstrap_servers=kafka_bootstrap)).delete_topics(topics_of(config))


def shell(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a line as it was copied, where `streamrnn` is on the path."""
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {"PATH": path, "HOME": str(Path.home())}
    return subprocess.run(
        command, shell=True, cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_steps_of_the_readme_lead_to_a_job_that_can_run(job: Config, tmp_path: Path) -> None:
    (create,) = re.findall(r"^streamrnn topics .*$", README, re.MULTILINE)
    (look,) = re.findall(r"^streamrnn validate .*$", README, re.MULTILINE)
    before = shell(look, tmp_path)
    assert before.returncode == 1
    assert before.stdout.count("does not exist, or this user may not see it: run `streamrnn topics`") == 3
    done = shell(create, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("created, 4 partitions") == 3
    after = shell(look, tmp_path)
    assert after.returncode == 0, after.stdout + after.stderr
    assert "first start of 4 partitions, at the beginning of the log" in after.stdout
    assert after.stdout.splitlines()[-1].startswith("the job can run"), after.stdout
    assert job.input.topic in after.stdout
