"""Numbers of symbols: declared, or given in the order of first appearance; kept, counted, and refused when forged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.learner.symbols import OTHER, Symbols
from streamrnn.learner.vocabulary import LONGEST_SYMBOL, UNDECLARED, Vocabulary, require_vocabulary

OPEN = Symbols(open=True, max=3)


def filled(*texts: str, end: bool = False) -> Vocabulary:
    vocabulary = Vocabulary(OPEN, end=end)
    for text in texts:
        vocabulary.assign(text)
    return vocabulary


def test_an_open_set_gives_numbers_in_the_order_of_first_appearance() -> None:
    vocabulary = Vocabulary(OPEN)
    assert [vocabulary.assign(text) for text in ("b", "a", "b", "", "a")] == [1, 2, 1, 3, 2]
    assert [vocabulary.label(number) for number in range(4)] == [None, "b", "a", ""]
    assert (vocabulary.size, vocabulary.known, vocabulary.other, vocabulary.end) == (4, 4, OTHER, None)


def test_the_end_of_texts_stands_behind_other_in_an_open_set_and_last_in_a_closed_one() -> None:
    is_open = filled("a", end=True)
    assert (is_open.other, is_open.end, is_open.number("a"), is_open.size, is_open.known) == (0, 1, 2, 5, 3)
    closed = Vocabulary(Symbols(values=("a", "b")), end=True)
    assert (closed.other, closed.end, closed.number("b"), closed.size, closed.known) == (None, 2, 1, 3, 3)
    assert (is_open.label(1), closed.label(2), closed.label(1)) == (None, None, "b")


def test_beyond_the_bound_symbols_share_a_number_and_each_occurrence_is_counted() -> None:
    vocabulary = filled("a", "b", "c")
    assert [vocabulary.assign(text) for text in ("d", "d", "a", "e")] == [OTHER, OTHER, 1, OTHER]
    assert vocabulary.overflowed == 3
    assert vocabulary.known == vocabulary.size


def test_looking_up_gives_no_number_and_counts_nothing() -> None:
    vocabulary = filled("a", "b", "c")
    young = filled("a")
    assert [vocabulary.number("d"), young.number("d"), young.number("a")] == [OTHER, OTHER, 1]
    assert young.units("ad", assign=False).tolist() == [1, OTHER]
    assert (vocabulary.overflowed, young.overflowed, young.known) == (0, 0, 2)


def test_an_undeclared_symbol_of_a_closed_set_has_no_number() -> None:
    vocabulary = Vocabulary(Symbols(values=("x", 7)))
    assert [vocabulary.assign("y"), vocabulary.number("y"), vocabulary.assign("7")] == [UNDECLARED, UNDECLARED, 1]
    assert vocabulary.units("x7y", assign=True).tolist() == [0, 1, UNDECLARED]
    assert vocabulary.overflowed == 0


def test_bytes_are_numbered_as_they_are_and_named_by_their_number() -> None:
    vocabulary = Vocabulary(Symbols(bytes=True))
    assert vocabulary.units(bytes(range(256)), assign=True).tolist() == list(range(256))
    assert (vocabulary.number("255"), vocabulary.number("256"), vocabulary.label(7)) == (255, UNDECLARED, 7)


@given(st.text(alphabet="abcde", max_size=30), st.booleans(), st.integers(0, 30))
def test_a_text_at_once_gives_the_numbers_of_its_units_one_by_one(text: str, end: bool, cut: int) -> None:
    at_once, one_by_one, in_two = (Vocabulary(OPEN, end=end) for _ in range(3))
    numbers = at_once.units(text, assign=True).tolist()
    assert numbers == [one_by_one.assign(unit) for unit in text]
    parts = in_two.units(list(text[:cut]), assign=True), in_two.units(list(text[cut:]), assign=True)
    assert np.concatenate(parts).tolist() == numbers
    assert at_once.overflowed == one_by_one.overflowed == in_two.overflowed
    assert at_once.units(text, assign=False).tolist() == [at_once.number(unit) for unit in text]


def test_a_symbol_too_long_to_keep_shares_the_number_of_all_others() -> None:
    vocabulary = Vocabulary(OPEN)
    longest = "é" * (LONGEST_SYMBOL // 2)
    assert [vocabulary.assign(text) for text in (longest + "e", "\ud800", longest, "x" * (LONGEST_SYMBOL + 1))] == [
        OTHER, OTHER, 1, OTHER,
    ]  # fmt: skip
    assert vocabulary.overflowed == 3


@given(st.lists(st.text(max_size=5), max_size=8))
def test_a_vocabulary_goes_on_from_its_state(texts: list[str]) -> None:
    before, after = Vocabulary(OPEN, end=True), Vocabulary(OPEN, end=True)
    numbers = [before.assign(text) for text in texts]
    state = before.state()
    require_vocabulary(OPEN, state)
    after.assign("what was there before is gone")
    after.resume(state)
    assert [after.number(text) for text in texts] == numbers
    assert [after.label(number) for number in range(after.known)] == [before.label(n) for n in range(before.known)]
    assert (after.known, after.overflowed) == (before.known, before.overflowed)
    assert after.assign("new") == before.assign("new")


def forged(**changed: Any) -> dict[str, Any]:
    state = filled("ab", "c").state()
    return {**state, **{name: np.array(value, state[name].dtype) for name, value in changed.items()}}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (forged(texts=list(b"aa"), ends=[1, 2]), "gives one symbol two numbers"),
        (forged(texts=[], ends=[0, 0]), "gives one symbol two numbers"),
        (forged(ends=[2]), "ends of its symbols do not match their 3 bytes"),
        (forged(ends=[3, 2]), "do not match"),
        (forged(ends=[-1, 3]), "do not match"),
        (forged(ends=[2, 4]), "do not match"),
        (forged(texts=list(b"abcd"), ends=[1, 2, 3, 4]), "it has 4 symbols, the set takes 3"),
        (forged(texts=[0xFF], ends=[1]), "not UTF-8"),
        (forged(texts=list(b"x" * 1025), ends=[1025]), "a symbol of more than 1024 bytes"),
        (forged(overflowed=[-1]), "overflowed: expected one count"),
        (forged(overflowed=[1, 2]), "overflowed: expected one count"),
        ({}, "texts must be a vector of uint8, found nothing"),
        ({**forged(), "ends": np.zeros(2)}, r"ends must be a vector of int64, found float64\[2\]"),
    ],
)
def test_what_no_vocabulary_can_have_come_to_is_refused(state: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_vocabulary(OPEN, state)
