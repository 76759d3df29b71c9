"""mlipdb: keep, compare and publish machine-learned interatomic potentials that get phonons right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlipdb.version import __version__

if TYPE_CHECKING:
    from mlipdb.client import MlipDB

__all__ = ["MlipDB", "__version__"]


def __getattr__(name: str) -> Any:
    # The client needs pydantic and pymongo; `import mlipdb` and `mlipdb --help` should not pay for them.
    if name == "MlipDB":
        from mlipdb.client import MlipDB

        return MlipDB
    raise AttributeError(f"module 'mlipdb' has no attribute {name!r}")
