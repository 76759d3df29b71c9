"""Bars on a terminal, log lines elsewhere."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlipdb.cli import progress
from mlipdb.runner import RunReport

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("report", "text"),
    [
        (RunReport("phonons", built=2, unchanged=3), "2 built, 3 unchanged"),
        (RunReport("phonons", unchanged=3), "nothing to do (3 unchanged)"),
        (RunReport("phonons"), "nothing to do (nothing there yet)"),
        (RunReport("phonons", failed=1, withdrawn=2), "1 failed, 2 withdrawn"),
        (
            RunReport("phonons", locked="phonons is being built by process 7 on x"),
            "phonons is being built by process 7 on x",
        ),
    ],
)
def test_what_a_builder_did_in_a_few_words(report: RunReport, text: str) -> None:
    assert progress.summary(report) == text


def test_a_failure_is_named_once() -> None:
    assert progress.said("task x", "task x: has no forces") == "task x: has no forces"
    assert progress.said("gap on full", "gap_fit crashed") == "gap on full: gap_fit crashed"


def build_on_a_terminal(directory: Path) -> str:
    """What `mlipdb build` draws on a pseudo-terminal."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-c", "from mlipdb.cli import main; main()", "--project", str(directory), "build"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    running = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=terminal, stderr=terminal)
    os.close(terminal)
    drawn = b""
    while True:
        try:
            piece = os.read(controller, 65536)
        except OSError:
            break  # the other side is closed
        if not piece:
            break
        drawn += piece
    os.close(controller)
    assert running.wait() == 0
    return drawn.decode()


def test_bars_on_a_terminal_and_log_lines_elsewhere(bench: Any, shell: Any) -> None:
    bench.add(bench.diamond)
    drawn = build_on_a_terminal(bench.directory)
    assert "configurations" in drawn
    assert "8/8" in drawn
    assert "━" in drawn
    assert "INFO" not in drawn
    answer = shell("build")
    assert "━" not in answer.err
    assert "INFO configurations: nothing to do (8 unchanged)" in answer.err


def test_log_lines_go_to_the_error_output_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier, later = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", earlier)
    progress.start_logging()
    monkeypatch.setattr(sys, "stderr", later)
    earlier.close()
    progress.LogReporter().end(RunReport("phonons", built=2))
    assert "INFO phonons: 2 built" in later.getvalue()
