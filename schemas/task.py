"""A raw DFT task, exactly as its producer wrote it, and where it came from."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from mlipdb.schemas.common import ArtifactRef, Document, Model

__all__ = ["Task", "TaskSource"]


class TaskSource(Model):
    """Where a task came from."""

    format: str = Field(description="Name of the reader that understood it")
    path: str = Field(description="File or address it was read from")
    item: str | None = Field(None, description="Line, member or identifier inside that file")
    changed: datetime | None = Field(None, description="UTC, when its producer last changed it, where that is told")


class Task(Document):
    """One raw task; the input of everything else."""

    key_field: ClassVar[str] = "task_id"
    prefix: ClassVar[str] = "task"

    task_id: str = Field(min_length=1, description="The producer's id where there is one")
    source: TaskSource
    content_hash: str | None = Field(None, description="Hash of the raw content")
    raw: dict[str, Any] | None = Field(None, description="The document as its producer wrote it")
    raw_artifact: ArtifactRef | None = Field(
        None, description="In place of `raw` where that is too large for a MongoDB document"
    )

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.state == "complete" and self.raw is None and self.raw_artifact is None:
            raise ValueError("a complete task needs `raw` or `raw_artifact`")
        return self
