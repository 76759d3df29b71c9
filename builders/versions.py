"""Versions of installed packages, for the stamp of a document."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

from mlipdb.version import __version__

__all__ = ["package_versions"]


@cache
def package_versions(names: tuple[str, ...]) -> dict[str, str]:
    """Version of each named distribution; those not installed are left out."""
    found = {}
    for name in names:
        try:
            found[name] = __version__ if name == "mlipdb" else version(name)
        except PackageNotFoundError:
            continue
    return found
