"""``streamrnn init``: reads a sample of a topic or a file, has a job drafted from it, and writes that.

No group is joined and nothing is committed. What is read is bounded in records, bytes and time. Passwords are never
written: the job file refers to the environment, as the file they came from does or should.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from streamrnn.broker import history
from streamrnn.broker.protocol import Record
from streamrnn.daemon.opening import open_administration
from streamrnn.drafting.draft import Draft, draft
from streamrnn.drafting.sample import Sample, Source, sample_of
from streamrnn.drafting.text import Place, job_file, job_name, next_steps
from streamrnn.drafting.yaml_writing import block, comment, value
from streamrnn.errors import ConfigError
from streamrnn.escaping import name
from streamrnn.job.config import Config
from streamrnn.job.job_file import parse
from streamrnn.job.section import NAME_PATTERN
from streamrnn.job.yaml_text import MOST_BYTES, read
from streamrnn.offline import data_file
from streamrnn.system.memory import memory_limit
from streamrnn.system.reading import read as read_file
from streamrnn.system.writing import AS_USUAL, replace_file

PER_PARTITION, LEAST, MOST = 5_000, 20_000, 50_000
"""Records that are read: so many of each partition, but altogether no fewer and no more than these."""
MOST_SAMPLE_BYTES: Final = 64 << 20
MOST_S: Final = 30.0

_SECRETS: Final = {
    ("sasl_password",): "KAFKA_PASSWORD",
    ("ssl_key_password",): "KAFKA_KEY_PASSWORD",
    ("oauth", "client_secret"): "KAFKA_CLIENT_SECRET",
}
"""Where passwords stand in ``kafka.security``, and the variable that takes the place of one that was written out."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """How a cluster is reached: the ``kafka`` section of the job to be, and what its references are resolved with."""

    section: Mapping[str, Any]
    environment: dict[str, str]

    @property
    def servers(self) -> str:
        """Its bootstrap servers in one line."""
        servers = self.section.get("bootstrap_servers", "")
        return servers if isinstance(servers, str) else ",".join(map(str, servers))

    @property
    def lines(self) -> list[str]:
        """The section as it stands in the job file."""
        if set(self.section) == {"bootstrap_servers"}:
            return [f"kafka: {value(self.section)}"]
        return block("kafka", self.section)


def cluster_of(bootstrap: str | None, config: Path | None) -> Cluster | None:
    """The cluster that options describe: servers, or a file with a ``kafka`` section, or both; None for neither."""
    environment = dict(os.environ)
    section: dict[str, Any] = {}
    if config is not None:
        section = _section_in(config)
        security = section.get("security")
        for path, variable in _SECRETS.items():
            _hide(security, path, variable, environment)
    if bootstrap is not None:
        section = {"bootstrap_servers": bootstrap} | {k: v for k, v in section.items() if k != "bootstrap_servers"}
    if not section:
        return None
    if "bootstrap_servers" not in section:
        raise ConfigError(f"--bootstrap: {config} names no bootstrap_servers; give them as host:port")
    return Cluster(section=section, environment=environment)


def _section_in(path: Path) -> dict[str, Any]:
    """Servers and security of a job file, of a file with a ``kafka`` section, or of one that is such a section."""
    try:
        text = read_file(path, MOST_BYTES, links=True).decode("utf-8-sig")
        # Each variable stands for its own name, so that what is written refers to it again.
        found = read(text, {variable: f"${{{variable}}}" for variable in os.environ}, Config).data
    except OSError as error:
        raise ConfigError(f"--kafka-config: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--kafka-config: {path} is not UTF-8 text") from None
    except ConfigError as error:
        raise ConfigError(f"--kafka-config: {path}: {error}") from None
    section = found.get("kafka", found)
    if not isinstance(section, dict) or not {"bootstrap_servers", "security"} & section.keys():
        raise ConfigError(
            f"--kafka-config: {path} has neither bootstrap_servers nor security; expected a job file, or a file "
            "with its kafka section"
        )
    return {key: section[key] for key in ("bootstrap_servers", "security") if key in section}


def _hide(security: Any, path: tuple[str, ...], variable: str, environment: dict[str, str]) -> None:
    """Put a reference in the place of a password that is written out."""
    *above, last = path
    for step in above:
        security = security.get(step) if isinstance(security, dict) else None
    if isinstance(security, dict) and isinstance(written := security.get(last), str) and "${" not in written:
        environment[variable] = written
        security[last] = f"${{{variable}}}"


def sample_topic(cluster: Cluster, topic: str, progress: Console) -> Sample:
    """The newest records of each partition of a topic."""
    if not re.match(NAME_PATTERN, topic):
        raise ConfigError(f"--topic: found {name(topic)!r}, expected letters, digits and . _ - (at most 249)")
    administration = open_administration(_probe(cluster, topic))
    with progress.status(Text(f"looking for {topic} at {cluster.servers}")) as status:
        bounds = administration.bounds(topic)
        if not bounds:
            raise ConfigError(
                f"--topic: {topic} does not exist on {cluster.servers}, or this user may not see it; see how it is "
                "spelt (kafka-topics.sh --list), and that the user may READ it"
            )
        there = sum(end - start for start, end in bounds.values())
        within = history.newest(bounds, min(MOST, max(LEAST, PER_PARTITION * len(bounds))))
        wanted = sum(end - start for start, end in within.values())

        def told(passed: int) -> None:
            status.update(Text(f"reading {topic}: {passed:,} of {wanted:,} records"))

        told(0)
        records = list(_bounded(history.records(administration, within, told, stretch=PER_PARTITION)))
    return sample_of(Source(topic=topic, records=there, partitions=len(bounds)), records)


def _bounded(records: Iterator[Record]) -> Iterator[Record]:
    """Records as far as their bytes and the time allow."""
    size, until = 0, time.monotonic() + MOST_S
    for record in records:
        yield record
        size += len(record.value or b"")
        if size > MOST_SAMPLE_BYTES or time.monotonic() > until:
            return


def _probe(cluster: Cluster, topic: str) -> Config:
    """A job that does nothing but name the cluster."""
    written = [
        "job: streamrnn-init",
        *cluster.lines,
        f"input: {value({'topic': topic})}",
        "target: {fields: [none]}",
        "output: {topic: streamrnn-init.predictions, dead_letter_topic: streamrnn-init.dead-letters}",
        "checkpoint: {directory: none}",
    ]
    return parse("\n".join(written), cluster.environment)


def sample_file(path: Path, topic: str | None) -> Sample:
    """The first records of a file. Their topic is the one that was named, or is called like the file."""
    called = topic or re.sub(r"[^a-zA-Z0-9._-]+", "-", path.stem).strip("-.")[:200] or "records"
    encode = msgspec.json.Encoder().encode
    rows = data_file.read_rows(path)
    try:
        records = [
            Record(called, 0, i, -1, None, row if isinstance(row, bytes) else encode(data_file.nested(row)))
            for i, row in enumerate(islice(rows, MOST))
        ]
        more = next(rows, None) is not None
    finally:
        rows.close()
    there = len(records) + more  # how many more there are, nobody has counted
    return sample_of(Source(topic=called, records=there, keyed=False, file=str(path)), records)


def place_of(found: Draft, cluster: Cluster | None, output: str) -> Place:
    """Where the job will run: on the cluster, or without a broker on a log of files."""
    if cluster is None:
        lines = comment('No broker was named: a log of files. With one: kafka: {bootstrap_servers: "HOST:PORT"}')
        lines.append(f"embedded: {value({'directory': f'./{job_name(found)}-log'})}")
    else:
        lines = cluster.lines
    return Place(
        log=lines,
        file="job.yaml" if output == "-" else output,
        bootstrap="" if cluster is None else cluster.servers,
        memory_bytes=memory_limit(),
        environment=dict(os.environ) if cluster is None else cluster.environment,
    )


def check_output(output: str, force: bool) -> None:
    """Refuse to write over a file, before anything is read."""
    if output != "-" and not force and os.path.lexists(output):
        raise ConfigError(
            f"--output: {output} exists; --force replaces it, --output names another, and - prints instead"
        )


def write(sample: Sample, target: str | None, cluster: Cluster | None, output: str, told: Console) -> None:
    """Draft a job from the sample, write it, and say what was decided and what comes next."""
    found = draft(sample, target)
    place = place_of(found, cluster, output)
    text, config = job_file(found, place)
    if output == "-":
        typer.echo(text, nl=False)
    else:
        replace_file(Path(output), text.encode(), mode=AS_USUAL, durable=False)
    stream = "the record key" if found.streams.field is None else name(found.streams.field)
    what = {"forecast": "the next value of a stream", "record": "from the rest of its record"}[found.target.known]
    told.print(Text(f"{sample.looked_at:,} records of {sample.source.text} were looked at"), soft_wrap=True)
    told.print(Text(f"stream: {stream}; target: {name(found.target.path)} ({what})"), soft_wrap=True)
    told.print(
        Text(f"{len(found.features)} fields enter the network, {len(found.left_out)} are left out"), soft_wrap=True
    )
    for warning in found.warnings:
        told.print(Text.assemble(("warning: ", "bold yellow"), (warning, "yellow")), soft_wrap=True)
    if output != "-":
        told.print(Text(f"{config.job}: written to {output}; read it, then", "green"), soft_wrap=True)
    for step in next_steps(found, place):
        told.print(Text(f"  {step}", "cyan"), soft_wrap=True)
