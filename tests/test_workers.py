from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import worker_functions

from mlipdb.workers import AHEAD, ATTEMPTS, run_in_order, run_in_processes

Raw = dict[str, Any]


def died(item: Raw, message: str) -> Raw:
    return {"label": item["label"], "died": message}


def attempts(log: Path) -> Counter[str]:
    return Counter(log.read_text().split())


def test_every_item_has_its_result() -> None:
    items = [{"label": number} for number in range(25)]
    results = list(run_in_processes(worker_functions.square, items, 2, died))
    assert sorted((result["label"], result["value"]) for result in results) == [(n, n * n) for n in range(25)]
    assert len({result["pid"] for result in results}) <= 2


def test_nothing_to_do() -> None:
    assert list(run_in_processes(worker_functions.square, [], 2, died)) == []


def test_items_are_taken_as_they_are_needed() -> None:
    taken = 0

    def items() -> Iterator[Raw]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield {"label": number}

    results = run_in_processes(worker_functions.square, items(), 2, died)
    for count, _ in enumerate(results, start=1):
        # What is done, what two workers hold, one in waiting, and what finished in the same moment.
        assert taken <= count + 2 * (2 + 1)
        if count == 20:
            break
    results.close()  # type: ignore[attr-defined]
    assert taken < 30


def test_results_in_the_order_of_the_items() -> None:
    items = [{"label": number, "seconds": 0.2 if number == 0 else 0.0} for number in range(30)]
    taken = []

    def watched() -> Iterator[Raw]:
        for item in items:
            taken.append(item["label"])
            yield item

    results = run_in_order(worker_functions.sleep, watched(), 2, died)
    assert next(results)["label"] == 0
    # While the first one took its time, only so many others were taken.
    assert len(taken) <= 2 * AHEAD + 1
    assert [result["label"] for result in results] == list(range(1, 30))


