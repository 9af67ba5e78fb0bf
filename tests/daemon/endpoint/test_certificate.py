"""The endpoint with https, among clients that do not finish, or do not begin, a handshake."""

from __future__ import annotations

import json
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from streamrnn.broker.protocol import TopicPartition
from streamrnn.broker.security import Secret
from streamrnn.daemon.endpoint.certificate import Certificate
from streamrnn.daemon.endpoint.http import MAX_SILENT
from streamrnn.errors import ConfigError
from tests.support import certificates
from tests.support.certificates import Pair
from tests.support.endpoint import PATIENCE_S, Endpoint, descriptors, endpoint, everything, status

ROOT = Path(__file__).parents[3]
LIVE = b"GET /healthz HTTP/1.0\r\n\r\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return certificates.make(tmp_path_factory.mktemp("tls"))


def certificate(pair: Pair) -> Certificate:
    return Certificate(str(pair.certfile), str(pair.keyfile))


def trusting(pair: Pair) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pair.certfile))


def say(serving: Endpoint, context: ssl.SSLContext, request: bytes = LIVE) -> bytes:
    with serving.connect() as plain, context.wrap_socket(plain, server_hostname="localhost") as client:
        client.sendall(request)
        return everything(client)


def test_https_is_served_with_a_certificate_that_clients_can_check(pair: Pair) -> None:
    with endpoint(certificate=certificate(pair), deadline_s=2 * PATIENCE_S) as serving:
        assert status(say(serving, trusting(pair))) == 200
        assert b"streamrnn_ready" in say(serving, trusting(pair), b"GET /metrics HTTP/1.0\r\n\r\n")
        assert status(say(serving, trusting(pair), b"nonsense\r\n")) == 400


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_tls_below_1_2_is_refused(pair: Pair) -> None:
    old, least = trusting(pair), trusting(pair)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_1
    least.maximum_version = ssl.TLSVersion.TLSv1_2
    # Asked of the context too: a system's OpenSSL may refuse older ones by itself.
    assert certificate(pair).context().minimum_version == ssl.TLSVersion.TLSv1_2
    with endpoint(certificate=certificate(pair)) as serving:
        with pytest.raises(ssl.SSLError):
            say(serving, old)
        assert status(say(serving, least)) == 200


