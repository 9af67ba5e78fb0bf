"""Nothing that a recovery may need goes, and everything else does in time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.storage.blobs import Blob
from streamrnn.storage.retention import Candidate, Superfluous, superfluous

OLD, PUT_BEFORE, YOUNG = 0.0, 10.0, 20.0


def manifest(position: int, names: str | None) -> Candidate:
    """A manifest that names segments by letters; None = it cannot be read."""
    return Candidate(f"m{position}", position, None if names is None else dict.fromkeys(names, 1))


def segments(old: str, young: str = "") -> list[Blob]:
    return [*(Blob(name, 1, OLD) for name in old), *(Blob(name, 1, YOUNG) for name in young)]


def decide(
    manifests: Sequence[Candidate], there: Sequence[Blob], *, retain: int = 1, committed: int | None
) -> Superfluous:
    return superfluous(manifests, there, retain=retain, committed=committed, put_before=PUT_BEFORE)


FIVE = [manifest(position, name) for position, name in zip((10, 20, 30, 40, 50), "abcde", strict=True)]


@pytest.mark.parametrize(
    ("committed", "retain", "gone", "garbage"),
    [
        (50, 2, ["m10", "m20", "m30"], "abc"),
        (40, 2, ["m10", "m20", "m30"], "abc"),
        (39, 2, ["m10", "m20"], "ab"),
        (10, 2, ["m20", "m30"], "bc"),
        (10, 1, ["m20", "m30", "m40"], "bcd"),
        (50, 1, ["m10", "m20", "m30", "m40"], "abcd"),
        (50, 9, [], ""),
        (9, 2, [], ""),  # nothing a recovery could load: all stay
        (None, 1, [], ""),  # nothing is committed
    ],
)
def test_the_newest_stay_and_the_newest_at_or_below_the_commit(
    committed: int | None, retain: int, gone: list[str], garbage: str
) -> None:
    assert decide(FIVE, segments("abcde"), retain=retain, committed=committed) == (gone, list(garbage))
    assert decide(FIVE, segments("", "abcde"), retain=retain, committed=committed) == (gone, [])


@pytest.mark.parametrize(
    ("manifests", "there", "expected"),
    [
        # A segment that any manifest left names stays, however old.
        ([manifest(1, "ab"), manifest(2, "ac")], segments("abc"), (["m1"], ["b"])),
        # What no manifest names is garbage once it is old: of an interrupted checkpoint, or of one removed earlier.
        ([manifest(1, "a")], segments("ax", "y"), ([], ["x"])),
        ([], segments("a", "b"), ([], ["a"])),
        # A checkpoint without all its bytes is none to keep; it goes once all kept ones are newer.
        ([manifest(1, "a"), manifest(2, "b"), manifest(3, "cx")], segments("abc"), (["m1"], ["a"])),
        ([manifest(1, "ax"), manifest(2, "b")], segments("ab"), (["m1"], ["a"])),
        ([manifest(1, "a"), manifest(2, "b")], [Blob("a", 1, OLD), Blob("b", 0, OLD)], ([], [])),
        # Nor is one that cannot be read, and while it stays nobody knows what is garbage.
        ([manifest(1, "a"), manifest(2, "b"), manifest(3, None)], segments("abx"), (["m1"], [])),
        ([manifest(1, None), manifest(2, "b")], segments("abx"), (["m1"], ["a", "x"])),
        # Of unusable ones alone all stay: they are evidence.
        ([manifest(1, "x"), manifest(2, None)], segments("a"), ([], [])),
    ],
)
def test_damaged_checkpoints_do_not_count_and_stay_until_all_that_is_kept_is_newer(
    manifests: list[Candidate], there: list[Blob], expected: tuple[list[str], list[str]]
) -> None:
    assert decide(manifests, there, committed=9) == expected


names = st.text("abcdef", max_size=4)
some_manifests = st.dictionaries(st.integers(0, 8), st.none() | names, max_size=7).map(
    lambda drawn: [manifest(position, drawn[position]) for position in sorted(drawn)]
)
some_segments = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.integers(0, 1), st.sampled_from([OLD, PUT_BEFORE, YOUNG]))
).map(lambda drawn: [Blob(name, size, modified) for name, (size, modified) in drawn.items()])


def usable(candidate: Candidate, there: Sequence[Blob]) -> bool:
    sizes = {blob.name: blob.size for blob in there}
    return candidate.needs is not None and all(sizes.get(name) == size for name, size in candidate.needs.items())


@given(some_manifests, some_segments, st.integers(1, 4), st.none() | st.integers(-1, 9))
def test_whatever_is_there_what_stays_is_whole_and_enough(
    manifests: list[Candidate], there: list[Blob], retain: int, committed: int | None
) -> None:
    gone = decide(manifests, there, retain=retain, committed=committed)
    left = [m for m in manifests if m.name not in gone.manifests]
    blobs_left = [blob for blob in there if blob.name not in gone.segments]
    before = [m.position for m in manifests if usable(m, there)]
    after = [m.position for m in left if usable(m, blobs_left)]

    assert [m.position for m in left if usable(m, there)] == after, "none that stays lost a segment"
    assert after[-retain:] == before[-retain:], "the newest stay"
    newest_at_or_below = [p for p in before if committed is not None and p <= committed][-1:]
    assert set(newest_at_or_below) <= set(after), "a recovery finds what it would have found"
    if not newest_at_or_below:
        assert after == before
    assert len(after) <= max(retain + 1, len(before) if not newest_at_or_below else 0), "no more than needed stay"
    young = {blob.name for blob in there if blob.modified >= PUT_BEFORE}
    assert not young & set(gone.segments)
    if any(m.needs is None for m in left):
        assert gone.segments == []
    assert decide(left, blobs_left, retain=retain, committed=committed) == ([], []), "a second time finds nothing more"


@given(some_manifests, some_segments, st.integers(1, 4), st.none() | st.integers(-1, 9))
def test_the_order_in_which_things_are_listed_means_nothing(
    manifests: list[Candidate], there: list[Blob], retain: int, committed: int | None
) -> None:
    there = sorted(there)
    forth = decide(manifests, there, retain=retain, committed=committed)
    back = decide(manifests[::-1], there[::-1], retain=retain, committed=committed)
    assert (sorted(forth.manifests), sorted(forth.segments)) == (sorted(back.manifests), sorted(back.segments))
