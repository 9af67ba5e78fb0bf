"""Certificates for tests: an authority of our own, and what it issues to brokers, workers and those who pretend.

Made by ``openssl`` on the spot, so that no key lies in the repository and nothing here ever expires unless it is meant
to. Each certificate stands with its key in one PEM file, which is what Kafka's PEM stores want, too.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

KEY_PASSWORD = "only-for-keys-51c9"
"""Of every encrypted key."""

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")


class Authority:
    """Issues certificates that are trusted by those who have ``ca``."""

    def __init__(self, directory: Path, name: str = "streamrnn-tests") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._key = directory, directory / "ca.key"
        self.ca = directory / "ca.pem"
        _openssl("req", "-x509", *_NEW_KEY, *_named(name, self._key, self.ca), "-nodes", "-days", "30")

    def issue(self, name: str, *hosts: str, days: int = 30, encrypted: bool = False) -> Path:
        """A certificate of ``name`` for ``hosts`` (``DNS:...`` or ``IP:...``), with its key in the same file.

        With ``days`` below zero it has expired.
        """
        key, wish, bare = (self._directory / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        extra = ["-addext", f"subjectAltName={','.join(hosts)}"] if hosts else []
        hidden = ["-passout", f"pass:{KEY_PASSWORD}"] if encrypted else ["-nodes"]
        _openssl("req", "-new", *_NEW_KEY, *_named(name, key, wish), *extra, *hidden)
        ours = ["-CA", str(self.ca), "-CAkey", str(self._key), "-CAcreateserial", "-copy_extensions", "copy"]
        _openssl("x509", "-req", "-in", str(wish), *ours, "-days", str(days), "-out", str(bare))
        both = self._directory / f"{name}.pem"
        both.write_text(key.read_text() + bare.read_text())
        return both


def _named(name: str, key: Path, out: Path) -> list[str]:
    return ["-subj", f"/CN={name}", "-keyout", str(key), "-out", str(out)]


def _openssl(*arguments: str) -> None:
    run = subprocess.run(["openssl", *arguments], capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 0, f"openssl {arguments[0]} failed:\n{run.stderr}"
