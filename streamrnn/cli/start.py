"""Imported before everything else: from here on the command imports nothing from where it was started."""

from __future__ import annotations

from streamrnn.system.import_path import make_independent

make_independent()
