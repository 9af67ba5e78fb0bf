"""The job file's section on the log."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from streamrnn.job.section import Section


class LogConfig(Section, frozen=True, kw_only=True):
    """How the log, on standard error, looks. What is in it says ``log_level``."""

    format: Annotated[
        Literal["text", "json"], Meta(description="text: a line for people; json: an object a line, for collectors.")
    ] = "text"
