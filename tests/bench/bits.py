"""Whether the kernels give the same bits however they are compiled.

    python -m tests.bench.bits              about three minutes of CPU: each build compiles both precisions
    python -m tests.bench.bits --quick      float32 for two builds

Each build is a process with a cache of its own: other CPU targets, which decide the width of registers and whether
there is a fused multiply-add at all, other levels of optimisation, no vectorisers. It learns from the same records with
every cell, readout, loss and optimiser, at widths that fill registers and at some that do not, and prints a digest of
all predictions, weights and states. What needs AVX-512 is left out on a machine without it. Exits with status 1 where
digests of one precision differ.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from streamrnn.learner.block import Block
from streamrnn.learner.learner import Learner
from streamrnn.learner.model_spec import ModelSpec
from streamrnn.learner.spec import LearnerSpec, LearningSpec, StreamSpec
from streamrnn.learner.target_spec import TargetSpec

BUILDS: dict[str, dict[str, str]] = {
    "x86-64-v3": {},
    "x86-64-v4": {"NUMBA_CPU_NAME": "x86-64-v4"},
    "skylake-avx512": {"NUMBA_CPU_NAME": "skylake-avx512"},
    "x86-64, no AVX and no FMA": {"NUMBA_CPU_NAME": "x86-64"},
    "optimised less": {"NUMBA_OPT": "2"},
    "no vectorisers": {"NUMBA_LOOP_VECTORIZE": "0", "NUMBA_SLP_VECTORIZE": "0"},
}
AVX512 = ("x86-64-v4", "skylake-avx512")
FEATURES, RECORDS, STREAMS = 5, 400, 3
READOUTS: tuple[tuple[str, str, str], ...] = (
    ("linear", "squared", "adam"),
    ("linear", "huber", "rmsprop"),
    ("linear", "quantile", "adamw"),
    ("linear", "absolute", "momentum"),
    ("rls", "squared", "adam"),
    ("softmax", "cross_entropy", "sgd"),
    ("logistic", "cross_entropy", "adam"),
)


def specifications(dtype: Any) -> Iterator[LearnerSpec]:
    """Learners that use all there is: at 32 units every cell with every readout, at other widths the LSTM and GRU, and
    those with exact gradients, which learn from targets known at once and later."""
    yield from _windowed(dtype)
    yield from _exact(dtype)


def _windowed(dtype: Any) -> Iterator[LearnerSpec]:
    cells: tuple[Any, ...] = ("lstm", "gru", "rnn")
    cases: list[tuple[Any, int, int, Any]] = [(cell, 32, 1, readout) for cell in cells for readout in READOUTS]
    cases += [(cell, hidden, 2, READOUTS[0]) for cell in cells[:2] for hidden in (1, 7, 13, 50, 64, 128)]
    for cell, hidden, layers, (readout, loss, optimizer) in cases:
        classes = {"softmax": 3, "logistic": 2}.get(readout, 0)
        yield LearnerSpec(
            n_features=FEATURES,
            target=TargetSpec(fields=("y",), classes=tuple(map(str, range(classes))) or None),
            model=ModelSpec(cell=cell, hidden_size=hidden, num_layers=layers, readout=readout, loss=loss, dtype=dtype),
            learning=LearningSpec(k1=3, k2=11, optimizer=optimizer),
            streams=StreamSpec(max_streams=STREAMS),
        )


def _exact(dtype: Any) -> Iterator[LearnerSpec]:
    """Without adamw, which decays weights that are time constants here."""
    trained: tuple[dict[str, Any], ...] = ({"cell": "glru"}, {"cell": "glru", "gates": False}, {"cell": "elstm"})
    cases = [(cell, 32, layer, readout) for cell in trained for layer in (0, 9) for readout in READOUTS]
    cases += [(cell, hidden, 0, READOUTS[0]) for cell in trained for hidden in (1, 7, 13, 50)]
    cases += [({"cell": "bank"}, hidden, 128, READOUTS[4]) for hidden in (5, 16)]
    for cell, hidden, layer, (readout, loss, optimizer) in cases:
        classes = {"softmax": 3, "logistic": 2}.get(readout, 0)
        learning = LearningSpec(k1=3, optimizer=optimizer.removesuffix("w"))  # type: ignore[arg-type]
        for horizon in (0, 1) if classes else (0, (1, 4)):
            yield LearnerSpec(
                n_features=FEATURES,
                target=TargetSpec(
                    fields=("y",), classes=tuple(map(str, range(classes))) or None,
                    **({"known": "forecast", "horizon": horizon} if horizon else {}),
                ),
                model=ModelSpec(
                    **cell, hidden_size=hidden, hidden_layer=layer, readout=readout, loss=loss, dtype=dtype
                ),  # type: ignore[arg-type]
                learning=LearningSpec() if cell["cell"] == "bank" else learning,
                streams=StreamSpec(max_streams=STREAMS),
            )  # fmt: skip


def digest(dtype: str) -> str:
    """Over the predictions of a run of each specification and the weights and states it ends with."""
    found = hashlib.sha256()
    for spec in specifications(dtype):
        subject, rng = Learner(spec, seed=0), np.random.default_rng(1)
        x = rng.standard_normal((RECORDS, FEATURES))
        y = rng.integers(0, 2, (RECORDS, 1)).astype(float) if spec.model.classifies else x[:, :1] * x[:, 1:2]
        keys = [b"%d" % (i % STREAMS) for i in range(RECORDS)]
        result = subject.process(Block.events(keys, x, y, time_ms=np.arange(RECORDS, dtype=np.int64)))
        found.update(np.ascontiguousarray(result.value).tobytes())
        for _, array in sorted(subject.get_weights().items()):
            found.update(array.tobytes())
    return found.hexdigest()[:16]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a digest for each build and precision."""
    parser = argparse.ArgumentParser(description="Compare the bits of kernels that were compiled differently.")
    parser.add_argument("--quick", action="store_true", help="two builds in float32 only")
    parser.add_argument("--digest", metavar="DTYPE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.digest:
        print(digest(options.digest), flush=True)
        return
    from llvmlite import binding as llvm

    avx512 = llvm.get_host_cpu_features().get("avx512vl", False)
    builds = {name: extra for name, extra in BUILDS.items() if avx512 or name not in AVX512}
    if options.quick:
        builds = dict(list(builds.items())[:2])
    precisions = ("float32",) if options.quick else ("float32", "float64")
    print("| build | " + " | ".join(precisions) + " |\n|---|" + "---|" * len(precisions), flush=True)
    found: list[tuple[str, ...]] = []
    for name, extra in builds.items():
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, **extra, "STREAMRNN_CACHE_DIR": cache}
            command = [sys.executable, "-m", "tests.bench.bits", "--digest"]
            run = [subprocess.run([*command, p], env=environment, text=True, capture_output=True) for p in precisions]
        for process in run:
            if process.returncode:
                sys.exit(process.stderr)
        found.append(tuple(process.stdout.strip() for process in run))
        print(f"| {name} | " + " | ".join(found[-1]) + " |", flush=True)
    if len(set(found)) > 1:
        sys.exit("the builds differ")


if __name__ == "__main__":
    main()
