"""Why there is no connection to a cluster, in words: what is wrong and what to do about it.

The errors are those that kafka-python's connections end with, which wrap what OpenSSL or the system said. Nothing here
holds a password or a token; what a broker says is cut short and shown without control characters.
"""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterator
from typing import NamedTuple

import kafka.errors as client_errors

from streamrnn.broker.kafka_tokens import TokenError
from streamrnn.broker.security import KafkaSecurity
from streamrnn.escaping import one_line

_TLS_RECORDS = range(0x14000000, 0x18000000)
"""What the first four bytes of a TLS record look like where a frame's length is expected."""

_NOT_TLS = {
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
}
_FILES = "BAD_DECRYPT", "PEM_LIB", "NO_START_LINE", "KEY_VALUES_MISMATCH", "NO_CERTIFICATE_OR_CRL_FOUND"

_LONGEST = 300

_SURE, _LIKELY, _PASSING = 1, 3, 0
"""Likely is what a broker does, too, that is just being stopped."""


class Cause(NamedTuple):
    """What is wrong and what to do about it. Met ``tries`` times it is taken for lasting: waiting will not mend it.

    0 is never: a broker that is started, or a network that comes back, mends it. ``away`` is a server where for sure
    nobody is, and not one that is there and does not want this client.
    """

    text: str
    tries: int
    away: bool = False


def shown(said: object) -> str:
    """What somebody else says of a failure."""
    return one_line(str(said), _LONGEST) or type(said).__name__


def cause_of(error: BaseException, security: KafkaSecurity) -> Cause:
    """The cause of a connection's end, as far as the errors tell."""
    for one in _chain(error):
        for name in (_of_token, _of_certificate, _of_tls, _of_sasl, _of_frame, _of_network):
            if (cause := name(one, security)) is not None:
                return cause
    return Cause(shown(error), _PASSING)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, those it wraps, and those it was raised for."""
    waiting, met = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) not in met:
            met.add(id(one))
            yield one
            wrapped = [argument for argument in one.args if isinstance(argument, BaseException)]
            waiting += [*wrapped, *(e for e in (one.__cause__, one.__context__) if e is not None)]


def _of_token(error: BaseException, security: KafkaSecurity) -> Cause | None:  # noqa: ARG001 - as all
    return Cause(str(error), _SURE if error.lasting else _PASSING) if isinstance(error, TokenError) else None


def _of_certificate(error: BaseException, security: KafkaSecurity) -> Cause | None:
    """The broker's certificate is not accepted here."""
    if not isinstance(error, ssl.SSLCertVerificationError):
        return None
    said = shown(error.verify_message)
    if error.verify_code == 10:
        return Cause(f"the broker's certificate has expired ({said}); have it renewed", _SURE)
    if error.verify_code in (62, 64):
        return Cause(
            f"the broker's certificate is for another host ({said}); name the broker in bootstrap_servers as its "
            "certificate does",
            _SURE,
        )
    trusted = security.ssl_cafile or "those the system trusts"
    return Cause(
        f"the broker's certificate is not issued by an authority in ssl_cafile, which is {trusted} ({said}); give the "
        "authority that issued it",
        _SURE,
    )


