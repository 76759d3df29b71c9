"""Phonons of the shipped silicon calculations, and of crystals with a real calculator."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from mlipdb.errors import IncompleteDisplacementSetError
from mlipdb.physics.phonons import (
    PhononResult,
    _dos_steps,
    compute_phonons,
    frequencies_at,
    phonons_from_forces,
    phonopy_from_params,
)
from mlipdb.schemas.phonon_data import BandStructure, MeshFrequencies
from mlipdb.schemas.phonon_protocol import PhononProtocol

SMALL = PhononProtocol(mesh_length=25.0, path_density=25.0)


def emt_forces(atoms: Atoms) -> np.ndarray:
    atoms = atoms.copy()
    atoms.calc = EMT()
    return atoms.get_forces()


def at_label(bands: BandStructure, label: str) -> np.ndarray:
    for segment in bands.segments:
        if segment.start == label:
            return np.array(segment.frequencies[0])
        if segment.end == label:
            return np.array(segment.frequencies[-1])
    raise AssertionError(f"no point {label} on the path")


def test_diamond_has_the_known_frequencies(silicon_phonons: dict[str, PhononResult]) -> None:
    diamond = silicon_phonons["diamond"]
    assert 15.0 < diamond.max_frequency < 15.8
    assert at_label(diamond.band_structure, "GAMMA")[3:] == pytest.approx([15.06] * 3, abs=0.01)
    assert at_label(diamond.band_structure, "X")[:2] == pytest.approx([4.44, 4.44], abs=0.01)
    assert at_label(diamond.band_structure, "L")[:2] == pytest.approx([3.37, 3.37], abs=0.01)
    assert len(diamond.primitive) == 2
    assert diamond.force_constants.shape == (2, 64, 3, 3)


def test_no_imaginary_modes_on_the_meshes(silicon_phonons: dict[str, PhononResult]) -> None:
    for name in ("diamond", "lonsdaleite", "bc8", "clathrate-II"):
        assert np.min(silicon_phonons[name].mesh.frequencies) > -0.1
        assert silicon_phonons[name].stability.stable
        assert silicon_phonons[name].stability.stable_matbench_discovery
    # The supercell of ST12 is small, and its softest branch dips below zero.
    assert not silicon_phonons["st12"].stability.stable


def test_mesh_bands_and_densities_are_consistent(silicon_phonons: dict[str, PhononResult]) -> None:
    for result in silicon_phonons.values():
        modes = 3 * len(result.primitive)
        frequencies = np.array(result.mesh.frequencies)
        assert frequencies.shape == (len(result.mesh.qpoints), modes)
        assert np.all(np.diff(frequencies, axis=1) >= 0)
        assert sum(result.mesh.weights) == np.prod(result.mesh.mesh)
        step = np.diff(result.dos.frequencies)
        assert np.allclose(step, 0.05)
        assert np.sum(result.dos.total) * 0.05 == pytest.approx(modes, rel=1e-6)
        for segment in result.band_structure.segments:
            assert np.all(np.diff(segment.frequencies, axis=1) >= 0)
            assert len(segment.frequencies) == len(segment.qpoints) == len(segment.distances)
        assert result.max_frequency >= frequencies.max()
        assert result.min_frequency <= frequencies.min()


def test_paths_fit_the_basis_of_the_primitive_cell(silicon_phonons: dict[str, PhononResult]) -> None:
    """Stars of equivalent points have equal frequencies, and each point keeps its degeneracy."""
    for result in silicon_phonons.values():
        rotations = result.phonopy.primitive_symmetry.symmetry_operations["rotations"]
        for segment in result.band_structure.segments:
            middle = np.array(segment.qpoints[len(segment.qpoints) // 2])
            star = np.array([rotation.T @ middle for rotation in rotations])
            images = frequencies_at(result.phonopy, star)
            assert np.abs(images - images[0]).max() < 0.05, (segment.start, segment.end)


def test_frequencies_do_not_depend_on_the_orientation_of_the_unit_cell(displaced_silicon: Any) -> None:
    """The same crystal turned and given in its primitive cell has the same bands at the same labels."""
    data = displaced_silicon["diamond"]
    direct = compute_phonons(data.cell, data.supercell_matrix, data.records, SMALL)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    turned = data.cell.copy()
    turned.set_cell(turned.cell.array @ turn, scale_atoms=True)
    records = [
        type(record)(record.atom, record.vector @ turn, record.forces @ turn, record.label) for record in data.records
    ]
    rotated = compute_phonons(turned, data.supercell_matrix, records, SMALL)
    for label in ("X", "L", "W", "K", "U"):
        assert at_label(rotated.band_structure, label) == pytest.approx(
            at_label(direct.band_structure, label), abs=1e-6
        )
    # The force constants of fcc copper from the primitive and from the conventional cell.
    primitive = phonons_from_forces(
        bulk("Cu", a=3.59), np.array([[-2, 2, 2], [2, -2, 2], [2, 2, -2]]), emt_forces, SMALL
    )
    conventional = phonons_from_forces(bulk("Cu", a=3.59, cubic=True), 2 * np.eye(3, dtype=int), emt_forces, SMALL)
    for label in ("X", "L", "W"):
        assert at_label(primitive.band_structure, label) == pytest.approx(
            at_label(conventional.band_structure, label), abs=1e-6
        )


def test_supercell_matrix_has_rows() -> None:
    """A matrix that is not symmetric: rows are supercell vectors, as for the unit cell."""
    unitcell = bulk("Cu", "hcp", a=2.55, c=4.16)
    matrix = np.array([[3, 0, 0], [0, 3, 0], [1, 0, 2]])
    result = phonons_from_forces(unitcell, matrix, emt_forces, SMALL)
    assert np.allclose(result.phonopy.supercell.cell, matrix @ unitcell.cell.array)
    assert result.stability.stable


def test_an_incomplete_set_raises_and_names_what_is_missing(displaced_silicon: Any) -> None:
    data = displaced_silicon["4h"]
    with pytest.raises(IncompleteDisplacementSetError) as caught:
        compute_phonons(data.cell, data.supercell_matrix, data.records, SMALL)
    assert caught.value.message.startswith("3 displacements of Si8 are missing: Si atom 0 of the unit cell")


def test_qpoints_of_another_result_are_used() -> None:
    unitcell, matrix = bulk("Cu", "hcp", a=2.55, c=4.16), np.diag([3, 3, 2])
    reference = phonons_from_forces(unitcell, matrix, emt_forces, SMALL)
    squeezed = unitcell.copy()
    squeezed.set_cell(unitcell.cell.array * [0.98, 0.98, 1.03], scale_atoms=True)
    finer = SMALL.model_copy(update={"mesh_length": 40.0, "path_density": 60.0})
    result = phonons_from_forces(squeezed, matrix, emt_forces, finer, qpoints_from=reference)
    assert result.mesh.qpoints == reference.mesh.qpoints
    assert result.mesh.weights == reference.mesh.weights
    assert [s.qpoints for s in result.band_structure.segments] == [s.qpoints for s in reference.band_structure.segments]
    direct = frequencies_at(result.phonopy, reference.mesh.qpoints)
    assert np.abs(direct - np.array(result.mesh.frequencies)).max() < 1e-6


def test_foreign_qpoints_are_evaluated_one_by_one() -> None:
    """A reference mesh that is not the one phonopy would reduce to is still followed point for point."""
    unitcell, matrix = bulk("Cu", a=3.59), 3 * np.eye(3, dtype=int)
    result = phonons_from_forces(unitcell, matrix, emt_forces, SMALL)
    points = [[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.1, 0.2, 0.3]]

    class Source:
        primitive_matrix = result.primitive_matrix
        band_structure = result.band_structure
        mesh = MeshFrequencies(mesh=[2, 2, 2], qpoints=points, weights=[1, 4, 3], frequencies=[[0.0] * 3] * 3)

    other = phonons_from_forces(unitcell, matrix, emt_forces, SMALL, qpoints_from=Source())
    assert other.mesh.qpoints == points
    assert other.mesh.weights == [1, 4, 3]
    assert np.array_equal(other.mesh.frequencies, frequencies_at(result.phonopy, points))


def test_params_rebuild_the_same_phonons(silicon_phonons: dict[str, PhononResult]) -> None:
    result = silicon_phonons["lonsdaleite"]
    text = result.phonopy_params
    assert text == result.phonopy_params
    assert "displacements:" in text
    assert "force_constants:" in text
    rebuilt = frequencies_at(phonopy_from_params(text), result.mesh.qpoints)
    assert np.abs(rebuilt - np.array(result.mesh.frequencies)).max() < 1e-5


def test_the_same_input_gives_the_same_bytes(displaced_silicon: Any) -> None:
    data = displaced_silicon["bc8"]
    dumps = [
        (result.mesh.model_dump_json(), result.band_structure.model_dump_json(), result.phonopy_params)
        for result in (
            compute_phonons(data.cell, data.supercell_matrix, records, SMALL)
            for records in (data.records, data.records[::-1])
        )
    ]
    assert dumps[0] == dumps[1]


@pytest.mark.parametrize("method", ["tetrahedron", "gaussian"])
def test_density_of_states_methods_agree(method: str) -> None:
    protocol = SMALL.model_copy(update={"dos_method": method, "mesh_length": 50.0})
    result = phonons_from_forces(bulk("Cu", a=3.59), 2 * np.eye(3, dtype=int), emt_forces, protocol)
    grid, total = np.array(result.dos.frequencies), np.array(result.dos.total)
    assert np.allclose(grid / 0.05, np.rint(grid / 0.05))
    assert np.sum(total) * 0.05 == pytest.approx(3.0, rel=0.02)
    assert np.sum(grid * total) * 0.05 / 3 == pytest.approx(
        np.average(np.mean(result.mesh.frequencies, axis=1), weights=result.mesh.weights), abs=0.05
    )


def test_rounding_at_gamma_does_not_move_the_grid() -> None:
    protocol = PhononProtocol()
    starts = {_dos_steps(lowest, 15.0 + lowest, protocol) for lowest in (-5e-7, -1e-9, 0.0, 1e-9, 5e-7)}
    assert starts == {(-10, 310)}
    assert _dos_steps(-0.06, 15.0, protocol)[0] == -12
