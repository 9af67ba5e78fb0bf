"""How far a partition is behind, as the broker has it: records that wait, and the newest timestamp in the log.

What the client has heard of the log's end comes with the records, and is of no use once none come any more: a partition
that has no leader would look as if it were at its end. So every ten seconds the end itself is asked for, and the lag is
unknown while that is not answered. The newest timestamp is asked for then as well, and between where it has been passed
by: by a few partitions a second, since each is a question of its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from streamrnn.broker.protocol import Broker, TopicPartition
from streamrnn.daemon.partition import Partition
from streamrnn.errors import BrokerError

MOST_ASKED = 4


def readable(broker: Broker, partition: Partition) -> int | None:
    """Records that could be read now; None when the broker does not say, which is no evidence of a stall."""
    if broker.connectivity().away_since is not None:
        return None  # without waiting for each partition in turn
    tp, lateness = partition.tp, partition.lateness
    try:
        # The client's position, which has passed markers and compacted records behind the last one.
        waiting = max(0, broker.log_end(tp) - max(partition.position, broker.position(tp)))
        lateness.seen(broker.newest_timestamp(tp) if waiting else None)
    except BrokerError:
        lateness.end_known = False
        return None
    return waiting


def lags(broker: Broker, partitions: Mapping[TopicPartition, Partition]) -> dict[TopicPartition, int | None]:
    """How many records wait, by what the client has heard; what is needed to say so in seconds is asked for."""
    found = {tp: broker.lag(tp) if p.lateness.end_known else None for tp, p in partitions.items()}
    now_s, asked = time.time(), 0
    for tp, lag in found.items():
        lateness = partitions[tp].lateness
        if lag and asked < MOST_ASKED and lateness.processed_at_s and lateness.lag_s(lag, now_s) is None:
            asked += 1
            try:
                lateness.seen(broker.newest_timestamp(tp))
            except BrokerError:
                lateness.end_known, found[tp] = False, None
    return found
