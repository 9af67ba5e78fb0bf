"""A real single-node Apache Kafka (KRaft) on loopback, from the jars that Maven resolves for pom.xml.

    python -m tests.kafka.server --port 9092      runs one until Ctrl-C, its data in a temporary directory

Needs Java 17 or newer and, the first time, mvn; the jars are then kept in ~/.cache/streamrnn (STREAMRNN_KAFKA_JARS
names another directory), and openssl. Everything waits with a deadline; what fails shows the end of the broker's own
log. The broker is stopped by its process id.

Listeners, all on one broker: plain, whose users may do everything; SASL with passwords and with unsecured tokens; TLS,
which asks for no certificate and lets everybody do everything; TLS with SASL; and TLS that asks for a certificate.
Users of the others have no right but those that a test grants, the operator excepted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.kafka.certificates import Authority

POM = Path(__file__).with_name("pom.xml")
SASL_USER = "worker"
SASL_PASSWORD = "only-for-tests-7f3a"
OPERATOR = "operator"
"""A user with every right, and the same password: of PLAIN alone."""
SCRAM_USER = "scram-worker"
SCRAM_PASSWORD = "only-for-scram-20ab"
MECHANISMS = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"

RESOLVE_TIMEOUT_S = 600.0
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,SASLTLS:SASL_SSL,MUTUAL:SSL,\
CONTROLLER:PLAINTEXT
listener.name.sasl.sasl.enabled.mechanisms={mechanisms}
listener.name.sasl.plain.sasl.jaas.config={plain}
listener.name.sasl.scram-sha-256.sasl.jaas.config={scram}
listener.name.sasl.scram-sha-512.sasl.jaas.config={scram}
listener.name.sasl.oauthbearer.sasl.jaas.config=\
org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
listener.name.sasltls.sasl.enabled.mechanisms=PLAIN
listener.name.sasltls.plain.sasl.jaas.config={plain}
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
listener.name.mutual.ssl.client.auth=required
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{operator}
log.dirs={data}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.max.timeout.ms=900000
log.cleaner.dedupe.buffer.size=4194304
log.cleaner.backoff.ms=500
num.network.threads=2
num.io.threads=2
"""


_PLAIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    f'user_{SASL_USER}="{SASL_PASSWORD}" user_{OPERATOR}="{SASL_PASSWORD}";'
)
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class KafkaUnavailableError(Exception):
    """No broker can run here; the message says what is missing."""


def kafka_version() -> str:
    """Return the broker version that pom.xml names."""
    match = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", POM.read_text())
    assert match, "pom.xml names no kafka.version"
    return match[1]


def _java() -> str:
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if not java or not Path(java).exists():
        raise KafkaUnavailableError("no java found; install Java 17 or newer, or set STREAMRNN_TEST_BOOTSTRAP")
    banner = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    match = re.search(r'version "(\d+)', banner)
    if not match or int(match[1]) < 17:
        raise KafkaUnavailableError(f"Java 17 or newer is needed, found {banner.splitlines()[:1]}")
    return java


