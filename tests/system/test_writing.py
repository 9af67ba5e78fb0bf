"""A file is the old one or the whole new one, whatever happens while it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamrnn.system.writing import PRIVATE, write_atomically


def test_an_interrupted_write_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old", mode=PRIVATE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new", mode=PRIVATE)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
