"""Imported once by the server that worker processes are forked from: the packages that take seconds."""

from __future__ import annotations

import importlib
import importlib.util

for _name in (
    "mlipdb.derive.phonons",
    "mlipdb.derive.phonon_benchmarks",
    "mlipdb.derive.shared_benchmarks",
    "mlipdb.derive.potentials",
    "mlipdb.builders.base",
    "mlipdb.builders.phonons",
    "mlipdb.builders.potentials",
    "mlipdb.builders.phonon_benchmarks",
    "mlipdb.frameworks.gap",
    "phonopy",
    "seekpath",
    "quippy.potential",
    "ase.filters",
    "ase.constraints",
    "ase.optimize",
):
    # A package that is not installed is missed by whoever needs it, with a message of its own.
    if importlib.util.find_spec(_name.split(".", maxsplit=1)[0]) is not None:
        importlib.import_module(_name)
