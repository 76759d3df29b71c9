"""Intermediate files: complete, checked, and of one study."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mlipdb.errors import FitError
from mlipdb.frameworks.gap_grid.checkpoint import MANIFEST, Checkpoint, write_atomically


def files(directory: Path) -> set[str]:
    return {path.name for path in (directory / "blocks").iterdir()}


def test_only_what_was_committed_counts(tmp_path: Path) -> None:
    first = Checkpoint(tmp_path, "a")
    first.put("x", np.arange(6.0).reshape(2, 3))
    first.facts["n"] = 1
    first.meter = lambda: {"seconds": 2.5}
    first.commit()
    first.put("x", np.zeros(3))
    first.put("y", np.ones(2))
    first.facts["n"] = 2
    assert len(files(tmp_path)) == 3
    again = Checkpoint(tmp_path, "a")
    assert again.facts == {"n": 1, "seconds": 2.5}
    x = again.get("x")
    assert x is not None
    np.testing.assert_array_equal(x, np.arange(6.0).reshape(2, 3))
    assert again.get("y") is None
    assert len(files(tmp_path)) == 1


def test_order_in_memory_is_kept(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "a")
    checkpoint.put("f", np.asfortranarray(np.arange(12.0).reshape(3, 4)))
    checkpoint.commit()
    array = Checkpoint(tmp_path, "a").get("f")
    assert array is not None
    assert array.flags.f_contiguous


def test_dropped_arrays_go_with_the_next_commit(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "a")
    for name in ("one/a", "one/b", "two/a"):
        checkpoint.put(name, np.ones(2))
    checkpoint.commit()
    checkpoint.drop("one/")
    assert len(files(tmp_path)) == 3
    checkpoint.commit()
    assert len(files(tmp_path)) == 1
    assert checkpoint.get("one/a") is None
    assert checkpoint.get("two/a") is not None


def test_another_identity_begins_anew(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path, "a")
    checkpoint.put("x", np.ones(2))
    checkpoint.facts["n"] = 1
    checkpoint.commit()
    other = Checkpoint(tmp_path, "b")
    assert other.facts == {}
    assert other.get("x") is None
    assert files(tmp_path) == set()


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "pickle"])
def test_damaged_arrays_are_none(tmp_path: Path, damage: str) -> None:
    checkpoint = Checkpoint(tmp_path, "a")
    checkpoint.put("x", np.ones(50))
    checkpoint.commit()
    (path,) = (tmp_path / "blocks").iterdir()
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-3] ^= 4
        path.write_bytes(bytes(content))
    elif damage == "truncate":
        path.write_bytes(bytes(content[:-8]))
    elif damage == "remove":
        path.unlink()
    else:
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert Checkpoint(tmp_path, "a").get("x") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 1, "identity": "a", "arrays": 3, "facts": {}}'])
def test_damaged_manifests_begin_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    assert Checkpoint(tmp_path, "a").facts == {}


def test_manifests_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    np.save(tmp_path / "outside.npy", np.ones(2))
    content = {
        "version": 1,
        "identity": "a",
        "arrays": {"x": {"file": "../outside.npy", "sha256": "0"}},
        "facts": {"n": 1},
    }
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    checkpoint = Checkpoint(tmp_path, "a")
    assert checkpoint.facts == {}
    assert checkpoint.get("x") is None


def test_unwritable(tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"gap\.xml cannot be written") as caught:
        write_atomically(tmp_path / "missing" / "gap.xml", b"x")
    assert caught.value.reason == "unwritable"
    write_atomically(tmp_path / "gap.xml", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["gap.xml"]
