"""Blobs of jobflow: parts of a document that its additional store holds.

In the document stands ``{"@class", "@module", "blob_uuid", "store"}`` in place of the part; the store
holds ``{"blob_uuid", "data", "job_uuid", "job_index"}``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mlipdb.errors import IngestError

__all__ = ["FindBlob", "blob_ids", "resolve"]

#: Gives the ``data`` of a blob by its ``blob_uuid``; raises KeyError where there is none.
FindBlob = Callable[[str], Any]
#: Blobs inside blobs that are followed.
MAX_NESTED = 8
#: Levels of mappings and lists that are searched; deeper documents cannot be stored anyway.
MAX_DEPTH = 100
#: Fields whose content no reader uses (charge densities, band structures, trajectories): left where they are.
UNUSED_FIELDS = frozenset(
    {
        "bandstructure",
        "dos",
        "force_constants",
        "forcefield_objects",
        "objects",
        "phonon_bandstructure",
        "phonon_dos",
        "trajectory",
        "vasp_objects",
    }
)
#: The same by class.
UNUSED_CLASSES = frozenset(
    {
        "BandStructure",
        "BandStructureSymmLine",
        "Chgcar",
        "CompleteDos",
        "Dos",
        "Elfcar",
        "LobsterCompleteDos",
        "Locpot",
        "PhononBandStructureSymmLine",
        "PhononDos",
        "Procar",
        "Trajectory",
        "VolumetricData",
        "Wavecar",
    }
)


def blob_ids(document: Any) -> list[str]:
    """Ids of the blobs that `resolve` would ask for in a document, in the order they stand."""
    return list(_found(document, 0))


def resolve(document: Any, find_blob: FindBlob) -> Any:
    """A document with its blobs in their places.

    Parameters
    ----------
    document
        Document of a jobflow store, or a part of one; it is not changed.
    find_blob
        Gives the data of a blob by its ``blob_uuid``, and raises KeyError where there is none.

    Raises
    ------
    IngestError
        ``blob_missing`` if a blob that is needed is not there, ``blob_nesting`` if blobs hold blobs
        without end.
    """
    return _resolved(document, find_blob, 0, 0)


def _reference(value: dict[str, Any]) -> str | None:
    """The id of the blob that stands elsewhere, if a mapping is such a reference and is of use."""
    if not isinstance(value.get("blob_uuid"), str) or "store" not in value or "data" in value:
        return None
    return None if str(value.get("@class")) in UNUSED_CLASSES else str(value["blob_uuid"])


def _found(value: Any, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        blob = _reference(value)
        if blob is not None:
            yield blob
            return
        for key, item in value.items():
            if key not in UNUSED_FIELDS:
                yield from _found(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from _found(item, depth + 1)


def _resolved(value: Any, find_blob: FindBlob, depth: int, nested: int) -> Any:
    if depth > MAX_DEPTH:
        return value
    if isinstance(value, list):
        return [_resolved(item, find_blob, depth + 1, nested) for item in value]
    if not isinstance(value, dict):
        return value
    blob = _reference(value)
    if blob is None:
        return {
            key: item if key in UNUSED_FIELDS else _resolved(item, find_blob, depth + 1, nested)
            for key, item in value.items()
        }
    if nested >= MAX_NESTED:
        raise IngestError(
            f"its blob {blob:.60} lies more than {MAX_NESTED} blobs deep; jobflow writes no such documents",
            reason="blob_nesting",
        )
    try:
        data = find_blob(blob)
    except KeyError:
        raise IngestError(
            f"its blob {blob:.60} of the store {value.get('store')!s:.60} is not there; give the collection or file "
            "of that additional store too (`--data-collection` for a database)",
            reason="blob_missing",
        ) from None
    return _resolved(data, find_blob, depth + 1, nested + 1)
