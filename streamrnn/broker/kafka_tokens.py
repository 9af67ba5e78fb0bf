"""Tokens for OAUTHBEARER: from an endpoint by a client's credentials (RFC 6749, 4.4), or from a file that others renew.

A token is kept until four fifths of its life are over, and shared by all clients of the process, since some live for a
single request. A new one that cannot be had is no matter while the old one lasts. A file is read each time: Kubernetes
renews a projected service account's token in place.

The client asks on the thread that sends heartbeats. So the endpoint is asked on a thread of its own, one at a time for
all clients, and has to have answered in full within five seconds; that thread ends then, too. For a renewal the client
is kept no longer than two: the old token is good meanwhile, and the new one is there when it is asked for next.
Credentials go to the endpoint alone: redirects are refused, and so is http to any host but this one.
"""

from __future__ import annotations

import base64
import codecs
import functools
import http.client
import math
import re
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from kafka.net.sasl.oauth import AbstractTokenProvider

from streamrnn.broker.http_deadline import Deadline
from streamrnn.broker.security import OAuth, is_this_machine
from streamrnn.escaping import one_line
from streamrnn.system import reading

TIMEOUT_S = 5.0
"""How long an exchange with the endpoint may last, from the first packet to the last."""
RENEWAL_S = 2.0
"""How long a client waits for it while it has a token that is good."""
_PARTING_S = 0.5  # for the exchange to say itself how it was cut off
RENEW_AFTER = 0.8
"""Share of a token's life after which a new one is fetched."""

_LONGEST = 300  # characters of what somebody else says

_LARGEST = 64 << 10
"""Bytes of an answer or a file. Tokens take one or two thousand."""

_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
"""RFC 6750, 2.1. Anything else could end the field in which the token travels."""


class TokenError(Exception):
    """There is no token, and why; ``lasting`` where waiting does not mend it."""

    def __init__(self, text: str, *, lasting: bool) -> None:
        super().__init__(text)
        self.lasting = lasting


class _Token(NamedTuple):
    text: str
    renew_at: float
    ends_at: float


class _Exchange:
    """A token that is being fetched, on a thread of its own."""

    def __init__(self, fetch: Callable[[], _Token]) -> None:
        self._fetch = fetch
        self._ended = threading.Event()
        self._ends_at = time.monotonic() + TIMEOUT_S + _PARTING_S
        self._outcome: _Token | Exception | None = None
        threading.Thread(target=self._run, name="kafka-token", daemon=True).start()

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    def _run(self) -> None:
        try:
            self._outcome = self._fetch()
        except Exception as error:
            self._outcome = error
        finally:
            self._ended.set()

    def outcome(self, longest_s: float) -> _Token | None:
        """The token, or nothing if it takes longer. Raises what the exchange ended with."""
        self._ended.wait(min(longest_s, max(0.0, self._ends_at - time.monotonic())))
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]
    """What the client asks for a token whenever it authenticates."""

    def __init__(self, oauth: OAuth, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._oauth, self._clock = oauth, clock
        self._lock = threading.Lock()
        self._kept: _Token | None = None
        self._exchange: _Exchange | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._oauth.token_endpoint or self._oauth.token_file})"

    def extensions(self) -> dict[str, str]:
        """See the client's."""
        pairs = (extension.partition("=") for extension in self._oauth.extensions)
        return {name: value for name, _, value in pairs}

    def token(self) -> str:
        """A token that has not expired. Raises TokenError."""
        if self._oauth.token_file is not None:
            return _checked(_read(self._oauth.token_file), f"the file {self._oauth.token_file}")
        with self._lock:
            kept, now = self._kept, self._clock()
            if kept is not None and now < kept.renew_at:
                return kept.text
            if self._exchange is None or not self._exchange.running:
                self._exchange = _Exchange(self._fetch)
            exchange = self._exchange
        usable = kept is not None and now < kept.ends_at
        try:
            fetched = exchange.outcome(RENEWAL_S if usable else TIMEOUT_S + _PARTING_S)
        except TokenError:
            if not usable:
                raise
            fetched = None
        token = fetched or (kept if usable else None)
        if token is None:
            raise _too_slow(self._oauth.token_endpoint)
        return token.text

    def left_s(self) -> float:
        """For how long the newest token is good, 0 where nobody knows."""
        kept = self._kept
        return 0.0 if kept is None else max(0.0, kept.ends_at - self._clock())

    def _fetch(self) -> _Token:
        asked_at, endpoint = self._clock(), self._oauth.token_endpoint
        assert endpoint is not None
        answer = _decoded(_ask(self._oauth, endpoint), endpoint)
        lasts_s = answer.expires_in or 0.0
        if not 0.0 <= lasts_s < math.inf:
            lasts_s = 0.0
        text = _checked(answer.access_token, f"the answer of {endpoint}")
        self._kept = _Token(text, asked_at + RENEW_AFTER * lasts_s, asked_at + lasts_s)
        return self._kept


@functools.lru_cache(maxsize=16)
def provider(oauth: OAuth) -> TokenProvider:
    """The one provider of these settings in this process."""
    return TokenProvider(oauth)


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: float | None = None


