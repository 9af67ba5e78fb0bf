"""Puts all compiled kernels into the wheel, so that an installed package never compiles.

They are object files of the CPU target that the code is pinned to, whatever machine builds the wheel; a machine that
lacks it compiles its own at the first start. An editable install and a source distribution hold none.

With ``STREAMRNN_KERNELS_FROM_CACHE=1`` what the cache holds of the same sources and versions is taken instead of being
compiled: for tests that build a second wheel. Another test compiles one anew and finds the same bytes.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


def from_cache(dtype: str, family: Any, path: Path) -> bool:
    """Whether ``path`` is now a copy of what the cache holds, which only happens where that is asked for."""
    from streamrnn.core import object_file

    found = object_file.find(dtype, family) if os.environ.get("STREAMRNN_KERNELS_FROM_CACHE") == "1" else None
    if found is None:
        return False
    content = object_file.read(found)
    if any(content.versions[name] != metadata.version(name) for name in ("numba", "llvmlite", "numpy")):
        return False
    object_file.write(path, content)
    return True


class KernelsBuildHook(BuildHookInterface[Any]):
    """Runs when hatchling builds a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, name the files that join the wheel, and say that it is for this platform."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from streamrnn.core import compiled, jit, object_file
        from streamrnn.core.kinds import COMPILED

        for name in [name for name in os.environ if name.startswith("NUMBA_")]:
            del os.environ[name]  # the builder's own settings
        os.environ["NUMBA_CPU_NAME"] = jit.PINNED_CPU
        self.folder = tempfile.TemporaryDirectory(prefix="streamrnn-kernels-")
        paths = {
            (dtype, family): Path(self.folder.name) / object_file.name(dtype, family=family)
            for dtype, family in COMPILED
        }
        with ThreadPoolExecutor(max_workers=2) as pool:  # each takes a core, and memory
            jobs = [
                pool.submit(compiled.compile_in_child, dtype, path, family=family)
                for (dtype, family), path in paths.items()
                if not from_cache(dtype, family, path)
            ]
        for job in jobs:
            job.result()
        for path in paths.values():
            build_data["force_include"][str(path)] = f"streamrnn/core/objects/{path.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """The files are in the wheel."""
        if version != "editable":
            self.folder.cleanup()
