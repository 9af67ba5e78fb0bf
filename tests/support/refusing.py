"""An embedded broker with topics that do not take everything, and that refuse as a Kafka cluster and its client do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from streamrnn.broker.columns import Outputs
from streamrnn.broker.protocol import Output, send_each
from streamrnn.errors import RefusedError, UndeliveredError
from tests.support.rebalancing import RebalancingBroker

Rule = Callable[[Output], str | None]
"""Why a topic does not take an output, as the reason of a RefusedError; None where it does."""

SENT_TOGETHER = 4


def at_most(size: int) -> Rule:
    """As ``max.message.bytes``."""
    return lambda output: "too_large" if len(output.key or b"") + len(output.value or b"") > size else None


def compacted(output: Output) -> str | None:
    """As ``cleanup.policy=compact``."""
    return "invalid" if output.key is None else None


def of_late(age_s: float) -> Rule:
    """As ``message.timestamp.before.max.ms``."""

    def rule(output: Output) -> str | None:
        return "bad_timestamp" if output.timestamp_ms is not None and output.timestamp_ms < _ago(age_s) else None

    return rule


def _ago(age_s: float) -> float:
    return 1000 * (time.time() - age_s)


class RefusingBroker(RebalancingBroker):
    """Sends a few records at a time. With a bad one among them all are refused; then everything, for the same reason.

    Except for the very next ones, which were on their way already.
    """

    rules: Mapping[str, Rule] = {}

    def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        *,
        timestamp_ms: int | None = None,
        partition: int | None = None,
    ) -> None:
        """Keep the record for the flush."""
        self._kept().append(Output(topic, key, value, timestamp_ms, partition))

    def send_all(self, outputs: Outputs, partition: int | None) -> None:
        """One by one, so that what is said of one of them counts."""
        send_each(self, outputs, partition)

    def flush(self, timeout_s: float) -> None:
        """Write what every topic takes."""
        kept = list(self._kept())
        self._kept().clear()
        refused: dict[int, RefusedError | None] = {}
        error: RefusedError | None = None
        on_its_way = False
        for start in range(0, len(kept), SENT_TOGETHER):
            group = dict(enumerate(kept[start : start + SENT_TOGETHER], start))
            bad = {place: reason for place, output in group.items() if (reason := self._against(output)) is not None}
            if bad and error is None:
                error, on_its_way = RefusedError(next(iter(bad.values())), "one of these"), True
                refused |= {place: error if place in bad else None for place in group}
            elif error is not None and not (on_its_way and not bad):
                refused |= dict.fromkeys(group, error)
                on_its_way = False
            else:
                on_its_way = False
                for topic, key, value, timestamp_ms, partition, _ in group.values():
                    super().send(topic, key, value, timestamp_ms=timestamp_ms, partition=partition)
        super().flush(timeout_s)
        if refused:
            raise UndeliveredError(f"{len(refused)} of {len(kept)} were refused", refused)

    def _against(self, output: Output) -> str | None:
        rule = self.rules.get(output.topic)
        return None if rule is None else rule(output)

    def _kept(self) -> list[Output]:
        return self.__dict__.setdefault("kept", [])


def refusing(**rules: Rule) -> type[RefusingBroker]:
    """A broker whose topics have these rules."""
    return type("Refusing", (RefusingBroker,), {"rules": rules})
