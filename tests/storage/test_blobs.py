"""What every place for blobs promises, and what a directory has to do so that it holds when the machine dies."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamrnn.errors import BlobError, BlobNotFound
from streamrnn.storage.blobs import Blobs, DirectoryBlobs
from tests.support.blobs import MemoryBlobs


class Place(NamedTuple):
    """Blobs under test, and how time passes for what is in them."""

    blobs: Blobs
    age: Callable[[float], None]


def directory_place(directory: Path) -> Place:
    def age(seconds: float) -> None:
        for path in directory.rglob("*"):
            at = path.stat().st_mtime - seconds
            os.utime(path, (at, at))

    return Place(DirectoryBlobs(directory), age)


def memory_place(_: Path) -> Place:
    blobs = MemoryBlobs()
    return Place(blobs, blobs.age)


@pytest.fixture(params=[directory_place, memory_place], ids=["directory", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    made: Place = request.param(tmp_path / "made" / "when needed")
    return made


def names(blobs: Blobs, prefix: str = "") -> list[str]:
    return [blob.name for blob in blobs.list(prefix)]


# ---------------------------------------------------------------------------------------------- the contract


def test_nothing_is_there_at_first(place: Place) -> None:
    assert list(place.blobs.list()) == []
    assert list(place.blobs.list("a/")) == []
    with pytest.raises(BlobNotFound, match="a/b"):
        place.blobs.get("a/b")
    place.blobs.delete(["a/b"])
    place.blobs.sweep("a/", put_before=time.time())


def test_what_was_put_is_listed_with_its_size_and_can_be_had(place: Place) -> None:
    before = time.time() - 2.0  # clocks of file systems are coarse
    place.blobs.put([("b/y", b"123"), ("b/x", b""), ("a", b"1")])
    assert [(blob.name, blob.size) for blob in place.blobs.list()] == [("a", 1), ("b/x", 0), ("b/y", 3)]
    assert all(blob.modified > before for blob in place.blobs.list())
    assert [place.blobs.get(name) for name in ("a", "b/x", "b/y")] == [b"1", b"", b"123"]


def test_a_blob_put_again_is_replaced(place: Place) -> None:
    place.blobs.put([("a", b"long before")])
    place.blobs.put([("a", b"new")])
    place.blobs.put([("a", b"two"), ("a", b"one")])
    assert place.blobs.get("a") == b"one"
    assert names(place.blobs) == ["a"]


def test_a_prefix_is_the_beginning_of_a_name_whether_or_not_it_ends_a_component(place: Place) -> None:
    place.blobs.put([(name, b"") for name in ("a/m-1", "a/m-2", "a/s/1", "ab/1", "b")])
    assert names(place.blobs, "a/") == ["a/m-1", "a/m-2", "a/s/1"]
    assert names(place.blobs, "a/m") == ["a/m-1", "a/m-2"]
    assert names(place.blobs, "a") == ["a/m-1", "a/m-2", "a/s/1", "ab/1"]
    assert names(place.blobs, "a/m-1") == ["a/m-1"]
    assert names(place.blobs, "b/") == []
    assert names(place.blobs, "b/x/y/") == []


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "..", "../a", "a/../../b", ".a", "a/.b"])
def test_a_name_that_is_none_is_refused(place: Place, tmp_path: Path, name: str) -> None:
    for use in (
        lambda: place.blobs.get(name),
        lambda: place.blobs.put([(name, b"")]),
        lambda: place.blobs.delete([name]),
    ):
        with pytest.raises(BlobError, match="name"):
            use()
    assert list(tmp_path.rglob("*")) == []


def test_deleted_blobs_are_gone_and_the_others_stay(place: Place) -> None:
    place.blobs.put([("a", b""), ("b/c", b""), ("b/d", b"")])
    place.blobs.delete(["b/c", "a", "b/none"])
    assert names(place.blobs) == ["b/d"]
    with pytest.raises(BlobNotFound):
        place.blobs.get("b/c")


def test_only_blobs_older_than_asked_for_are_deleted(place: Place) -> None:
    place.blobs.put([("old", b""), ("again", b"same"), ("changed", b"1")])
    place.age(1000.0)
    place.blobs.put([("again", b"same"), ("changed", b"2"), ("new", b"")])
    listed = place.blobs.list()
    assert [blob.name for blob in listed if blob.modified < time.time() - 900.0] == ["old"]
    place.blobs.delete(["old", "again", "changed", "new"], put_before=time.time() - 900.0)
    assert names(place.blobs) == ["again", "changed", "new"]


def test_pairs_are_asked_for_one_at_a_time_and_an_error_in_making_one_comes_through(place: Place) -> None:
    def pairs() -> Iterator[tuple[str, bytes]]:
        yield "a", b"1"
        assert names(place.blobs) in ([], ["a"])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        place.blobs.put(pairs())


parts = st.sampled_from(["a", "b", "ab", "manifest-1", "%2E."])
blob_names = st.lists(parts, min_size=1, max_size=3).map("/".join)
steps = st.lists(
    st.tuples(st.just("put"), blob_names, st.binary(max_size=3))
    | st.tuples(st.just("delete"), blob_names, st.none())
    | st.tuples(st.just("list"), blob_names | st.just("") | blob_names.map(lambda name: f"{name}/"), st.none()),
    max_size=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
@pytest.mark.parametrize("kind", [directory_place, memory_place], ids=["directory", "memory"])
def test_any_sequence_of_verbs_does_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, kind: Callable[[Path], Place], steps: list[tuple[str, str, bytes | None]]
) -> None:
    root = tmp_path_factory.mktemp("blobs")
    blobs = kind(root).blobs
    model: dict[str, bytes] = {}
    ever: set[str] = set()
    for verb, name, data in steps:
        if verb == "list":
            listed = [(blob.name, blob.size) for blob in blobs.list(name) if not (root / blob.name).is_dir()]
            assert listed == [(key, len(model[key])) for key in sorted(model) if key.startswith(name)]
        elif clashes(name, ever):
            continue
        elif verb == "put":
            blobs.put([(name, data or b"")])
            model[name] = data or b""
            ever.add(name)
        else:
            blobs.delete([name])
            model.pop(name, None)
    assert {name: blobs.get(name) for name in model} == model


def clashes(name: str, ever: set[str]) -> bool:
    """Whether a name was at once a blob and the beginning of others: a directory cannot hold both, not even one after
    the other, since it keeps its folders when they are empty. Nobody asks for it."""
    return any(other.startswith(f"{name}/") or name.startswith(f"{other}/") for other in ever)


# ---------------------------------------------------------------------------------------------- a directory


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The system calls that decide what a crash leaves, in their order: (what, name of the file or directory)."""
    seen: list[tuple[str, str]] = []
    fsync, replace, mkdir = os.fsync, Path.replace, Path.mkdir

    def noting_fsync(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            seen.append(("flush directory", path.name))
        else:  # a temporary file: .<name>.<process>-<random>.tmp
            seen.append(("flush bytes", path.name.split(".")[1]))

    def noting_replace(self: Path, target: Path) -> Path:
        seen.append(("rename", target.name))
        return replace(self, target)

    def noting_mkdir(self: Path, *args: object, **options: bool) -> None:
        mkdir(self, *args, **options)  # type: ignore[arg-type]
        seen.append(("make", self.name))

    monkeypatch.setattr("os.fsync", noting_fsync)
    monkeypatch.setattr(Path, "replace", noting_replace)
    monkeypatch.setattr(Path, "mkdir", noting_mkdir)
    return seen


def test_bytes_are_flushed_before_they_get_their_name_and_names_before_put_returns(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    root = tmp_path / "root"
    DirectoryBlobs(root).put([("s/a", b"1"), ("s/b", b"2")])
    assert calls == [
        ("make", "root"),
        ("flush directory", tmp_path.name),
        ("make", "s"),
        ("flush directory", "root"),
        ("flush bytes", "a"),
        ("rename", "a"),
        ("flush bytes", "b"),
        ("rename", "b"),
        ("flush directory", "s"),
    ]


def test_a_blob_found_already_there_is_durable_too_and_removed_ones_are_gone_for_good(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    blobs = DirectoryBlobs(tmp_path)
    blobs.put([("s/a", b"1")])
    calls.clear()
    blobs.put([("s/a", b"1")])  # perhaps another process has renamed it and did not yet flush the directory
    assert calls == [("flush directory", "s")]
    calls.clear()
    blobs.delete(["s/a"])
    assert calls == [("flush directory", "s")]


@pytest.mark.parametrize("at", ["os.fsync", "pathlib.Path.replace"])
def test_a_crash_while_a_blob_is_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    blobs = DirectoryBlobs(tmp_path)
    blobs.put([("a", b"old")])

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(at, crash)
        blobs.put([("a", b"new")])
    assert blobs.get("a") == b"old"
    assert names(blobs) == ["a"]


def test_bytes_that_rotted_are_replaced_when_they_are_put_again(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    blobs.put([("a", b"good")])
    (tmp_path / "a").write_bytes(b"goof")
    blobs.put([("a", b"good")])
    assert blobs.get("a") == b"good"


def test_what_interrupted_writes_left_is_not_listed_and_goes_once_it_is_old(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    blobs.put([("l/s/a", b""), ("other/a", b"")])
    litter = [tmp_path / "l" / "s" / ".b.1-0123abcd.tmp", tmp_path / "l" / ".m.json.77-0123abcd.tmp"]
    spared = [tmp_path / "other" / ".b.1-0123abcd.tmp", tmp_path / "l" / ".nfs0001", tmp_path / "l" / "x.tmp"]
    for path in litter + spared:
        path.write_bytes(b"")
    assert names(blobs) == ["l/s/a", "l/x.tmp", "other/a"]
    blobs.sweep("l/", put_before=time.time() - 900.0)
    assert all(path.exists() for path in litter), "one may be being written"
    blobs.sweep("l/", put_before=time.time() + 900.0)
    assert not any(path.exists() for path in litter)
    assert all(path.exists() for path in spared)
    assert names(blobs) == ["l/s/a", "l/x.tmp", "other/a"]


def test_a_directory_in_a_blobs_place_is_listed_and_cannot_be_read(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    (tmp_path / "a").mkdir()
    assert names(blobs) == ["a"]
    with pytest.raises(BlobError, match="cannot be read") as caught:
        blobs.get("a")
    assert not isinstance(caught.value, BlobNotFound)


def test_links_are_listed_and_neither_read_nor_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "named").symlink_to(tmp_path / "elsewhere")  # by the operator: the directory itself may be a link
    blobs, tmp_path = DirectoryBlobs(tmp_path / "named"), tmp_path / "elsewhere"
    blobs.put([("a/x", b"1")])
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "y").symlink_to(tmp_path / "a" / "x")
    (tmp_path / "a" / "broken").symlink_to(tmp_path / "nowhere")
    assert names(blobs) == ["a/broken", "a/up", "a/x", "a/y"]
    for name, expected in (("a/y", "a regular file"), ("a/up", "a regular file"), ("a/up/a/x", "a directory")):
        with pytest.raises(BlobError, match=f"is a link, expected {expected}"):
            blobs.get(name)
    with pytest.raises(BlobError, match=r"a/up is a link, expected a directory"):
        blobs.put([("a/up/z", b"2")])
    blobs.put([("a/y", b"3")])  # takes the link's place
    assert (blobs.get("a/y"), blobs.get("a/x")) == (b"3", b"1")


def test_a_disk_that_refuses_is_named_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = DirectoryBlobs(tmp_path)
    blobs.put([("file", b"")])
    with pytest.raises(BlobError, match=r"file/a cannot be written: .*(File exists|Not a directory)"):
        blobs.put([("file/a", b"")])
    with pytest.raises(BlobNotFound):
        blobs.get("file/a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BlobError, match="folder cannot be removed"):
        blobs.delete(["folder"])

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(BlobError, match=r"cannot be listed: .*Permission denied"):
        blobs.list("x/")


def test_two_that_look_at_one_directory_see_the_same(tmp_path: Path) -> None:
    one, other = DirectoryBlobs(tmp_path), DirectoryBlobs(str(tmp_path))
    one.put([("a", b"1")])
    assert other.get("a") == b"1"
    other.delete(["a"])
    assert names(one) == []
    assert str(one) == str(other) == str(tmp_path)


class _Bytes(bytes):
    """Bytes that are counted while they are in memory; Python has no weak references to bytes."""

    alive = 0

    def __init__(self, _: bytes) -> None:
        _Bytes.alive += 1

    def __del__(self) -> None:
        _Bytes.alive -= 1


def test_bytes_that_were_put_are_let_go_of_before_the_next_are_asked_for(tmp_path: Path) -> None:
    def blobs() -> Iterator[tuple[str, bytes]]:
        for name in "abc":
            assert _Bytes.alive == 0
            data = _Bytes(name.encode())
            yield name, data
            del data

    DirectoryBlobs(tmp_path).put(blobs())


def test_what_cannot_be_removed_does_not_keep_the_rest_and_is_told_once(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    blobs.put([(f"a/{i}", b"x") for i in range(10)])
    for i in (0, 5):
        (tmp_path / "a" / str(i)).unlink()
        (tmp_path / "a" / str(i)).mkdir()
    with pytest.raises(BlobError, match=r"a/0 cannot be removed(.|\n)*; \S*a/5 cannot be removed"):
        blobs.delete([f"a/{i}" for i in range(10)])
    assert [blob.name for blob in blobs.list()] == ["a/0", "a/5"]


def test_a_link_that_leads_nowhere_is_named_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "root").symlink_to("gone")
    with pytest.raises(BlobError, match=r"root is a link to gone, where nothing is, expected a directory; make it"):
        DirectoryBlobs(tmp_path / "root").put([("a/b", b"x")])


def test_of_a_link_below_the_directory_it_is_said_where_one_may_be(tmp_path: Path) -> None:
    (tmp_path / "big").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a").symlink_to(tmp_path / "big")
    blobs, told = (
        DirectoryBlobs(tmp_path / "root"),
        r"a is a link, expected a directory; only \S*root itself may be a link",
    )
    with pytest.raises(BlobError, match=told):
        blobs.put([("a/b", b"x")])
    with pytest.raises(BlobError, match=told):
        blobs.get("a/b")


def test_another_users_files_are_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> bytes:
        raise PermissionError(13, "Permission denied", "x")

    monkeypatch.setattr("streamrnn.storage.blobs.read_below", refused)
    with pytest.raises(BlobError, match=r"chown -R(.|\n)*checkpoint\.mode"):
        DirectoryBlobs(tmp_path).get("a")
