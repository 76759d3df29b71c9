"""Data shipped with the package: the silicon tasks and the templates of project files."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

__all__ = ["SILICON_TASKS", "template"]

#: Raw DFT tasks of silicon allotropes, computed for this project (see the README beside them).
SILICON_TASKS = Path(str(files(__name__) / "si_dft" / "tasks.jsonl.gz"))


def template(name: str) -> str:
    """Text of a shipped project file, such as ``project.yaml``."""
    return (files(__name__) / "templates" / name).read_text(encoding="utf-8")
