from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from phonopy_runs import CUBIC, phonopy_run

from mlipdb.errors import PhononError
from mlipdb.ingest.phonopy_text import read_phonopy_text
from mlipdb.physics.force_constants import phonons_from_force_constants
from mlipdb.physics.phonons import compute_phonons
from mlipdb.physics.phonopy_data import PhonopyData, deformed_cell, force_constants_on, records_on
from mlipdb.schemas.phonon_protocol import PhononProtocol

PROTOCOL = PhononProtocol(mesh_length=20.0, path_density=20.0)
ALLOY = bulk("NiAl", "cesiumchloride", a=2.9)


def data(unitcell: Atoms, *, constants: bool) -> PhonopyData:
    phonopy = phonopy_run(unitcell, CUBIC, primitive="P")
    if constants:
        phonopy.produce_force_constants(show_drift=False)
    settings = {"force_sets": not constants, "displacements": not constants, "force_constants": constants}
    return read_phonopy_text({"phonopy.yaml": str(phonopy.to_phonopy_yaml(settings=settings))})


def turned() -> Atoms:
    """The alloy in another orientation, with the other atom first and a shifted origin."""
    atoms = ALLOY[[1, 0]]
    atoms.positions += [0.3, 0.2, 0.1]
    atoms.wrap()
    atoms.rotate(25, [1.0, 2.0, 3.0], rotate_cell=True)
    return atoms


@pytest.mark.parametrize("unitcell", [ALLOY, turned()])
def test_as_from_forces_in_any_orientation_and_order(unitcell: Atoms) -> None:
    expected = None
    for constants in (False, True):
        found = data(unitcell, constants=constants)
        match = found.match(ALLOY)
        assert match is not None
        assert match.strain < 1e-9
        cell = deformed_cell(ALLOY, match, 1e-3)
        assert np.allclose(cell.cell.array, ALLOY.cell.array, atol=1e-9)
        if constants:
            result = phonons_from_force_constants(
                cell, match.supercell_matrix, force_constants_on(found, match), PROTOCOL
            )
            assert result.displacement_set.records == []
        else:
            result = compute_phonons(cell, match.supercell_matrix, records_on(found, match, "run"), PROTOCOL)
        frequencies = np.array(result.mesh.frequencies)
        if expected is None:
            expected = frequencies
    assert expected is not None
    assert expected.max() > 5
    assert np.abs(frequencies - expected)[expected > 0.1].max() < 1e-6


def test_the_orientation_changes_nothing() -> None:
    results = []
    for unitcell in (ALLOY, turned()):
        found = data(unitcell, constants=False)
        match = found.match(ALLOY)
        assert match is not None
        result = compute_phonons(ALLOY, match.supercell_matrix, records_on(found, match, "run"), PROTOCOL)
        results.append(np.array(result.mesh.frequencies))
    assert np.abs(results[0] - results[1])[results[0] > 0.1].max() < 1e-6


@pytest.mark.parametrize("shape", [(16, 16, 3, 3), (2, 16, 3, 3), (16, 16, 3)])
def test_force_constants_that_do_not_fit(shape: tuple[int, ...]) -> None:
    constants = np.zeros(shape)
    constants.flat[0] = np.nan
    with pytest.raises(PhononError) as caught:
        phonons_from_force_constants(ALLOY, np.array(CUBIC), constants, PROTOCOL)
    assert caught.value.reason == "bad_force_constants"
