"""How to authenticate with a Kafka cluster and encrypt the connection; and the one type in which a password travels.

A job file's ``kafka.security`` section is a ``KafkaSecurity``, and so is what a client is made from: nothing is
translated in between. Names and values are those of Kafka's clients.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import urllib.parse
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

REDACTED = "**********"
"""What is shown in place of a secret."""

EXTENSION_PATTERN = r"^[A-Za-z]+=[\x21-\x7e]+$(?!\n)"
"""RFC 7628, 3.1. The lookahead keeps out a trailing newline, which `$` alone lets pass."""

_Text = Annotated[str, Meta(min_length=1)]


class Secret:
    """Text that must not be shown: ``reveal()`` is the only way to it. It is not serialised by anything.

    >>> Secret("hunter2")
    Secret('**********')
    >>> f"{Secret('hunter2')}", Secret("hunter2") == Secret("hunter2")
    ('**********', True)
    >>> Secret("hunter2").reveal() == "hunter2", {"sasl_plain_password": Secret("hunter2").reveal()}
    (True, {'sasl_plain_password': '**********'})
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = _Revealed(text)

    def reveal(self) -> str:
        """The text itself, for the client that needs it; even this shows as stars in a repr."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({REDACTED!r})"

    def __str__(self) -> str:
        return REDACTED

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(("Secret", self._text))

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is not serialised")


class _Revealed(str):
    """A secret's text as a client needs it. Its repr is hidden because kafka-python logs its configuration."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(REDACTED)


def is_loopback(host: str) -> bool:
    """Whether this is an address, and one that no other machine reaches.

    >>> is_loopback("127.0.0.53"), is_loopback("::ffff:127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("localhost")
    (True, True, False, False)
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_this_machine(host: str) -> bool:
    """Whether a host is this machine, by the name or address that is given.

    >>> is_this_machine("localhost"), is_this_machine("::1"), is_this_machine("idp.example")
    (True, True, False)
    """
    return host.lower() == "localhost" or is_loopback(host)


class OAuth(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the tokens of sasl_mechanism OAUTHBEARER come from: an endpoint, or a file that others renew."""

    token_endpoint: Annotated[
        _Text | None, Meta(description="https URL that gives tokens for client_id and client_secret (RFC 6749, 4.4).")
    ] = None
    client_id: Annotated[_Text | None, Meta(description="Needed with token_endpoint.")] = None
    client_secret: Annotated[
        Secret | None, Meta(description="Needed with token_endpoint; best given as ${ENV_VAR}; never shown.")
    ] = None
    scope: Annotated[_Text | None, Meta(description="What the token shall be for, where the endpoint asks for it.")] = (
        None
    )
    cafile: Annotated[
        _Text | None, Meta(description="PEM file of the authorities to trust for token_endpoint; null: the system's.")
    ] = None
    token_file: Annotated[
        _Text | None,
        Meta(description="In place of token_endpoint: a file with the token, read again whenever one is needed."),
    ] = None
    extensions: Annotated[
        tuple[Annotated[_Text, Meta(pattern=EXTENSION_PATTERN)], ...],
        Meta(description="name=value to send along, where the broker asks for it (Confluent Cloud: logicalCluster)."),
    ] = ()

    def __post_init__(self) -> None:
        if any(extension.startswith("auth=") for extension in self.extensions):
            raise ValueError("extensions: auth is the token's own place")
        others = ("client_id", "client_secret", "scope", "cafile")
        if (self.token_endpoint is None) == (self.token_file is None):
            raise ValueError("token_endpoint: expected either it or token_file")
        for name in others:
            if self.token_file is not None and getattr(self, name) is not None:
                raise ValueError(f"{name}: goes with token_endpoint, found token_file")
        if self.token_endpoint is None:
            return
        for name in others[:2]:
            if getattr(self, name) is None:
                raise ValueError(f"{name}: required with token_endpoint, but missing")
        self._check_endpoint(self.token_endpoint)

    @staticmethod
    def _check_endpoint(endpoint: str) -> None:
        # Nothing of it is shown: somebody may have put the secret into it.
        try:
            url = urllib.parse.urlsplit(endpoint)
            host, _ = url.hostname or "", url.port
        except ValueError:
            raise ValueError("token_endpoint: found a value that is no URL, expected https://host/path") from None
        if "@" in url.netloc:
            raise ValueError("token_endpoint: found credentials in it, which belong in client_id and client_secret")
        if not host or not (url.scheme == "https" or (url.scheme == "http" and is_this_machine(host))):
            raise ValueError("token_endpoint: expected https://host/path; http would send client_secret unencrypted")


