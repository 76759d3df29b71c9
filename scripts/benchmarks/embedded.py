"""Measure the embedded database beside maggma's MemoryStore.

``python scripts/benchmarks/embedded.py [--documents 10000] [--repeats 3] [--json]``

Every figure is the median of the repeats.  The documents resemble DFT tasks of
6.6 kB: a structure with forces per site, and a few fields to search by.  CPU
time and peak memory are those of the server process and of the client apart.
"""

# ruff: noqa: S311 - made-up numbers, no secrets

from __future__ import annotations

import argparse
import json
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bson
from maggma.stores import MemoryStore, MongoStore

from mlipdb.embedded import start, status, stop


def task(number: int, chance: random.Random) -> dict[str, Any]:
    """One document of about 6.6 kB."""
    sites = [
        {
            "species": [{"element": "Si", "occu": 1.0}],
            "abc": [chance.random() for _ in range(3)],
            "xyz": [chance.random() for _ in range(3)],
            "properties": {"force": [chance.gauss(0, 1) for _ in range(3)]},
        }
        for _ in range(31)
    ]
    return {
        "task_id": f"task-{number}",
        "formula": "Si31",
        "config_type": f"type-{number % 17}",
        "energy": chance.gauss(-100, 5),
        "structure": {"lattice": [[chance.random() for _ in range(3)] for _ in range(3)], "sites": sites},
    }


def timed(action: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def measure(store: Any, documents: list[dict[str, Any]], queries: int) -> dict[str, float]:
    """Figures of one store."""
    store.connect()
    for field in ("task_id", "config_type"):
        store.ensure_index(field)
    chunks = [documents[first : first + 500] for first in range(0, len(documents), 500)]
    writing = sum(timed(lambda chunk=chunk: store.update(chunk)) for chunk in chunks)  # type: ignore[misc]
    chance = random.Random(2)
    wanted = [f"task-{chance.randrange(len(documents))}" for _ in range(queries)]
    one = [timed(lambda name=name: store.query_one({"task_id": name})) for name in wanted]  # type: ignore[misc]
    many = {"task_id": {"$in": [one["task_id"] for one in documents[:1000]]}}
    return {
        "upserts_per_s": len(documents) / writing,
        "query_one_ms": 1000 * statistics.median(one),
        "full_documents_1000_s": timed(lambda: list(store.query(many))),
        "distinct_s": timed(lambda: store.distinct("config_type")),
        "last_ten_s": timed(lambda: list(store.query({}, sort={"task_id": -1}, limit=10))),
    }


def process_figures(pid: int) -> dict[str, float]:
    """CPU seconds and peak memory of a process, from Linux's /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return {"server_cpu_s": ticks / 100, "server_peak_mb": peak / 1024}


def embedded(documents: list[dict[str, Any]]) -> dict[str, float]:
    """Figures of the embedded database in a folder of its own."""
    directory = Path(tempfile.mkdtemp(prefix="emb"))
    before = time.process_time()
    try:
        store = MongoStore.from_uri(start(directory / "data"), "tasks", database="benchmark", key="task_id")
        figures = measure(store, documents, 200)
        store.close()
        found = status(directory / "data")
        figures["file_mb"] = found.size / 1e6
        if found.pid is not None and Path("/proc").is_dir():
            figures.update(process_figures(found.pid))
        figures["client_cpu_s"] = time.process_time() - before
        return figures
    finally:
        stop(directory / "data")
        shutil.rmtree(directory)


def memory(documents: list[dict[str, Any]]) -> dict[str, float]:
    """Figures of maggma's MemoryStore."""
    before = time.process_time()
    figures = measure(MemoryStore("benchmark", key="task_id"), documents, 20)
    figures["client_cpu_s"] = time.process_time() - before
    figures["client_peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    """Median of each figure."""
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--memory-documents", type=int, default=500, help="for MemoryStore, which slows down")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    chance = random.Random(1)
    documents = [task(number, chance) for number in range(arguments.documents)]
    few = documents[: arguments.memory_documents]
    result: dict[str, Any] = {
        "document_bytes": len(bson.encode(documents[0])),
        "documents": len(documents),
        "embedded": median([embedded(documents) for _ in range(arguments.repeats)]),
        "memory_store_documents": len(few),
        "memory_store": median([memory(few) for _ in range(arguments.repeats)]),
    }
    if arguments.json:
        json.dump(result, sys.stdout, indent=2)
        print()
        return
    print(f"{len(documents)} documents of {result['document_bytes']} bytes; MemoryStore: {len(few)}")
    for kind in ("embedded", "memory_store"):
        print(kind, *(f"  {name:24s} {value}" for name, value in result[kind].items()), sep="\n")


if __name__ == "__main__":
    main()
