"""DFT phonons of the Materials Project: bands, density of states and force constants, as far as offered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlipdb.errors import ConfigurationError
from mlipdb.ingest.calculation import Calculation, require_crystal
from mlipdb.ingest.mp_structure import UNKNOWN
from mlipdb.schemas.level_of_theory import LevelOfTheory

if TYPE_CHECKING:
    from mlipdb.physics.phonopy_data import PhonopyData

__all__ = ["NAME", "interpret", "phonopy_data", "recognises", "task_id_of"]

NAME = "materials_project_phonon"
#: Programs and functionals where the document does not tell: Petretto et al., Sci. Data 5, 180065 (2018).
CODES = {"dfpt": "ABINIT"}
FUNCTIONALS = {"dfpt": "PBEsol"}
PROGRAMS = {"abinit": "ABINIT", "vasp": "VASP"}
#: Atoms of a supercell whose force constants are believed.
MAX_ATOMS = 5000


def recognises(raw: Mapping[str, Any]) -> bool:
    """Whether a raw task holds phonons that `mlipdb.ingest.materials_project` asked for."""
    about = raw.get("materials_project")
    return isinstance(about, Mapping) and about.get("kind") == "phonon"


def task_id_of(raw: Mapping[str, Any]) -> str | None:
    """``mp-149-dfpt-`` and the id of the phonons."""
    about = raw["materials_project"]
    parts = [about.get(name) for name in ("material_id", "method", "phonon_id")]
    return "-".join(parts) if all(isinstance(part, str) and part for part in parts) else None


def interpret(task_id: str, raw: Mapping[str, Any]) -> Calculation:
    """The crystal that the phonons are of, at rest, with their level of theory and no energy.

    Raises
    ------
    ConfigurationError
        If the structure cannot be read.
    """
    from mlipdb.ingest.flat import read_structure

    atoms = read_structure(task_id, raw.get("structure"))
    require_crystal(task_id, atoms)
    about = raw["materials_project"]
    method, code = about.get("method"), str(raw.get("code") or "").strip()
    level = LevelOfTheory(
        code=PROGRAMS.get(code.lower(), code) or CODES.get(method, UNKNOWN),
        functional=FUNCTIONALS.get(method, UNKNOWN),
    )
    return Calculation(
        task_id=task_id,
        atoms=atoms,
        energy=None,
        forces=None,
        stress=None,
        level=level.with_keys(),
        config_type="bulk",
        foreign_ids=[str(about["material_id"])],
    )


def phonopy_data(task_id: str, raw: Mapping[str, Any]) -> PhonopyData | None:
    """The force constants with their supercell; None where they, or the supercell, are not offered.

    Raises
    ------
    ConfigurationError
        If they do not fit the structure (``bad_force_constants``).
    """
    from phonopy import Phonopy
    from phonopy.harmonic.force_constants import compact_fc_to_full_fc

    from mlipdb.ingest.flat import read_structure
    from mlipdb.physics.crystals import to_ase, to_phonopy
    from mlipdb.physics.phonopy_data import PhonopyData

    if not raw.get("force_constants") or raw.get("supercell_matrix") is None:
        return None
    unitcell = read_structure(task_id, raw.get("structure"))
    try:
        # phonopy's convention: the columns are the supercell's vectors.
        matrix = np.rint(np.array(raw["supercell_matrix"], dtype=float)).astype(np.int64)
        constants = np.array(raw["force_constants"], dtype=float)
        n_atoms = len(unitcell) * abs(round(float(np.linalg.det(matrix))))
        if matrix.shape != (3, 3) or not 0 < n_atoms <= MAX_ATOMS:
            raise ValueError(f"a supercell of {n_atoms} atoms")
        phonopy = Phonopy(to_phonopy(unitcell), matrix, primitive_matrix="auto")
        if constants.shape == (len(phonopy.primitive), n_atoms, 3, 3):
            constants = compact_fc_to_full_fc(phonopy.primitive, constants)
        if constants.shape != (n_atoms, n_atoms, 3, 3) or not np.all(np.isfinite(constants)):
            raise ValueError(f"force constants of shape {constants.shape} for {n_atoms} atoms")
    except (TypeError, ValueError, OverflowError, np.linalg.LinAlgError, RuntimeError) as error:
        raise ConfigurationError(
            f"task {task_id}: its force constants do not fit its structure and supercell ({error}); "
            "shape (N, N, 3, 3) is expected",
            reason="bad_force_constants",
        ) from None
    return PhonopyData(
        unitcell=unitcell,
        supercell_matrix=matrix.T,
        supercell=to_ase(phonopy.supercell),
        displacements=[],
        forces=None,
        force_constants=constants,
        calculator=str(raw.get("code") or "") or None,
        born_charges=bool(raw.get("born")),
    )
