from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import artifact_writer
import numpy as np
import pytest
from gridfs import GridIn
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import mlipdb
from mlipdb.artifacts import Artifacts, array_from_bytes, array_to_bytes
from mlipdb.errors import ArtifactError
from mlipdb.schemas.common import ArtifactRef
from mlipdb.stores import Database

#: Several GridFS chunks of 255 kB.
LARGE = random.Random(0).randbytes(600_000)


@pytest.fixture
def artifacts(database: Database) -> Artifacts:
    return Artifacts(database)


def stored(database: Database) -> tuple[int, int]:
    """Files and chunks."""
    return tuple(database.db[f"artifacts.{part}"].count_documents({}) for part in ("files", "chunks"))  # type: ignore


@pytest.mark.parametrize("data", [b"", b"x", LARGE])
def test_round_trip(artifacts: Artifacts, data: bytes) -> None:
    ref = artifacts.put("gap.xml", data)
    assert ref == ArtifactRef.of("gap.xml", data)
    assert artifacts.get(ref) == data
    assert artifacts.exists(ref.sha256)
    assert list(artifacts.hashes()) == [ref.sha256]


def test_the_same_bytes_are_stored_once(artifacts: Artifacts, database: Database) -> None:
    first = artifacts.put("a", LARGE)
    before = stored(database)
    second = artifacts.put("b", LARGE)
    assert stored(database) == before
    assert (second.name, second.sha256) == ("b", first.sha256)
    assert artifacts.get(second) == LARGE


def test_two_writers_that_both_found_nothing(
    artifacts: Artifacts, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifacts.put("a", LARGE)
    before = stored(database)
    late = Artifacts(database)
    monkeypatch.setattr(late, "exists", lambda sha256: False)
    assert artifacts.get(late.put("b", LARGE)) == LARGE
    assert stored(database) == before
    assert artifacts.orphaned_chunks() == 0


def test_many_threads(artifacts: Artifacts, database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(lambda n: Artifacts(database).put(f"file{n}", LARGE), range(8)))
    assert len({ref.sha256 for ref in refs}) == 1
    assert stored(database)[0] == 1
    assert artifacts.orphaned_chunks() == 0
    assert artifacts.get(refs[0]) == LARGE


def test_two_processes_at_once(artifacts: Artifacts, database: Database) -> None:
    root = str(Path(mlipdb.__file__).parents[1])
    command = [sys.executable, artifact_writer.__file__, database._address, "gap.xml", "1"]
    writers = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )
        for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    answers = {writer.communicate(timeout=60)[0].strip() for writer in writers}
    assert [writer.returncode for writer in writers] == [0, 0]
    assert answers == {ArtifactRef.of("gap.xml", random.Random(1).randbytes(1_000_000)).sha256}
    assert stored(database)[0] == 1
    assert artifacts.orphaned_chunks() == 0


def test_an_upload_cut_off_leaves_nothing_that_can_be_read(artifacts: Artifacts, database: Database) -> None:
    # What a killed process leaves: chunks, and no entry in files, which is written last.
    ref = artifacts.put("gap.xml", LARGE)
    database.db["artifacts.files"].delete_many({})
    assert stored(database)[1] > 0
    assert list(artifacts.hashes()) == []
    assert artifacts.orphaned_chunks() == stored(database)[1]
    with pytest.raises(ArtifactError) as caught:
        artifacts.get(ref)
    assert caught.value.reason == "artifact_missing"
    assert artifacts.get(artifacts.put("gap.xml", LARGE)) == LARGE


def test_an_upload_that_fails_cleans_up(
    artifacts: Artifacts, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(GridIn, "close", fail)
    with pytest.raises(KeyboardInterrupt):
        artifacts.put("gap.xml", LARGE)
    monkeypatch.undo()
    assert stored(database) == (0, 0)


def damage(database: Database, change: dict[str, Any] | None) -> None:
    chunks = database.db["artifacts.chunks"]
    if change is None:
        chunks.delete_one({"n": 1})
    else:
        chunks.update_one({"n": 1}, {"$set": change})


@pytest.mark.parametrize("change", [None, {"data": b"\0" * 255 * 1024}, {"data": b"short"}])
def test_damage_is_found_and_mended(artifacts: Artifacts, database: Database, change: dict[str, Any] | None) -> None:
    ref = artifacts.put("gap.xml", LARGE)
    damage(database, change)
    with pytest.raises(ArtifactError, match=r"gap\.xml is damaged") as caught:
        artifacts.get(ref)
    assert caught.value.reason == "artifact_damaged"
    assert artifacts.put("gap.xml", LARGE) == ref
    assert artifacts.get(ref) == LARGE
    assert artifacts.orphaned_chunks() == 0


def test_missing(artifacts: Artifacts) -> None:
    with pytest.raises(ArtifactError, match="is not stored") as caught:
        artifacts.get(ArtifactRef.of("gap.xml", b"1"))
    assert caught.value.reason == "artifact_missing"


def test_delete(artifacts: Artifacts, database: Database) -> None:
    ref = artifacts.put("a", LARGE)
    artifacts.delete(ref.sha256)
    artifacts.delete(ref.sha256)
    assert stored(database) == (0, 0)


def test_write_keeps_names_and_bytes(artifacts: Artifacts, tmp_path: Path) -> None:
    refs = [artifacts.put("gap.xml", b"1"), artifacts.put("gap.xml.sparseX.2", LARGE)]
    artifacts.write(refs, tmp_path / "new" / "folder")
    found = {path.name: path.read_bytes() for path in (tmp_path / "new" / "folder").iterdir()}
    assert found == {"gap.xml": b"1", "gap.xml.sparseX.2": LARGE}


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "..", ".", "", "folder/", "nul\0l"])
def test_names_cannot_leave_the_folder(artifacts: Artifacts, tmp_path: Path, name: str) -> None:
    ref = artifacts.put("good", b"1").model_copy(update={"name": name})
    with pytest.raises(ArtifactError, match="no plain file name"):
        artifacts.write([ref], tmp_path / "inner")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@given(arrays(st.sampled_from(["<f8", "<i8", "|b1"]), array_shapes(min_dims=0, max_dims=3)))
@settings(deadline=None, max_examples=50)
def test_array_round_trip(array: np.ndarray) -> None:
    back = array_from_bytes(array_to_bytes(array))
    assert back.dtype == array.dtype
    assert np.array_equal(np.atleast_1d(array), np.atleast_1d(back), equal_nan=array.dtype.kind == "f")


def test_equal_arrays_give_equal_bytes() -> None:
    array = np.arange(12.0).reshape(3, 4)
    assert array_to_bytes(array.T) == array_to_bytes(np.ascontiguousarray(array.T))


def test_pickles_and_archives_are_refused() -> None:
    pickled, archive = io.BytesIO(), io.BytesIO()
    np.save(pickled, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez(archive, a=np.zeros(2))
    huge = array_to_bytes(np.zeros(3)).replace(b"(3,)", b"(9" + b"9" * 14 + b",)")
    for data in (pickled.getvalue(), archive.getvalue(), b"", b"no array", array_to_bytes(np.zeros(9))[:-8], huge):
        with pytest.raises(ArtifactError):
            array_from_bytes(data)
    with pytest.raises(ValueError, match="Object arrays"):
        array_to_bytes(np.array([{}], dtype=object))
