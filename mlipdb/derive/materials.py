"""The crystal that a calculation shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlipdb.derive import Built
from mlipdb.errors import ConfigurationError, DataError
from mlipdb.ingest.calculation import Calculation, require_good
from mlipdb.schemas.material import Material
from mlipdb.schemas.structure import AtomicStructure, formula_of

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["better_reference", "material_behind", "material_of", "may_be_displaced"]

#: A cell with larger forces (eV/Angstrom) is no relaxed crystal.
MAX_REFERENCE_FORCE = 0.05
#: Tolerance of the symmetry of a relaxed cell, Angstrom.
SYMPREC = 1e-3


def material_of(calculation: Calculation, *, at_rest: bool = False) -> Built | None:
    """The crystal that a calculation at rest is; None if it is not at rest, or no crystal.

    `at_rest` says so of a structure without energy and forces.
    """
    from mlipdb.physics.symmetry import primitive_cell, symmetrise

    if at_rest:  # one atom in a cell is a crystal where that is said
        if not np.all(calculation.atoms.pbc):
            return None
    elif not _is_crystal(calculation) or not _is_reference(calculation):
        return None
    try:
        primitive = primitive_cell(calculation.atoms, SYMPREC)
        if not at_rest and _is_displaced(primitive, calculation):
            return None
        primitive = symmetrise(primitive, SYMPREC)
        return _material(calculation, primitive, "reference")
    except DataError:
        return None  # no symmetry: not a crystal to name


def may_be_displaced(calculation: Calculation) -> bool:
    """Whether a calculation may be a supercell with one displaced atom."""
    kind = calculation.config_type in {"single_displacement", None}
    return kind and _is_crystal(calculation) and _is_usable(calculation)


def material_behind(calculation: Calculation) -> Built | None:
    """The crystal behind a supercell with one displaced atom; None if symmetry shows none."""
    from mlipdb.physics.ideal import recover_ideal

    recovered = recover_ideal(calculation.atoms)
    try:
        return None if recovered is None else _material(calculation, recovered[1], "displaced")
    except DataError:
        return None


def _is_crystal(calculation: Calculation) -> bool:
    from mlipdb.physics.config_types import classify

    alone = len(calculation.atoms) == 1 and classify(calculation.atoms, None) == "isolated_atom"
    return not alone and bool(np.all(calculation.atoms.pbc))


def _is_reference(calculation: Calculation) -> bool:
    if calculation.config_type not in {"bulk", None} or not _is_usable(calculation):
        return False
    return bool(np.abs(np.asarray(calculation.forces)).max() < MAX_REFERENCE_FORCE)


def _is_displaced(primitive: Atoms, calculation: Calculation) -> bool:
    """Whether a cell is a supercell with one displaced atom, told by nobody.

    The forces on an atom displaced by 0.01 Angstrom are below `MAX_REFERENCE_FORCE`.  A supercell at
    rest has a smaller primitive cell, so that the search is short for most.
    """
    from mlipdb.physics.config_types import classify

    alone = calculation.config_type is None and len(primitive) == len(calculation.atoms)
    return alone and classify(calculation.atoms, None) == "single_displacement"


def _is_usable(calculation: Calculation) -> bool:
    """Whether a calculation can be a label without doubt; what is wrong is said with the configurations."""
    try:
        require_good(calculation)
    except ConfigurationError:
        return False
    return True


def _material(calculation: Calculation, primitive: Atoms, structure_from: str) -> Built:
    from mlipdb.physics.symmetry import protostructure_label, space_group

    formula, chemsys, elements = formula_of(primitive.numbers.tolist())
    group = space_group(primitive, SYMPREC)
    reference = structure_from == "reference"
    energy = calculation.energy if reference else None
    material = Material(
        material_id=f"{formula}-{protostructure_label(primitive, SYMPREC).split(':')[0]}",
        names=calculation.material_names,
        foreign_ids=calculation.foreign_ids,
        formula=formula,
        chemsys=chemsys,
        elements=elements,
        n_sites=len(primitive),
        space_group_symbol=group.symbol,
        space_group_number=group.number,
        structure=AtomicStructure.from_ase(primitive),
        structure_from="reference" if reference else "displaced",
        volume_per_atom=primitive.get_volume() / len(primitive),
        energy_per_atom=None if energy is None else energy / len(calculation.atoms),
        level_id=calculation.level.level_id if reference else None,
        task_ids=[calculation.task_id],
        reference_task_id=calculation.task_id,
        reference_stress=_largest_stress(calculation),
    )
    return Built(material, extra={"atoms": primitive, "level": calculation.level})


def _largest_stress(calculation: Calculation) -> float | None:
    return None if calculation.stress is None else float(np.abs(calculation.stress).max())


def better_reference(one: Material, other: Material) -> Material:
    """The one of two that a crystal's structure is taken from, whichever came first.

    A calculation of the crystal itself before one recovered from displaced supercells, then the
    smaller stress (to 1e-5 eV/Angstrom^3), then the first task by name.
    """

    def rank(material: Material) -> tuple[bool, float, str]:
        stress = float("inf") if material.reference_stress is None else round(material.reference_stress, 5)
        return material.structure_from == "displaced", stress, material.reference_task_id or ""

    return min(one, other, key=rank)
