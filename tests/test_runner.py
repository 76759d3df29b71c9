"""Runs of builders: order, lease, records, and workers that die."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mlipdb.builders import BUILDERS
from mlipdb.errors import SettingsError, UsageError
from mlipdb.locks import lease
from mlipdb.runner import Options, RunReport, _builder, exit_code, ordered, run_builders
from mlipdb.stores import Database

LIGHT = ("materials", "configurations", "phonons", "training_sets")


def test_builders_run_in_the_order_of_flow() -> None:
    assert ordered(()) == list(BUILDERS)
    assert ordered(["phonons", "materials"]) == ["materials", "phonons"]
    with pytest.raises(UsageError, match="there is no builder 'phonon'; there are materials"):
        ordered(["phonon"])


def test_exit_codes() -> None:
    good, bad, locked = RunReport("a", built=1), RunReport("b", failed=1), RunReport("c", locked="somebody")
    assert exit_code([good]) == 0
    assert exit_code([good, bad, locked]) == 1
    assert exit_code([good, locked]) == 4


def test_a_run_is_recorded_with_its_counts(bench: Any) -> None:
    bench.add([*bench.diamond, bench.record("relax-bc8", forces=None)])
    bench.build("materials", "configurations")
    runs = {run["builder"]: run for run in bench.docs("build_runs")}
    run = runs["configurations"]
    assert (run["built"], run["failed"]) == (8, 1)
    assert run["failures"][0]["reason"] == "no_forces"
    assert run["ended"] >= run["started"]
    assert run["pid"] == os.getpid()
    bench.build("configurations")
    again = {run["builder"]: run for run in bench.docs("build_runs")}["configurations"]
    assert again["run_id"] == run["run_id"], "a run with nothing to do leaves no record of its own"
    assert again["checked"] >= run["ended"]


def test_a_wrong_hyperparameter_stops_before_any_work(bench: Any) -> None:
    bench.settle("training_sets: {full: {}}\nfits: {gap: {grid: {soap.n_sparce: [10]}}}\n")
    bench.add(bench.diamond)
    with pytest.raises(SettingsError, match="n_sparce"):
        bench.build()
    assert bench.docs("materials") == []


def test_while_somebody_builds_others_wait(bench: Any) -> None:
    bench.add(bench.diamond)
    with lease(bench.database, "configurations"):
        reports = bench.build(*LIGHT)
    assert reports["materials"].built == 1
    assert f"process {os.getpid()}" in (reports["configurations"].locked or "")
    assert exit_code(list(reports.values())) == 4
    assert "training_sets waits for configurations" in (reports["training_sets"].locked or "")
    assert bench.docs("configurations") == []
    assert bench.docs("training_sets") == []
    assert bench.build("configurations")["configurations"].built == 8


def test_defect_5_two_runs_at_once_do_the_work_once(bench: Any) -> None:
    bench.add(bench.diamond)
    bench.build("materials")
    reports: list[RunReport] = []
    start = threading.Barrier(4)

    def run() -> None:
        with Database(bench.database._address) as database:
            start.wait()
            reports.extend(run_builders(bench.project, database, ["configurations"]))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(reports) == 4
    assert sum(report.built for report in reports) == 8
    assert len(bench.docs("configurations")) == 8


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[1])


def is_below(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        pid = parent_of(pid)
    return False


def kill_the_worker_behind_a_fit(killed: list[int]) -> None:
    """Find a running gap_fit below this process and kill the worker that waits for it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not killed:
        for entry in Path("/proc").iterdir():
            try:
                fitting = entry.name.isdigit() and b"gap_fit" in (entry / "cmdline").read_bytes().split(b"\0")[0]
                if fitting and is_below(int(entry.name), os.getpid()):
                    worker = parent_of(int(entry.name))
                    os.kill(worker, signal.SIGKILL)
                    os.kill(int(entry.name), signal.SIGKILL)
                    killed.append(worker)
                    return
            except (OSError, IndexError, ValueError):
                continue  # it ended while it was looked at
        time.sleep(0.005)


def test_defect_5_a_worker_that_dies_neither_hangs_the_run_nor_loses_an_item(bench: Any) -> None:
    bench.settle(bench.recipe + bench.small_fit.replace("[10]", "[10, 12, 14, 16]"))
    bench.add(bench.diamond)
    bench.build(*LIGHT)
    killed: list[int] = []
    killer = threading.Thread(target=kill_the_worker_behind_a_fit, args=(killed,))
    killer.start()
    reports = bench.build("potentials", workers=2)
    killer.join()
    assert killed, "no fit was seen running"
    assert (reports["potentials"].built, reports["potentials"].failed) == (4, 0)
    assert sorted(doc["n_sparse"] for doc in bench.docs("potentials")) == [10, 12, 14, 16]


def test_options_default_to_the_project() -> None:
    assert Options() == Options(workers=None, retry_failed=False, force=False)


def test_builders_share_the_workers_of_the_run(bench: Any) -> None:
    bench.settle(bench.recipe)
    project, database = bench.project, bench.database
    assert _builder(project, database, "potentials", Options()).n_workers == 2
    assert _builder(project, database, "potentials", Options(workers=5)).n_workers == 5
