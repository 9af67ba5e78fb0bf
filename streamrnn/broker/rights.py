"""The command that grants a right, as an operator types it: what every message about a missing right ends with."""

from __future__ import annotations


def command(operation: str, kind: str, name: str) -> str:
    """Of an operation in Kafka's terms on a ``topic``, a ``group`` or a ``transactional-id``.

    >>> command("READ", "group", "delays")
    'kafka-acls.sh --bootstrap-server HOST:PORT --add --allow-principal User:NAME --operation Read --group delays'
    """
    grant = "kafka-acls.sh --bootstrap-server HOST:PORT --add --allow-principal User:NAME"
    return f"{grant} --operation {''.join(word.title() for word in operation.split('_'))} --{kind} {name}"
