"""The command line, run in this process as a user's shell would."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from mlipdb.cli import main


@dataclass
class Answer:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Run a command and return its answer."""

    def call(*words: Any) -> Answer:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["mlipdb", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


@pytest.fixture
def shell(bench: Any, run: Callable[..., Answer]) -> Callable[..., Answer]:
    """Run a command in the project of the workbench."""
    return lambda *words: run("--project", bench.directory, *words)
