"""build and status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def fits_below(ancestor: int) -> list[int]:
    """Running gap_fit processes that descend from a process."""
    parents: dict[int, int] = {}
    fits = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit():
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
                if b"gap_fit" in (entry / "cmdline").read_bytes().split(b"\0")[0]:
                    fits.append(int(entry.name))
        except (OSError, IndexError):
            continue  # it ended while it was looked at

    def descends(pid: int) -> bool:
        while pid in parents:
            if pid == ancestor:
                return True
            pid = parents[pid]
        return False

    return [pid for pid in fits if descends(pid)]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_build_ends_its_fits_and_leaves_no_lock(shell: Any, bench: Any, number: int, code: int) -> None:
    bench.settle(bench.recipe + bench.small_fit.replace("[10]", "[200]").replace("l_max: 3, n_max: 4, cutoff: 4.0", ""))
    bench.add([*bench.diamond, *(f"rattled-diamond-{n:02d}" for n in range(5, 11))])
    bench.build("materials", "configurations", "training_sets")
    command = [sys.executable, "-c", "from mlipdb.cli import main; main()", "--project", str(bench.directory), "build"]
    running = subprocess.Popen(command, cwd=ROOT, env=os.environ, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (fits := fits_below(running.pid)):
        assert time.monotonic() < deadline, "no fit was seen running"
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(number)
    _, err = running.communicate(timeout=30)
    assert running.returncode == code
    assert "interrupted; what was finished is kept" in err
    ended = time.monotonic() + 3  # they are killed; the system may take a moment to clear them away
    while left := [pid for pid in fits if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < ended, left
        time.sleep(0.01)
    assert list(bench.database.locks.find()) == []
    assert bench.docs("potentials") == []


def test_build_says_what_it_did_then_that_nothing_is_left(shell: Any, bench: Any) -> None:
    bench.add(bench.diamond)
    answer = shell("build")
    assert answer.code == 0
    assert answer.out.startswith("built 11, failed 0, withdrawn 0 documents in ")
    assert "configurations: 8 built" in answer.err
    answer = shell("build")
    assert (answer.code, answer.out) == (0, "nothing to do: everything is up to date\n")
    assert "configurations: nothing to do (8 unchanged)" in answer.err


def test_build_with_failures_is_exit_1_and_status_tells(shell: Any, bench: Any) -> None:
    bench.add([*bench.diamond, bench.record("rattled-diamond-05", forces=None), "relax-4h", "phonon-4h-01"])
    answer = shell("build")
    assert answer.code == 1
    assert "has no forces" in answer.err
    state = shell("status", "--json").json
    assert state["collections"]["configurations"] == {"complete": 10, "failed": 1}
    assert state["failures"][0]["reason"] == "no_forces"
    assert len(state["incomplete"][0]["missing"]) == 3
    text = shell("status").out
    assert "(no_forces): task rattled-diamond-05: has no forces" in text
    assert "DFT phonons of 4h" in text
    assert "3 displacements missing" in text
    # The same failure is not tried again, and does not make the next run fail.
    assert shell("build").code == 0
    assert shell("build", "--retry-failed").code == 1


def test_build_json_and_dry_run(shell: Any, bench: Any) -> None:
    bench.add(bench.diamond)
    plan = shell("build", "--dry-run", "configurations")
    assert plan.code == 0
    assert plan.out.startswith("configurations: 8 to build, 0 up to date\n  task isolated-atom")
    assert bench.docs("configurations") == []
    reports = shell("build", "materials", "configurations", "--json").json
    assert [(report["builder"], report["built"]) for report in reports] == [("materials", 1), ("configurations", 8)]


def test_an_unknown_builder(shell: Any) -> None:
    answer = shell("build", "fonons")
    assert answer.code == 2
    assert "there is no builder 'fonons'; there are materials" in answer.err


def test_somebody_else_building_is_exit_4(shell: Any, bench: Any) -> None:
    from mlipdb.locks import lease

    bench.add(bench.diamond)
    with lease(bench.database, "materials"):
        answer = shell("build", "materials")
    assert answer.code == 4
    assert "materials is being built by process" in answer.err
