"""Model files and checkpoints that somebody altered and signed again: what no damage brings about, but an attacker can.

Each forgery follows from a seed. ``python -m tests.support.forgeries FIRST LAST`` tries as many as one likes, and says
how many were refused and how many learners ran on.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from streamrnn.errors import CheckpointError
from streamrnn.learner.block import EVENT, FORGET, LABEL, Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.lowering import bytes_per_stream
from streamrnn.learner.spec import LearnerSpec
from streamrnn.learner.state import LearnerState
from streamrnn.learner.validity import LARGEST_WEIGHT
from streamrnn.storage import manifest, model_file
from streamrnn.storage.checkpoints import CheckpointStore
from streamrnn.storage.model_file import ModelFile, load_model, pack
from streamrnn.storage.segments import Segment, pack_segment
from streamrnn.storage.snapshot import take_snapshot
from streamrnn.storage.tensors import Arrays, decode, encode
from tests.support.blobs import MemoryBlobs
from tests.support.checkpoints import LINEAGE, progress
from tests.support.logs import symbolic_columns
from tests.support.small_learners import spec

SPECS: dict[str, LearnerSpec] = {
    "regression": spec(model={"dtype": "float32"}, dt=True, max_streams=6),
    "forecast": spec(
        model={"cell": "gru", "readout": "rls"}, learning={"k1": 2, "k2": 6}, max_streams=6, known="forecast",
        horizon=3, baseline=2,
    ),
    "classes": spec(
        model={"cell": "rnn", "readout": "softmax", "dtype": "float32"}, classes=("a", "b", "c"), max_streams=6,
        learning={"k1": 2, "k2": 6, "batch_size": 4, "optimizer": "momentum"},
    ),
    "labels": spec(
        model={"readout": "rls"}, max_streams=6, known="label", event_field="id", label_field="of", label_memory=5,
    ),
    "quantiles": spec(
        fields=("y", "z"), max_streams=6,
        model={"cell": "gru", "loss": "quantile", "dtype": "float32", "num_layers": 2},
        learning={"k1": 1, "k2": 3, "optimizer": "adamw"},
    ),
    "exact": spec(
        model={"cell": "glru", "dtype": "float32", "hidden_layer": 3}, learning={"k1": 4}, max_streams=6,
    ),
    "exact and late": spec(
        model={"cell": "elstm"}, max_streams=6, known="label", event_field="id", label_field="of", label_memory=5,
    ),
}  # fmt: skip
FLOAT32 = float(np.finfo(np.float32).max)
EXTREMES = (
    np.nan, np.inf, -np.inf, 1e308, -1e308, 1e39, -1e39, 1e-320, 0.0, -0.0, -1.0, 1.0, 0.5, 7.0, 2.0**31, 2.0**53,
    -(2.0**53), 2.0**62, -(2.0**63), 2.0**52, 2.0**61, 4.9e29, 5.1e29, 1e30, -9e99, 1e149, 1e300,
    FLOAT32, -FLOAT32, np.finfo(np.float64).max,
)  # fmt: skip
JSON = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    3,
    7,
    10**6,
    10**9,
    2**63,
    10**30,
    0.5,
    1e-300,
    1e300,
    "",
    "x",
    "rls",
    [],
    {},
    [0],
)


def records(of: LearnerSpec, n: int, seed: int) -> Block:
    """Records of twice as many streams as have room, labels and tombstones among them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, of.n_features)) * rng.choice([1.0, 1.0, 1e6], (n, 1))
    y = rng.normal(size=(n, of.n_targets))
    if of.n_classes and not of.target.is_open:
        y = rng.integers(of.n_classes, size=(n, 1)).astype(np.float64)
    elif of.n_classes:
        y = np.full((n, 1), np.nan)
    y[rng.random(y.shape) < 0.2] = np.nan
    kinds = [EVENT, EVENT, EVENT, LABEL if of.target.known == "label" else EVENT]
    kind = rng.choice([*kinds * 5, FORGET], n).astype(np.uint8)
    block = Block.events([b"%d" % k for k in rng.integers(12, size=n)], x, y, time_ms=1_000 * np.arange(n))
    return replace_rows(
        block, kind=kind, event=rng.integers(1, 9, n).astype(np.uint64), end=rng.random(n) < 0.05,
        **symbolic_columns(of, n, rng),
    )  # fmt: skip


def replace_rows(block: Block, **columns: Any) -> Block:
    """The block with other columns."""
    return Block(**{name: columns.get(name, getattr(block, name)) for name in Block.__dataclass_fields__})


@functools.cache
def healthy(kind: str) -> LearnerState:
    """What a learner holds after some records."""
    learner = Learner(SPECS[kind], 1)
    learner.process(records(SPECS[kind], 150, 0))
    return learner.state().copy()


# ---- what a forger does


def forge_arrays(arrays: Arrays, rng: np.random.Generator) -> Arrays:
    """Arrays of which one or a few are others."""
    arrays = dict(arrays)
    for _ in range(rng.integers(1, 3)):
        name = str(rng.choice(sorted(name for name, array in arrays.items() if array.size or rng.random() < 0.1)))
        change = CHANGES[rng.integers(len(CHANGES))]
        change(arrays, name, rng)
    return arrays


