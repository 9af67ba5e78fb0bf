"""Metrics read back from their registry, from any thread: what a page shows is what Prometheus is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from streamrnn.broker.protocol import TopicPartition


class _Sample(NamedTuple):
    labels: dict[str, str]
    value: float


class Samples:
    """Samples of one moment, by name; ``of`` collects those asked for."""

    def __init__(self, samples: dict[str, list[_Sample]]) -> None:
        self._samples = samples

    @classmethod
    def of(cls, registry: CollectorRegistry, names: Iterable[str]) -> Samples:
        """The samples of these names, with suffixes such as ``_total`` and ``_sum``."""
        samples: dict[str, list[_Sample]] = {}
        for family in registry.restricted_registry(list(names)).collect():
            for sample in family.samples:
                samples.setdefault(sample.name, []).append(_Sample(sample.labels, sample.value))
        return cls(samples)

    def one(self, name: str) -> float | None:
        """The value of a metric of the worker, None where it has none."""
        found = self._samples.get(name)
        return found[0].value if found else None

    def labels(self, name: str) -> list[dict[str, str]]:
        """The labels of every sample, as those of an info."""
        return [sample.labels for sample in self._samples.get(name, ())]

    def by_partition(self, name: str) -> dict[TopicPartition, float]:
        """The value of every partition; where there are several, as for several reasons, their sum."""
        values: dict[TopicPartition, float] = {}
        for tp, _, value in self._of_partitions(name):
            values[tp] = values.get(tp, 0.0) + value
        return values

    def by_label(self, name: str, label: str) -> dict[str, dict[TopicPartition, float]]:
        """The value of every partition, under each value of a label."""
        values: dict[str, dict[TopicPartition, float]] = {}
        for tp, labels, value in self._of_partitions(name):
            values.setdefault(labels[label], {})[tp] = value
        return values

    def _of_partitions(self, name: str) -> Iterator[tuple[TopicPartition, dict[str, str], float]]:
        for labels, value in self._samples.get(name, ()):
            if "partition" in labels:
                yield TopicPartition(labels["topic"], int(labels["partition"])), labels, value
