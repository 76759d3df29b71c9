"""How far a database that tasks are taken from has been read."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from mlipdb.schemas.common import Model

__all__ = ["IngestWatermark"]


class IngestWatermark(Model):
    """How far one collection of another database has been read, for one query.

    Only hints what to look at: which documents are in is told by `source` of the tasks.
    """

    source: str = Field(description="Address and collection, without user and password")
    query: str = Field("{}", description="The query, as MongoDB Extended JSON")
    data_collection: str | None = Field(None, description="Collection that the blobs of jobflow came from")
    last_id: str | None = Field(None, description="Largest ObjectId that was read")
    since: datetime | None = Field(None, description="UTC; what changed before is in. Missing before a first full pass")
    last_pass: datetime | None = Field(None, description="UTC, start of the last pass that ended")
    pass_started: datetime | None = Field(None, description="UTC, start of a pass that has not ended")
    pass_position: str | None = Field(None, description="ObjectId that pass has come to")
    pass_newest: datetime | None = Field(None, description="UTC, newest date that pass has seen")
    pass_rereads: bool = Field(False, description="Whether that pass reads known documents again")
    documents: int = Field(0, ge=0, description="Documents read so far")
    last_updated: datetime = Field(description="UTC")
