"""Which benchmark documents a figure can show, and a count of those it cannot."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlipdb.errors import DataError

__all__ = ["Sorted", "finite", "mesh_rmse", "require", "require_one_protocol", "sort_out"]

Raw = Mapping[str, Any]


@dataclass(frozen=True)
class Sorted:
    """Documents that can be shown, and why others cannot.

    Attributes
    ----------
    shown
        In the order given.
    left_out
        Reason -> how many.
    """

    shown: list[Raw]
    left_out: Counter[str]

    def notes(self) -> list[str]:
        """One short text a reason, such as ``2 failed``."""
        return [f"{count} {reason}" for reason, count in sorted(self.left_out.items())]


def finite(value: object) -> float | None:
    """A finite number as it is; None for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def mesh_rmse(benchmark: Raw) -> float | None:
    """Phonon RMSE on the mesh, THz; None where there is none."""
    return finite((benchmark.get("mesh") or {}).get("rmse"))


def sort_out(benchmarks: Iterable[Raw], needs: Mapping[str, Callable[[Raw], object]]) -> Sorted:
    """Part benchmarks into those with all a figure needs and the others.

    Parameters
    ----------
    benchmarks
        Documents of `phonon_benchmarks`.
    needs
        What it is called in a note -> how to get it (None where it is missing).
    """
    shown: list[Raw] = []
    left_out: Counter[str] = Counter()
    for benchmark in benchmarks:
        state = benchmark.get("state", "complete")
        lacking = next((name for name, get in needs.items() if get(benchmark) is None), None)
        if state != "complete":
            left_out[str(state)] += 1
        elif lacking is not None:
            left_out[f"without {lacking}"] += 1
        else:
            shown.append(benchmark)
    return Sorted(shown, left_out)


def require(benchmarks: Sequence[Raw], found: Sorted, what: str) -> None:
    """Refuse to draw nothing.

    Raises
    ------
    DataError
        If no document can be shown; the message counts the reasons.
    """
    if not benchmarks:
        raise DataError(
            f"there are no phonon benchmarks for the figure of {what}; run `mlipdb build phonon_benchmarks` first, "
            "or widen the query"
        )
    if not found.shown:
        raise DataError(
            f"none of the {len(benchmarks)} phonon benchmarks can be shown in the figure of {what} "
            f"({', '.join(found.notes())}); it needs at least one complete benchmark"
        )


def require_one_protocol(benchmarks: Sequence[Raw]) -> None:
    """Refuse to mix errors that were measured in different ways.

    Raises
    ------
    DataError
        If the benchmarks follow several protocols (`several_protocols`).
    """
    protocols = {str(item.get("protocol_id")): str(item.get("benchmark")) for item in benchmarks}
    if len(protocols) > 1:
        listed = ", ".join(f"{key} of {name}" for key, name in sorted(protocols.items()))
        raise DataError(
            f"the benchmarks follow {len(protocols)} protocols ({listed}), whose errors do not mix; "
            "choose one of them, as in --where protocol_id=ID",
            reason="several_protocols",
        )