def _set_some(arrays: Arrays, name: str, rng: np.random.Generator) -> None:
    array = arrays[name] = arrays[name].copy()
    if array.size:
        which = rng.integers(array.size, size=rng.integers(1, 4))
        with np.errstate(all="ignore"):
            array.reshape(-1)[which] = np.array(rng.choice(EXTREMES)).astype(array.dtype)


def _set_all(arrays: Arrays, name: str, rng: np.random.Generator) -> None:
    with np.errstate(all="ignore"):
        arrays[name] = np.full_like(arrays[name], np.array(rng.choice(EXTREMES)).astype(arrays[name].dtype))


def _flip(arrays: Arrays, name: str, rng: np.random.Generator) -> None:
    data = bytearray(arrays[name].tobytes())
    if data and arrays[name].dtype != bool:
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        arrays[name] = np.frombuffer(bytes(data), arrays[name].dtype).reshape(arrays[name].shape)


def _relabel(arrays: Arrays, name: str, rng: np.random.Generator) -> None:
    kinds = {1: ["int8", "uint8"], 4: ["float32", "int32", "uint32"], 8: ["float64", "int64", "uint64"]}
    array = np.ascontiguousarray(arrays[name])
    arrays[name] = array.view(str(rng.choice(kinds[array.dtype.itemsize]))).reshape(arrays[name].shape)


def _retype(arrays: Arrays, name: str, rng: np.random.Generator) -> None:
    kinds = ["float16", "float32", "float64", "int64", "uint64", "uint8", "bool"]
    with np.errstate(all="ignore"):
        arrays[name] = arrays[name].astype(str(rng.choice(kinds)))


def _reshape(arrays: Arrays, name: str, rng: np.random.Generator) -> None:
    array = arrays[name]
    shapes: list[Callable[[], Any]] = [
        lambda: array.T, lambda: array[:-1], lambda: array[:1], lambda: array[..., None], lambda: array.reshape(-1),
        lambda: array[:0], lambda: np.zeros((), array.dtype), lambda: np.concatenate([array, array]),
    ]  # fmt: skip
    if array.ndim:
        arrays[name] = np.ascontiguousarray(shapes[rng.integers(len(shapes))]())


def _swap(arrays: Arrays, name: str, rng: np.random.Generator) -> None:
    alike = [n for n, a in arrays.items() if a.nbytes == arrays[name].nbytes]
    other = str(rng.choice(alike))
    arrays[name], arrays[other] = arrays[other], arrays[name]


def _roll(arrays: Arrays, name: str, rng: np.random.Generator) -> None:
    arrays[name] = np.roll(arrays[name], int(rng.integers(1, 5)))


def _same_rows(arrays: Arrays, name: str, rng: np.random.Generator) -> None:  # noqa: ARG001
    if arrays[name].ndim and len(arrays[name]):
        arrays[name] = np.repeat(arrays[name][:1], len(arrays[name]), axis=0)


def _remove(arrays: Arrays, name: str, rng: np.random.Generator) -> None:  # noqa: ARG001
    if len(arrays) > 1:
        del arrays[name]


def _add(arrays: Arrays, name: str, rng: np.random.Generator) -> None:
    arrays[name + str(rng.choice(["x", "_watch", "."]))] = arrays[name]


def _forge_keys(arrays: Arrays, name: str, rng: np.random.Generator) -> None:  # noqa: ARG001
    """Keys that occur twice, more of them than slots, or none."""
    prefix = "streams." if "streams.keys.blob" in arrays else ""
    if f"{prefix}keys.present" not in arrays:
        return
    rows = len(arrays[f"{prefix}keys.present"])
    keys = [None if rng.random() < 0.2 else b"%d" % rng.integers(4) for _ in range(rows + int(rng.integers(-1, 2)))]
    packed = pack_segment(Segment({}, tuple(keys)), 0)
    arrays.update({prefix + part: array for part, array in packed.items()})


CHANGES = (
    _set_some, _set_some, _set_some, _set_all, _set_all, _flip, _flip, _relabel, _retype, _reshape, _swap, _roll,
    _same_rows, _remove, _add, _forge_keys,
)  # fmt: skip


def forge_json(tree: Any, rng: np.random.Generator) -> Any:
    """The tree with one leaf or branch replaced, removed or added."""
    tree = json.loads(json.dumps(tree))
    places = list(_places(tree))
    holder, key = places[rng.integers(len(places))]
    what = rng.integers(6)
    if what == 0 and isinstance(holder, dict):
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder["more"] = 1
    elif what == 2 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = holder[key] * int(rng.choice([-1, 2, 10, 1000, 10**6])) + int(rng.integers(-1, 2))
    else:
        holder[key] = JSON[rng.integers(len(JSON))]
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in inside:
        yield tree, key
        yield from _places(value)


# ---- what becomes of it


