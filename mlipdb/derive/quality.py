"""Which configurations a recipe leaves out, and which stresses do not fit the energies beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mlipdb.physics.cells import wrapped
from mlipdb.physics.quality import MEASURES, measured_problems, sorted_problems
from mlipdb.physics.stress_consistency import GPA, same_shape, stress_errors
from mlipdb.schemas.quality import QualityLimits, QualityProblem
from mlipdb.settings import Recipe

__all__ = ["QUALITY_FIELDS", "STATED", "gated", "left_out_text", "quality_of", "reasons_of", "scan_errors"]

Raw = dict[str, Any]
#: Reasons that a task states; all others follow from measured values.
STATED = ("unconverged", "energy_kind")
#: Fields of configurations that `reasons_of` reads.
QUALITY_FIELDS = ("quality", *MEASURES)
#: Fractional positions that are those of one crystal under isotropic strain.
SAME_SITES = 1e-3
#: Atoms with smaller forces are at rest, eV/Angstrom: the energy does not depend on where exactly.
AT_REST = 0.05


def reasons_of(configuration: Raw, limits: QualityLimits) -> list[str]:
    """Reasons against a configuration's document under some limits."""
    stated = [item["reason"] for item in configuration.get("quality") or () if item["reason"] in STATED]
    return [*stated, *(problem.reason for problem in measured_problems(configuration, limits))]


def gated(configurations: Iterable[Raw], recipe: Recipe) -> tuple[list[Raw], Counter[str]]:
    """Configurations that a recipe lets in, and the number left out by reason (one may have several)."""
    good: list[Raw] = []
    left_out: Counter[str] = Counter()
    for configuration in configurations:
        reasons = set(reasons_of(configuration, recipe.limits)) - set(recipe.allow)
        left_out.update(reasons)
        if not reasons:
            good.append(configuration)
    return good, left_out


def left_out_text(left_out: dict[str, int]) -> str:
    """What was left out, in a few words for an error's end; nothing where nothing was."""
    if not left_out:
        return ""
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
    return f" (left out for their quality: {listed}; `allow` and `limits` in the recipe change that)"


def quality_of(configuration: Raw, sources: Sequence[Raw]) -> list[Raw]:
    """Reasons against a configuration from its measured values and what its tasks state."""
    stated = [QualityProblem.model_validate(item) for source in sources for item in source.get("quality") or ()]
    measured = measured_problems(configuration, QualityLimits())
    return [problem.model_dump() for problem in sorted_problems([*stated, *measured])]


def scan_errors(configurations: Sequence[Raw]) -> dict[str, float]:
    """Stress errors among cells at rest of one crystal at one level of theory.

    Parameters
    ----------
    configurations
        Documents with ``configuration_id``, ``structure``, ``energy``, ``stress`` and ``max_force``.

    Returns
    -------
    dict
        |dE/dV - trace(stress)/3| in GPa by configuration_id, of those that stand in a volume scan.
    """
    found: dict[str, float] = {}
    for scan in _scans(configurations):
        volumes = [abs(float(np.linalg.det(doc["structure"]["cell"]))) for doc in scan]
        pressures = [sum(doc["stress"][:3]) / 3 for doc in scan]
        energies = [doc["energy"] for doc in scan]
        errors = stress_errors(volumes, energies, pressures, QualityLimits().max_stress_error * GPA)
        found.update({doc["configuration_id"]: e / GPA for doc, e in zip(scan, errors, strict=True) if e is not None})
    return found


def _scans(configurations: Sequence[Raw]) -> list[list[Raw]]:
    """Configurations that differ from the first of their list by isotropic strain alone."""
    scans: list[list[Raw]] = []
    for doc in configurations:
        for scan in scans:
            if _strained_alone(scan[0], doc):
                scan.append(doc)
                break
        else:
            scans.append([doc])
    return [scan for scan in scans if len(scan) > 1]


def _strained_alone(one: Raw, other: Raw) -> bool:
    first, second = one["structure"], other["structure"]
    if first["numbers"] != second["numbers"]:
        return False
    cells = [np.array(structure["cell"]) for structure in (first, second)]
    if not same_shape(*cells):
        return False
    if one["max_force"] < AT_REST and other["max_force"] < AT_REST:
        return True
    fractions = [np.linalg.solve(c.T, np.array(s["positions"]).T) for c, s in zip(cells, (first, second), strict=True)]
    return bool(np.all(np.abs(wrapped(fractions[0] - fractions[1])) < SAME_SITES))
