"""The job file's ``kafka`` section: which cluster, by which client, as whom, and in what group."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from streamrnn.broker.kafka_settings import server_list, server_trouble
from streamrnn.broker.security import KafkaSecurity
from streamrnn.job.section import Section, Text


class KafkaConfig(Section, frozen=True, kw_only=True):
    """An Apache Kafka cluster and this worker's place in its consumer group."""

    bootstrap_servers: Annotated[
        Text | tuple[Text, ...],
        Meta(description="host:port of some brokers: a list, or text separated by commas."),
    ]
    client: Annotated[
        Literal["kafka-python", "confluent"],
        Meta(
            description="Which client talks to it: confluent takes less of the processor and comes with "
            "`pip install 'streamrnn[confluent]'`."
        ),
    ] = "kafka-python"
    group_id: Annotated[Text | None, Meta(description="Consumer group; null: the job's name.")] = None
    group_instance_id: Annotated[
        Text | None,
        Meta(
            description="Lasting identity of this worker within the group, which no two may have at a time; null: made "
            "of the host's name, another one for each worker on it."
        ),
    ] = None
    session_timeout_s: Annotated[
        float, Meta(ge=1, le=1800, description="Silence in seconds after which the group considers this worker dead.")
    ] = 10.0
    leave_on_stop: Annotated[
        bool,
        Meta(
            description="Whether a worker that is stopped gives its partitions to the others at once; false: they wait "
            "for it until the session is over."
        ),
    ] = True
    security: Annotated[KafkaSecurity, Meta(description="Authentication and encryption.")] = KafkaSecurity()

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("bootstrap_servers: found no server, expected host:port")
        for server in self.servers:
            if wrong := server_trouble(server):
                raise ValueError(f"bootstrap_servers: {wrong}")

    @property
    def servers(self) -> tuple[str, ...]:
        """The bootstrap servers, one by one."""
        return server_list(self.bootstrap_servers)
