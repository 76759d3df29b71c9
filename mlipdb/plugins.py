"""Parts that are found by name: built in, or declared by installed packages as entry points."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mlipdb.errors import MlipdbError, NotFoundError

__all__ = ["Plugins"]


@dataclass(frozen=True)
class Plugins:
    """All parts of one kind.

    Parameters
    ----------
    kind
        What one is called in messages, such as ``"framework"``.
    group
        Group of entry points that other packages declare theirs in.
    built_in
        ``module:attribute`` by name.  They win, so that no other package can replace them by
        declaring the same name.
    not_installed
        The error of one that cannot be imported.
    """

    kind: str
    group: str
    built_in: Mapping[str, str]
    not_installed: type[MlipdbError]

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self.built_in, *(point.name for point in entry_points(group=self.group))})

    def load(self, name: str) -> Any:
        """Import one; of a class, an instance.

        Raises
        ------
        NotFoundError
            There is none of that name.
        MlipdbError
            It cannot be imported: the error given as ``not_installed``.
        """
        loaded = self._load(name)
        return loaded() if isinstance(loaded, type) else loaded

    def _load(self, name: str) -> Any:
        if name in self.built_in:
            module, _, attribute = self.built_in[name].partition(":")
            return getattr(importlib.import_module(module), attribute)
        points: list[EntryPoint] = list(entry_points(group=self.group, name=name))
        if not points:
            raise NotFoundError(
                f"no {self.kind} is called {name!r}; there are {', '.join(self.names())}",
                reason=f"unknown_{self.kind}",
            )
        try:
            return points[0].load()
        except ImportError as error:
            package = points[0].dist.name if points[0].dist else points[0].value
            raise self.not_installed(
                f"the {self.kind} {name!r} of {package} cannot be imported ({error}); install what {package} asks for",
                reason="not_installed",
            ) from error
