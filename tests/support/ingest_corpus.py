"""One good file of every format that `mlipdb add` reads, and seeded ways to damage them."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write

Raw = dict[str, Any]
OUTPUTS = Path(__file__).parents[1] / "data" / "outputs"
#: Real calculations that are no part of the project; used where they lie beside it.
REAL = Path(__file__).parents[3] / "shared" / "real"
VASP = REAL / "autoplex-licl" / "Li-statisoatom" / "outputs"
EMMET = REAL / "emmet" / "task_doc_mp-2766060.json.gz"
LEVEL: Raw = {"code": "VASP", "functional": "PBE", "cutoff_ev": 400.0}


def frames(count: int, seed: int = 0) -> list[Atoms]:
    """Rattled silicon with made-up labels."""
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        atoms = bulk("Si", "diamond", a=5.43, cubic=True)
        atoms.positions += chance.normal(0, 0.03, (8, 3))
        forces = chance.normal(0, 0.3, (8, 3))
        stress = chance.normal(0, 0.01, 6)
        atoms.calc = SinglePointCalculator(atoms, energy=-40.0 + chance.normal(), forces=forces, stress=stress)
        atoms.info.update(config_type="rattled", **LEVEL)
        found.append(atoms)
    return found


def good_files(folder: Path, records: list[Raw]) -> list[Path]:
    """Write one file of each format."""
    folder.mkdir(parents=True)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "a.json").write_text(json.dumps(records))
    (folder / "b.jsonl").write_text(lines)
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    write(folder / "d.extxyz", frames(3, 1), format="extxyz")
    write(folder / "e.traj", frames(3, 2))
    for name in ("f.db", "g.json"):
        with connect(folder / name) as database:
            for atoms in frames(3, 3 if name == "f.db" else 4):
                database.write(atoms, config_type="rattled", **LEVEL)
    for number, path in enumerate(sorted(OUTPUTS.glob("*.gz"))):
        (folder / f"h{number}-{path.name.removesuffix('.gz')}").write_bytes(gzip.decompress(path.read_bytes()))
    with tarfile.open(folder / "i.tar.gz", "w:gz") as archive:
        archive.add(folder / "d.extxyz", "run/d.extxyz")
        archive.add(folder / "b.jsonl", "run/b.jsonl")
    for source in (VASP / "vasprun.xml.gz", VASP / "OUTCAR.gz", EMMET):
        if source.exists():  # each in a folder of its own: a file of VASP makes its folder a calculation
            target = folder / f"run-{source.name[:3]}" / source.name
            target.parent.mkdir()
            target.write_bytes(source.read_bytes())
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def _truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice((1, 3, 20))):
        if changed:
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _cut_out(data: bytes, chance: random.Random) -> bytes:
    first = chance.randrange(len(data) + 1)
    return data[:first] + data[first + chance.randrange(200) :]


def _number(data: bytes, chance: random.Random) -> bytes:
    """Something else in place of a number."""
    import re

    found = list(re.finditer(rb"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", data))
    if not found:
        return data
    match = chance.choice(found)
    words = (b"NaN", b"Infinity", b"-inf", b"1e999", b"1e308", b"-1", b"0", b"9" * 30, b'"x"', b"null", b"{}", b"[[1]]")
    return data[: match.start()] + chance.choice(words) + data[match.end() :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    pieces = ("\x00", "\ud800", "💎" * 5, "\u202e", "\r", "\n\n", '"', "}" * 9, "{" * 300, "[" * 100_000, " " * 70_000)
    first = chance.randrange(len(data) + 1)
    return data[:first] + chance.choice(pieces).encode("utf-8", "surrogatepass") + data[first:]


def _twice(data: bytes, chance: random.Random) -> bytes:
    return data + data[: chance.randrange(len(data) + 1)]


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (_truncate, _flip, _cut_out, _number, _insert, _twice)


def damaged(good: list[Path], folder: Path, count: int, seed: int) -> Iterator[Path]:
    """Write damaged copies, each in a folder of its own; compressed ones are damaged inside every other time."""
    chance = random.Random(seed)
    for number in range(count):
        path = good[number % len(good)]
        damage = chance.choice(DAMAGES)
        data = path.read_bytes()
        if path.name.endswith(".gz") and chance.random() < 0.5:
            data = gzip.compress(damage(gzip.decompress(data), chance), mtime=0)
        else:
            data = damage(data, chance)
        target = folder / f"{number:04d}" / path.name
        target.parent.mkdir(parents=True)
        target.write_bytes(data)
        yield target


def evil_tar(path: Path, record: Raw) -> None:
    """A tar file with every trick, and one good member."""
    data = json.dumps(record).encode()
    with tarfile.open(path, "w") as archive:
        for name in ("good/task.json", "../outside.json", "/absolute.json", "a/../../up.json", "good/./../../x.json"):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, kind, target in (
            ("link.json", tarfile.SYMTYPE, "/etc/passwd"),
            ("dir", tarfile.SYMTYPE, ".."),
            ("hard.json", tarfile.LNKTYPE, "../outside.json"),
            ("pipe.json", tarfile.FIFOTYPE, ""),
            ("disk.json", tarfile.CHRTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
        through = tarfile.TarInfo("dir/through-link.json")
        through.size = len(data)
        archive.addfile(through, io.BytesIO(data))
