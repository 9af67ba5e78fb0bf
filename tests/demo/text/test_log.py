"""Claims about the demo's job file: it is valid wherever its directory is, and for bytes of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamrnn.demo.text.log import job_text
from streamrnn.job.job_file import parse


@pytest.mark.parametrize("directory", ["plain", "with space: and #", "${HOME}", 'a"b'])
def test_the_job_file_names_its_directory(tmp_path: Path, directory: str) -> None:
    config = parse(job_text(tmp_path / directory, is_utf8=True), env={})
    assert config.embedded is not None
    assert config.embedded.directory == str(tmp_path / directory / "log")
    assert config.checkpoint.directory == str(tmp_path / directory / "checkpoints")


@pytest.mark.parametrize("is_utf8", [True, False])
def test_each_byte_is_a_symbol_of_its_own_and_the_state_goes_on_from_piece_to_piece(
    tmp_path: Path, *, is_utf8: bool
) -> None:
    spec = parse(job_text(tmp_path, is_utf8=is_utf8), env={}).learner_spec()
    assert spec.n_classes == 256
    assert spec.text is not None and spec.text.carry and not spec.text.mark_end
    assert spec.n_multiplied == 0
    assert spec.target.labels == (tuple(range(256)) if is_utf8 else tuple(map(chr, range(256))))
