"""What a pass over another database still has to look at, and how far it has come."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from mlipdb.ingest.dates import to_utc
from mlipdb.schemas.common import utc_now
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.watermark import IngestWatermark

if TYPE_CHECKING:
    from mlipdb.stores import Database

__all__ = ["DATE_FIELDS", "Watermark", "changed_at"]

Raw = dict[str, Any]
#: Where emmet, atomate and jobflow write when a document was changed.
DATE_FIELDS = ("last_updated", "output.last_updated", "completed_at")
#: What was written this long before the watermark is looked at once more: clocks differ, and local times
#: without a zone differ by up to 14 hours.
MARGIN = timedelta(days=2)


def changed_at(stub: Raw) -> datetime | None:
    """The newest of the dates that a document carries, in UTC."""
    found = [to_utc(_value(stub, field)) for field in DATE_FIELDS]
    return max((date for date in found if date is not None), default=None)


def _value(document: Any, path: str) -> Any:
    for key in path.split("."):
        document = document.get(key) if isinstance(document, dict) else None
    return document


class Watermark:
    """How far one collection has been read for one query; kept in the project's database.

    A pass goes in the order of ``_id``.  It looks at what a full pass before it cannot have seen: larger
    ObjectIds, ids that tell no time, and dates after that pass began or ended.  Which of these documents
    are new is told by the tasks there are, so that looking at too many loses nothing but time.

    Parameters
    ----------
    database
        The project's database.
    source, query, data_collection
        What is read; see `IngestWatermark`.
    rereads
        Begin a new pass over everything, known documents included.
    """

    def __init__(
        self, database: Database, source: str, query: str, data_collection: str | None, *, rereads: bool = False
    ) -> None:
        identity = {"source": source, "query": query, "data_collection": data_collection}
        self._collection = database.watermarks
        self._key = make_key("wm", identity)
        stored = self._collection.find_one({"_id": self._key}, {"_id": 0})
        now = utc_now()
        self.state = IngestWatermark.model_validate(stored or {**identity, "last_updated": now})
        #: Whether this pass goes on with one that was cut off.
        self.resumed = self.state.pass_started is not None and not rereads
        #: Whether nothing has been read completely before.
        self.first = self.state.since is None or rereads
        if rereads:
            self.state = self.state.model_copy(update={"since": None, "last_id": None})
        if not self.resumed:
            start = {"pass_started": now, "pass_position": None, "pass_newest": None, "pass_rereads": rereads}
            self.state = self.state.model_copy(update=start)
            self._save()

    def query(self, wanted: Raw) -> Raw:
        """The filter of this pass."""
        from bson import ObjectId

        parts = [wanted] if wanted else []
        if self.state.pass_position is not None:
            parts.append(_after(ObjectId(self.state.pass_position)))
        if self.state.since is not None:
            parts.append({"$or": [*self._new_ids(), *_dates_from(self.state.since - MARGIN)]})
        return {"$and": parts} if parts else {}

    def _new_ids(self) -> list[Raw]:
        from bson import ObjectId

        if self.state.last_id is None:
            return [{}]
        # An ObjectId begins with the time it was made at, by a clock that may be wrong; and it may come in
        # later than one made after it.
        made = ObjectId(self.state.last_id).generation_time.replace(tzinfo=None)
        made = min(made, self.state.last_pass or made)
        return [_after(ObjectId.from_datetime(made - MARGIN))]

    def advance(self, stub_ids: list[Any], newest: datetime | None) -> None:
        """Note that documents have been looked at, after what they gave was written."""
        from bson import ObjectId

        ids = [one for one in stub_ids if isinstance(one, ObjectId)]
        update: Raw = {"documents": self.state.documents + len(stub_ids)}
        if ids:
            last = str(max(ids))
            update |= {"pass_position": last, "last_id": max(last, self.state.last_id or last)}
        if newest is not None:
            update["pass_newest"] = max(newest, self.state.pass_newest or newest)
        self.state = self.state.model_copy(update=update)
        self._save()

    def finish(self) -> None:
        """Note that the pass has seen everything."""
        started = self.state.pass_started or utc_now()
        newest = min(started, self.state.pass_newest or started)
        update = {
            "since": max(newest, self.state.since or newest),
            "last_pass": started,
            "pass_started": None,
            "pass_position": None,
            "pass_newest": None,
            "pass_rereads": False,
        }
        self.state = self.state.model_copy(update=update)
        self._save()

    def _save(self) -> None:
        self.state = self.state.model_copy(update={"last_updated": utc_now()})
        document = {"_id": self._key, **self.state.model_dump(mode="python", exclude_none=True)}
        self._collection.replace_one({"_id": self._key}, document, upsert=True)


def _after(object_id: Any) -> Raw:
    """Larger ObjectIds, and every id of another kind: such an id does not tell when it was made."""
    return {"$or": [{"_id": {"$gt": object_id}}, {"_id": {"$not": {"$type": "objectId"}}}]}


def _dates_from(start: datetime) -> list[Raw]:
    """Filters for dates at or after a moment, in each shape; text is compared to the day, so some are earlier."""
    day = start.strftime("%Y-%m-%d")
    filters: list[Raw] = []
    for field in DATE_FIELDS:
        filters += [{field: {"$gte": start}}, {field: {"$gte": day}}, {f"{field}.string": {"$gte": day}}]
    return filters
