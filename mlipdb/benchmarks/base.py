"""The contract of a benchmark, and the registry that finds one by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from mlipdb.errors import UsageError
from mlipdb.plugins import Plugins

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["ENTRY_POINT_GROUP", "Benchmark", "benchmark_names", "get_benchmark"]

ENTRY_POINT_GROUP: Final = "mlipdb.benchmarks"
# The same line as in pyproject.toml, for a source tree that was never installed.
_BUILT_IN: Final = {"phonons": "mlipdb.benchmarks.phonons:PhononBenchmark"}
_PLUGINS: Final = Plugins("benchmark", ENTRY_POINT_GROUP, _BUILT_IN, UsageError)


@runtime_checkable
class Benchmark(Protocol):
    """One way to measure a potential against a reference.

    Attributes
    ----------
    name
        The name it is found by.
    Protocol
        Pydantic model of every choice that changes a number.
    """

    name: str
    Protocol: type[BaseModel]

    def run(self, calculator: Any, reference: Any, protocol: Any) -> Any:
        """Measure a potential.

        Parameters
        ----------
        calculator
            ASE calculator of the potential.
        reference
            What it is measured against.
        protocol
            An instance of ``Protocol``.

        Returns
        -------
        object
            A result with ``status`` ("complete" or "failed"), ``reason`` and ``message``.  A
            potential that fails gives a failed result, not an exception.
        """


def benchmark_names() -> list[str]:
    """Names of all benchmarks, built in or declared by installed packages, sorted."""
    return _PLUGINS.names()


def get_benchmark(name: str) -> Benchmark:
    """Find a benchmark by name and import it.

    Parameters
    ----------
    name
        One of `benchmark_names`.

    Returns
    -------
    Benchmark
        A ready instance.

    Raises
    ------
    NotFoundError
        There is no benchmark of that name.
    UsageError
        What the entry point names cannot be imported or is not a benchmark.
    """
    benchmark = _PLUGINS.load(name)
    if not isinstance(benchmark, Benchmark):
        raise UsageError(
            f"the entry point {name!r} of {ENTRY_POINT_GROUP} gives {type(benchmark).__name__}, "
            "which lacks name, Protocol or run",
            reason="not_a_benchmark",
        )
    return benchmark
