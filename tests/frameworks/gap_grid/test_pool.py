"""Frames over processes: order, errors, deaths, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipdb.errors import FitError
from mlipdb.frameworks.gap_grid import pool
from mlipdb.frameworks.gap_grid.pool import Usage, blas_threads, map_frames
from mlipdb.physics.frames import Frame

WORK = """
import os, pathlib, signal, time
from mlipdb.errors import FitError

def work(payload, frame):
    index = int(frame.configuration_id)
    time.sleep(0.03 if index == 0 else 0)
    if payload.get("die") == index and not (payload["once"] and pathlib.Path(payload["mark"]).exists()):
        pathlib.Path(payload["mark"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if payload.get("fail") == index:
        raise FitError("this one is bad", reason="bad_descriptor")
    return payload["add"] + index, os.getpid()

def slow(payload, frame):
    time.sleep(60)
"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "pool_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(pool, "SMALL", 0)
    sys.modules.pop("pool_work", None)
    import pool_work  # written above

    return pool_work


def frames(count: int) -> list[Frame]:
    return [
        Frame(
            configuration_id=str(i),
            numbers=np.array([14]),
            cell=np.eye(3),
            positions=np.zeros((1, 3)),
            energy=0.0,
            forces=np.zeros((1, 3)),
            config_type="bulk",
        )
        for i in range(count)
    ]


def test_results_in_order(work: Any) -> None:
    usage = Usage()
    results = list(map_frames(work.work, {"add": 5}, frames(9), processes=2, usage=usage, label="work"))
    assert [value for value, _ in results] == list(range(5, 14))
    assert os.getpid() not in {pid for _, pid in results}
    assert usage.peak_memory_mb > 10
    alone = list(map_frames(work.work, {"add": 5}, frames(9), processes=1, usage=usage, label="work"))
    assert {pid for _, pid in alone} == {os.getpid()}


def test_small_work_stays_here(work: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "SMALL", 100)
    results = list(map_frames(work.work, {"add": 0}, frames(9), processes=2, usage=Usage(), label="work"))
    assert {pid for _, pid in results} == {os.getpid()}


def test_a_worker_that_dies_once_is_forgiven(work: Any, tmp_path: Path) -> None:
    payload = {"add": 0, "die": 3, "once": True, "mark": str(tmp_path / "mark")}
    results = map_frames(work.work, payload, frames(7), processes=2, usage=Usage(), label="work")
    assert [value for value, _ in results] == list(range(7))
    assert (tmp_path / "mark").exists()


def test_a_worker_that_dies_again_is_an_error(work: Any, tmp_path: Path) -> None:
    payload = {"add": 0, "die": 3, "once": False, "mark": str(tmp_path / "mark")}
    with pytest.raises(FitError, match="work of configuration '3' died twice") as caught:
        list(map_frames(work.work, payload, frames(7), processes=2, usage=Usage(), label="work"))
    assert caught.value.reason == "killed"


def test_errors_come_through(work: Any) -> None:
    with pytest.raises(FitError, match="this one is bad") as caught:
        list(map_frames(work.work, {"add": 0, "fail": 2}, frames(7), processes=2, usage=Usage(), label="work"))
    assert caught.value.reason == "bad_descriptor"


def test_workers_end_with_a_killed_study(work: Any, tmp_path: Path) -> None:
    script = tmp_path / "study.py"
    script.write_text(
        "import multiprocessing, pickle, sys, threading, time\n"
        "from pathlib import Path\n"
        "import pool_work\n"
        "from mlipdb.frameworks.gap_grid import pool\n"
        "def tell():\n"
        "    while len(found := [p.pid for p in multiprocessing.active_children()]) < 2: time.sleep(0.05)\n"
        "    print(*found, flush=True)\n"
        "if __name__ == '__main__':\n"
        "    pool.SMALL = 0\n"
        "    frames = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "    threading.Thread(target=tell, daemon=True).start()\n"
        "    list(pool.map_frames(pool_work.slow, None, frames, processes=2, usage=pool.Usage(), label='w'))\n"
    )
    import pickle

    (tmp_path / "frames.pickle").write_bytes(pickle.dumps(frames(4)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [sys.executable, str(script), str(tmp_path / "frames.pickle")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        workers = [int(word) for word in process.stdout.readline().split()]
        assert len(workers) == 2
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_threads_are_put_back() -> None:
    import scipy.linalg  # its OpenBLAS is the one looked at

    assert scipy.linalg is not None
    libraries = [lib for lib in pool._openblas() if hasattr(lib, "scipy_openblas_get_num_threads")]
    if not libraries:
        pytest.skip("no OpenBLAS whose threads can be counted")
    before = libraries[0].scipy_openblas_get_num_threads()
    with blas_threads(2):
        assert libraries[0].scipy_openblas_get_num_threads() == 2
    assert libraries[0].scipy_openblas_get_num_threads() == before
