from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from documents import configurations, material

from mlipdb.derive import Built
from mlipdb.derive.phonons import PHONOPY_FILE, phonon_of
from mlipdb.errors import PhononError
from mlipdb.schemas.common import ArtifactRef
from mlipdb.schemas.configuration import Configuration
from mlipdb.schemas.material import Material
from mlipdb.schemas.phonon import Phonon
from mlipdb.schemas.phonon_protocol import PhononProtocol
from mlipdb.schemas.structure import AtomicStructure

Raw = dict[str, Any]
PROTOCOL = PhononProtocol(mesh_length=15.0, path_density=20.0)
LONSDALEITE = ("phonon-lonsdaleite-01", "phonon-lonsdaleite-02")


def strained(crystal: Material, factors: tuple[float, float, float]) -> Material:
    """The same crystal in another reference cell."""
    atoms = crystal.structure.to_ase()
    atoms.set_cell(atoms.cell.array @ np.diag(factors), scale_atoms=True)
    return crystal.model_copy(update={"structure": AtomicStructure.from_ase(atoms)})


def phonons(crystal: Material, displaced: list[Configuration], residual: Configuration | None = None) -> Built:
    first = displaced[0]
    assert first.displacement is not None
    stub = Phonon.model_validate(
        {
            "phonon_id": "ph-0",
            "material_id": crystal.material_id,
            "material_name": crystal.names[0],
            "level_id": first.level_id,
            "supercell_matrix": first.supercell_matrix,
            "superlattice": first.superlattice,
            "displacement_distance": round(first.displacement.distance, 4),
            "configuration_ids": [item.configuration_id for item in displaced],
        }
    )
    return phonon_of(stub, crystal, displaced, residual, PROTOCOL)


def diamond(silicon: dict[str, Raw], factor: float = 1.0) -> Phonon:
    crystal = strained(material(silicon), (factor,) * 3)
    built = phonons(crystal, configurations(silicon, ("phonon-diamond-01",), crystal))
    assert isinstance(built.document, Phonon)
    return built.document


def test_diamond(silicon: dict[str, Raw]) -> None:
    crystal = material(silicon)
    displaced = configurations(silicon, ("phonon-diamond-01",), crystal)
    built = phonons(crystal, displaced)
    found = built.document
    assert isinstance(found, Phonon)
    assert (found.state, found.n_displacements, found.n_expected, found.missing) == ("complete", 1, 1, [])
    # The optical mode at Gamma, published with the data.
    assert found.max_frequency == pytest.approx(15.06, abs=0.05)
    assert found.min_frequency == pytest.approx(0, abs=0.05)
    assert found.task_ids == ["phonon-diamond-01"]
    assert found.n_atoms_supercell == 64
    assert found.protocol == PROTOCOL.model_dump(mode="json")
    assert found.phonopy_file == ArtifactRef.of(PHONOPY_FILE, built.files[PHONOPY_FILE])
    assert "force_constants" in yaml.safe_load(built.files[PHONOPY_FILE])
    assert Phonon.model_validate(found.to_bson()) == found


@pytest.mark.parametrize("factor", [1.02, 0.985])
def test_supercells_at_another_volume_are_their_own_crystal(silicon: dict[str, Raw], factor: float) -> None:
    """The reference has another lattice constant than the supercells: frequencies must not notice."""
    expected, found = diamond(silicon), diamond(silicon, factor)
    assert expected.unitcell is not None
    assert found.unitcell is not None
    volumes = [abs(np.linalg.det(item.unitcell.cell)) for item in (expected, found)]  # type: ignore[union-attr]
    assert volumes[1] == pytest.approx(volumes[0], rel=1e-4)
    assert expected.mesh is not None
    assert found.mesh is not None
    assert found.mesh.mesh == expected.mesh.mesh
    assert np.allclose(found.mesh.frequencies, expected.mesh.frequencies, atol=5e-3)


