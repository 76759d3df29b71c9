"""Measure `mlipdb add` beside the bare cost of decoding the same file.

``python scripts/benchmarks/ingest.py [--documents 10000] [--atoms 64] [--workers 2] [--json]``

The documents are flat records with pymatgen's full structure, in one ``.jsonl.gz``.  A tenth of them
and all of them are added to an empty embedded database, each by a process of its own, so that peak
memory can be compared: it must not grow with their number.  Decoding is ``json.loads`` of every line,
in the same run on the same machine.  ``--json`` prints one line.
"""

# ruff: noqa: S311 - made-up numbers, no secrets

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()


def task(number: int, atoms: int, chance: random.Random) -> dict[str, Any]:
    """One document: a rattled cube of sodium chloride, its energy, forces and stress."""
    side = round(atoms ** (1 / 3))
    length = 2.8 * side
    lattice = {"matrix": [[length, 0.0, 0.0], [0.0, length, 0.0], [0.0, 0.0, length]], "pbc": [True, True, True]}
    sites = []
    for index in range(atoms):
        corner = (index // side**2, index // side % side, index % side)
        abc = [(value + chance.gauss(0, 0.02)) / side for value in corner]
        element = "Na" if sum(corner) % 2 else "Cl"
        sites.append(
            {
                "species": [{"element": element, "occu": 1}],
                "abc": abc,
                "properties": {"magmom": 0.0},
                "label": element,
                "xyz": [value * length for value in abc],
            }
        )
    return {
        "task_id": f"synthetic-{number:06d}",
        "code": "VASP",
        "functional": "PBEsol",
        "cutoff_ev": 700.0,
        "kpoints": {"mesh": [2, 2, 2]},
        "pseudopotentials": {"Na": "Na_pv", "Cl": "Cl"},
        "config_type": "rattled",
        "structure": {
            "@module": "pymatgen.core.structure",
            "@class": "Structure",
            "charge": 0.0,
            "lattice": lattice,
            "sites": sites,
        },
        "energy": chance.gauss(-3.4 * atoms, 0.5),
        "forces": [[chance.gauss(0, 0.3) for _ in range(3)] for _ in range(atoms)],
        "stress": [chance.gauss(0, 0.01) for _ in range(6)],
    }


def write(path: Path, documents: int, atoms: int) -> int:
    """Write the file; gives the bytes of its text."""
    chance = random.Random(1)
    size = 0
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as stream:
        for number in range(documents):
            size += stream.write(json.dumps(task(number, atoms, chance)) + "\n")
    return size


def decode(path: Path) -> float:
    """CPU seconds of decompressing and decoding alone."""
    begin = time.process_time()
    with gzip.open(path, "rb") as stream:
        for line in stream:
            json.loads(line)
    return time.process_time() - begin


def server_cpu(pid: int) -> float:
    """CPU seconds of the server, from Linux's /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Group(threading.Thread):
    """Watches the processes of this process group but this one: CPU seconds and peak memory, from Linux's /proc."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.cpu: dict[int, float] = {}
        self.peak: dict[int, float] = {}
        self.ended = threading.Event()

    def run(self) -> None:
        """Look every tenth of a second."""
        while not self.ended.wait(0.1):
            for entry in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError, StopIteration):
                    self.look(int(entry.name))

    def look(self, pid: int) -> None:
        """Note what a process has used so far."""
        if pid == os.getpid() or os.getpgid(pid) != os.getpgid(0):
            return
        self.cpu[pid] = server_cpu(pid)
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        self.peak[pid] = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def add(path: Path, workers: int) -> dict[str, float]:
    """Add the file to a new embedded database; figures of this process, its workers and the server."""
    from mlipdb.embedded import start, status, stop
    from mlipdb.ingest.add import add_paths
    from mlipdb.stores import Database

    with tempfile.TemporaryDirectory(prefix="ing") as folder:
        data = Path(folder) / "data"
        with Database(start(data)) as database:
            database.ensure_indexes()
            pid = status(data).pid
            cpu, server, begin = time.process_time(), server_cpu(pid) if pid else 0.0, time.perf_counter()
            group = Group()
            group.start()
            report = add_paths(database, [path], workers=workers)
            group.ended.set()
            seconds, spent = time.perf_counter() - begin, time.process_time() - cpu
            served = (server_cpu(pid) if pid else 0.0) - server
        stop(data)
    return {
        "added": report.added,
        "seconds": seconds,
        "parent_cpu_s": spent,
        "workers_cpu_s": sum(group.cpu.values()),
        "server_cpu_s": served,
        "parent_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "worker_peak_mb": max(group.peak.values(), default=0.0),
    }


def measure(documents: int, atoms: int, workers: int) -> dict[str, float]:
    """Figures for one number of documents; `add` runs in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="ing") as folder:
        path = Path(folder) / "tasks.jsonl.gz"
        size = write(path, documents, atoms)
        decoding = decode(path)
        command = [sys.executable, str(HERE), "--add", str(path), "--workers", str(workers)]
        # A group of its own, so that its workers are told from anything else.
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, process_group=0).stdout
    figures: dict[str, float] = json.loads(output.splitlines()[-1])
    if figures["added"] != documents:
        raise SystemExit(f"{figures['added']} of {documents} documents were added")
    return {
        "documents": documents,
        "text_mb": size / 1e6,
        "documents_per_s": documents / figures["seconds"],
        "decode_s": decoding,
        "times_decoding": figures["seconds"] / decoding,
        **figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--atoms", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--add", type=Path, metavar="FILE", help="only add this file, for the parent process")
    options = parser.parse_args()
    if options.add is not None:
        print(json.dumps(add(options.add, options.workers)))
        return
    sizes = (max(1, options.documents // 10), options.documents)
    runs = [measure(size, options.atoms, options.workers) for size in sizes]
    runs = [{name: round(value, 3) for name, value in run.items()} for run in runs]
    if options.json:
        print(json.dumps({"atoms": options.atoms, "workers": options.workers, "runs": runs}))
        return
    for name in runs[0]:
        print(f"{name:<18}", *(f"{run[name]:>12g}" for run in runs))


if __name__ == "__main__":
    main()
