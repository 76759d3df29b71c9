"""A labelled configuration from a calculation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from mlipdb.derive.matching import match_material
from mlipdb.errors import ConfigurationError
from mlipdb.ingest.calculation import Calculation, require_usable
from mlipdb.schemas.configuration import ConfigType, Configuration, Displacement
from mlipdb.schemas.keys import content_hash, make_key
from mlipdb.schemas.quality import QualityLimits
from mlipdb.schemas.structure import AtomicStructure, formula_of

if TYPE_CHECKING:
    from mlipdb.physics.supercells import SupercellMatch

__all__ = ["KIND_FIELDS", "configuration_of", "kind_of", "matching_hash"]

Raw = dict[str, Any]
#: Fields of a configuration, and of each of its sources, that go with the kind a task gives it.
KIND_FIELDS: Final = ("config_type", "config_type_from", "displacement", "box_distance")


def matching_hash(materials: list[Raw]) -> str:
    """Hash of the crystals (material_id and structure) that a match depends on."""
    return content_hash([[item["material_id"], item["structure"]] for item in materials])


def configuration_of(calculation: Calculation, materials: list[Raw]) -> Configuration:
    """A configuration from a calculation, matched against known crystals.

    Parameters
    ----------
    calculation
        As its reader understood it.
    materials
        Crystals of the same chemical system: material_id, names, structure.

    Raises
    ------
    ConfigurationError
        If the calculation is not usable as a label.
    """
    from mlipdb.physics.quality import measured_problems, measures_of, sorted_problems, stated_problems

    require_usable(calculation)
    atoms, forces = calculation.atoms, calculation.forces
    assert forces is not None
    assert calculation.energy is not None
    material, match = match_material(calculation.atoms, calculation.material_names, materials)
    formula, chemsys, elements = formula_of(atoms.numbers.tolist())
    config_type, config_type_from = _kind(calculation, match)
    measures = measures_of(atoms, calculation.energy, forces, isolated=config_type == "isolated_atom")
    stated = stated_problems(converged=calculation.converged, energy_kind=calculation.energy_kind)
    configuration = Configuration(
        configuration_id="cfg-",
        task_ids=[calculation.task_id],
        formula=formula,
        chemsys=chemsys,
        elements=elements,
        n_atoms=len(atoms),
        structure=AtomicStructure.from_ase(atoms),
        energy_per_atom=calculation.energy / len(atoms),
        forces=forces.tolist(),
        stress=None if calculation.stress is None else calculation.stress.tolist(),
        **measures,
        quality=sorted_problems([*stated, *measured_problems(measures, QualityLimits())]),
        config_type=config_type,
        config_type_from=config_type_from,
        level_id=calculation.level.level_id,
        hamiltonian_id=calculation.level.hamiltonian_id,
        level_label=calculation.level.label,
        material_id=None if material is None else material["material_id"],
        material_name=None if material is None else _name(material),
        matching_hash=matching_hash(materials if material is None else [material]),
        supercell_matrix=None if match is None else match.supercell_matrix.tolist(),
        superlattice=None if match is None else match.superlattice,
        volume_ratio=None if match is None else float(np.linalg.det(match.deformation)),
        displacement=_displacement(config_type, match),
    )
    return configuration.model_copy(update={"configuration_id": make_key("cfg", configuration.identity())})


def kind_of(sources: Sequence[Raw]) -> Raw:
    """Kind of a configuration by its tasks: a stated one before one from geometry, then the first task by name.

    Parameters
    ----------
    sources
        As `ConfigurationSource` holds them.

    Returns
    -------
    dict
        `KIND_FIELDS`; nothing where no source says its kind.
    """
    telling = [source for source in sources if source.get("config_type") is not None]
    if not telling:
        return {}
    first = min(telling, key=lambda source: (source.get("config_type_from") != "metadata", str(source["task_id"])))
    return {name: first.get(name) for name in KIND_FIELDS}


def _kind(calculation: Calculation, match: SupercellMatch | None) -> tuple[ConfigType, Literal["metadata", "geometry"]]:
    """The kind, and who told it; a displaced atom that geometry can see is not taken on trust."""
    from mlipdb.physics.config_types import REST_TOLERANCE, classify
    from mlipdb.physics.ideal import recover_ideal

    stated = calculation.config_type
    if stated is None:
        return classify(calculation.atoms, match), "geometry"
    if stated != "single_displacement" or match is None:
        return stated, "metadata"
    moved = int((np.linalg.norm(match.displacements, axis=1) > REST_TOLERANCE).sum())
    # A crystal relaxed at another level has slightly other sites; its own symmetry then tells the one atom.
    if moved > 1 and recover_ideal(calculation.atoms) is None:
        raise ConfigurationError(
            f"task {calculation.task_id}: is called a single displacement but {moved} of its {len(calculation.atoms)} "
            f"atoms are more than {REST_TOLERANCE:g} Angstrom off their sites; one is needed, or the kind `rattled`",
            reason="not_single_displacement",
        )
    return ("bulk", "geometry") if moved == 0 else (stated, "metadata")


def _name(material: Raw) -> str:
    names: list[str] = material.get("names") or []
    return names[0] if names else str(material["material_id"])


def _displacement(config_type: str, match: SupercellMatch | None) -> Displacement | None:
    if config_type != "single_displacement" or match is None:
        return None
    norms = np.linalg.norm(match.displacements, axis=1)
    atom = int(norms.argmax())
    x, y, z = (float(part) for part in match.displacements[atom])
    return Displacement(atom=atom, vector=(x, y, z), distance=float(norms[atom]))