def forged_model_file(kind: str, seed: int) -> bytes:
    """The bytes of a model file that is signed and not what was written."""
    rng = np.random.default_rng(seed)
    data = pack(ModelFile(healthy(kind), ("a", "b", "c"), {}))
    arrays = decode(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    text = json.loads(header["__metadata__"]["streamrnn"])
    which = rng.integers(8)
    if which == 0:
        return data[: rng.integers(len(data))]
    if which <= 2:
        text["spec"] = forge_json(text["spec"], rng)
    if which == 1 or which > 2:
        arrays = forge_arrays(arrays, rng)
    return signed(arrays, text)


def signed(arrays: Arrays, text: dict[str, Any]) -> bytes:
    """A model file that holds these arrays and says so."""
    text = text | {"sha256": model_file._sha256(arrays)}
    text["text_sha256"] = model_file._text_sha256(text)
    return encode(arrays, {"streamrnn": json.dumps(text)})


def forged_checkpoint(kind: str, seed: int) -> CheckpointStore:
    """A store whose checkpoint at 10 is sound, and the one at 20 signed and not what was written."""
    rng = np.random.default_rng(seed)
    state = healthy(kind)
    store = CheckpointStore(MemoryBlobs(), "job", "topic", 0, configuration={}, build={})
    store.write(take_snapshot(state), progress(10))
    model = dict(state.model)
    packed = pack_segment(Segment(dict(state.streams), tuple(state.keys)), 0)
    which = rng.integers(4)
    if which == 0:
        model = forge_arrays(model, rng)
    elif which < 3:
        packed = forge_arrays(packed, rng)
    written = store.write(take_snapshot(state), progress(20))
    raw = msgspec.to_builtins(written)
    if which == 3:
        at = str(rng.choice(["spec", "spec", "n_slots", "segments", "model"]))
        raw[at] = forge_json({at: raw[at]}, rng).get(at)
    else:
        for data, entry in ((encode(model), raw["model"]), (encode(packed), raw["segments"][0])):
            entry.update(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
            store._blobs.put([(store._names.segment(LINEAGE, entry["sha256"]), data)])
    raw["sha256"] = manifest._self_check(raw)
    store._blobs.put([(store._names.manifest(LINEAGE, 20), json.dumps(raw).encode())])
    return store


def goes_on(state: LearnerState, seed: int) -> None:
    """A learner of this state processes fifty records, predicts something, and could be saved and read again."""
    of = state.spec
    if bytes_per_stream(of) * of.streams.max_streams > 1 << 26:  # what the file asks for is the operator's to allow
        of = replace(of, streams=replace(of.streams, max_streams=max(1, len(state.keys))))
    learner = Learner(of, 1)
    try:
        learner.resume(state)
    except ValueError:
        raise AssertionError("a state that was read does not fit its own specification") from None
    block = records(of, 40, seed)
    value = learner.process(block).value
    assert not np.isnan(value[block.kind == EVENT]).all(), "every prediction is NaN"
    for i in range(10):
        learner.step(b"%d" % i, EVENT, [0.5] * of.n_features, 1.0, 200_000 + i, event=i)
    # What can be seen to be wrong is: by the worker, which stops, and by whoever writes a checkpoint.
    if learner.largest_weight() <= LARGEST_WEIGHT:
        learner.state().require_fit(of)


def try_model_file(kind: str, seed: int, directory: Path) -> str:
    """What a forged model file comes to: "refused" or "ran"; everything else is raised."""
    path = directory / "forged.safetensors"
    path.write_bytes(forged_model_file(kind, seed))
    try:
        saved = load_model(path).saved
    except CheckpointError:
        return "refused"
    if saved is not None:
        goes_on(saved, seed)
    return "ran"


def try_checkpoint(kind: str, seed: int) -> str:
    """The same of a forged checkpoint: where it is refused the one before is there."""
    found = forged_checkpoint(kind, seed).newest(LINEAGE)
    assert found.checkpoint is not None
    assert (found.checkpoint.manifest.progress.position == 10) == bool(found.rejected)
    goes_on(found.checkpoint.state(), seed)
    return "refused" if found.rejected else "ran"


def main(first: int, last: int) -> None:
    """Try the forgeries of these seeds, within 2 GB beyond what is in use by then, and a second of CPU time each."""
    logging.disable()
    for kind in SPECS:
        healthy(kind)  # what takes room and time once
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + (2 << 30), resource.RLIM_INFINITY))
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as directory:
        for seed in range(first, last):
            kind, started = sorted(SPECS)[seed % len(SPECS)], time.process_time()
            try:
                outcomes["model file " + try_model_file(kind, seed, Path(directory))] += 1
                outcomes["checkpoint " + try_checkpoint(kind, seed)] += 1
            except Exception as error:
                outcomes[f"{kind} {seed}: {type(error).__name__} {error}"] += 1
            slowest = max(slowest, time.process_time() - started)
    for outcome, count in sorted(outcomes.items()):
        print(count, outcome)
    print(f"slowest: {slowest:.2f} s of CPU time")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
