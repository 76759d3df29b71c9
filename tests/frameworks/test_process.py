from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mlipdb.errors import FrameworkNotInstalledError
from mlipdb.frameworks.process import run_program


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_output_code_and_input(tmp_path: Path) -> None:
    run = run_program(["/bin/sh", "-c", "cat; echo err >&2; pwd; exit 3"], tmp_path, stdin=b"hello\n")
    assert run.returncode == 3
    assert run.lines == ["hello", "err", str(tmp_path)]
    assert not run.timed_out
    assert run.log_tail(1) == str(tmp_path)


def test_one_thread_for_blas(tmp_path: Path) -> None:
    run = run_program(["/bin/sh", "-c", "echo $OMP_NUM_THREADS $OPENBLAS_NUM_THREADS"], tmp_path)
    assert run.lines == ["1 1"]


def test_signal(tmp_path: Path) -> None:
    run = run_program(["/bin/sh", "-c", "echo before; kill -SEGV $$"], tmp_path)
    assert run.returncode == -signal.SIGSEGV
    assert run.lines == ["before"]


def test_time_limit_ends_the_whole_group(tmp_path: Path) -> None:
    run = run_program(["/bin/sh", "-c", "sleep 300 & echo $!; sleep 300"], tmp_path, timeout_s=0.5)
    assert run.timed_out
    assert run.returncode == -signal.SIGKILL
    grandchild = int(run.lines[0])
    for _ in range(100):
        if not alive(grandchild):
            break
        time.sleep(0.05)
    assert not alive(grandchild)


def test_a_left_over_grandchild_is_ended(tmp_path: Path) -> None:
    run = run_program(["/bin/sh", "-c", "sleep 300 & echo $!"], tmp_path)
    assert run.returncode == 0
    for _ in range(100):
        if not alive(int(run.lines[0])):
            break
        time.sleep(0.05)
    assert not alive(int(run.lines[0]))


def test_an_interruption_while_it_starts_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is there, its start is not over: the moment in which nobody holds it yet."""
    started: list[int] = []
    original = subprocess.Popen._execute_child

    def interrupted(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        started.append(self.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "_execute_child", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_program(["/bin/sleep", "300"], tmp_path)
    ended = time.monotonic() + 5
    while alive(started[0]):
        assert time.monotonic() < ended
        time.sleep(0.01)


def test_memory_is_the_programs_own(tmp_path: Path) -> None:
    ballast = bytearray(os.urandom(1)) * 200_000_000
    small = run_program([sys.executable, "-c", "import time; time.sleep(0.1)"], tmp_path)
    large = run_program([sys.executable, "-c", "import time; b = b'x' * 500_000_000; time.sleep(0.5)"], tmp_path)
    assert len(ballast) == 200_000_000
    assert small.peak_memory_mb < 150
    assert large.peak_memory_mb > 490


def test_missing_program(tmp_path: Path) -> None:
    with pytest.raises(FrameworkNotInstalledError, match="no_such_program cannot be started"):
        run_program([str(tmp_path / "no_such_program")], tmp_path)


def test_endless_output_is_bounded(tmp_path: Path) -> None:
    run = run_program(["/bin/sh", "-c", "yes | head -n 200000; echo end"], tmp_path)
    assert len(run.lines) == 50_000
    assert run.lines[-1] == "end"
