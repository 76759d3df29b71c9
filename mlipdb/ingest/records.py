"""Flat records (mlipdb/ingest/flat.py) made from structures that ASE read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlipdb.errors import IngestError
from mlipdb.schemas.keys import make_key

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

__all__ = ["content_id", "flat_record", "is_isolated", "source_files", "structure_of"]

#: Fields that are no part of what was calculated: how it was read, or words that may be corrected later.
NOT_CONTENT = frozenset({
    "task_id", "source_files", "label_keys", "notes", "code", "code_version", "functional", "cutoff_ev", "ecutwfc_Ry",
    "pseudopotential", "pseudopotentials", "kpoints", "hubbard_u", "spin_polarised", "dispersion", "config_type",
    "config_name", "method", "k_spacing", "level_of_theory", "foreign_ids", "exported_task_ids",
})  # fmt: skip


def structure_of(atoms: Atoms) -> dict[str, Any]:
    """A structure as flat records hold it: pymatgen's ``Structure.as_dict()``, without what follows from the rest.

    One that is not periodic has no lattice, and its sites have ``xyz`` (Angstrom) in place of ``abc``.

    Raises
    ------
    IngestError
        If the cell is periodic in one or two directions only, or has no volume.
    """
    symbols = atoms.get_chemical_symbols()
    if not np.any(atoms.pbc):
        sites = zip(symbols, atoms.positions.tolist(), strict=True)
        return {"sites": [{"species": [{"element": name, "occu": 1}], "xyz": xyz} for name, xyz in sites]}
    if not np.all(atoms.pbc):
        raise IngestError("is periodic in some directions only; bulk crystals and isolated atoms are taken",
                          reason="partly_periodic")  # fmt: skip
    cell = atoms.cell.array
    with np.errstate(all="ignore"):
        volume = abs(float(np.linalg.det(cell)))
    if not np.isfinite(volume) or volume < 1e-6:
        raise IngestError(f"has a cell of volume {volume:.3g} Angstrom^3; a crystal is needed", reason="bad_cell")
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T
    return {
        "lattice": {"matrix": cell.tolist(), "pbc": [True, True, True]},
        "sites": [
            {"species": [{"element": name, "occu": 1}], "abc": abc}
            for name, abc in zip(symbols, fractions.tolist(), strict=True)
        ],
    }


def is_isolated(atoms: Atoms) -> bool:
    """Whether it is one atom alone, by geometry."""
    from mlipdb.physics.config_types import classify

    if len(atoms) != 1 or not np.all(np.isfinite(atoms.cell.array)):
        return False
    return classify(atoms, None) == "isolated_atom"


def flat_record(
    atoms: Atoms,
    *,
    energy: float | None,
    forces: NDArray[np.float64] | None,
    stress: NDArray[np.float64] | None,
    level: Mapping[str, Any],
    name: str,
    **fields: Any,
) -> dict[str, Any]:
    """A flat record of one calculation.

    Parameters
    ----------
    atoms
        Structure.
    energy
        Free energy of the cell, consistent with the forces, eV.
    forces
        Shape (N, 3), eV/Angstrom.
    stress
        Voigt, shape (6,), eV/Angstrom^3, tension positive.
    level
        Fields of the level of theory: `code`, `functional`, ...
    name
        First part of its id where `fields` hold no ``task_id``.
    fields
        Further fields; those that are None or empty are left out.
    """
    if is_isolated(atoms):
        fields["config_type"] = "isolated_atom"
        if forces is None:
            forces, fields["forces_by_symmetry"] = np.zeros((1, 3)), True
    record: dict[str, Any] = {
        "structure": structure_of(atoms),
        "energy": None if energy is None else float(energy),
        "forces": None if forces is None else np.asarray(forces, dtype=float).tolist(),
        "stress": None if stress is None else np.asarray(stress, dtype=float).tolist(),
        **{key: value for key, value in {**level, **fields}.items() if value is not None and value not in ("", [], {})},
    }
    if "task_id" not in record:
        record["task_id"] = content_id(name, record)
    return record


def content_id(name: str, record: Mapping[str, Any]) -> str:
    """``<name>-<20 hex digits>`` of what was calculated.

    Neither the level of theory nor the place counts: a correction of the first, or a moved file, is the
    same task.
    """
    content = {key: _finite(value) for key, value in record.items() if key not in NOT_CONTENT}
    return make_key(name, content)


def _finite(value: Any) -> Any:
    """Values as keys may hold them: NaN and infinities as text."""
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def source_files(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Name, SHA-256 and size of the files that a record was read from."""
    found = []
    for path in paths:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found.append({"name": path.name, "sha256": digest, "bytes": path.stat().st_size})
    return found
