"""Values as MongoDB holds them, in the words of JSON: a document must say the same from a file and from there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

__all__ = ["plain", "text_of_id"]


def plain(value: Any) -> Any:
    """A BSON value as a JSON file holds it.

    Dates become ISO text in UTC with ``Z``, ObjectIds and UUIDs text, Int64 and Decimal128 numbers;
    what JSON has no word for becomes MongoDB's Extended JSON.
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if value is None or type(value) in (str, bool, int, float):
        return value
    return _special(value)


def _special(value: Any) -> Any:
    from bson import Binary, Decimal128, Int64, ObjectId, json_util

    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo else value
        return moment.replace(tzinfo=None).isoformat() + "Z"
    if isinstance(value, Int64):
        return int(value)
    if isinstance(value, ObjectId):
        return str(value)
    if isinstance(value, Decimal128):
        return float(str(value))
    if isinstance(value, Binary) and value.subtype == 4:
        return str(value.as_uuid())
    return json.loads(json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS))


def text_of_id(value: Any) -> str:
    """The ``_id`` of a document as text: an ObjectId and a text as they are, others as Extended JSON."""
    from bson import ObjectId, json_util

    if isinstance(value, (str, ObjectId)):
        return str(value)
    return str(json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS))
