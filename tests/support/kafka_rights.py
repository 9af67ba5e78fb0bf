"""Rights of a user on the tests' broker, granted and taken away by a user who may do everything."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.admin import ResourceType as Kind

from tests.kafka.server import SASL_USER, KafkaServer

Right = tuple[str, str, str]
"""Operation, kind of resource, and its name: ("READ", "TOPIC", "departures")."""


def grant(server: KafkaServer, *rights: Right, user: str = SASL_USER) -> None:
    """Let a user do something; the broker knows at once."""
    with _admin(server) as admin:
        patterns = [(ACLOperation[right[0]], ResourcePattern(Kind[right[1]], right[2])) for right in rights]
        admin.create_acls([_acl(ACL, user, operation, pattern) for operation, pattern in patterns])


def revoke(server: KafkaServer, *rights: Right, user: str = SASL_USER) -> None:
    """Take rights away."""
    with _admin(server) as admin:
        patterns = [(ACLOperation[right[0]], Kind[right[1]], right[2]) for right in rights]
        filters = [
            _acl(ACLFilter, user, op, ResourcePatternFilter(kind, name, ACLResourcePatternType.LITERAL))
            for op, kind, name in patterns
        ]
        admin.delete_acls(filters)


def _acl(kind: Any, user: str, operation: ACLOperation, pattern: Any) -> Any:
    return kind(
        principal=f"User:{user}",
        host="*",
        operation=operation,
        permission_type=ACLPermissionType.ALLOW,
        resource_pattern=pattern,
    )


@contextlib.contextmanager
def _admin(server: KafkaServer) -> Iterator[Any]:
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    try:
        yield admin
    finally:
        admin.close()


def set_password(server: KafkaServer, user: str, word: str) -> None:
    """Give a user of SCRAM-SHA-256 a password; one that it had is none any more."""
    with _admin(server) as admin:
        mechanism = ScramMechanism.SCRAM_SHA_256
        admin.alter_user_scram_credentials(
            [UserScramCredentialUpsertion(user=user, mechanism=mechanism, password=word)]
        )
