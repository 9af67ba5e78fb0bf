"""Who else is in the consumer group, and may this user be in it?"""

from __future__ import annotations

from collections.abc import Iterator

from streamrnn.broker.rights import command
from streamrnn.daemon.preflight.facts import Facts
from streamrnn.daemon.preflight.findings import Finding, fine, problem, warning
from streamrnn.job.config import Config

ASSIGNOR = "cooperative-sticky"
"""How workers share partitions. A group agrees on one way, and refuses who knows another one only."""


def group(config: Config, facts: Facts) -> Iterator[Finding]:
    """Rights on the group, its members, and what it committed of other topics."""
    found, name = facts.group, config.group_id
    if found.refused:
        yield problem(
            f"group {name} could not be described: {found.refused}; grant READ and DESCRIBE on the group "
            f"({command('READ', 'group', name)}), or choose another kafka.group_id"
        )
        return
    if "READ" not in found.operations:
        yield problem(
            f"group {name}: this user may not join it or commit; grant READ on the group: "
            f"{command('READ', 'group', name)}"
        )
        return
    yield from members(config, facts)
    others = sorted({tp.topic for tp in facts.commits or ()} - {config.input.topic})
    if others:
        yield warning(
            f"group {name}: it also has committed offsets of {', '.join(others[:5])}; if another program uses the "
            "group, give the job a kafka.group_id of its own"
        )


def members(config: Config, facts: Facts) -> Iterator[Finding]:
    """Whoever is in the group now."""
    found, name, source = facts.group, config.group_id, config.input.topic
    if found.assignor and found.assignor != ASSIGNOR:
        yield problem(
            f"group {name}: its members share partitions by {found.assignor!r}, streamrnn by {ASSIGNOR!r}: it belongs "
            "to another program; give the job a kafka.group_id of its own"
        )
        return
    foreign = [member for member in found.members if member.topics and source not in member.topics]
    if foreign:
        client, topics = foreign[0], ", ".join(sorted(foreign[0].topics))
        yield problem(
            f"group {name}: {client.client_id} at {client.host} reads {topics} in it and not {source}; give each job a "
            "kafka.group_id of its own"
        )
    if config.embedded is not None and found.members:
        yield warning(f"group {name}: {found.members[0].client_id} consumes it, and an embedded group has one member")
        return
    given = config.kafka and config.kafka.group_instance_id  # a name that is not given is one that nobody has
    same = [member for member in found.members if given and member.instance_id == given]
    if same:
        yield warning(
            f"group {name}: a worker with this group_instance_id ({given}) is in it now, from "
            f"{same[0].host}; starting here ends it, unless it is the one that is restarted"
        )
    yield fine(f"group {name} may be joined; members now: {len(found.members)}")
