"""Photographs each dashboard in headless Chromium, in Grafana's own components, from what a running Prometheus answers.

    mkdir photographs && cp tests/deploy/photographs/package.json photographs
    npm install --prefix photographs --ignore-scripts --legacy-peer-deps
    python -m tests.deploy.photographs --prometheus http://127.0.0.1:9090 --directory photographs

No part of the test suite: it takes 400 packages of npm and a job that runs. It shows what units, thresholds, mappings,
transformations and the grid look like; it is no proof of what a Grafana server does with the files.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.deploy.dashboards import DASHBOARDS, filled, panels

HERE = Path(__file__).parent
STANDS_IN = ("stream", "tty", "util")
"""Modules of Node that some package asks for and the page never calls."""
ROW, MARGIN = 38, 80


def bundle(directory: Path) -> None:
    """``page.js`` and ``page.css`` in the directory, whose ``node_modules`` has the packages."""
    aliases = [f"--alias:{name}={HERE / 'nothing.js'}" for name in STANDS_IN]
    modules = directory / "node_modules"
    aliases.append(f"--alias:react-custom-scrollbars-2={HERE / 'scrollbars.js'}")
    aliases.append(f"--alias:bundled-scrollbars={modules / 'react-custom-scrollbars-2' / 'lib' / 'index.js'}")
    loaders = [f"--loader:.{kind}={how}" for kind, how in (("svg", "dataurl"), ("woff2", "dataurl"), ("ttf", "empty"))]
    command = [modules / ".bin" / "esbuild", HERE / "page.jsx", "--bundle", "--log-level=error"]
    command += ['--define:process.env.NODE_ENV="production"', "--main-fields=module,main"]
    command += [f"--outfile={directory / 'page.js'}", *aliases, *loaders]
    environment = os.environ | {"NODE_PATH": str(modules)}
    subprocess.run(command, env=environment, timeout=300, check=True)
    shutil.copy(HERE / "index.html", directory)


def ask(prometheus: str, path: str, **parameters: Any) -> list[Any]:
    """What Prometheus answers."""
    url = f"{prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        found: list[Any] = json.load(answer)["data"]["result"]
    return found


def answers(prometheus: str, dashboard: dict[str, Any], job: str, times: range) -> dict[int, dict[str, list[Any]]]:
    """What each query of each panel gives."""
    found: dict[int, dict[str, list[Any]]] = {}
    for panel in panels(dashboard):
        for target in panel.get("targets", ()):
            rate_interval, interval = f"{max(4 * 5, times.step + 5)}s", f"{times.step}s"
            range_s = times[-1] - times[0]
            expr = filled(target["expr"], job, range_s=range_s, rate_interval=rate_interval, interval=interval)
            if target["instant"]:
                series = ask(prometheus, "query", query=expr, time=times[-1])
            else:
                series = ask(prometheus, "query_range", query=expr, start=times[0], end=times[-1], step=times.step)
            found.setdefault(panel["id"], {})[target["refId"]] = series
    return found


def photograph(directory: Path, name: str, width: int, height: int) -> None:
    """``NAME.png`` of the page."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or "chromium"
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=10000",
    ]
    command += [f"--window-size={width},{height}", f"--screenshot={directory / name}.png"]
    quiet = subprocess.DEVNULL
    subprocess.run(
        [*command, f"file://{directory / 'index.html'}"], stdout=quiet, stderr=quiet, timeout=120, check=True
    )


def main() -> None:
    """Photograph all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--prometheus", required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--job", default="streamrnn")
    parser.add_argument("--seconds", type=int, default=3_600)
    parser.add_argument("--width", type=int, default=1_800)
    options = parser.parse_args()
    directory = options.directory.resolve()
    bundle(directory)
    step = max(5, options.seconds // 200 // 5 * 5)
    end = int(time.time()) // step * step
    times = range(end - options.seconds // step * step, end + 1, step)
    for name, dashboard in DASHBOARDS.items():
        found = answers(options.prometheus, dashboard, options.job, times)
        shown = {"dashboard": dashboard, "answers": found, "times": [*times], "from": times[0], "to": times[-1]}
        (directory / "photograph.js").write_text(f"window.PHOTOGRAPH = {json.dumps(shown)};")
        bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
        photograph(directory, name, options.width, bottom * ROW + MARGIN)


if __name__ == "__main__":
    main()
