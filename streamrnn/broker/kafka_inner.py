"""Whether inner parts of kafka-python that are replaced or read are those that streamrnn knows.

Versions may rename them, or keep the name and do something else. So whoever leans on some lists them, with a try that
runs the client's own methods over doubles, and takes the public way where something differs: which costs something, is
said once in a process, and never stops a worker.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from kafka.future import Future

Methods = Iterable[tuple[type, str, tuple[str, ...]]]
"""Methods that are replaced or called, each with its class and its parameters after ``self``."""

KNOWN = "3.0.12 or a later one of 3.0"
"""The versions that were read."""


def differs(of: Any, paths: Iterable[str], methods: Methods, tried: Callable[[], str]) -> str:
    """In what a client is not as expected; "" where it is.

    ``paths`` are attributes of ``of`` that have to be there, and ``tried`` says what of its doings is otherwise: only
    where all looks the same, and whatever error it ends by is a difference.
    """
    for path in paths:
        try:
            functools.reduce(getattr, path.split("."), of)
        except AttributeError:
            return f"no {path}"
    for owner, name, expected in methods:
        found = getattr(owner, name, None)
        if found is None:
            return f"no {owner.__name__}.{name}"
        if tuple(inspect.signature(found).parameters)[1:] != expected:
            return f"{owner.__name__}.{name}{inspect.signature(found)}"
    try:
        return tried()
    except Exception as error:  # whatever an unknown client raises
        return f"a try ends in {error!r}"


class Waiting:
    """A double of the client's manager: what it is asked to do is done, with no network, once somebody waits for it."""

    def __init__(self) -> None:
        self._open: dict[int, Callable[[], Coroutine[Any, Any, Any]]] = {}

    def call_soon(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Future:
        """As the client's: a future of what ``function`` returns."""
        future = Future()
        self._open[id(future)] = functools.partial(function, *args)
        return future

    async def wait_for(self, future: Any, _: Any) -> Any:
        """As the client's, without an end of its own."""
        if (begin := self._open.pop(id(future), None)) is not None:
            try:
                future.success(await begin())
            except Exception as error:
                future.failure(error)
        if future.failed():
            raise future.exception
        return future.value


def ended(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that waits for nothing; RuntimeError of one that does."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("it waits for something")