def test_the_order_stays_when_a_worker_dies(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    items = [{"label": number, "log": log, "how": "kill" if number == 3 else None} for number in range(8)]
    results = list(run_in_order(worker_functions.die_as_told, items, 2, died))
    assert [result["label"] for result in results] == list(range(8))
    assert ["died" in result for result in results] == [number == 3 for number in range(8)]


def test_blas_of_a_worker_has_one_thread() -> None:
    (found,) = run_in_processes(worker_functions.threads, [{"label": 0}], 1, died)
    assert set(found.values()) == {"1"}


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_worker_that_dies_takes_no_other_work_along(how: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    items = [{"label": n, "log": str(log), "how": how if n == 3 else None} for n in range(12)]
    results = {result["label"]: result for result in run_in_processes(worker_functions.die_as_told, items, 2, died)}
    assert sorted(results) == list(range(12))
    assert [n for n, result in results.items() if "died" in result] == [3]
    assert f"the process working on 3 died {ATTEMPTS} times" in results[3]["died"]
    assert "--retry-failed" in results[3]["died"]
    assert attempts(log)["3"] == ATTEMPTS
    assert max(attempts(log).values()) <= ATTEMPTS


def test_an_item_that_fails_only_once_is_done(tmp_path: Path) -> None:
    log = tmp_path / "log"
    items = [{"label": n, "log": str(log), "how": "once" if n == 0 else None} for n in range(4)]
    results = list(run_in_processes(worker_functions.die_as_told, items, 2, died))
    assert sorted(result["label"] for result in results) == [0, 1, 2, 3]
    assert all(result.get("done") for result in results)
    assert attempts(log)["0"] == 2


def test_when_all_die_all_are_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    items = [{"label": n, "log": str(log), "how": "kill"} for n in range(3)]
    results = list(run_in_processes(worker_functions.die_as_told, items, 2, died))
    assert sorted(result["label"] for result in results) == [0, 1, 2]
    assert all("died" in result for result in results)


def test_no_process_is_left_behind() -> None:
    list(run_in_processes(worker_functions.square, [{"label": 1}], 2, died))
    assert multiprocessing.active_children() == []


def test_warnings_of_libraries_are_logged_once_and_not_printed() -> None:
    """In a process of its own, whose stderr is known and whose warnings nothing else catches."""
    code = (
        "import sys, logging; sys.path.insert(0, sys.argv[1]); import worker_functions as w; "
        "from mlipdb import workers; "
        "logging.basicConfig(level=logging.DEBUG, stream=sys.stdout); "
        "[workers._work(w.warn, {'label': 1}) for _ in range(2)]"
    )
    support = str(Path(worker_functions.__file__).parent)
    command = [sys.executable, "-c", code, support]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
    assert "mutters" not in done.stderr
    assert done.stdout.count("mutters") == 1


def test_the_folder_of_a_killed_worker_is_removed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    list(run_in_processes(worker_functions.killed_with_a_folder, [{"label": 1, "log": str(log)}], 1, died))
    assert not Path(log.read_text()).exists()


@pytest.mark.parametrize("how", ["killed", "hung up"])
def test_a_worker_whose_parent_is_gone_ends_and_leaves_no_folder(how: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = (
        "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); "  # under nohup it is ignored
        "import sys; sys.path.insert(0, sys.argv[2]); import worker_functions as w; "
        "from mlipdb.workers import run_in_processes as r; "
        "list(r(w.wait_with_a_folder, [{'label': 1, 'log': sys.argv[1]}], 1, lambda i, m: i))"
    )
    support = str(Path(worker_functions.__file__).parent)
    command = [sys.executable, "-c", code, str(log), support]
    parent = subprocess.Popen(command, cwd=Path(__file__).parents[1], start_new_session=True)
    deadline = time.monotonic() + 60
    while not (log.exists() and len(log.read_text().split()) == 2):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    if how == "killed":
        parent.kill()
    else:
        os.killpg(parent.pid, signal.SIGHUP)  # as the terminal that is closed does, to all at once
    parent.wait()
    folder = Path(log.read_text().split()[1])
    while folder.parent.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Listener:
    """Keeps what is told, results among it, and leaves a file for each phase that has come to its end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[tuple[Any, ...]] = []

    def __call__(self, label: str, phase: str, done: int, total: int) -> None:
        self.events.append((label, phase, done, total))
        if done == total:
            name = {"counting": "seen", "going on": "on"}.get(phase)
            if name is not None:
                (self.folder / f"{name}-{label}").touch()

    def run(self, items: list[Raw], workers: int = 2) -> dict[Any, Raw]:
        results = {}
        items = [{"folder": str(self.folder), "steps": 3, **item} for item in items]
        for result in run_in_processes(worker_functions.report, items, workers, died, tell=self):
            results[result["label"]] = result
            self.events.append((str(result["label"]), "ended"))
            (self.folder / f"ended-{result['label']}").touch()
        return results

    def of(self, label: str) -> list[tuple[Any, ...]]:
        return [event[1:] for event in self.events if event[0] == label]


def test_what_workers_report_is_told_in_this_process(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    # Each waits until its report was seen, so both are in work at once.
    assert all(result.get("done") for result in listener.run([{"label": 0}, {"label": 1}]).values())
    for label in ("0", "1"):
        assert ("counting", 3, 3) in listener.of(label)


def test_of_many_reports_few_are_written_and_the_last_is_not_lost(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    listener.run([{"label": 0, "steps": 200_000}], workers=1)
    told = listener.of("0")[:-1]
    assert told[-1] == ("counting", 200_000, 200_000)
    assert len(told) < 1000


def test_nothing_is_told_of_an_item_that_has_ended(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    listener.run([{"label": 0}, {"label": 1, "after": "ended-0"}])
    assert listener.of("0").index(("ended",)) == len(listener.of("0")) - 1
    # The other went on for long enough to be heard of again.
    assert listener.of("1")[-2:] == [("going on", 1, 1), ("ended",)]


@pytest.mark.parametrize("how", ["kill", "once"])
def test_a_worker_that_is_killed_while_it_reports(how: str, tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    results = listener.run([{"label": 0, "how": how}, {"label": 1}, {"label": 2}])
    assert sorted(results) == [0, 1, 2]
    assert [label for label, result in results.items() if "died" in result] == ([0] if how == "kill" else [])
    told = listener.of("0")
    again = told.index(("process died, tried again", 0, 0))
    assert ("counting", 3, 3) in told[:again]
    assert ("counting", 3, 3) in told[again:], "the second attempt is heard of as the first"
    assert told[-1] == ("ended",)


def test_without_a_listener_reports_go_nowhere(tmp_path: Path) -> None:
    (tmp_path / "seen-0").touch()
    item = {"label": 0, "folder": str(tmp_path), "steps": 5}
    (result,) = run_in_processes(worker_functions.report, [item], 1, died)
    assert result["done"]
