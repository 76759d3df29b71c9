"""Displacement sets: what is complete, what is missing, what is used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mlipdb.errors import PhononError
from mlipdb.physics.cells import ideal_supercell
from mlipdb.physics.displacements import (
    DisplacementRecord,
    DisplacementSet,
    analyse_displacements,
    displacement_record,
)
from mlipdb.physics.phonons import compute_phonons
from mlipdb.physics.supercells import match_supercell, symmetrise
from mlipdb.schemas.phonon_protocol import PhononProtocol

PROTOCOL = PhononProtocol(mesh_length=20.0, path_density=20.0)
FORWARD = PROTOCOL.model_copy(update={"plus_minus": "never"})


def analyse(data: Any, records: list[DisplacementRecord], protocol: PhononProtocol = PROTOCOL) -> DisplacementSet:
    return analyse_displacements(data.cell, data.supercell_matrix, records, protocol=protocol)


def test_the_shipped_sets(displaced_silicon: Any) -> None:
    found = {name: analyse(data, data.records) for name, data in displaced_silicon.items()}
    counts = {name: (one.complete, len(one.expected), len(one.records)) for name, one in found.items()}
    assert counts == {
        "diamond": (True, 1, 1),
        "lonsdaleite": (True, 2, 2),
        "bc8": (True, 2, 2),
        "clathrate-II": (True, 7, 7),
        "st12": (True, 9, 9),
        "4h": (False, 4, 0),
    }
    for name, one in found.items():
        if name != "4h":
            assert not one.missing
            assert not one.duplicates
            assert not one.unpaired
            assert one.paired


def test_missing_displacements_are_named(displaced_silicon: Any) -> None:
    found = analyse(displaced_silicon["4h"], displaced_silicon["4h"].records)
    assert len(found.missing) == 3
    assert found.unpaired == ["phonon-4h-01"]
    first = found.missing[0]
    assert (first.site, first.symbol) == (0, "Si")
    assert first.distance == pytest.approx(0.01)
    assert np.allclose(first.vector, -np.array(displaced_silicon["4h"].records[0].vector), atol=1e-9)
    assert str(first) == (
        "Si atom 0 of the unit cell (atom 0 of the supercell) along [-0.675 0.000 -0.738] by 0.0100 A"
    )
    assert {entry.site for entry in found.missing[1:]} == {4}


@pytest.mark.parametrize("left_out", range(9))
def test_each_displacement_of_a_set_is_needed(displaced_silicon: Any, left_out: int) -> None:
    data = displaced_silicon["st12"]
    records = [record for k, record in enumerate(data.records) if k != left_out]
    found = analyse(data, records)
    assert not found.complete
    gone = data.records[left_out]
    assert any(
        entry.site == gone.atom // (48 // 12) and np.allclose(entry.vector, gone.vector, atol=1e-6)
        for entry in found.missing
    )


def test_nothing_observed_misses_everything(displaced_silicon: Any) -> None:
    found = analyse(displaced_silicon["clathrate-II"], [])
    assert not found.complete
    assert found.missing == found.expected


def test_duplicates_are_reported_and_not_used(displaced_silicon: Any) -> None:
    data = displaced_silicon["diamond"]
    again = replace(data.records[0], label="z-again")
    # In diamond every Cartesian axis is equivalent.
    forces = data.records[0].forces
    other = DisplacementRecord(data.records[0].atom, np.array([0.0, 0.01, 0.0]), forces, "z-equivalent")
    found = analyse(data, [again, other, data.records[0]])
    assert found.complete
    assert [record.label for record in found.records] == ["phonon-diamond-01"]
    assert sorted(found.duplicates) == ["z-again", "z-equivalent"]


def test_one_direction_is_enough_when_opposites_are_not_asked_for(displaced_silicon: Any) -> None:
    data = displaced_silicon["lonsdaleite"]
    plus = data.records[:1]
    assert not analyse(data, plus).complete
    forward = analyse(data, plus, FORWARD)
    assert forward.complete
    assert len(forward.expected) == 1
    assert not forward.paired
    phonons = compute_phonons(data.cell, data.supercell_matrix, plus, FORWARD, residual_forces=data.residual_forces)
    both = compute_phonons(data.cell, data.supercell_matrix, data.records, PROTOCOL)
    difference = np.array(phonons.mesh.frequencies) - np.array(both.mesh.frequencies)
    assert 1e-4 < np.abs(difference).max() < 0.1


def test_residual_forces_are_subtracted_and_recorded(displaced_silicon: Any) -> None:
    data = displaced_silicon["bc8"]
    plain = analyse(data, data.records)
    found = analyse_displacements(
        data.cell,
        data.supercell_matrix,
        data.records,
        protocol=PROTOCOL,
        residual_forces=data.residual_forces,
    )
    assert plain.residual_fmax is None
    assert found.residual_fmax == pytest.approx(np.linalg.norm(data.residual_forces, axis=1).max())
    assert np.allclose(found.records[0].forces, plain.records[0].forces - data.residual_forces)


def test_residual_forces_cancel_in_pairs_but_matter_alone(displaced_silicon: Any) -> None:
    data = displaced_silicon["bc8"]
    rng = np.random.default_rng(3)
    # Any constant offset stands for residual forces.
    offset = rng.normal(scale=1e-3, size=data.records[0].forces.shape)
    dirty = [replace(record, forces=record.forces + offset) for record in data.records]
    clean = compute_phonons(data.cell, data.supercell_matrix, data.records, PROTOCOL)
    paired = compute_phonons(data.cell, data.supercell_matrix, dirty, PROTOCOL)
    assert np.abs(paired.force_constants - clean.force_constants).max() < 1e-10
    alone = compute_phonons(data.cell, data.supercell_matrix, dirty[:1], FORWARD)
    assert np.abs(alone.force_constants - clean.force_constants).max() > 1e-3
    corrected = compute_phonons(data.cell, data.supercell_matrix, dirty[:1], FORWARD, residual_forces=offset)
    uncorrected = compute_phonons(data.cell, data.supercell_matrix, data.records[:1], FORWARD)
    assert np.abs(corrected.force_constants - uncorrected.force_constants).max() < 1e-10


def emt_records(unitcell: Atoms, matrix: np.ndarray, vectors: list[tuple[int, np.ndarray]]) -> list[DisplacementRecord]:
    supercell = ideal_supercell(unitcell, matrix)
    records = []
    for count, (atom, vector) in enumerate(vectors):
        moved = supercell.copy()
        moved.positions[atom] += vector
        moved.calc = EMT()
        records.append(DisplacementRecord(atom, vector, moved.get_forces(), str(count)))
    return records


def test_another_sufficient_choice_is_complete() -> None:
    """Three odd directions with their opposites, on three different but equivalent atoms."""
    unitcell = bulk("Cu", "hcp", a=2.55, c=4.16)
    matrix = np.diag([3, 3, 2])
    directions = [np.array([0.01, 0.002, 0.0]), np.array([0.0, 0.01, 0.003]), np.array([0.001, 0.0, 0.01])]
    vectors = [(7 * k, sign * d) for k, d in enumerate(directions) for sign in (1, -1)]
    records = emt_records(unitcell, matrix, vectors)
    found = analyse_displacements(unitcell, matrix, records, protocol=PROTOCOL)
    assert found.complete
    # A mirror of hcp turns the fifth into the sixth.
    assert found.duplicates == ["5"]
    assert len(found.records) == 5
    odd = compute_phonons(unitcell, matrix, records, PROTOCOL)
    usual = [(entry.atom, np.array(entry.vector)) for entry in found.expected]
    standard = compute_phonons(unitcell, matrix, emt_records(unitcell, matrix, usual), PROTOCOL)
    difference = np.array(odd.mesh.frequencies) - np.array(standard.mesh.frequencies)
    assert np.abs(difference).max() < 0.01


def test_directions_in_a_plane_are_not_enough(displaced_silicon: Any) -> None:
    data = displaced_silicon["st12"]
    site_16 = [record for record in data.records if abs(record.vector[2]) < 1e-6]
    found = analyse(data, site_16)
    assert not found.complete
    assert all(abs(entry.direction[2]) > 0.99 for entry in found.missing)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["lonsdaleite", "st12"]))
@settings(deadline=None, max_examples=6)
def test_any_orientation_order_and_origin_gives_the_same_phonons(
    silicon_tasks: Any, displaced_silicon: Any, seed: int, name: str
) -> None:
    """Displaced supercells, each in a frame of its own, give the force constants of the originals."""
    rng = np.random.default_rng(seed)
    data = displaced_silicon[name]
    records = []
    for record in data.records:
        task = silicon_tasks[record.label]
        order = rng.permutation(len(task.atoms))
        rotation = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
        moved = task.atoms[order]
        moved.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]]) @ moved.cell.array @ rotation)
        moved.positions = (moved.positions + rng.normal(size=3)) @ rotation
        match = match_supercell(moved, data.cell)
        assert match is not None
        forces = task.forces[order] @ rotation
        records.append(displacement_record(match, forces, record.label, supercell_matrix=data.supercell_matrix))
    found = compute_phonons(data.cell, data.supercell_matrix, records, PROTOCOL)
    original = compute_phonons(data.cell, data.supercell_matrix, data.records, PROTOCOL)
    difference = np.array(found.mesh.frequencies) - np.array(original.mesh.frequencies)
    # Positions and forces carry the noise of two DFT cells that are equivalent only to about 1e-4.
    assert np.abs(difference).max() < 0.02


def test_noise_of_a_relaxed_cell_adds_no_displacements(silicon_cells: dict[str, Atoms]) -> None:
    rng = np.random.default_rng(1)
    noisy = silicon_cells["diamond"].copy()
    noisy.positions += rng.uniform(-7e-6, 7e-6, size=noisy.positions.shape)
    noisy.set_cell(noisy.cell.array + rng.uniform(-7e-6, 7e-6, size=(3, 3)), scale_atoms=True)
    for cell in (noisy, symmetrise(noisy)):
        found = analyse_displacements(cell, 2 * np.eye(3, dtype=int), [], protocol=PROTOCOL)
        assert len(found.expected) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"atom": 64},
        {"vector": np.zeros(3)},
        {"vector": np.array([np.nan, 0, 0])},
        {"forces": np.zeros((63, 3))},
        {"forces": np.full((64, 3), np.inf)},
    ],
)
def test_records_that_do_not_fit_are_refused(displaced_silicon: Any, change: dict[str, Any]) -> None:
    data = displaced_silicon["diamond"]
    with pytest.raises(PhononError) as caught:
        analyse(data, [replace(data.records[0], **change)])
    assert caught.value.reason == "bad_displacement"
    assert "phonon-diamond-01" in caught.value.message


def test_residual_forces_that_do_not_fit_are_refused(displaced_silicon: Any) -> None:
    data = displaced_silicon["diamond"]
    with pytest.raises(PhononError):
        analyse_displacements(
            data.cell,
            data.supercell_matrix,
            data.records,
            protocol=PROTOCOL,
            residual_forces=np.zeros((3, 3)),
        )
