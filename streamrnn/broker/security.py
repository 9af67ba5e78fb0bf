"""How to authenticate with a Kafka cluster and encrypt the connection; and the one type in which a password travels.

A job file's ``kafka.security`` section is a ``KafkaSecurity``, and so is what a client is made from: nothing is
translated in between. Names and values are those of Kafka's clients.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

REDACTED = "**********"
"""What is shown in place of a secret."""

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


class KafkaSecurity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to authenticate with the brokers and encrypt the connection."""

    protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], Meta(description="Kafka's security.protocol.")
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None, Meta(description="Needed with a SASL_ protocol.")
    ] = None
    sasl_username: Annotated[_Text | None, Meta(description="User name or API key.")] = None
    sasl_password: Annotated[Secret | None, Meta(description="Best given as ${ENV_VAR}; never shown.")] = None
    ssl_cafile: Annotated[
        _Text | None, Meta(description="PEM file of the authorities to trust; null: the system's.")
    ] = None
    ssl_certfile: Annotated[_Text | None, Meta(description="PEM file of the client's certificate.")] = None
    ssl_keyfile: Annotated[_Text | None, Meta(description="PEM file of the client's key.")] = None
    ssl_key_password: Annotated[Secret | None, Meta(description="Password of the key file; never shown.")] = None
    ssl_check_hostname: Annotated[bool, Meta(description="Whether the broker's certificate must name its host.")] = True

    def __post_init__(self) -> None:
        given = [name for name in self.__struct_fields__ if getattr(self, name) not in (None, True)]
        if not self.protocol.startswith("SASL_") and (wrong := [n for n in given if n.startswith("sasl_")]):
            raise ValueError(f"{wrong[0]}: goes with protocol SASL_PLAINTEXT or SASL_SSL, found {self.protocol}")
        if not self.protocol.endswith("SSL") and (wrong := [n for n in given if n.startswith("ssl_")]):
            raise ValueError(f"{wrong[0]}: goes with protocol SSL or SASL_SSL, found {self.protocol}")
        if self.protocol.startswith("SASL_"):
            for name in ("sasl_mechanism", "sasl_username", "sasl_password"):
                if getattr(self, name) is None:
                    raise ValueError(f"{name}: required with protocol {self.protocol}, but missing")
        if self.ssl_certfile is None and (self.ssl_keyfile is not None or self.ssl_key_password is not None):
            raise ValueError("ssl_certfile: required with ssl_keyfile or ssl_key_password, but missing")
