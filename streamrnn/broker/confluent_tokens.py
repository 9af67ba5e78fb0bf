"""Tokens for confluent-kafka's OAUTHBEARER: the same as kafka-python's, in the form that it takes.

librdkafka asks on a thread of its own, keeps a token for all connections of a client and asks again after four fifths
of the life it is told. Where a token's life is not known (a file that others renew, an endpoint that does not say), it
is told a short one, so that what was renewed is used soon. A token that lives for a single request cannot be used with
this client: it would be shown to several brokers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from streamrnn.broker.kafka_tokens import provider
from streamrnn.broker.security import KafkaSecurity, OAuth

UNKNOWN_LIFE_S = 60.0
"""Told of a token whose life is not known."""

Answer = tuple[str, float] | tuple[str, float, str, dict[str, str]]


def token_callback(security: KafkaSecurity) -> dict[str, Any]:
    """The property by which a client gets its tokens, where it needs any."""
    if security.oauth is not None:
        return {"oauth_cb": _from_provider(security.oauth)}
    return {}


def _from_provider(oauth: OAuth) -> Callable[[str], Answer]:
    tokens = provider(oauth)

    def token(_: str) -> Answer:
        text = tokens.token()
        return text, time.time() + (tokens.left_s() or UNKNOWN_LIFE_S), "", tokens.extensions()

    return token