@pytest.mark.parametrize("sent", [LIVE, b"\x16\x03\x01\x00\x05nonsense", b"\x00" * 100])
def test_what_is_no_tls_ends_that_connection_only_and_is_logged_at_debug_level(
    pair: Pair, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    with endpoint(certificate=certificate(pair)) as serving:
        assert b"200" not in serving.say(sent)
        assert status(say(serving, trusting(pair))) == 200
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_is_not_finished_keeps_nobody_waiting_and_is_cut_off(pair: Pair, sent: bytes) -> None:
    with endpoint(certificate=certificate(pair), deadline_s=1.0) as serving, serving.connect() as hanging:
        hanging.sendall(sent)
        assert status(say(serving, trusting(pair))) == 200
        begun = time.monotonic()
        assert everything(hanging) == b""
        assert time.monotonic() - begun < PATIENCE_S


def test_a_handshake_that_trickles_is_cut_off(pair: Pair) -> None:
    with endpoint(certificate=certificate(pair), deadline_s=0.3) as serving, serving.connect() as trickling:
        begun = time.monotonic()
        with pytest.raises(OSError):
            for byte in b"\x16\x03\x01\x40\x00" + b"\x01\x00\x3f\xfc" + b"\x03" * 16_000:
                trickling.sendall(bytes([byte]))
                time.sleep(0.01)
        assert time.monotonic() - begun < PATIENCE_S


def test_clients_that_do_not_finish_their_handshake_hold_a_bounded_number_of_descriptors(pair: Pair) -> None:
    with endpoint(certificate=certificate(pair)) as serving:
        before = descriptors()
        clients = [serving.connect() for _ in range(200)]
        for client in clients[::2]:
            client.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert status(say(serving, trusting(pair))) == 200
        assert descriptors() - before - len(clients) <= MAX_SILENT + 2
        for client in clients:
            client.close()


def test_a_renewed_certificate_is_served_to_the_next_client_and_half_a_renewal_to_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    pair = certificates.make(tmp_path, "tls")
    first, second = trusting(pair), certificates.make(tmp_path, "renewed")
    used = Certificate(str(pair.certfile), str(pair.keyfile), clock=lambda: now)
    with endpoint(certificate=used) as serving:
        assert status(say(serving, first)) == 200
        second.certfile.replace(pair.certfile)  # and not the key yet
        renewed = trusting(pair)
        now = 2.0
        assert status(say(serving, first)) == 200
        assert "does not hold the key" in caplog.text
        assert "the certificate from before stays in use" in caplog.text
        second.keyfile.replace(pair.keyfile)
        now = 2.5
        assert status(say(serving, first)) == 200, "files are looked at once a second"
        now = 3.0
        assert status(say(serving, renewed)) == 200
        with pytest.raises(ssl.SSLError):
            say(serving, first)
        pair.certfile.unlink()
        now = 4.0
        assert status(say(serving, renewed)) == 200
    assert "was renewed and is in use" in caplog.text


def test_a_key_may_stand_beside_its_certificate_or_be_encrypted(tmp_path: Path, pair: Pair) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(pair.keyfile.read_bytes() + pair.certfile.read_bytes())
    assert Certificate(str(both)).context()
    locked = certificates.make(tmp_path, "locked", "a password")
    assert Certificate(str(locked.certfile), str(locked.keyfile), Secret("a password")).context()


def test_files_that_cannot_be_used_are_named_with_the_remedy(tmp_path: Path, pair: Pair) -> None:
    other = certificates.make(tmp_path, "other")
    locked = certificates.make(tmp_path, "locked", "a password")
    empty, broken, fifo = tmp_path / "empty", tmp_path / "broken", tmp_path / "fifo"
    empty.write_text("")
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    os.mkfifo(fifo)
    crt, key = str(pair.certfile), str(pair.keyfile)
    for arguments, expected in (
        (("none.crt", key), r"http\.certfile: none\.crt cannot be read: No such file"),
        ((crt, "none.key"), r"http\.keyfile: none\.key cannot be read: No such file"),
        ((str(tmp_path), key), r"http\.certfile: .* is not a file"),
        ((crt, str(fifo)), r"http\.keyfile: .*fifo is not a file"),
        ((str(empty), key), r"http\.certfile: .*empty holds no certificate in PEM format"),
        ((key, crt), r"http\.certfile: .*tls\.key holds no certificate"),
        ((crt, None), r"http\.certfile: .*tls\.crt holds no key in PEM format; set http\.keyfile"),
        ((crt, crt), r"http\.keyfile: .*tls\.crt holds no key in PEM format"),
        ((crt, str(other.keyfile)), r"http\.keyfile: .*other\.key does not hold the key of .*tls\.crt"),
        ((str(broken), key), r"http\.keyfile: .*tls\.key cannot be used with .*broken"),
        ((str(locked.certfile), str(locked.keyfile)), r"the key in .* is encrypted; set http\.key_password"),
        (
            (str(locked.certfile), str(locked.keyfile), Secret("wrong")),
            r"cannot be used with .* and http\.key_password",
        ),
    ):
        with pytest.raises(ConfigError, match=expected) as refused:
            Certificate(*arguments)
        assert "wrong" not in str(refused.value)
        assert "\n" not in str(refused.value)


def test_closing_does_not_wait_for_handshakes(pair: Pair) -> None:
    with endpoint(certificate=certificate(pair)) as serving:
        hanging = socket.create_connection(("127.0.0.1", serving.port), timeout=PATIENCE_S)
        assert status(say(serving, trusting(pair))) == 200
        closing = threading.Thread(target=serving.server.close)
        closing.start()
        closing.join(PATIENCE_S)
        assert not closing.is_alive()
        hanging.close()


@pytest.mark.parametrize("secure", [False, True])
def test_the_images_health_check_asks_in_the_way_that_is_served(pair: Pair, secure: bool) -> None:
    """With a token as well, which it does not have."""
    instruction = (ROOT / "docker" / "Dockerfile").read_text().rpartition("HEALTHCHECK")[2]  # the last stage's
    _, *arguments = json.loads(instruction[instruction.index("[") : instruction.index("\n", instruction.index("["))])
    with endpoint(certificate=certificate(pair) if secure else None, token=Secret("a" * 32)) as serving:
        command = [argument.replace("9308", str(serving.port)) for argument in arguments]
        assert subprocess.run([sys.executable, *command], timeout=PATIENCE_S).returncode == 0
        serving.health.assigned(TopicPartition("t", 0))
        serving.health.progress(TopicPartition("t", 0), 1, 1)
        serving.health._stall_after_s = -1.0
        failed = subprocess.run([sys.executable, *command], timeout=PATIENCE_S, capture_output=True)
        assert failed.returncode != 0
