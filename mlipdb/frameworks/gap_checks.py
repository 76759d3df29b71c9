"""Whether a `gap_fit` run gave what was asked for: its exit code does not tell."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

from mlipdb.errors import CalculatorError, FitError, FitTimeoutError
from mlipdb.frameworks.gap_command import GAP_FILE
from mlipdb.frameworks.gap_log import GapLog
from mlipdb.frameworks.gap_xml import GapXml, check_files
from mlipdb.frameworks.process import ProgramRun
from mlipdb.physics.frames import Frame

__all__ = ["check_counts", "check_output", "check_run"]

_DISK_FULL = ("no space left on device", "disk quota exceeded", "file too large")
_NO_MEMORY = ("cannot allocate memory", "out of memory", "allocation would exceed", "error allocating")


def check_run(run: ProgramRun, timeout_s: float | None) -> None:
    """Raise what a run that did not end well means.

    Raises
    ------
    FitError
        With the end of the log; `FitTimeoutError` if it took too long.
    """
    if run.timed_out:
        raise FitTimeoutError(
            f"gap_fit did not end within {timeout_s:g} s; allow more time, or fewer sparse points or configurations",
            log_tail=run.log_tail(),
        )
    if run.returncode == 0:
        return
    raise _crash(run)


def _crash(run: ProgramRun) -> FitError:
    tail = run.log_tail()
    text = tail.lower()
    if run.returncode == -signal.SIGXFSZ or any(phrase in text for phrase in _DISK_FULL):
        return FitError("gap_fit could not write its output: no space left", reason="disk_full", log_tail=tail)
    if any(phrase in text for phrase in _NO_MEMORY):
        return FitError(
            f"gap_fit ran out of memory at {run.peak_memory_mb:.0f} MB; use fewer sparse points or configurations",
            reason="out_of_memory",
            log_tail=tail,
        )
    if run.returncode < 0:
        name = signal.Signals(-run.returncode).name
        hint = ", as the system does when memory runs out" if run.returncode == -signal.SIGKILL else ""
        return FitError(
            f"gap_fit was ended by signal {name}{hint}, at {run.peak_memory_mb:.0f} MB",
            reason="killed",
            log_tail=tail,
        )
    start = next((i for i, line in enumerate(run.lines) if "SYSTEM ABORT" in line), None)
    abort = "see the log" if start is None else " ".join(" ".join(run.lines[start : start + 4]).split())[:300]
    return FitError(f"gap_fit ended with code {run.returncode}: {abort}", reason="crashed", log_tail=tail)


def check_counts(log: GapLog, frames: Sequence[Frame], run: ProgramRun) -> None:
    """Compare what `gap_fit` read with what it was given: it exits with 0 when it reads nothing.

    Raises
    ------
    FitError
        If targets or sigmas are missing or too many.
    """
    expected = {
        "energies": len(frames),
        "forces": sum(3 * frame.n_atoms for frame in frames),
        "virials": sum(6 for frame in frames if frame.stress is not None),
    }
    sigmas = {
        "energy_sigma": sum(frame.energy_sigma is not None for frame in frames),
        "virial_sigma": sum(frame.virial_sigma is not None for frame in frames),
        "force_atom_sigma": sum(frame.n_atoms for frame in frames if frame.force_sigmas is not None),
    }
    for found, wanted in ((log.targets, expected), (log.sigmas, sigmas)):
        wrong = [f"{found.get(name, 0)} {name} instead of {n}" for name, n in wanted.items() if found.get(name) != n]
        if wrong:
            raise FitError(
                f"gap_fit did not read the whole training set: {', '.join(wrong)}",
                reason="targets_mismatch",
                log_tail=run.log_tail(),
            )


def check_output(directory: Path, frames: Sequence[Frame], run: ProgramRun) -> tuple[GapXml, bytes]:
    """Check the files of a fit, and that the potential loads and is finite on one of its frames.

    Returns
    -------
    tuple
        The content of the XML, and its bytes.

    Raises
    ------
    FitError
        With the reason of the `CalculatorError` underneath.
    """
    from mlipdb.frameworks.gap_calculator import probe

    try:
        xml, data = check_files(directory, GAP_FILE)
        bulk = [frame for frame in frames if not frame.is_isolated_atom] or list(frames)
        probe(directory, GAP_FILE, min(bulk, key=lambda frame: frame.n_atoms).to_atoms())
    except CalculatorError as error:
        raise FitError(
            f"gap_fit ended well, but its potential is not usable: {error.message}",
            reason=error.reason,
            log_tail=error.log_tail or run.log_tail(),
        ) from error
    return xml, data