def _of_tls(error: BaseException, security: KafkaSecurity) -> Cause | None:
    """The connection is not, or not yet, encrypted."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return Cause(f"a file of kafka.security cannot be read: {error.strerror}", _SURE)
    if not isinstance(error, ssl.SSLError):
        return None
    reason = error.reason or ""
    if "ALERT" in reason:
        return _of_alert(reason, security)
    if reason in _NOT_TLS or isinstance(error, ssl.SSLEOFError):
        return Cause(
            f"what listens there does not speak TLS, and protocol is {security.protocol}; the port may be for protocol "
            f"{'SASL_PLAINTEXT' if security.sasl_mechanism else 'PLAINTEXT'}",
            _LIKELY if isinstance(error, ssl.SSLEOFError) else _SURE,
        )
    if reason in _FILES:
        return Cause(f"a file of kafka.security cannot be used ({reason})", _SURE)
    return Cause(f"no TLS connection could be made: {shown(error)}", _PASSING)


def _of_alert(reason: str, security: KafkaSecurity) -> Cause:
    """The broker has ended the handshake, and says why in a word."""
    said = reason.lower().replace("_", " ")
    if "CERT" in reason or "UNKNOWN_CA" in reason or reason.endswith("HANDSHAKE_FAILURE"):
        if security.ssl_certfile is None:
            return Cause(f"the broker asks for a client certificate ({said}); give ssl_certfile and ssl_keyfile", _SURE)
        return Cause(
            f"the broker does not accept the client certificate in ssl_certfile ({said}); it has to be issued by an "
            "authority that the broker trusts, and not to have expired",
            _SURE,
        )
    return Cause(f"the broker refused the TLS connection ({said})", _SURE)


def _of_sasl(error: BaseException, security: KafkaSecurity) -> Cause | None:
    """The connection stands and the broker does not know, or want, who is there."""
    mechanism = security.sasl_mechanism
    if isinstance(error, client_errors.UnsupportedSaslMechanismError):
        return Cause(f"the broker does not offer sasl_mechanism {mechanism}{_offered(error)}", _SURE)
    if isinstance(error, client_errors.IllegalSaslStateError):
        return Cause(
            f"the listener does not ask who is there, and protocol is {security.protocol}; the port may be for "
            f"protocol {security.protocol.removeprefix('SASL_')}",
            _SURE,
        )
    if isinstance(error, client_errors.SaslAuthenticationFailedError):
        said = shown(error.args[0] if error.args else "no reason given").removeprefix("SaslAuthenticationFailedError: ")
        return Cause(f"authentication failed ({mechanism}): {said}; check {_CREDENTIALS[mechanism or '']}", _SURE)
    if type(error).__module__.startswith("gssapi"):
        return Cause(
            f"Kerberos: {shown(error)}; get a ticket with kinit, or name a keytab in KRB5_CLIENT_KTNAME, and check "
            "kerberos.service_name and the broker's name",
            _SURE,
        )
    if mechanism == "AWS_MSK_IAM" and isinstance(error, AttributeError | client_errors.KafkaConfigurationError):
        what = "no AWS credentials were found" if isinstance(error, AttributeError) else shown(error)
        return Cause(
            f"{what}; botocore looks for them in the environment, in ~/.aws and at the instance, and for the region in "
            "AWS_DEFAULT_REGION",
            _SURE,
        )
    if mechanism is not None and mechanism.startswith("SCRAM") and isinstance(error, ValueError):
        return Cause(f"the broker does not know the password either ({shown(error)}): is it the right one?", _SURE)
    return None


_PASSWORD = "sasl_username and sasl_password"
_CREDENTIALS = {
    "PLAIN": _PASSWORD,
    "SCRAM-SHA-256": _PASSWORD,
    "SCRAM-SHA-512": _PASSWORD,
    "OAUTHBEARER": "oauth and what the broker expects of tokens: issuer, audience, scope",
    "GSSAPI": "kerberos.service_name, the ticket, and the clocks",
    "AWS_MSK_IAM": "the AWS credentials, their policy (kafka-cluster:Connect) and the region",
}


OFFERS = "Enabled mechanisms: "
"""With this the client's own message ends."""


def _offered(error: BaseException) -> str:
    """The mechanisms that the client's message lists at its end."""
    _, found, names = str(error).partition(OFFERS)
    return f"; it offers {shown(names).strip('[]').replace(chr(39), '')}" if found else "; ask which ones it offers"


def _of_frame(error: BaseException, security: KafkaSecurity) -> Cause | None:
    """Something answered, and it was no answer of Kafka's."""
    if not isinstance(error, client_errors.KafkaProtocolError):
        return None
    length = int(digits) if (digits := str(error).rpartition(" ")[2]).isdigit() else 0
    if length in _TLS_RECORDS:
        encrypted = security.protocol.replace("SASL_PLAINTEXT", "SASL_SSL").replace("PLAINTEXT", "SSL")
        return Cause(
            f"the listener speaks TLS, and protocol is {security.protocol}; the port may be for protocol {encrypted}",
            _SURE,
        )
    what = f" (it began with {length.to_bytes(4, 'big')!r})" if length else ", or speaks another version"
    return Cause(f"what listens there is no Kafka broker{what}; check the port", _SURE)


def _of_network(error: BaseException, security: KafkaSecurity) -> Cause | None:  # noqa: ARG001 - as all
    """There is no connection, or it was closed without a word."""
    said = str(error)
    if "DNS" in said:
        return Cause("the name is not known to the resolver; check it, and the network's DNS", _PASSING)
    for number, text in _NUMBERS.items():
        if f"{errno.errorcode[number]}" in said or (isinstance(error, OSError) and error.errno == number):
            return Cause(text, _PASSING, away=number == errno.ECONNREFUSED)
    if "socket disconnected" in said:
        return Cause("the connection was closed without an answer; check the port and what stands between", _PASSING)
    if isinstance(error, client_errors.KafkaTimeoutError | client_errors.RequestTimedOutError) or "timed out" in said:
        return Cause("nothing was answered; a firewall may drop what is sent, or the broker hangs", _PASSING)
    return None


_NUMBERS = {
    errno.ECONNRESET: "the connection was cut (ECONNRESET); check the port and what stands between",
    errno.EPIPE: "the connection was cut (EPIPE); check the port and what stands between",
    errno.ECONNREFUSED: "nothing listens there (connection refused)",
    errno.EHOSTUNREACH: "there is no way to the host (EHOSTUNREACH)",
    errno.ENETUNREACH: "there is no way to the network (ENETUNREACH)",
    errno.ETIMEDOUT: "nothing was answered (ETIMEDOUT); a firewall may drop what is sent",
}


CLOSED = Cause(
    "the connection was closed at the first request, as listeners do that ask for a password or speak another protocol "
    "than that of kafka.security",
    _LIKELY,
)
