"""Finding the crystal that a structure is a supercell of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlipdb.schemas.structure import AtomicStructure

if TYPE_CHECKING:
    from ase import Atoms

    from mlipdb.physics.supercells import SupercellMatch

    Match = tuple[dict[str, Any] | None, SupercellMatch | None]

__all__ = ["STRAINS", "match_material"]

Raw = dict[str, Any]

#: Largest strains tried in turn: the search grows steeply with them, and most cells are hardly strained.
STRAINS = (0.03, 0.1)


def match_material(atoms: Atoms, names: list[str], materials: list[Raw]) -> Match:
    """The crystal a calculation is a supercell of: nearly unstrained ones first, then strained ones.

    Within a strain the crystal that the producer names is tried first and believed; without such a
    name the one with the smallest displacements wins.

    Parameters
    ----------
    atoms
        The calculation's structure.
    names
        What its producer calls the crystal.
    materials
        Crystals of the same chemical system: material_id, names, structure.

    Returns
    -------
    tuple
        The material and how the calculation arises from it; two None where no crystal fits.
    """
    from mlipdb.physics.config_types import classify

    # One atom may be the primitive cell of a crystal.
    if len(atoms) == 0 or (len(atoms) == 1 and classify(atoms, None) == "isolated_atom"):
        return None, None
    named = [item for item in materials if set(item.get("names") or []) & set(names)]
    others = [item for item in materials if item not in named]
    for strain in STRAINS:
        for candidates in (named, others):
            found = _closest(atoms, candidates, strain)
            if found[1] is not None:
                return found
    return None, None


def _closest(atoms: Atoms, materials: list[Raw], strain: float) -> Match:
    from mlipdb.physics.supercells import match_supercell

    best: Match = (None, None)
    for material in materials:
        reference = AtomicStructure.model_validate(material["structure"]).to_ase()
        match = match_supercell(atoms, reference, max_strain=strain)
        if match is not None and (best[1] is None or match.max_displacement < best[1].max_displacement):
            best = (material, match)
    return best
