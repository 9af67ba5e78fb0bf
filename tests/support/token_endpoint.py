"""An endpoint on loopback that gives tokens for credentials, as RFC 6749 says: unsecured ones, which nobody signed."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CLIENT, CLIENT_SECRET = "flights", "only-for-tokens-83:é"


def unsecured_token(subject: str, lasts_s: float = 3600.0, **claims: Any) -> str:
    """A JSON web token that the tests' broker believes: its algorithm is none, and so it has no signature."""
    now = time.time() - 0.001  # rounded to milliseconds, now might be the future to the broker
    parts = ({"alg": "none"}, {"sub": subject, "iat": now, "exp": now + lasts_s, **claims})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


class Endpoint:
    """What it was asked, and what it answers: a status, a body, and headers."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, str]] = []
        self.lasts_s = 3600.0
        self.answer: tuple[int, bytes, dict[str, str]] | None = None  # None: a token for whoever knows the secret

    def respond(self, headers: Any, form: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        self.asked.append(form)
        if self.answer is not None:
            return self.answer
        pair = base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode()
        name, secret = map(urllib.parse.unquote_plus, pair.split(":"))
        if (name, secret) != (CLIENT, CLIENT_SECRET):
            refusal = {"error": "invalid_client", "error_description": "no\x1b such client"}
            return 401, json.dumps(refusal).encode(), {}
        given = {
            "access_token": unsecured_token(name, self.lasts_s),
            "expires_in": self.lasts_s,
            "token_type": "Bearer",
        }
        return 200, json.dumps(given).encode(), {}


@contextlib.contextmanager
def serving(certificate: Path | None = None) -> Iterator[Endpoint]:
    """An endpoint, with TLS where it has a certificate."""
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            status, text, headers = endpoint.respond(self.headers, dict(urllib.parse.parse_qsl(body)))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(text))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that does not trust it
            scheme = "https"
        endpoint.url = f"{scheme}://127.0.0.1:{server.server_port}/token"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join(5.0)
