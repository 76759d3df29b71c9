"""What `gap_fit` says it found and did."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["GapLog", "parse_log"]

_TARGET = re.compile(r"Number of target (energies|forces|virials)\b.*found:\s*(\d+)")
_SIGMA = re.compile(r"Number of per-(?:configuration|atom) setting of (\w+) found:\s*(\d+)")
_DESCRIPTOR = re.compile(r"Descriptor (\d+):\s*(.*)")
_ENVIRONMENTS = re.compile(r"Number of descriptors:\s*(\d+)")
_UNIQUE = re.compile(r"number of data points \((\d+)\) less than the number of sparse points")
_AFFECTED = re.compile(r"affected descriptor :\s*(.*)")
_VERSION = re.compile(r"git version\s+(\S+)")


@dataclass
class GapLog:
    """Counts reported by `gap_fit`.

    Attributes
    ----------
    targets
        Number of energies, forces (components) and virials (six for each configuration).
    sigmas
        Number of ``energy_sigma``, ``virial_sigma`` (configurations) and ``force_atom_sigma`` (atoms).
    environments
        Number of environments by descriptor string.
    unique_environments
        The same without those that are equal by symmetry; `gap_fit` only tells where they are
        fewer than the sparse points asked for.
    warnings
        Its warnings, in order.
    version
        What it calls its version; empty where it did not say.
    """

    targets: dict[str, int] = field(default_factory=dict)
    sigmas: dict[str, int] = field(default_factory=dict)
    environments: dict[str, int] = field(default_factory=dict)
    unique_environments: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    version: str = ""

    @property
    def empty_descriptors(self) -> list[str]:
        """Descriptor strings for which the training set holds no environment at all."""
        return [descriptor for descriptor, count in self.environments.items() if count == 0]


def parse_log(lines: Iterable[str]) -> GapLog:
    """Read the log of a `gap_fit` run.

    Parameters
    ----------
    lines
        Lines of its standard output and error.

    Returns
    -------
    GapLog
        What was found; counts that were not reported are absent.
    """
    log = GapLog()
    descriptor = ""
    unique: int | None = None
    for line in lines:
        if match := _TARGET.search(line):
            log.targets[match[1]] = int(match[2])
        elif match := _SIGMA.search(line):
            log.sigmas[match[1]] = int(match[2])
        elif match := _DESCRIPTOR.match(line):
            descriptor = match[2].strip()
        elif (match := _ENVIRONMENTS.match(line)) and descriptor:
            log.environments[descriptor] = int(match[1])
        elif (match := _AFFECTED.search(line)) and unique is not None:
            log.unique_environments[match[1].strip()] = unique
        elif match := _VERSION.search(line):
            log.version = match[1].rpartition(",")[2]
        if match := _UNIQUE.search(line):
            unique = int(match[1])
        if line.lstrip().startswith("WARNING:"):
            log.warnings.append(line.strip())
    return log
