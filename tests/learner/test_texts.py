"""Text as symbols: units keep every character that is no blank, and no symbol's text is long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.learner.texts import LONGEST_SYMBOL, symbol_text, units_of


@given(st.text())
def test_bytes_and_characters_are_the_whole_text(text: str) -> None:
    assert units_of(text, "byte") == text.encode()
    assert "".join(units_of(text, "character")) == text  # type: ignore[arg-type]


@given(st.text(max_size=LONGEST_SYMBOL))
def test_words_lack_nothing_but_blanks(text: str) -> None:
    words = units_of(text, "word")
    assert "".join(words) == "".join(text.split())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        (" \t\n", []),
        ("failed: é_1 10.0.0.1", ["failed", ":", "é_1", "10", ".", "0", ".", "0", ".", "1"]),
        ("a--b", ["a", "-", "-", "b"]),
        ("日本語 \U0001f600", ["日本語", "\U0001f600"]),
    ],
)
def test_a_word_is_a_run_of_letters_digits_and_underscores_or_one_other_character(text: str, words: list[str]) -> None:
    assert units_of(text, "word") == words


def test_half_a_surrogate_pair_is_a_question_mark_as_a_byte() -> None:
    assert units_of("a\ud800b", "byte") == b"a?b"


def test_long_symbols_stay_distinct_and_are_kept_short() -> None:
    longest, longer, other = "x" * LONGEST_SYMBOL, "x" * (LONGEST_SYMBOL + 1), "x" * LONGEST_SYMBOL + "y"
    assert symbol_text(longest) == longest
    assert len({longest, symbol_text(longer), symbol_text(other)}) == 3
    assert max(len(symbol_text(text)) for text in (longer, other, "é" * 10_000)) < LONGEST_SYMBOL
    assert units_of(f"a {longer}", "word") == ["a", symbol_text(longer)]
    assert symbol_text(symbol_text(longer)) == symbol_text(longer)
    assert symbol_text("\ud800" * 300).startswith("\ud800")
