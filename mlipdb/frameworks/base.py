"""What a framework is, and how one is found by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from mlipdb.errors import FrameworkError, FrameworkNotInstalledError
from mlipdb.plugins import Plugins

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from pydantic import BaseModel

    from mlipdb.physics.frames import Frame

__all__ = ["ENTRY_POINT_GROUP", "FitInput", "FitResult", "Framework", "framework_names", "get_framework"]

ENTRY_POINT_GROUP: Final = "mlipdb.frameworks"
# The same line as in pyproject.toml, for a source tree that was never installed.
_BUILT_IN: Final = {"gap": "mlipdb.frameworks.gap:GAP"}
_PLUGINS: Final = Plugins("framework", ENTRY_POINT_GROUP, _BUILT_IN, FrameworkNotInstalledError)


@dataclass(frozen=True)
class FitInput:
    """What a fit is given.

    Parameters
    ----------
    extxyz
        The training set, byte for byte as it is stored (`mlipdb.physics.extxyz`).
    frames
        The same configurations, in the same order.
    isolated_atom_energies
        Energy of a free atom of each element, eV, by symbol.
    """

    extxyz: bytes
    frames: Sequence[Frame]
    isolated_atom_energies: Mapping[str, float]


@dataclass(frozen=True)
class FitResult:
    """What a fit gave.

    Parameters
    ----------
    files
        The files the potential consists of, by the exact names they must keep side by side.
    main_file
        Which of them a calculator is made from.
    command
        The command that was run, without machine paths.
    wall_time_s, cpu_time_s
        Seconds; None where the framework cannot tell.
    peak_memory_mb
        Largest resident memory, 10^6 bytes.
    log_tail
        The last lines of the log.
    versions
        Version of every program that took part.
    details
        What else the framework reports, in plain types.
    """

    files: Mapping[str, Path | bytes]
    main_file: str
    command: list[str]
    wall_time_s: float | None
    cpu_time_s: float | None
    peak_memory_mb: float | None
    log_tail: str
    versions: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Framework(Protocol):
    """A way to fit and evaluate interatomic potentials.

    `mlipdb.testing.check_framework` checks that an implementation keeps what this promises.
    """

    @property
    def name(self) -> str:
        """The name it is found by."""

    # The attribute is a class, hence its name.
    @property
    def Hyperparameters(self) -> type[BaseModel]:  # noqa: N802
        """Pydantic model of the hyperparameters; its dump is hashed into the key of a potential."""

    @property
    def grid_aliases(self) -> dict[str, str]:
        """Short names of grid axes, such as n_sparse, and the dotted paths they stand for."""

    def summary(self, hyperparameters: Any) -> dict[str, float | int | None]:
        """What tables show of hyperparameters: ``n_sparse``, ``delta`` and ``f``; None where it has none."""

    def fit(
        self,
        data: FitInput,
        hyperparameters: Any,
        directory: Path,
        *,
        timeout_s: float | None = None,
    ) -> FitResult:
        """Fit a potential in an existing directory.

        Raises
        ------
        FitError
            If no usable potential comes out; `FitTimeoutError` if it takes longer than timeout_s.
        """

    def calculator(self, directory: Path, main_file: str, *, trust: bool = False) -> Calculator:
        """Load the potential whose files lie in directory.

        Parameters
        ----------
        directory
            Where all files of the potential are, under their exact names.
        main_file
            `FitResult.main_file`.
        trust
            Skip checks that protect this process from damaged files.

        Raises
        ------
        CalculatorError
            If the files are not a usable potential.
        """


def framework_names() -> list[str]:
    """Names of all frameworks, built in or declared by installed packages, sorted."""
    return _PLUGINS.names()


def get_framework(name: str) -> Framework:
    """Find a framework by name and import it.

    Parameters
    ----------
    name
        One of `framework_names`.

    Returns
    -------
    Framework
        A ready instance.

    Raises
    ------
    NotFoundError
        If there is no framework of that name.
    FrameworkNotInstalledError
        If a package it needs is missing.
    FrameworkError
        If what the entry point names is not a framework.
    """
    framework = _PLUGINS.load(name)
    if not isinstance(framework, Framework):
        raise FrameworkError(
            f"the entry point {name!r} of {ENTRY_POINT_GROUP} gives {type(framework).__name__}, "
            "which lacks name, Hyperparameters, grid_aliases, summary, fit or calculator",
            reason="not_a_framework",
        )
    return framework