class Kerberos(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The broker's principal for sasl_mechanism GSSAPI: service_name/host@realm."""

    service_name: Annotated[_Text, Meta(description="First part of the broker's principal.")] = "kafka"
    domain: Annotated[
        _Text | None, Meta(description="Second part of the broker's principal; null: the broker's host.")
    ] = None


class KafkaSecurity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to authenticate with the brokers and encrypt the connection."""

    protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Meta(description="Kafka's security.protocol.")
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI", "AWS_MSK_IAM"] | None,
        Meta(description="Needed with a SASL_ protocol."),
    ] = None
    sasl_username: Annotated[_Text | None, Meta(description="User name or API key, of PLAIN and SCRAM.")] = None
    sasl_password: Annotated[
        Secret | None, Meta(description="Of PLAIN and SCRAM; best given as ${ENV_VAR}; never shown.")
    ] = None
    oauth: Annotated[OAuth | None, Meta(description="Where tokens come from, of OAUTHBEARER.")] = None
    kerberos: Annotated[Kerberos | None, Meta(description="The broker's principal, of GSSAPI.")] = None
    ssl_cafile: Annotated[
        _Text | None, Meta(description="PEM file of the authorities to trust; null: the system's.")
    ] = None
    ssl_certfile: Annotated[_Text | None, Meta(description="PEM file of the client's certificate.")] = None
    ssl_keyfile: Annotated[_Text | None, Meta(description="PEM file of the client's key.")] = None
    ssl_key_password: Annotated[Secret | None, Meta(description="Password of the key file; never shown.")] = None
    ssl_check_hostname: Annotated[bool, Meta(description="Whether the broker's certificate must name its host.")] = True

    def __post_init__(self) -> None:
        given = [name for name in self.__struct_fields__ if getattr(self, name) not in (None, True)]
        if not self.protocol.startswith("SASL_") and (wrong := [n for n in given if n.startswith(_OF_SASL)]):
            raise ValueError(f"{wrong[0]}: goes with protocol SASL_PLAINTEXT or SASL_SSL, found {self.protocol}")
        if not self.protocol.endswith("SSL") and (wrong := [n for n in given if n.startswith("ssl_")]):
            raise ValueError(f"{wrong[0]}: goes with protocol SSL or SASL_SSL, found {self.protocol}")
        self._check_sasl()
        if self.ssl_certfile is None and (self.ssl_keyfile is not None or self.ssl_key_password is not None):
            raise ValueError("ssl_certfile: required with ssl_keyfile or ssl_key_password, but missing")

    def _check_sasl(self) -> None:
        """Each mechanism has its own fields."""
        if not self.protocol.startswith("SASL_"):
            return
        if self.sasl_mechanism is None:
            raise ValueError(f"sasl_mechanism: required with protocol {self.protocol}, but missing")
        if self.sasl_mechanism == "AWS_MSK_IAM" and self.protocol != "SASL_SSL":
            raise ValueError(f"protocol: sasl_mechanism AWS_MSK_IAM goes with SASL_SSL, found {self.protocol}")
        needed, allowed = _FIELDS.get(self.sasl_mechanism, (_PASSWORD, _PASSWORD))
        for name in needed:
            if getattr(self, name) is None:
                raise ValueError(f"{name}: required with sasl_mechanism {self.sasl_mechanism}, but missing")
        for name in (*_PASSWORD, "oauth", "kerberos"):
            if getattr(self, name) is not None and name not in allowed:
                raise ValueError(f"{name}: does not go with sasl_mechanism {self.sasl_mechanism}")

    def missing_package(self) -> str:
        """What has to be installed for the mechanism and is not, as a sentence; or nothing."""
        package, extra = _PACKAGES.get(self.sasl_mechanism or "", ("", ""))
        if not package or importlib.util.find_spec(package) is not None:
            return ""
        return (
            f"kafka.security.sasl_mechanism: {self.sasl_mechanism} needs the package {package}, which is not there: "
            f"pip install 'streamrnn[{extra}]'"
        )


_OF_SASL = ("sasl_", "oauth", "kerberos")
_PASSWORD = ("sasl_username", "sasl_password")
_FIELDS = {"OAUTHBEARER": (("oauth",), ("oauth",)), "GSSAPI": ((), ("kerberos",)), "AWS_MSK_IAM": ((), ())}
"""Fields that a mechanism needs, and that it takes; the others have a user and a password."""
_PACKAGES = {"GSSAPI": ("gssapi", "kerberos"), "AWS_MSK_IAM": ("botocore", "msk")}
"""What the client needs of others for a mechanism, and our extra that brings it."""