class _Refusal(msgspec.Struct):
    error: str | None = None
    error_description: str | None = None


class _Unmoved(urllib.request.HTTPRedirectHandler):
    """Credentials are for the endpoint that was named."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _ask(oauth: OAuth, endpoint: str) -> bytes:
    assert oauth.client_id is not None
    assert oauth.client_secret is not None
    wanted = {"grant_type": "client_credentials"} | ({} if oauth.scope is None else {"scope": oauth.scope})
    pair = ":".join(map(urllib.parse.quote_plus, (oauth.client_id, oauth.client_secret.reveal())))
    request = urllib.request.Request(endpoint, urllib.parse.urlencode(wanted).encode())
    request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    request.add_header("Accept", "application/json")
    with Deadline(TIMEOUT_S) as deadline:
        try:
            with _opener(oauth, endpoint, deadline).open(request, timeout=TIMEOUT_S) as answer:
                return _whole(answer.read(_LARGEST + 1), deadline, endpoint)
        except urllib.error.HTTPError as error:
            with error:
                said = _said(error)
            lasting = 300 <= error.code < 500 and error.code not in (408, 429)
            raise TokenError(
                f"{endpoint} gave no token (status {error.code}{said}); check oauth.token_endpoint, client_id, "
                "client_secret and scope",
                lasting=lasting,
            ) from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise (_too_slow(endpoint) if deadline.over else _unanswered(endpoint, error)) from None


def _whole(body: bytes, deadline: Deadline, endpoint: str) -> bytes:
    """A body without a length ends where the connection does, and so where it was cut off."""
    if deadline.over:
        raise _too_slow(endpoint)
    return body


def _opener(oauth: OAuth, endpoint: str, deadline: Deadline) -> urllib.request.OpenerDirector:
    context = None
    if oauth.cafile is not None:
        try:
            context = ssl.create_default_context(cafile=oauth.cafile)
        except OSError as error:  # an SSLError is one, too
            raise TokenError(f"kafka.security.oauth.cafile: {oauth.cafile}: {_shown(error)}", lasting=True) from None
    handlers: list[urllib.request.BaseHandler] = [_Unmoved(), *deadline.handlers(context)]
    if is_this_machine(urllib.parse.urlsplit(endpoint).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _too_slow(endpoint: str | None) -> TokenError:
    return TokenError(f"{endpoint} gave no token: no whole answer within {TIMEOUT_S:g} s", lasting=False)


def _unanswered(endpoint: str, error: Exception) -> TokenError:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return TokenError(
            f"{endpoint} has a certificate that is not accepted ({_shown(cause.verify_message)}); name its authority "
            "in oauth.cafile",
            lasting=True,
        )
    if isinstance(cause, TimeoutError):
        return _too_slow(endpoint)
    return TokenError(f"{endpoint} gave no token: {_shown(cause)}", lasting=False)


def _said(error: urllib.error.HTTPError) -> str:
    """The endpoint's own reason, where it gives one as RFC 6749 says."""
    try:
        refusal = msgspec.json.decode(error.read(_LARGEST), type=_Refusal)
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    said = " ".join(filter(None, (refusal.error, refusal.error_description)))
    return f": {_shown(said)}" if said else ""


def _decoded(answer: bytes, endpoint: str) -> _Answer:
    try:
        if len(answer) > _LARGEST:
            raise ValueError(f"more than {_LARGEST} bytes")
        # Some endpoints give the number as text, some begin with a byte order mark.
        return msgspec.json.decode(answer.removeprefix(codecs.BOM_UTF8), type=_Answer, strict=False)
    except ValueError as error:
        # What is found there is not told: it may be a token.
        reason = _misfit(error) if isinstance(error, msgspec.ValidationError) else ""
        reason = reason or ("" if isinstance(error, msgspec.MsgspecError) else str(error))
        text = f"{endpoint} answers with no token (RFC 6749, 5.1){': ' if reason else ''}{reason}"
        raise TokenError(text, lasting=True) from None


def _misfit(error: msgspec.ValidationError) -> str:
    """Which of our fields does not fit, without its value."""
    expected = {"access_token": "text", "expires_in": "a number of seconds"}
    return next((f"expected {kind} in {name}" for name, kind in expected.items() if f"{name}`" in str(error)), "")


def _read(path: str) -> str:
    try:
        data = reading.read(path, _LARGEST, links=True)
    except OSError as error:
        text = f"kafka.security.oauth.token_file: {path} cannot be read: {error.strerror}"
        raise TokenError(text, lasting=True) from None
    return data.decode("ascii", "replace").strip()


def _checked(token: str, where: str) -> str:
    if len(token) > _LARGEST or not _TOKEN.fullmatch(token):
        raise TokenError(f"{where} holds no token: expected letters, digits and -._~+/ in one line", lasting=True)
    return token


def _shown(said: object) -> str:
    """What an endpoint or the system says."""
    return one_line(str(said), _LONGEST) or type(said).__name__
