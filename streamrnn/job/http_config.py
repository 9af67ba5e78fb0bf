"""The job file's section on the endpoint for metrics and probes: where it listens, who is answered, with which key."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta

from streamrnn.broker.security import Secret, is_this_machine
from streamrnn.job.section import Section, Text

TOKEN_PATTERN = r"[A-Za-z0-9._~+/-]+=*"
"""What a bearer token is made of (RFC 6750)."""


class HttpConfig(Section, frozen=True, kw_only=True):
    """The endpoint: the daemon's own page, /metrics, /healthz and /readyz."""

    host: Annotated[Text, Meta(description="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 for any free one.")] = 9308
    token: Annotated[
        Secret | None,
        Meta(
            description="Whoever asks for metrics, the page's data or a stream must send it (Authorization: Bearer), "
            "and probes tell those who do not only whether all is well; best given as ${ENV_VAR}, never shown; null: "
            "everybody may ask."
        ),
    ] = None
    certfile: Annotated[
        Text | None,
        Meta(description="PEM file of the certificate to serve https with, read again when it changes; null: http."),
    ] = None
    keyfile: Annotated[Text | None, Meta(description="PEM file of its key; null: it stands in certfile.")] = None
    key_password: Annotated[Secret | None, Meta(description="Password of the key; never shown.")] = None

    def __post_init__(self) -> None:
        # What is refused here may be a secret in the wrong place, so none of it is repeated.
        if self.token is not None and not re.fullmatch(TOKEN_PATTERN, self.token.reveal()):
            raise ValueError(
                "token: found a value that is not shown, expected letters, digits and - . _ ~ + / as in a header; "
                "make one with: openssl rand -hex 32"
            )
        for name in ("certfile", "keyfile"):
            path = getattr(self, name) or ""
            if "-----BEGIN" in path or not path.isprintable():
                raise ValueError(f"{name}: found a text that is not shown, expected the path of a PEM file")
            if name == "keyfile" and path and self.certfile is None:
                raise ValueError("certfile: required with keyfile, but missing")
        if self.key_password is not None and self.certfile is None:
            raise ValueError("certfile: required with key_password, but missing")

    @property
    def address(self) -> str:
        """Where it is reached, as the beginning of a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.certfile is None else 'https'}://{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it, as far as the name tells."""
        return is_this_machine(self.host)

    @property
    def audience(self) -> str:
        """Who is answered, as a sentence for people."""
        who = "anybody on this machine" if self.is_local else f"anybody who reaches {self.host}"
        if self.token is None:
            return f"open to {who}"
        return f"metrics and page open to those with the token, whether all is well to {who}"
