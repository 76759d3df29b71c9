"""Pure functions that make one document from others: no database, no project; one type a file.

Builders collect the inputs, call one of these (in any process) and write what comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlipdb.schemas.common import Document

__all__ = ["Built"]


@dataclass(frozen=True)
class Built:
    """A document, the files that belong to it, and what else its builder needs when writing it."""

    document: Document
    files: Mapping[str, bytes] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
