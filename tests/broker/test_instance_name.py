"""A name belongs to one process at a time and outlasts it."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from streamrnn.broker import instance_name
from streamrnn.broker.instance_name import InstanceName


@pytest.fixture
def group() -> str:
    return f"group-{uuid.uuid4().hex[:8]}"


HOLD = "import sys; from streamrnn.broker.instance_name import InstanceName; n = InstanceName(sys.argv[1]); \
print(n, flush=True); sys.stdin.read()"


@pytest.fixture
def other(group: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a name until it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, group], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_workers_beside_each_other_have_names_of_their_own(group: str) -> None:
    names = [InstanceName(group) for _ in range(3)]
    first, second, third = map(str, names)
    assert first.startswith(socket.gethostname())
    assert (second, third) == (f"{first}-2", f"{first}-3")
    names[1].close()
    names[1].close()
    again = InstanceName(group)
    assert str(again) == second
    for name in (names[0], names[2], again):
        name.close()


def test_other_groups_are_counted_apart(group: str) -> None:
    names = [InstanceName(group), InstanceName(f"{group}-too")]
    assert str(names[0]) == str(names[1])
    for name in names:
        name.close()


def test_a_process_that_is_killed_lets_go_of_its_name(group: str, other: subprocess.Popen[str]) -> None:
    assert other.stdout is not None
    theirs = other.stdout.readline().strip()
    mine = InstanceName(group)
    assert str(mine) == f"{theirs}-2"
    other.kill()
    other.wait(10.0)
    again = InstanceName(group)
    assert str(again) == theirs
    again.close()
    mine.close()


def test_hosts_of_one_name_are_told_apart(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = InstanceName(group)
    here = str(name)
    name.close()
    monkeypatch.setattr(instance_name, "read", lambda path, at_most: b"another boot")
    elsewhere = InstanceName(group)
    assert str(elsewhere) != here
    assert str(elsewhere).startswith(socket.gethostname())
    elsewhere.close()


def test_where_no_number_can_be_held_names_are_random(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "not here")

    monkeypatch.setattr(socket, "socket", type("Refusing", (socket.socket,), {"bind": refuse}))
    names = [InstanceName(group), InstanceName(group)]
    assert str(names[0]) != str(names[1])
    for name in names:
        name.close()
