"""What every document carries: state, stamp, visibility, failure."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "SCHEMA_VERSION",
    "ArtifactRef",
    "BuilderMeta",
    "Document",
    "Failure",
    "State",
    "Visibility",
    "utc_now",
]

#: Version of the document layout; raised when a field changes its meaning or goes away.
SCHEMA_VERSION = 1

State = Literal["complete", "incomplete", "failed", "withdrawn"]
Visibility = Literal["private", "embargoed", "public"]


def utc_now() -> datetime:
    """Now in UTC, naive and cut to milliseconds, as MongoDB gives it back."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class Model(BaseModel):
    """Base of all sub-documents: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class ArtifactRef(Model):
    """A stored file: where its bytes are and what they must hash to."""

    name: str = Field(description="File name, exactly as programs expect it")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the bytes; also their address")
    size: int = Field(ge=0, description="Bytes")

    @classmethod
    def of(cls, name: str, data: bytes) -> Self:
        """What a document keeps of some bytes under a file name."""
        return cls(name=name, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


class BuilderMeta(Model):
    """Who made a document, with what."""

    builder: str = Field(description="Name of the builder")
    builder_version: str = Field(description="Raised when the builder's results change; a rebuild follows")
    versions: dict[str, str] = Field(default_factory=dict, description="Versions of the packages used")
    build_date: datetime = Field(default_factory=utc_now, description="UTC")


class Failure(Model):
    """Why something could not be made."""

    reason: str = Field(description="Short stable name of the cause, such as no_forces")
    message: str = Field(description="One sentence: what was wrong with what, and what would be right")
    traceback: str | None = Field(None, description="End of the Python traceback")
    log_tail: str | None = Field(None, description="End of the log of an external program")
    attempts: int = Field(1, ge=1)
    inputs_hash: str | None = Field(None, description="Inputs the attempt was made with")
    date: datetime = Field(default_factory=utc_now, description="UTC, of the last attempt")


class Document(Model):
    """Fields shared by all documents; subclasses add their own and name their key."""

    key_field: ClassVar[str]
    prefix: ClassVar[str]

    schema_version: int = Field(SCHEMA_VERSION, description="Version of the document layout")
    state: State = Field(
        "complete",
        description="complete; incomplete (parents are missing, named in `missing`); failed (see `failure`); "
        "withdrawn (what it was made from is gone; kept for provenance)",
    )
    last_updated: datetime = Field(default_factory=utc_now, description="UTC, of the last change")
    builder_meta: BuilderMeta | None = Field(None, description="Builder, versions and build date")
    inputs_hash: str | None = Field(
        None, description="Hash of everything the content depends on; a rebuild happens when it changes"
    )
    failure: Failure | None = Field(None, description="Why the state is failed")
    rebuild_failure: Failure | None = Field(None, description="Why the last rebuild of this still good document failed")
    visibility: Visibility = Field("private", description="private, embargoed (see `embargo_until`) or public")
    embargo_until: datetime | None = Field(None, description="UTC; only with visibility embargoed")
    group: str | None = Field(None, description="Research group that owns the document")
    license: str | None = Field(None, description="SPDX identifier")
    references: list[str] = Field(default_factory=list, description="DOIs or citations")

    def to_bson(self) -> dict[str, Any]:
        """Plain dict ready for MongoDB; None fields are left out so that `$exists` means something."""
        return self.model_dump(mode="python", exclude_none=True)

    def identity(self) -> Any:
        """What the key is a hash of; overridden by documents whose key can be computed again."""
        return None
