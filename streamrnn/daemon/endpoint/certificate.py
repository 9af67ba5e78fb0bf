"""The certificate the endpoint shows with https, read again when its files change.

Whoever renews certificates (cert-manager, certbot) replaces the files and tells nobody. So they are looked at when a
client comes, at most once a second; a pair that cannot be used, as when only one file is new yet, leaves the one before
in use and is tried again. TLS 1.2 is the least, and clients cannot have it negotiated anew.
"""

from __future__ import annotations

import logging
import ssl
import stat
import time
from collections.abc import Callable
from pathlib import Path

from streamrnn.broker.security import Secret
from streamrnn.daemon.logs import Seldom
from streamrnn.errors import ConfigError
from streamrnn.job.http_config import HttpConfig
from streamrnn.system import reading

_CHECK_S = 1.0
_MOST_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)


class Certificate:
    """The files of ``http.certfile`` and ``http.keyfile``. Raises ConfigError when they cannot be used."""

    def __init__(
        self,
        certfile: str,
        keyfile: str | None = None,
        key_password: Secret | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._certfile, self._keyfile = Path(certfile), None if keyfile is None else Path(keyfile)
        self._key_password = key_password
        self._clock = clock
        self._seldom = Seldom(clock=clock)
        self._seen = self._signature()
        self._context = self._read()
        self._checked_at = clock()

    def context(self) -> ssl.SSLContext:
        """What a connection that begins now is served with."""
        if self._clock() - self._checked_at >= _CHECK_S:
            self._checked_at = self._clock()
            try:
                signature = self._signature()
                if signature != self._seen:
                    self._context, self._seen = self._read(), signature
                    _log.info("http.certfile: %s was renewed and is in use", self._certfile)
            except ConfigError as error:
                if self._seldom.due():
                    _log.warning("%s; the certificate from before stays in use", error)
        return self._context

    def _signature(self) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = []
        for name, path in self._files():
            try:
                status = path.stat()
            except OSError as error:
                raise ConfigError(f"{name}: {path} cannot be read: {error.strerror}") from None
            if not stat.S_ISREG(status.st_mode):  # reading a pipe would take for ever
                raise ConfigError(f"{name}: {path} is not a file, expected one in PEM format")
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
        return found

    def _files(self) -> list[tuple[str, Path]]:
        key = [] if self._keyfile is None else [("http.keyfile", self._keyfile)]
        return [("http.certfile", self._certfile), *key]

    def _read(self) -> ssl.SSLContext:
        for name, path in self._files():
            self._look_at(name, path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        name, path = self._files()[-1]
        try:
            context.load_cert_chain(self._certfile, self._keyfile, self._password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ConfigError(f"{name}: {path} does not hold the key of {self._certfile}") from None
            if self._key_password is not None:
                raise ConfigError(
                    f"{name}: {path} cannot be used with {self._certfile} and http.key_password ({error.reason})"
                ) from None
            raise ConfigError(
                f"{name}: {path} cannot be used with {self._certfile} ({error.reason or 'not in PEM format'})"
            ) from None
        except OSError as error:  # gone since it was looked at
            raise ConfigError(f"{name}: {path} cannot be read: {error.strerror}") from None
        return context

    def _look_at(self, name: str, path: Path) -> None:
        """OpenSSL says little of what is wrong, so the usual mistakes are found here."""
        try:
            text = reading.read(path, _MOST_BYTES, links=True)
        except OSError as error:
            raise ConfigError(f"{name}: {path} cannot be read: {error.strerror}") from None
        if name == "http.certfile" and b"-----BEGIN CERTIFICATE-----" not in text:
            raise ConfigError(f"{name}: {path} holds no certificate in PEM format (-----BEGIN CERTIFICATE-----)")
        if name == self._files()[-1][0] and b"PRIVATE KEY-----" not in text:
            missing = "; set http.keyfile" if self._keyfile is None else " (-----BEGIN PRIVATE KEY-----)"
            raise ConfigError(f"{name}: {path} holds no key in PEM format{missing}")

    def _password(self) -> str:
        # Asked for only where the key is encrypted. Without this, OpenSSL would ask on the terminal.
        if self._key_password is None:
            name, path = self._files()[-1]
            raise ConfigError(f"{name}: the key in {path} is encrypted; set http.key_password")
        return self._key_password.reveal()


def certificate_of(http: HttpConfig) -> Certificate | None:
    """The certificate of a job that has one."""
    return None if http.certfile is None else Certificate(http.certfile, http.keyfile, http.key_password)
