"""Items of work: what is to be made, what came of it, and how a failure is described."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from mlipdb.derive import Built
from mlipdb.errors import MlipdbError
from mlipdb.stores import redact

__all__ = ["Counts", "WorkItem", "batched", "describe", "run_item"]

Raw = dict[str, Any]


@dataclass(frozen=True)
class WorkItem:
    """A document to be made.

    Attributes
    ----------
    label
        What a person calls it.
    inputs_hash
        Hash of everything the document depends on.
    plan
        Light description from which `fetch` collects the inputs.
    key
        Key of the document where it is known beforehand.
    skeleton
        Fields that a failed document has all the same.
    supersedes
        MongoDB filter of earlier failed documents that this item's result takes the place of.
    """

    label: str
    inputs_hash: str
    plan: Raw
    key: str | None = None
    skeleton: Raw = field(default_factory=dict)
    supersedes: Raw = field(default_factory=dict)


@dataclass
class Counts:
    """What a builder did in one run."""

    built: int = 0
    unchanged: int = 0
    failed: int = 0
    withdrawn: int = 0
    failures: list[Raw] = field(default_factory=list)


def batched(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of at most `size` items."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def run_item(build: Callable[[Raw], Built | None], item: Raw) -> Raw:
    """Call a builder's pure function on a prepared item and wrap what comes out."""
    result = {key: value for key, value in item.items() if key != "inputs"}
    if "failure" in item:
        return result
    try:
        result["built"] = build(item["inputs"])
    except Exception as error:  # noqa: BLE001 - one item's error must never end the run of the others
        result["failure"] = describe(error)
    return result


def describe(error: BaseException) -> Raw:
    """A failure as plain data: reason, message, traceback, end of the log."""
    if isinstance(error, MlipdbError):
        return {
            "reason": error.reason,
            "message": error.message,
            "log_tail": error.log_tail,
            "traceback": _short_traceback(error),
        }
    return {
        "reason": "unexpected",
        "message": f"{type(error).__name__}: {error}",
        "traceback": _short_traceback(error),
    }


def _short_traceback(error: BaseException) -> str:
    return redact("".join(traceback.format_exception(error))[-4000:])
