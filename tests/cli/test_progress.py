"""Bars on a terminal, log lines elsewhere."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mlipdb.cli import progress
from mlipdb.cli.bars import Bars, fitted
from mlipdb.runner import RunReport

ROOT = Path(__file__).resolve().parents[2]
STUDY = """
fits:
  gap:
    engine: grid
    hyperparameters: {soap: {l_max: 3, n_max: 4, cutoff: 4.0}, seed: 1}
    grid: {n_sparse: [10, 20], delta: [1.0], f: [0.1, 0.2]}
"""


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


def build_on_a_terminal(directory: Path, *builders: str) -> str:
    """What `mlipdb build` draws on a pseudo-terminal."""
    controller, terminal = pty.openpty()
    program = [sys.executable, "-c", "from mlipdb.cli import main; main()"]
    command = [*program, "--project", str(directory), "build", *builders]
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


def test_a_study_shows_its_phase_while_it_runs(bench: Any) -> None:
    bench.settle(bench.recipe + STUDY)
    bench.add(bench.diamond)
    bench.build("materials", "configurations", "training_sets")
    settings = bench.directory / "mlipdb.yaml"
    settings.write_text(settings.read_text().replace("workers: 2", "workers: 1"))
    frames = build_on_a_terminal(bench.directory, "potentials").split("potentials")
    shown = [re.findall(r"study of 4 gap on full: [a-z ]+\d+/\d+", frame) for frame in frames]
    assert any(shown), "no phase was seen"
    assert all(len(lines) <= 1 for lines in shown)
    assert "4 built" in frames[-1]
    assert "study of" not in frames[-1]


@pytest.fixture
def bars() -> Bars:
    """Bars that are drawn when somebody looks."""
    return Bars(console=Console(file=io.StringIO(), force_terminal=True, width=80), auto_refresh=False)


def below(bars: Bars) -> list[str]:
    """Lines below the bars."""
    return [str(line) for line in list(bars.get_renderables())[1:]]


def test_each_item_in_work_has_its_line_until_it_ends(bars: Bars) -> None:
    shown = progress.BarReporter(bars)
    shown.begin("potentials", 3)
    assert below(bars) == []
    shown.progress("potentials", "study of 24 gap on full", "kernel rows", 120, 480)
    shown.progress("potentials", "study of 9 gap on small", "solve", 3, 9)
    shown.progress("potentials", "study of 24 gap on full", "kernel rows", 121, 480)
    assert below(bars) == ["  study of 24 gap on full: kernel rows 121/480", "  study of 9 gap on small: solve 3/9"]
    shown.advance("potentials", "a single fit", None)
    assert len(below(bars)) == 2
    shown.advance("potentials", "study of 24 gap on full", "no memory")
    assert below(bars) == ["  study of 9 gap on small: solve 3/9"]
    shown.progress("potentials", "study of 9 gap on small", "begun again", 0, 0)
    assert below(bars) == ["  study of 9 gap on small: begun again"]
    shown.end(RunReport("potentials", built=24, failed=1))
    assert below(bars) == []


@pytest.mark.parametrize("width", [3, 20, 40, 59, 79, 200])
def test_lines_are_no_wider_than_the_terminal(width: int) -> None:
    label = "study of 1296 gap on a-training-set-with-a-long-name (2 of 3)"
    line = fitted(label, "kernel rows 120/480", width)
    assert len(line) <= width
    if width >= 40:  # who counts and what distinguishes two labels is seen
        assert line.startswith("  study of")
        assert line.endswith("3): kernel rows 120/480")
    assert (label in line) == (width == 200)


def test_a_long_line_is_one_line_on_the_terminal(bars: Bars) -> None:
    shown = progress.BarReporter(bars)
    for number in (1, 2):
        label = f"study of 1296 gap on {'a-long-name-' * 5} ({number} of 2)"
        shown.progress("potentials", label, "sparse points", number, 480)
    console = Console(file=io.StringIO(), width=80)
    console.print(bars.get_renderable())
    lines = [line for line in console.file.getvalue().splitlines() if line.strip()]  # type: ignore[attr-defined]
    assert [line[-30:].strip() for line in lines] == [f"({n} of 2): sparse points {n}/480" for n in (1, 2)]


def test_log_lines_of_items_in_work_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    lines: list[str] = []
    monkeypatch.setattr(progress, "monotonic", lambda: now)
    monkeypatch.setattr(progress.log, "info", lambda text, *values: lines.append(text % values))
    shown = progress.LogReporter()
    for step in range(100):  # eleven seconds
        now += 0.11
        shown.progress("potentials", "study a", "kernel rows", step, 100)
        shown.progress("potentials", "study b", "solve", step, 100)
    assert len(lines) == 2
    assert all(re.fullmatch(r"potentials: study a: kernel rows \d+/100; study b: solve \d+/100", s) for s in lines)
    shown.begin("potentials", 2)
    shown.advance("potentials", "study a", None)
    now += 6
    shown.progress("potentials", "study b", "solve", 100, 100)
    assert lines[3:] == ["potentials: study b: solve 100/100"]
