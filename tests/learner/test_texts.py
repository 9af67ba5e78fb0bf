"""Text as symbols: units keep every character that is no blank."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.learner.texts import units_of


@given(st.text())
def test_bytes_and_characters_are_the_whole_text(text: str) -> None:
    assert units_of(text, "byte") == text.encode()
    assert "".join(units_of(text, "character")) == text  # type: ignore[arg-type]


@given(st.text())
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
