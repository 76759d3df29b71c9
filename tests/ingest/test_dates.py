from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from mlipdb.ingest.dates import to_utc

MOMENT = datetime(2024, 2, 29, 23, 30, 1, 250000)  # noqa: DTZ001 - as the database keeps it
EAST = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    "value",
    [
        "2024-02-29T23:30:01.250Z",
        "2024-03-01T05:00:01.250+05:30",
        "2024-02-29 23:30:01.250999",
        {"@module": "datetime", "@class": "datetime", "string": "2024-02-29 23:30:01.250000+00:00"},
        {"$date": "2024-02-29T23:30:01.250Z"},
        MOMENT,
        MOMENT.replace(tzinfo=UTC).astimezone(EAST),
    ],
)
def test_every_shape_is_one_moment(value: Any) -> None:
    assert to_utc(value) == MOMENT


@pytest.mark.parametrize(
    "value",
    [None, 5, "", "yesterday", "2024-13-01", "9" * 100, [], {}, {"string": {"string": "2024-01-01"}}, {"$date": 7}],
)
def test_what_is_no_date(value: Any) -> None:
    assert to_utc(value) is None


def test_days_that_another_zone_does_not_have() -> None:
    assert to_utc("0001-01-01T00:00:00+05:00") is None
