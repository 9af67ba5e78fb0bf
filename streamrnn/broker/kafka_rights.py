"""Which right is missing where a broker refuses something: in Kafka's terms, with the command that grants it."""

from __future__ import annotations

from collections.abc import Iterable

import kafka.errors as client_errors

from streamrnn.broker.rights import command


def missing_right(error: BaseException, operation: str, topics: Iterable[str] = ()) -> str:
    """What to grant, as a sentence, where the error says that this user may not; else nothing.

    The broker names the topic, as a rule, and not the ``operation``, which is what was tried: READ, WRITE, CREATE.
    ``topics`` are what it was tried on.
    """
    if isinstance(error, client_errors.TopicAuthorizationFailedError):
        names = _names(error) or sorted(topics) or ["TOPIC"]
        return (
            f"this user has no right to {operation} topic {', '.join(names)}; grant it: "
            f"{'; '.join(command(operation, 'topic', name) for name in names)}"
        )
    if isinstance(error, client_errors.GroupAuthorizationFailedError):
        name = next(iter(_names(error)), "GROUP")
        return f"this user has no right to READ group {name}; grant it: {command('READ', 'group', name)}"
    # From the producer's thread it comes as text.
    if isinstance(error, client_errors.ClusterAuthorizationFailedError) or "ClusterAuthorizationFailed" in str(error):
        if operation != "WRITE":
            return f"this user has no right to {operation} on the cluster"
        return (
            "this user has no right to WRITE any topic, without which no producer is let in; grant it: "
            f"{command('WRITE', 'topic', 'TOPIC')} (brokers before 2.8 ask for IDEMPOTENT_WRITE on the cluster, too)"
        )
    if isinstance(error, client_errors.TransactionalIdAuthorizationFailedError):
        return (
            "this user has no right to WRITE under its transactional id; grant it: "
            f"{command('WRITE', 'transactional-id', 'ID')}"
        )
    return ""


def _names(error: BaseException) -> list[str]:
    """What the client was refused for: a name, or some. At times it gives request and response instead."""
    found = error.args[0] if error.args else ()
    names = [found] if isinstance(found, str) else found if isinstance(found, Iterable) else ()
    return sorted(name for name in map(str, names) if len(name.split()) == 1)
