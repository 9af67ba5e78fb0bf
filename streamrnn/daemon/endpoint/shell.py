"""The page at ``/`` before a browser has filled it: one file that names nothing from elsewhere.

Its policy lets a browser run the page's own script and style, known by their digests, ask this server, and nothing
else. The state in words is put in here, so that it is there for those without scripts, too.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path

from streamrnn.system.reading import read

_FILE = Path(__file__).with_name("page.html")
_MOST_BYTES = 1 << 20
_STATE = b"<!-- the state in words -->"
_HTML, _LOCKED = b'<html lang="en">', b'<html lang="en" data-locked>'
_INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


class Shell:
    """The page's text and its policy; reads the file once."""

    def __init__(self) -> None:
        text = read(_FILE, _MOST_BYTES)
        self._before, _, self._after = text.partition(_STATE)
        allowed = {name.decode(): _source(inline) for name, inline in _INLINE.findall(text)}
        self.policy = (
            f"default-src 'none'; script-src {allowed['script']}; style-src {allowed['style']}; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    def body(self, sentence: str | None) -> bytes:
        """The page with the state in words; None for those who have yet to give the token."""
        if sentence is None:
            return self._before.replace(_HTML, _LOCKED) + b"Give the token to see how this worker is." + self._after
        return self._before + html.escape(sentence).encode(errors="replace") + self._after


def _source(inline: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline).digest()).decode()}'"
