"""Certificates for tests, made by the openssl command."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Pair(NamedTuple):
    certfile: Path
    keyfile: Path


def make(directory: Path, name: str = "tls", password: str | None = None) -> Pair:
    """A self-signed certificate for localhost and 127.0.0.1 and its key, in files of this name; overwrites them."""
    pair = Pair(directory / f"{name}.crt", directory / f"{name}.key")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    key = ["-nodes"] if password is None else ["-passout", f"pass:{password}"]
    names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(pair.keyfile), "-out", str(pair.certfile)]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, *key, "-days", "2", *names, *files], check=True, capture_output=True
    )
    return pair
