"""Dates as producers write them, in all their shapes, as one: naive UTC cut to milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

__all__ = ["to_utc"]

#: Longest text that is looked at as a date.
MAX_TEXT = 64


def to_utc(value: Any) -> datetime | None:
    """A date in UTC, naive and cut to milliseconds as MongoDB keeps it; None for what is no date.

    Parameters
    ----------
    value
        A datetime, ISO text with ``Z``, with an offset or with neither (taken as UTC, which may be wrong
        by the producer's time zone), monty's ``{"@class": "datetime", "string": ...}`` or MongoDB's
        ``{"$date": ...}``.
    """
    if isinstance(value, Mapping):
        inner = value.get("string", value.get("$date"))
        return None if isinstance(inner, Mapping) else to_utc(inner)
    if isinstance(value, str) and len(value) <= MAX_TEXT:
        with suppress(ValueError):
            return _cut(datetime.fromisoformat(value.strip()))
    return _cut(value) if isinstance(value, datetime) else None


def _cut(value: datetime) -> datetime | None:
    if value.tzinfo is not None:
        try:
            value = value.astimezone(UTC).replace(tzinfo=None)
        except OverflowError:  # the first or last day there is
            return None
    return value.replace(microsecond=value.microsecond // 1000 * 1000)
