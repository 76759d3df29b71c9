"""Running an external program: whole process group, time limit, memory and the end of its output."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlipdb.errors import FrameworkNotInstalledError

__all__ = ["ProgramRun", "run_program", "single_threaded_environment"]

# Logs are short; the bound only guards against a program that runs wild.
_MAX_LINES: Final = 50_000
_READ_CHUNK: Final = 65_536


@dataclass(frozen=True)
class ProgramRun:
    """How a program ended.

    Attributes
    ----------
    returncode
        As in `subprocess`: negative for a signal.
    timed_out
        Whether it was ended for taking too long.
    lines
        Its output and error output, the last 50,000 lines.
    wall_time_s, cpu_time_s
        Seconds.
    peak_memory_mb
        Largest resident memory, 10^6 bytes.
    """

    returncode: int
    timed_out: bool
    lines: list[str]
    wall_time_s: float
    cpu_time_s: float
    peak_memory_mb: float

    def log_tail(self, n_lines: int = 60) -> str:
        """Give the last lines of the output."""
        return "\n".join(self.lines[-n_lines:])


def single_threaded_environment() -> dict[str, str]:
    """Environment with one thread for every BLAS, and plain number formats."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **threads, "LC_ALL": "C"}


def run_program(
    command: Sequence[str],
    directory: Path,
    *,
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> ProgramRun:
    """Run a program in a process group of its own, and leave nothing of it behind.

    Parameters
    ----------
    command
        Program and arguments.
    directory
        Where it runs.
    timeout_s
        After so many seconds the whole group is killed; None for no limit.
    environment
        Its environment; by default this process's, with one BLAS thread.
    stdin
        What it reads.

    Returns
    -------
    ProgramRun
        How it ended; output is read through a pipe, so that it survives a full disk.

    Raises
    ------
    FrameworkNotInstalledError
        If the program cannot be started.
    """
    parent_peak = _peak_bytes(resource.getrusage(resource.RUSAGE_SELF))
    started = time.monotonic()
    process = _start(command, directory, environment)
    try:
        lines: deque[str] = deque(maxlen=_MAX_LINES)
        pump = threading.Thread(target=_pump, args=(process, stdin, lines), daemon=True)
        pump.start()
        timed_out, sampled_peak, status, usage = _wait(process, started, timeout_s)
    except BaseException:
        _kill_group(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        raise
    process.returncode = os.waitstatus_to_exitcode(status)
    pump.join(timeout=5.0)
    if pump.is_alive():
        # A grandchild holds the pipe open.
        _kill_group(process.pid)
        pump.join(timeout=5.0)
    peak = _peak_bytes(usage)
    # Between fork and exec the child counts as large as this process; a figure no larger than that
    # says nothing about the program, and the last sample of its own memory is nearer the truth.
    if peak <= parent_peak and sampled_peak:
        peak = sampled_peak
    return ProgramRun(
        returncode=process.returncode,
        timed_out=timed_out,
        lines=list(lines),
        wall_time_s=time.monotonic() - started,
        cpu_time_s=usage.ru_utime + usage.ru_stime,
        peak_memory_mb=peak / 1e6,
    )


class _Program(subprocess.Popen[bytes]):
    """A program that does not outlive an interruption of its own start."""

    def __init__(self, *args: Any, **options: Any) -> None:
        try:
            super().__init__(*args, **options)
        except Exception:
            raise  # it never ran, and is cleaned up
        except BaseException:
            # The process may be there already, but nobody will ever hold it.
            pid = getattr(self, "pid", None)
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                _kill_group(pid)
            raise


def _start(command: Sequence[str], directory: Path, environment: Mapping[str, str] | None) -> subprocess.Popen[bytes]:
    try:
        return _Program(
            list(command),
            cwd=directory,
            env=dict(environment) if environment is not None else single_threaded_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise FrameworkNotInstalledError(
            f"the program {Path(command[0]).name} cannot be started ({error.strerror}); install it again"
        ) from error


def _pump(process: subprocess.Popen[bytes], stdin: bytes, lines: deque[str]) -> None:
    feeder = threading.Thread(target=_feed, args=(process, stdin), daemon=True)
    feeder.start()
    if process.stdout is None:
        return
    with process.stdout:
        # A line is read in bounded pieces: a program may write without ever ending its line.
        while piece := process.stdout.readline(_READ_CHUNK):
            lines.append(piece.decode("utf-8", errors="replace").rstrip("\r\n"))
    feeder.join(timeout=5.0)


def _feed(process: subprocess.Popen[bytes], stdin: bytes) -> None:
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(stdin)


def _wait(
    process: subprocess.Popen[bytes], started: float, timeout_s: float | None
) -> tuple[bool, int, int, resource.struct_rusage]:
    timed_out = False
    sampled = 0
    pause = 0.005
    while True:
        sampled = max(sampled, _sample_peak(process.pid))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            return timed_out, sampled, status, usage
        if timeout_s is not None and not timed_out and time.monotonic() - started > timeout_s:
            timed_out = True
            _kill_group(process.pid)
        time.sleep(pause)
        pause = min(0.1, pause * 1.5)


def _sample_peak(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _peak_bytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
