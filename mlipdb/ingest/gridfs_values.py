"""Parts of documents that were put into GridFS: atomate's ``{key}_fs_id`` and maggma's stores of blobs."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlipdb.errors import IngestError

if TYPE_CHECKING:
    from pymongo.database import Database as MongoDatabase

__all__ = ["atomate_parts", "blobs_in"]

Raw = dict[str, Any]
#: Bytes a part may have once it is unpacked; the ionic steps of long runs stay below a tenth of it.
MAX_BYTES = 512 * 1024 * 1024
SUFFIX = "_fs_id"
#: Parts of a calculation that are needed, by key: where in the calculation they belong.
NEEDED: dict[str, tuple[str, ...]] = {
    "ionic_steps": ("output", "ionic_steps"),
    "output": ("output",),
    "input": ("input",),
}


def atomate_parts(database: MongoDatabase[Raw], document: Raw) -> None:
    """Put the parts of an atomate document that its database holds in GridFS into their places.

    ``calcs_reversed.i.{key}_fs_id`` names a file of the bucket ``{key}_fs``.  Only what a reader uses is
    fetched; charge densities, band structures and the like are left where they are.

    Raises
    ------
    IngestError
        ``gridfs_missing`` if such a file is not there, ``gridfs_damaged`` if it cannot be read.
    """
    calculations = document.get("calcs_reversed")
    for calculation in calculations if isinstance(calculations, list) else ():
        if not isinstance(calculation, dict):
            continue
        for key, place in NEEDED.items():
            file_id = calculation.get(key + SUFFIX)
            if file_id is not None:
                _put(calculation, place, _read(database, f"{key}_fs", file_id, calculation.get(f"{key}_compression")))


def _put(calculation: Raw, place: tuple[str, ...], part: Any) -> None:
    target = calculation
    for key in place[:-1]:
        inner = target.setdefault(key, {})
        if not isinstance(inner, dict):
            raise IngestError(f"its {key} is a {type(inner).__name__}; an object is needed", reason="bad_document")
        target = inner
    target[place[-1]] = part


def blobs_in(database: MongoDatabase[Raw], collection: str) -> Callable[[list[str]], dict[str, Any]]:
    """A lookup of jobflow's blobs in an additional store: a plain collection, or a bucket of GridFS.

    The lookup takes ids and gives the data of those that are there.
    """

    def plain_store(ids: list[str]) -> dict[str, Any]:
        query = {"blob_uuid": {"$in": ids}}
        found = database[collection].find(query, {"blob_uuid": 1, "data": 1, "_id": 0})
        return {blob["blob_uuid"]: blob.get("data") for blob in found}

    def bucket(ids: list[str]) -> dict[str, Any]:
        files = database[f"{collection}.files"].find({"metadata.blob_uuid": {"$in": ids}}).sort("uploadDate", 1)
        return {file["metadata"]["blob_uuid"]: _blob(database, collection, file) for file in files}

    is_bucket = database[f"{collection}.files"].find_one({}, {"_id": 1}) is not None
    return bucket if is_bucket else plain_store


def _blob(database: MongoDatabase[Raw], collection: str, file: Raw) -> Any:
    content = _read(database, collection, file["_id"], file["metadata"].get("compression"))
    return content.get("data") if isinstance(content, dict) else content


def _read(database: MongoDatabase[Raw], bucket: str, file_id: Any, compression: Any) -> Any:
    from gridfs import GridFSBucket
    from gridfs.errors import CorruptGridFile, NoFile

    place = f"the file {file_id} of {bucket}, which its {bucket.removesuffix('_fs')} was put into,"
    try:
        stream = GridFSBucket(database, bucket).open_download_stream(file_id)
        if stream.length > MAX_BYTES:
            raise IngestError(f"{place} has {stream.length} bytes; at most {MAX_BYTES} are read", reason="too_large")
        data = stream.read()
    except NoFile:
        raise IngestError(f"{place} is not there; restore the bucket", reason="gridfs_missing") from None
    except CorruptGridFile as error:
        raise IngestError(f"{place} is damaged: {error}", reason="gridfs_damaged") from None
    try:
        return json.loads(_unpacked(data, place) if compression == "zlib" else data)
    except (ValueError, RecursionError, zlib.error) as error:
        raise IngestError(f"{place} is no JSON: {error}", reason="gridfs_damaged") from None


def _unpacked(data: bytes, place: str) -> bytes:
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(data, MAX_BYTES)
    if unpacker.unconsumed_tail:
        raise IngestError(f"{place} has more than {MAX_BYTES} bytes when it is unpacked", reason="too_large")
    return unpacked
