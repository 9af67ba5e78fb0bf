"""AWS_MSK_IAM without AWS: a stand-in for botocore, and a broker with TLS that keeps what it is sent.

In a process of its own, since modules are replaced.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import urllib.parse
from pathlib import Path

import pytest

from tests.kafka.certificates import Authority
from tests.support.pretenders import API_VERSIONS, serving, versions_answer

pytestmark = pytest.mark.timeout(60)

ACCESS_KEY, SECRET_KEY, SESSION = "AKIA-ONLY-TESTS", "only-for-msk-5b", "session-token-9/+="
HANDSHAKE, AUTHENTICATE = 17, 36

CLIENT = """
import importlib.machinery, sys, types

found = types.SimpleNamespace(access_key={access!r}, secret_key={secret!r}, token={session!r})


class Session:
    def get_credentials(self):
        return types.SimpleNamespace(get_frozen_credentials=lambda: found) if {known} else None

    def get_config_variable(self, name):
        return {region!r} if name == "region" else None


for name in ("botocore", "botocore.session"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__spec__ = importlib.machinery.ModuleSpec(name, None)
sys.modules["botocore.session"].Session = Session

from streamrnn.broker.kafka_admin import KafkaAdministration
from streamrnn.broker.kafka_settings import KafkaConnection
from streamrnn.broker.security import KafkaSecurity
from streamrnn.errors import BrokerError

security = KafkaSecurity(protocol="SASL_SSL", sasl_mechanism="AWS_MSK_IAM", ssl_cafile={cafile!r})
assert security.missing_package() == ""
try:
    KafkaAdministration(KafkaConnection(bootstrap_servers={address!r}, security=security)).describe_topics(["t"])
except BrokerError as error:
    print(error)
"""


class Msk:
    """Lets nobody in, and keeps what it was sent as proof."""

    def __init__(self) -> None:
        self.proofs: list[bytes] = []

    def __call__(self, connection: socket.socket, ended: threading.Event) -> None:  # noqa: ARG002 - a Manner
        requests = connection.makefile("rb")
        while header := requests.read(4):
            request = requests.read(struct.unpack(">i", header)[0])
            key, version, correlation_id = struct.unpack(">hhi", request[:8])
            connection.sendall(_framed(correlation_id, self._answer(key, version, request[8:])))

    def _answer(self, key: int, version: int, rest: bytes) -> bytes:
        if key == API_VERSIONS:
            return versions_answer(35 if version else 0)
        if key == HANDSHAKE:
            return struct.pack(">hih", 0, 1, len(b"AWS_MSK_IAM")) + b"AWS_MSK_IAM"
        assert key == AUTHENTICATE
        self.proofs.append(rest[rest.index(b"{") :])
        return struct.pack(">hh", 58, len(b"Access denied")) + b"Access denied" + struct.pack(">iq", 0, 0)


def _framed(correlation_id: int, body: bytes) -> bytes:
    return struct.pack(">ii", 4 + len(body), correlation_id) + body


def asked(tmp_path: Path, *, known: bool = True, region: str | None = "eu-west-1") -> tuple[str, list[bytes]]:
    """What is said to the user, and what the broker was sent."""
    authority, broker = Authority(tmp_path), Msk()
    with serving(broker, authority.issue("msk", "IP:127.0.0.1")) as address:
        script = CLIENT.format(
            access=ACCESS_KEY,
            secret=SECRET_KEY,
            session=SESSION,
            known=known,
            region=region,
            cafile=str(authority.ca),
            address=address,
        )
        run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50, check=False)
    assert run.returncode == 0, run.stderr
    assert SECRET_KEY not in run.stdout + run.stderr
    return run.stdout.strip(), broker.proofs


def test_a_broker_is_sent_what_the_credentials_sign(tmp_path: Path) -> None:
    said, proofs = asked(tmp_path)
    assert re.fullmatch(
        r"no connection to Kafka at 127\.0\.0\.1:\d+: authentication failed \(AWS_MSK_IAM\): Access denied; check the "
        r"AWS credentials, their policy \(kafka-cluster:Connect\) and the region",
        said,
    )
    proof = json.loads(proofs[0])
    assert proof["host"] == "127.0.0.1"
    assert proof["action"] == "kafka-cluster:Connect"
    assert proof["x-amz-security-token"] == SESSION
    day = proof["x-amz-date"][:8]
    assert proof["x-amz-credential"] == f"{ACCESS_KEY}/{day}/eu-west-1/kafka-cluster/aws4_request"
    assert proof["x-amz-signature"] == _signature(proof, day)


def _signature(proof: dict[str, str], day: str) -> str:
    """AWS's signature, version 4, of a request without a body, as their documentation gives it."""
    signed = {
        "Action": proof["action"],
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": proof["x-amz-credential"],
        "X-Amz-Date": proof["x-amz-date"],
        "X-Amz-Expires": proof["x-amz-expires"],
        "X-Amz-Security-Token": SESSION,
        "X-Amz-SignedHeaders": "host",
    }
    query = urllib.parse.urlencode(signed, quote_via=urllib.parse.quote, safe="-._~")
    nothing = hashlib.sha256(b"").hexdigest()
    request = f"GET\n/\n{query}\nhost:{proof['host']}\n\nhost\n{nothing}"
    scope = f"{day}/eu-west-1/kafka-cluster/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{proof['x-amz-date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{SECRET_KEY}".encode()
    for word in scope.split("/"):
        key = hmac.digest(key, word.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


@pytest.mark.parametrize(
    ("known", "region", "expected"),
    [(False, "eu-west-1", "no AWS credentials were found"), (True, None, "Unable to determine region")],
)
def test_no_credentials_and_no_region_are_named(tmp_path: Path, known: bool, region: str | None, expected: str) -> None:
    said, proofs = asked(tmp_path, known=known, region=region)
    assert said.startswith("no connection to Kafka at 127.0.0.1:")
    assert expected in said
    assert "botocore looks for them in the environment, in ~/.aws and at the instance" in said
    assert proofs == []
