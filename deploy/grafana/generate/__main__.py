"""Writes the dashboards to ``deploy/grafana/dashboards``."""

from __future__ import annotations

from pathlib import Path

from deploy.grafana.generate import learning, overview, pipeline

DIRECTORY = Path(__file__).parents[1] / "dashboards"


def dashboards() -> dict[str, str]:
    """Every dashboard by the name of its file."""
    return {f"{module.__name__.rpartition('.')[2]}.json": module.build() for module in (overview, learning, pipeline)}


def main() -> None:
    """Write them all."""
    for name, text in dashboards().items():
        (DIRECTORY / name).write_text(text)


if __name__ == "__main__":
    main()
