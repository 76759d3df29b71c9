"""What a builder run did, and who is building."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from pydantic import Field

from mlipdb.schemas.common import Document, Model

__all__ = ["BuildLock", "BuildRun"]


class BuildRun(Document):
    """One run of one builder."""

    key_field: ClassVar[str] = "run_id"
    prefix: ClassVar[str] = "run"

    run_id: str
    builder: str
    started: datetime = Field(description="UTC")
    ended: datetime | None = Field(None, description="UTC; missing while running or after a crash")
    checked: datetime | None = Field(None, description="UTC, when a later run last found nothing to do")
    duration_s: float | None = None
    host: str = ""
    pid: int = 0
    built: int = Field(0, ge=0, description="Documents written, incomplete ones included")
    unchanged: int = Field(0, ge=0, description="Documents found up to date")
    failed: int = Field(0, ge=0)
    withdrawn: int = Field(0, ge=0)
    failures: list[dict[str, Any]] = Field(default_factory=list, description="The first 100, with tracebacks")
    watermarks: dict[str, Any] | None = Field(
        None, description="State of sources and recipe when the run ended; equal means nothing to do"
    )


class BuildLock(Model):
    """A lease on one builder."""

    builder: str
    owner: str = Field(description="Unique to the run that holds it")
    host: str
    pid: int
    machine: str | None = Field(
        None, description="Boot and pid namespace the pid belongs to; missing where the system does not tell"
    )
    acquired: datetime = Field(description="UTC")
    expires: datetime = Field(description="UTC; anyone may take it over afterwards")
