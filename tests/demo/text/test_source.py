"""Claims about what the demo of a text reads: the whole of it, cut between characters, and refusals that say why."""

from __future__ import annotations

import errno
import os
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamrnn.demo.text.source import CHUNK, LEFT_OUT, Source, load_source
from streamrnn.errors import ConfigError


def file(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "file"
    path.write_bytes(data)
    return path


@given(st.text(min_size=1, max_size=50), st.integers(1, 200))
def test_the_chunks_of_a_text_are_its_bytes(text: str, times: int) -> None:
    data = (text * times).encode()
    source = Source("", data, len(data), is_utf8=True)
    texts = list(source.texts())
    assert "".join(texts).encode() == data
    assert len(texts) == len(source.ends) == -(-len(data) // CHUNK)
    assert all(CHUNK - 3 <= len(part.encode()) <= CHUNK + 3 for part in texts[:-1])


@given(st.binary(min_size=1, max_size=3_000))
def test_the_chunks_of_anything_else_are_its_bytes_as_characters(data: bytes) -> None:
    source = Source("", data, len(data), is_utf8=False)
    assert "".join(source.texts()).encode("latin-1") == data


def test_a_file_is_read_up_to_the_limit_and_what_is_left_is_known(tmp_path: Path) -> None:
    source = load_source(file(tmp_path, b"abc" * 1_000), 1_100)
    assert (source.data, source.available, source.is_utf8) == ((b"abc" * 1_000)[:1_100], 3_000, True)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
def test_a_limit_within_a_character_leaves_that_out_and_the_text_is_still_text(tmp_path: Path, limit: int) -> None:
    source = load_source(file(tmp_path, "a\N{SNOWMAN}b".encode()), limit)
    assert source.data == {1: b"a", 2: b"a", 3: b"a", 4: "a\N{SNOWMAN}".encode(), 5: "a\N{SNOWMAN}b".encode()}[limit]
    assert source.is_utf8


def test_a_file_that_ends_within_a_character_is_no_text(tmp_path: Path) -> None:
    source = load_source(file(tmp_path, "a\N{SNOWMAN}".encode()[:-1]), 100)
    assert (source.data, source.is_utf8) == (b"a\xe2\x98", False)


def test_a_limit_before_the_first_whole_character_keeps_the_bytes(tmp_path: Path) -> None:
    source = load_source(file(tmp_path, "\N{SNOWMAN}".encode()), 2)
    assert (source.data, source.is_utf8) == (b"\xe2\x98", False)


def test_the_standard_library_is_read_in_the_order_of_its_paths_without_tests_and_packages() -> None:
    root = Path(sysconfig.get_path("stdlib"))
    source = load_source(None, 200_000)
    first = sorted(path.name for path in root.glob("*.py"))[0]
    assert source.data.startswith((root / first).read_bytes()[:1_000])
    kept = {
        path: path.stat().st_size
        for path in root.rglob("*.py")
        if not LEFT_OUT & set(path.relative_to(root).parts[:-1])
    }
    assert source.available == sum(kept.values()) > len(source.data) > 199_990
    assert {"site-packages", "test"} <= LEFT_OUT
    assert load_source(None, 1_000).data == source.data[:1_000]


def test_what_cannot_be_read_is_refused_in_words(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, why in {
        "missing": "missing cannot be read: No such file or directory; name a file, or none",
        ".": "cannot be read: is a directory, expected a regular file",
        "pipe": "pipe cannot be read: is a pipe, expected a regular file",
    }.items():
        with pytest.raises(ConfigError, match=f"^FILE: .*{why}"):
            load_source(tmp_path / name, 100)
    with pytest.raises(ConfigError, match=r"file is empty, expected something to learn from"):
        load_source(file(tmp_path, b""), 100)


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, **_: bool) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr("streamrnn.demo.text.source.open_stream", refused)  # root, who may run this, may read all
    with pytest.raises(ConfigError, match="file cannot be read: Permission denied"):
        load_source(file(tmp_path, b"x"), 100)