def resolve_jars() -> Path:
    """Return the directory with the broker's jars, having Maven fill it the first time."""
    named = os.environ.get("STREAMRNN_KAFKA_JARS")
    if named:
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "streamrnn"
    jars = cache / f"kafka-{kafka_version()}"
    if jars.is_dir():
        return jars
    mvn = shutil.which("mvn")
    if not mvn:
        raise KafkaUnavailableError("no mvn found to resolve the broker's jars; install Maven")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:  # renamed when whole, so a broken run leaves nothing behind
        fresh = Path(scratch, "jars")
        command = [mvn, "-B", "-q", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        command += [f"-DoutputDirectory={fresh}"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=RESOLVE_TIMEOUT_S, check=False)
        if run.returncode or not any(fresh.glob("kafka_*.jar")):
            raise KafkaUnavailableError(f"Maven could not resolve the jars:\n{(run.stdout + run.stderr)[-2000:]}")
        if not jars.is_dir():
            fresh.rename(jars)
    return jars


def _scram_users() -> list[str]:
    each = f"[name={SCRAM_USER},password={SCRAM_PASSWORD}]"
    return [word for number in (256, 512) for word in ("--add-scram", f"SCRAM-SHA-{number}={each}")]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [s.getsockname()[1] for s in sockets]


class KafkaServer:
    """One broker process. ``bootstrap`` is its plain listener; the others' names begin with what they ask for.

    ``authority`` has issued the broker's certificate, for localhost and 127.0.0.1, and issues those of clients.
    """

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory
        self.log_path = directory / "broker.log"
        self._controller_port, *free = _free_ports(6)
        if port:
            free[0] = port
        self.port = free[0]
        self._listeners = dict(zip(("PLAINTEXT", "SASL", "TLS", "SASLTLS", "MUTUAL"), free, strict=True))
        self.bootstrap, self.sasl_bootstrap, self.tls_bootstrap, self.sasl_tls_bootstrap, self.mutual_bootstrap = (
            f"127.0.0.1:{number}" for number in free
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The broker's process id, None when it does not run."""
        return None if self._process is None else self._process.pid

    def _command(self, jars: Path, *main: str) -> list[str]:
        return [
            _java(),
            "-Xmx512m",
            "-Xms128m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",  # short runs: compile quickly rather than well
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            f"{jars}/*",
            *main,
        ]

    def start(self) -> None:
        """Format the storage, start the broker, return once a client gets an answer. Raises with the log's end."""
        jars = resolve_jars()
        if not shutil.which("openssl"):
            raise KafkaUnavailableError("no openssl found to make the broker's certificate; install it")
        self.authority = Authority(self.directory / "certificates")
        config = self.directory / "server.properties"
        config.write_text(
            PROPERTIES.format(
                listeners=",".join(f"{name}://127.0.0.1:{port}" for name, port in self._listeners.items()),
                controller_port=self._controller_port,
                data=self.directory / "data",
                mechanisms=MECHANISMS,
                plain=_PLAIN,
                scram=_SCRAM,
                operator=OPERATOR,
                keystore=self.authority.issue("broker", "DNS:localhost", "IP:127.0.0.1"),
                truststore=self.authority.ca,
            )
        )
        with self.log_path.open("ab") as log:
            if not (self.directory / "data").exists():
                cluster_id = "c3RyZWFtcm5uLXRlc3RzMA"  # any 16 bytes in URL-safe base64
                format_storage = (
                    "kafka.tools.StorageTool",
                    "format",
                    "-t",
                    cluster_id,
                    "-c",
                    str(config),
                    *_scram_users(),
                )
                run = subprocess.run(
                    self._command(jars, *format_storage), stdout=log, stderr=log, timeout=START_TIMEOUT_S, check=False
                )
                if run.returncode:
                    raise RuntimeError(f"formatting the broker's storage failed:\n{self.log_tail()}")
            self._process = subprocess.Popen(
                self._command(jars, "kafka.Kafka", str(config)), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"the broker ended with status {self._process.returncode}:\n{self.log_tail()}")
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                with contextlib.closing(
                    KafkaAdminClient(bootstrap_servers=self.bootstrap, bootstrap_timeout_ms=5000)
                ) as admin:
                    admin.list_topics()
            except (OSError, KafkaError):
                time.sleep(0.2)
            else:
                return
        raise RuntimeError(f"the broker did not answer within {START_TIMEOUT_S:.0f} s:\n{self.log_tail()}")

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of the broker's log."""
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """Stop the process: terminate, and kill when it lingers. Idempotent."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_TIMEOUT_S)
        self._process = None


def main() -> int:
    """Run one broker until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Run a throw-away Apache Kafka broker on loopback until Ctrl-C.")
    parser.add_argument("--port", type=int, default=9092, help="port of the plain listener (default 9092)")
    port = parser.parse_args().port
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="streamrnn-kafka-") as directory:
        server = KafkaServer(Path(directory), port)
        print(f"starting Apache Kafka {kafka_version()} in {directory} ...", flush=True)
        try:
            server.start()
            print(f"ready: --bootstrap {server.bootstrap}   (Ctrl-C ends it)", flush=True)
            while server.pid is not None:
                time.sleep(3600)
        except KafkaUnavailableError as missing:
            print(f"error: {missing}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("stopping", flush=True)
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
