"""What worker processes are asked to do in tests; they import it by name."""

from __future__ import annotations

import os
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlipdb.work_progress import report_progress

Raw = dict[str, Any]


def square(item: Raw) -> Raw:
    return {"label": item["label"], "value": item["label"] ** 2, "pid": os.getpid()}


def sleep(item: Raw) -> Raw:
    time.sleep(item["seconds"])
    return {"label": item["label"]}


def threads(item: Raw) -> Raw:
    return {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def die_as_told(item: Raw) -> Raw:
    """Die where the item says so, the first `deaths` times; every attempt leaves a line behind."""
    with Path(item["log"]).open("a", encoding="utf-8") as stream:
        stream.write(f"{item['label']}\n")
    if item.get("how") == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if item.get("how") == "exit":
        os._exit(0)
    if item.get("how") == "once":
        marker = Path(item["log"] + f".{item['label']}")
        if not marker.exists():
            marker.touch()
            os._exit(7)
    time.sleep(0.01)
    return {"label": item["label"], "done": True}


def warn(item: Raw) -> Raw:
    warnings.warn("a library mutters", UserWarning, stacklevel=1)
    return item


def killed_with_a_folder(item: Raw) -> Raw:
    """Leave a temporary folder behind, as a worker that is killed does."""
    folder = tempfile.mkdtemp()
    Path(item["log"]).write_text(folder)
    os.kill(os.getpid(), signal.SIGKILL)
    return item


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_with_a_folder(item: Raw) -> Raw:
    with tempfile.TemporaryDirectory() as folder:
        report_progress("waiting", 1, 2)
        wait_for(lambda: any(Path(folder).parent.glob("progress-*.json")))
        Path(item["log"]).write_text(f"{os.getpid()} {folder}")
        time.sleep(120)
    return item


def report(item: Raw) -> Raw:
    """Report steps, wait until the last of them was seen, then end as the item says."""
    seen = Path(item["folder"]) / f"seen-{item['label']}"
    for done in range(1, item["steps"] + 1):
        report_progress("counting", done, item["steps"])
    wait_for(seen.exists)
    if item.get("after") is not None:
        wait_for((Path(item["folder"]) / item["after"]).exists)
        report_progress("going on", 1, 1)
        wait_for((Path(item["folder"]) / f"on-{item['label']}").exists)
    marker = Path(item["folder"]) / f"killed-{item['label']}"
    if item.get("how") == "kill" or (item.get("how") == "once" and not marker.exists()):
        marker.touch()
        seen.unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"label": item["label"], "done": True}
