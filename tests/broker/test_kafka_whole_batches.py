"""On a real Kafka, whole batches hold what the client's own fetcher makes of them, record by record."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from streamrnn.broker import kafka_columns, kafka_fetcher
from streamrnn.broker.kafka_fetcher import BoundedFetcher
from streamrnn.broker.kafka_settings import Limits
from streamrnn.broker.protocol import Record
from tests.support.batches import CODECS, batch, produce, record

pytestmark = pytest.mark.kafka
PER_CODEC, RAW, PER_TRANSACTION = 300, 30, 20


@pytest.fixture(scope="module")
def tp(kafka_bootstrap: str) -> Iterator[TopicPartition]:
    """A partition with batches of all codecs, committed transactions, and aborted ones."""
    tp = TopicPartition(f"whole-{uuid.uuid4().hex[:8]}", 0)
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.create_topics({tp.topic: {"num_partitions": 1, "replication_factor": 1}})
    rng = random.Random(3)

    def send(producer: KafkaProducer, n: int) -> None:
        for i in range(n):
            key = rng.choice((None, b"", b"k%d" % i))
            values = (b"", rng.randbytes(rng.choice((1, 100, 127, 128, 5_000))), None)
            producer.send(
                tp.topic,
                key=key,
                value=rng.choice(values[: 2 if key is None else 3]),
                headers=[("h", b"x"), ("empty", b"")] if i % 3 == 0 else [],
                partition=0,
                timestamp_ms=rng.randrange(1_790_000_000_000),
            )
        producer.flush(20)

    for codec in CODECS:
        compression = None if codec == "none" else codec
        producer = KafkaProducer(bootstrap_servers=kafka_bootstrap, compression_type=compression, linger_ms=20)
        send(producer, PER_CODEC)
        producer.close(5)
    nothing = [record(None, i, key=None, headers=[(b"none", None)]) for i in range(RAW)]  # which no client here sends
    assert produce(kafka_bootstrap, tp.topic, batch(nothing, "lz4")) == 0
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=tp.topic, linger_ms=20)
    producer.init_transactions()
    for n in range(6):
        producer.begin_transaction()
        send(producer, PER_TRANSACTION)
        producer.abort_transaction() if n % 2 else producer.commit_transaction()
    producer.close(5)
    yield tp
    admin.delete_topics([tp.topic])
    admin.close()


def read(bootstrap: str, tp: TopicPartition, start: int, *, whole: bool, most: int = 37) -> list[Record]:
    """All records from an offset on, by polls of so many."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False, metrics_enabled=False
    )
    try:
        if whole:
            assert kafka_fetcher.bound(consumer, Limits())
        assert isinstance(consumer._fetcher, BoundedFetcher) == whole
        consumer.assign([tp])
        consumer.seek(tp, start)
        (end,) = consumer.end_offsets([tp]).values()
        found: list[Record] = []
        deadline = time.monotonic() + 60
        while consumer.position(tp) < end:
            assert time.monotonic() < deadline
            for polled in consumer.poll(timeout_ms=200, max_records=most).values():
                records = kafka_fetcher.records_of(polled)
                assert len(records) <= most
                assert consumer.position(tp) > records.offset[-1]
                found += records
        return found
    finally:
        consumer.close()


def test_whole_batches_hold_what_the_client_makes_of_them(
    kafka_bootstrap: str, tp: TopicPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from within a batch, from an aborted transaction, and from a marker."""
    read_whole: list[int] = []
    columns = kafka_columns.WholeBatch.columns

    def counted(self: kafka_columns.WholeBatch) -> kafka_columns.Found | None:
        found = columns(self)
        read_whole.append(0 if found is None else len(found.sizes))
        return found

    monkeypatch.setattr(kafka_columns.WholeBatch, "columns", counted)
    expected = read(kafka_bootstrap, tp, 0, whole=False)
    before = PER_CODEC * len(CODECS) + RAW
    assert len(expected) == before + 3 * PER_TRANSACTION
    assert read(kafka_bootstrap, tp, 0, whole=True) == expected
    assert sum(read_whole) > 0.9 * len(expected)
    aborted = before + PER_TRANSACTION + 1
    for start in (1, 777, aborted, aborted + 5, aborted + PER_TRANSACTION, expected[-1].offset):
        behind = [one for one in expected if one.offset >= start]
        assert read(kafka_bootstrap, tp, start, whole=True, most=1_000) == behind
