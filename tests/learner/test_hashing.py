"""Buckets are the same everywhere for who has the key, and cannot be aimed at without it."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest

from streamrnn.learner.features import FeatureEncoder, Hash
from streamrnn.learner.hashing import KNOWN_KEY, Hashing, HashKey, check_of, hasher

SECRET = "0b3f6c0a9be34c0e"


def test_hashes_are_written_down() -> None:
    """A change would silently permute the inputs of saved models."""
    assert hasher(KNOWN_KEY)("N14228") == 0xD276A0EACD6D22A
    assert hasher("delays")("N14228") == 0xB47A20165AC7485
    assert check_of("delays") == "3407ba1e3db0d4a444d174889701095e"


@pytest.mark.parametrize("key", [KNOWN_KEY, SECRET, "", "k" * 1000, "\udcff"])
def test_every_key_spreads_values_evenly(key: str) -> None:
    hashed = hasher(key)
    counts = [0] * 16
    for i in range(16_000):
        counts[hashed(str(i)) % 16] += 1
    assert 850 < min(counts) <= max(counts) < 1150  # five deviations


@pytest.mark.parametrize(
    "aimed", [lambda text: zlib.crc32(text.encode()) % 16 == 3, lambda text: hasher(KNOWN_KEY)(text) % 16 == 3]
)
def test_values_made_to_share_a_bucket_do_not_under_another_key(aimed) -> None:  # type: ignore[no-untyped-def]
    values = [text for text in map(str, range(16_000)) if aimed(text)]
    assert len(values) > 800
    encoder = FeatureEncoder([Hash(field="c", buckets=16)], hash_key=SECRET)
    counts = [sum(column) for column in zip(*(encoder.encode_dict({"c": value}) for value in values), strict=True)]
    assert max(counts) < 2 * len(values) / 16


def test_what_comes_from_records_does_not_stay_in_memory() -> None:
    hashed = hasher(SECRET)

    def kept_of(texts: range, length: int) -> int:
        before = tracemalloc.get_traced_memory()[0]
        for i in texts:
            hashed(f"{i:0{length}}")
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        assert kept_of(range(20_000), 64) < 2_000_000
        assert kept_of(range(20_000, 40_000), 64) < 100_000
        assert kept_of(range(100), 100_000) < 100_000
    finally:
        tracemalloc.stop()


def test_a_check_tells_keys_apart_and_does_not_hold_them() -> None:
    assert check_of(SECRET) == check_of(SECRET) != check_of(SECRET + " ")
    assert SECRET not in check_of(SECRET)
    encoder = FeatureEncoder([Hash(field="c", buckets=16)], hash_key=SECRET)
    assert encoder.hash_check == check_of(SECRET)
    assert SECRET not in str(vars(encoder))
    assert FeatureEncoder([]).hash_check is None


def test_of_a_key_that_is_no_secret_the_record_tells_it() -> None:
    assert Hashing.of(check_of("delays"), KNOWN_KEY, "delays") == (check_of("delays"), "delays")
    assert Hashing.of(check_of(SECRET), KNOWN_KEY, "delays") == (check_of(SECRET), None)
    assert Hashing.of(None, KNOWN_KEY) == (None, None)
    assert Hashing.read({}) == (None, None)
    with pytest.raises(ValueError, match="Expected"):
        Hashing.read([1])


def test_a_key_is_not_shown() -> None:
    assert SECRET not in repr({"hash_key": HashKey(SECRET)})
    assert SECRET not in f"{HashKey(SECRET)}{HashKey(SECRET)!s}"
    assert HashKey(HashKey(SECRET)) == SECRET
    assert check_of(HashKey(SECRET)) == check_of(SECRET)
