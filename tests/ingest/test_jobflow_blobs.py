from __future__ import annotations

from typing import Any

import pytest

from mlipdb.errors import IngestError
from mlipdb.ingest.jobflow_blobs import MAX_NESTED, blob_ids, resolve

Raw = dict[str, Any]


def blob(name: str, kind: str = "") -> Raw:
    return {"@class": kind, "@module": "m", "blob_uuid": name, "store": "data"}


def test_parts_come_back_into_their_places() -> None:
    document = {"a": blob("1"), "b": [{"c": blob("2")}, 3], "dos": blob("3"), "d": blob("4", "Chgcar"), "e": None}
    there = {"1": {"x": blob("5")}, "2": [1.0], "5": "deep"}
    assert blob_ids(document) == ["1", "2"]
    assert resolve(document, there.__getitem__) == {
        "a": {"x": "deep"},
        "b": [{"c": [1.0]}, 3],
        "dos": blob("3"),
        "d": blob("4", "Chgcar"),
        "e": None,
    }
    assert document["a"] == blob("1"), "what was given is not changed"


def test_what_only_looks_like_a_blob_stays() -> None:
    stored = {"blob_uuid": "1", "data": [1], "job_uuid": "u", "job_index": 1}
    odd: Raw = {"blob_uuid": 7, "store": "data"}
    assert resolve([stored, odd], {}.__getitem__) == [stored, odd]


def test_a_blob_that_is_missing_and_blobs_without_end() -> None:
    with pytest.raises(IngestError, match="its blob 1 of the store data is not there") as missing:
        resolve({"a": blob("1")}, {}.__getitem__)
    assert missing.value.reason == "blob_missing"
    with pytest.raises(IngestError, match=f"more than {MAX_NESTED} blobs deep") as endless:
        resolve({"a": blob("1")}, lambda _: {"again": blob("1")})
    assert endless.value.reason == "blob_nesting"


def test_a_document_without_bottom_is_left_for_others_to_refuse() -> None:
    document: Raw = {}
    for _ in range(5000):
        document = {"a": document}
    assert blob_ids(document) == []
    assert "a" in resolve(document, {}.__getitem__)
