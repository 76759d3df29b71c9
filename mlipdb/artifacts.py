"""Potential files and large arrays in GridFS, addressed by SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlipdb.errors import ArtifactError
from mlipdb.schemas.common import ArtifactRef
from mlipdb.stores import ARTIFACT_BUCKET, Database

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Artifacts", "array_from_bytes", "array_to_bytes"]


def array_to_bytes(array: NDArray[Any]) -> bytes:
    """A numpy array in npy format: the same array gives the same bytes."""
    import numpy as np

    buffer = BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def array_from_bytes(data: bytes) -> NDArray[np.float64]:
    """The array in npy bytes; objects (pickles) are refused.

    Raises
    ------
    ArtifactError
        If the bytes are no npy array.
    """
    import numpy as np

    try:
        loaded: NDArray[np.float64] = np.load(BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise ArtifactError(f"the stored bytes are no numpy array: {error}") from None
    if not isinstance(loaded, np.ndarray):
        raise ArtifactError("the stored bytes are an archive of arrays; a single npy array is needed")
    return loaded


class Artifacts:
    """The files of a database.

    Bytes are stored once, whatever their names: a unique index on the hash decides which of two
    writers keeps its copy, and the other one removes its own.  An upload that is cut off leaves
    chunks that nothing points to, never a file that can be read.
    """

    def __init__(self, database: Database) -> None:
        from gridfs import GridFSBucket

        self._database = database
        self._bucket = GridFSBucket(database.db, ARTIFACT_BUCKET)
        self._files = database.db[f"{ARTIFACT_BUCKET}.files"]
        self._chunks = database.db[f"{ARTIFACT_BUCKET}.chunks"]

    def put(self, name: str, data: bytes) -> ArtifactRef:
        """Store bytes and return what a document keeps of them; a damaged copy is replaced."""
        from gridfs.errors import FileExists

        ref = ArtifactRef.of(name, data)
        if self.exists(ref.sha256):
            try:
                self.get(ref)
            except ArtifactError:
                self.delete(ref.sha256)
            else:
                return ref
        grid = self._bucket.open_upload_stream(name, metadata={"sha256": ref.sha256})
        try:
            grid.write(data)
            grid.close()
        except FileExists:
            # Another writer finished the same bytes first: its copy stands, ours goes.
            self._chunks.delete_many({"files_id": grid._id})
        except BaseException:
            grid.abort()
            raise
        return ref

    def exists(self, sha256: str) -> bool:
        """Whether the bytes are stored."""
        return self._files.find_one({"metadata.sha256": sha256}, {"_id": 1}) is not None

    def get(self, ref: ArtifactRef) -> bytes:
        """The bytes of a file, verified.

        Raises
        ------
        ArtifactError
            If they are not stored, or do not hash to what the document says.
        """
        from gridfs.errors import CorruptGridFile

        entry = self._files.find_one({"metadata.sha256": ref.sha256})
        if entry is None:
            raise ArtifactError(
                f"the file {ref.name} (sha256 {ref.sha256[:12]}...) is not stored; rebuild its document, "
                "or copy it from a database that has it",
                reason="artifact_missing",
            )
        try:
            data = self._bucket.open_download_stream(entry["_id"]).read()
        except CorruptGridFile as error:
            raise ArtifactError(f"the stored file {ref.name} is damaged: {error}", reason="artifact_damaged") from None
        found = hashlib.sha256(data).hexdigest()
        if found != ref.sha256:
            raise ArtifactError(
                f"the stored file {ref.name} is damaged: its bytes hash to {found[:12]}... where the document "
                f"says {ref.sha256[:12]}...; rebuild the document",
                reason="artifact_damaged",
            )
        return data

    def write(self, refs: list[ArtifactRef], directory: Path) -> None:
        """Write files, verified, under their names into a folder.

        Raises
        ------
        ArtifactError
            If one is missing or damaged, or its name would leave the folder.
        """
        directory.mkdir(parents=True, exist_ok=True)
        for ref in refs:
            if Path(ref.name).name != ref.name or ref.name in {"", ".", ".."} or "\0" in ref.name:
                raise ArtifactError(f"{ref.name!r} is no plain file name; refusing to write it")
            (directory / ref.name).write_bytes(self.get(ref))

    def delete(self, sha256: str) -> None:
        """Remove stored bytes; nothing happens where there are none."""
        entry = self._files.find_one({"metadata.sha256": sha256}, {"_id": 1})
        if entry is not None:
            self._bucket.delete(entry["_id"])

    def references(self) -> Iterator[ArtifactRef]:
        """Name, SHA-256 and size of everything stored."""
        for entry in self._files.find({}, {"filename": 1, "metadata.sha256": 1, "length": 1}):
            yield ArtifactRef(name=entry["filename"], sha256=entry["metadata"]["sha256"], size=entry["length"])

    def hashes(self) -> Iterator[str]:
        """SHA-256 of everything stored."""
        for entry in self._files.find({}, {"metadata.sha256": 1}):
            yield entry["metadata"]["sha256"]

    def orphaned_chunks(self) -> int:
        """Chunks that belong to no file, left by uploads that were cut off."""
        known = {entry["_id"] for entry in self._files.find({}, {"_id": 1})}
        return sum(1 for chunk in self._chunks.find({}, {"files_id": 1}) if chunk["files_id"] not in known)
