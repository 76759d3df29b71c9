"""Arrays and facts of a study on disk, so that it goes on after it was killed.

A manifest names every array file with its checksum and is replaced in one step, so what it names
was complete when it was written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from mlipdb.errors import FitError
from mlipdb.physics.frames import FloatArray

__all__ = ["Checkpoint", "write_atomically"]

MANIFEST: Final = "study.json"
_VERSION: Final = 1
_FILE_NAME = re.compile(r"block-[0-9]+\.npy")


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises
    ------
    FitError
        If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise FitError(
            f"{path.name} cannot be written for the study ({error.strerror})", reason="unwritable"
        ) from error


class Checkpoint:
    """What of a study is finished.

    Parameters
    ----------
    directory
        Where its files lie; arrays in the folder ``blocks`` there.
    identity
        Hash of everything the arrays depend on; those of another study are removed.

    Attributes
    ----------
    facts
        Plain data that `commit` saves.
    meter
        Gives further facts at each commit, such as the time used so far.
    """

    def __init__(self, directory: Path, identity: str) -> None:
        self._manifest = directory / MANIFEST
        self._folder = directory / "blocks"
        self._identity = identity
        self._folder.mkdir(parents=True, exist_ok=True)
        self._arrays: dict[str, dict[str, str]] = {}
        self._verified: set[str] = set()
        self.facts: dict[str, Any] = {}
        self.meter: Callable[[], dict[str, Any]] = dict
        self._load()
        self._serial = 1 + max((int(path.stem.split("-")[1]) for path in self._files()), default=0)
        self._tidy()

    def _load(self) -> None:
        try:
            content = json.loads(self._manifest.read_bytes())
            if (content["version"], content["identity"]) != (_VERSION, self._identity):
                return
            arrays, facts = dict(content["arrays"]), dict(content["facts"])
            if all(_FILE_NAME.fullmatch(entry["file"]) for entry in arrays.values()):
                self._arrays, self.facts = arrays, facts
        except (OSError, ValueError, KeyError, TypeError):
            return  # none, or damaged: the study begins anew

    def _files(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if _FILE_NAME.fullmatch(path.name)]

    def _tidy(self) -> None:
        kept = {entry["file"] for entry in self._arrays.values()}
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)

    def put(self, name: str, array: FloatArray) -> None:
        """Write an array; it counts from the next `commit` on."""
        path = self._folder / f"block-{self._serial}.npy"
        self._serial += 1
        temporary = path.with_suffix(".part")
        try:
            with temporary.open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise FitError(
                f"{path.name} of {array.nbytes / 1e6:.0f} MB cannot be written for the study ({error.strerror})",
                reason="disk_full",
            ) from error
        self._arrays[name] = {"file": path.name, "sha256": _digest(path)}
        self._verified.add(name)

    def drop(self, prefix: str) -> None:
        """Forget all arrays whose names begin so; their files go with the next `commit`."""
        self._arrays = {name: entry for name, entry in self._arrays.items() if not name.startswith(prefix)}

    def commit(self) -> None:
        """Make everything put so far, and `facts`, what a restart finds."""
        self.facts.update(self.meter())
        content = {"version": _VERSION, "identity": self._identity, "arrays": self._arrays, "facts": self.facts}
        write_atomically(self._manifest, json.dumps(content, sort_keys=True).encode())
        self._tidy()

    def get(self, name: str) -> FloatArray | None:
        """Map an array into memory; None if there is none, or its file is damaged."""
        entry = self._arrays.get(name)
        if entry is None:
            return None
        path = self._folder / entry["file"]
        try:
            if name not in self._verified and _digest(path) != entry["sha256"]:
                return None
            array: FloatArray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError):
            return None
        self._verified.add(name)
        return array


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