def test_strained_supercells_and_a_moved_basis(silicon: dict[str, Raw]) -> None:
    """A reference with another c/a and another free coordinate than the supercells have."""
    crystal = material(silicon, "relax-lonsdaleite")
    other = strained(crystal, (1.0, 1.0, 1.015))
    found = []
    for reference in (crystal, other):
        displaced = configurations(silicon, LONSDALEITE, reference)
        built = phonons(reference, displaced).document
        assert isinstance(built, Phonon)
        assert built.state == "complete"
        assert built.unitcell is not None
        found.append(built)
    cells = [np.sort(np.linalg.norm(item.unitcell.cell, axis=1)) for item in found]  # type: ignore[union-attr]
    assert np.allclose(cells[0], cells[1], atol=2e-3)
    assert found[0].mesh is not None
    assert found[1].mesh is not None
    frequencies = [np.sort(np.ravel(item.mesh.frequencies)) for item in found]  # type: ignore[union-attr]
    assert np.allclose(frequencies[0], frequencies[1], atol=2e-2)


def test_a_set_with_displacements_missing(silicon: dict[str, Raw]) -> None:
    crystal = material(silicon, "relax-4h")
    (displaced,) = configurations(silicon, ("phonon-4h-01",), crystal)
    built = phonons(crystal, [displaced])
    found = built.document
    assert isinstance(found, Phonon)
    assert found.state == "incomplete"
    assert (found.n_displacements, found.n_expected) == (1, 4)
    assert len(found.missing) == 3
    assert all("Si" in words for words in found.missing)
    assert (found.mesh, found.max_frequency, found.phonopy_file, built.files) == (None, None, None, {})


def test_residual_forces_are_subtracted(silicon: dict[str, Raw]) -> None:
    """Half of the forces as residual leave half of the force constants."""
    crystal = material(silicon)
    (displaced,) = configurations(silicon, ("phonon-diamond-01",), crystal)
    half = (0.5 * np.array(displaced.forces)).tolist()
    rest = displaced.model_copy(update={"configuration_id": "cfg-rest", "forces": half, "task_ids": ["rest"]})
    whole, less = phonons(crystal, [displaced]).document, phonons(crystal, [displaced], rest).document
    assert isinstance(whole, Phonon)
    assert isinstance(less, Phonon)
    assert (whole.residual_configuration_id, less.residual_configuration_id) == (None, "cfg-rest")
    assert less.task_ids == ["phonon-diamond-01", "rest"]
    assert whole.max_frequency is not None
    assert less.max_frequency == pytest.approx(whole.max_frequency * np.sqrt(0.5), rel=1e-3)


def test_pairs_of_displacements_need_no_residual(silicon: dict[str, Raw]) -> None:
    crystal = material(silicon, "relax-lonsdaleite")
    displaced = configurations(silicon, LONSDALEITE, crystal)
    (rest,) = configurations(silicon, ("phonon-lonsdaleite-00",), crystal)
    assert rest.config_type == "bulk"
    without, with_rest = phonons(crystal, displaced).document, phonons(crystal, displaced, rest).document
    assert isinstance(without, Phonon)
    assert isinstance(with_rest, Phonon)
    assert with_rest.max_frequency == pytest.approx(without.max_frequency, abs=1e-6)


def test_a_supercell_of_another_set(silicon: dict[str, Raw]) -> None:
    crystal = material(silicon)
    (displaced,) = configurations(silicon, ("phonon-diamond-01",), crystal)
    other = displaced.model_copy(update={"superlattice": ((1, 0, 0), (0, 1, 0), (0, 0, 1))})
    with pytest.raises(PhononError) as caught:
        phonons(crystal, [other])
    assert caught.value.reason == "no_match"


def test_a_supercell_of_another_crystal(silicon: dict[str, Raw]) -> None:
    displaced = configurations(silicon, ("phonon-diamond-01",), material(silicon))
    with pytest.raises(PhononError, match="is no supercell of Si-A_cI16_206_c any more"):
        phonons(material(silicon, "relax-bc8"), displaced)


def test_a_configuration_without_forces(silicon: dict[str, Raw]) -> None:
    crystal = material(silicon)
    (displaced,) = configurations(silicon, ("phonon-diamond-01",), crystal)
    with pytest.raises(PhononError, match="no structure or no forces"):
        phonons(crystal, [displaced.model_copy(update={"forces": None})])
