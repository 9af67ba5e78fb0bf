"""The command that grants a right, as an operator types it: what every message about a missing right ends with."""

from __future__ import annotations

from collections.abc import Iterable


def command(operation: str, kind: str, name: str) -> str:
    """Of an operation in Kafka's terms on a ``topic``, a ``group`` or a ``transactional-id``.

    >>> command("READ", "group", "delays")
    'kafka-acls.sh --bootstrap-server HOST:PORT --add --allow-principal User:NAME --operation Read --group delays'
    """
    grant = "kafka-acls.sh --bootstrap-server HOST:PORT --add --allow-principal User:NAME"
    return f"{grant} --operation {''.join(word.title() for word in operation.split('_'))} --{kind} {name}"


def absent(topic: str, servers: Iterable[str]) -> str:
    """What is wrong with a topic that the servers of a cluster say nothing of."""
    return (
        f"topic {topic} does not exist on {', '.join(servers)}, or this user may not see it: "
        f"create it first, or grant READ: {command('READ', 'topic', topic)}"
    )
