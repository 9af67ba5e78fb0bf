"""Whether the certificates and keys that ``kafka.security`` names can be used, before a client is made from them.

The client would find out with each connection, say no more than OpenSSL does, and have OpenSSL ask for a passphrase on
the terminal. It reads the files itself, each time, so that certificates may be renewed while it runs.
"""

from __future__ import annotations

import ssl

from streamrnn.broker.security import KafkaSecurity
from streamrnn.errors import BrokerError
from streamrnn.system import reading


def check_files(security: KafkaSecurity) -> None:
    """Raise a BrokerError that names the setting whose file cannot be used, and says why."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        if (path := getattr(security, name)) is not None:
            _read(name, path)
    if security.ssl_cafile is not None:
        try:
            context.load_verify_locations(security.ssl_cafile)
        except ssl.SSLError:
            raise _refused("ssl_cafile", security.ssl_cafile, "holds no certificate in PEM") from None
    if security.ssl_certfile is not None:
        _check_pair(context, security, security.ssl_certfile)


def _read(name: str, path: str) -> None:
    try:
        reading.open_stream(path, links=True).close()
    except OSError as error:
        raise _refused(name, path, f"cannot be read: {error.strerror}") from None


def _check_pair(context: ssl.SSLContext, security: KafkaSecurity, certificate: str) -> None:
    """Whether the client's certificate and key belong together, and the passphrase is that of the key."""
    given = security.ssl_key_password
    asked: list[bool] = []

    def passphrase() -> str:
        asked.append(True)
        return "" if given is None else given.reveal()

    key = "ssl_certfile" if security.ssl_keyfile is None else "ssl_keyfile"
    try:
        context.load_cert_chain(certificate, security.ssl_keyfile, passphrase)
    except (ssl.SSLError, ValueError, OSError) as error:
        path = security.ssl_keyfile or certificate
        reason = getattr(error, "reason", None) or ""
        if reason == "KEY_VALUES_MISMATCH":
            text = f"is not the key of the certificate in ssl_certfile, which is {certificate}"
            raise _refused(key, path, text) from None
        if asked and given is None:
            raise _refused(key, path, "holds an encrypted key; give its passphrase as ssl_key_password") from None
        if asked:
            raise _refused(key, path, "holds a key that ssl_key_password does not open") from None
        what = "no key in PEM" if _holds_certificate(certificate) else "no certificate in PEM"
        raise _refused(key if what == "no key in PEM" else "ssl_certfile", path, f"holds {what}") from None


def _holds_certificate(path: str) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return False
    return True


def _refused(name: str, path: str, why: str) -> BrokerError:
    return BrokerError(f"kafka.security.{name}: {path} {why}")
