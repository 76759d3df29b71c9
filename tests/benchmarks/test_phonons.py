"""Potentials against references: themselves, another potential, DFT."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from mlipdb.benchmarks.phonons import FixedCell, PhononBenchmark, PhononBenchmarkResult, PhononReference
from mlipdb.benchmarks.relaxation import evaluate_forces, relax
from mlipdb.errors import PhononError
from mlipdb.physics.phonons import phonons_from_forces
from mlipdb.physics.symmetry import symmetrise
from mlipdb.schemas.phonon_protocol import PhononProtocol

PROTOCOL = PhononProtocol(mesh_length=30.0, path_density=40.0)

# Stillinger and Weber, Phys. Rev. B 31, 5262 (1985).
STILLINGER_WEBER = """<SW_params n_types="1" label="PRB_31">
<per_type_data type="1" atomic_num="14" />
<per_pair_data atnum_i="14" atnum_j="14" AA="7.049556277" BB="0.6022245584"
      p="4" q="0" a="1.80" sigma="2.0951" eps="2.1675" />
<per_triplet_data atnum_c="14" atnum_j="14" atnum_k="14"
      lambda="21.0" gamma="1.20" eps="2.1675" />
</SW_params>"""


def lennard_jones() -> LennardJones:
    return LennardJones(epsilon=0.2, sigma=2.3, rc=6.0, smooth=True)


def reference_of(calculator: Any, unitcell: Atoms, matrix: np.ndarray, protocol: PhononProtocol) -> PhononReference:
    relaxed = relax(symmetrise(unitcell), calculator, protocol).atoms
    return PhononReference.from_result(
        phonons_from_forces(relaxed, matrix, lambda atoms: evaluate_forces(atoms, calculator), protocol)
    )


def all_zero(result: PhononBenchmarkResult) -> bool:
    numbers: list[float] = []
    for errors in (result.mesh_errors, result.path_errors, result.dos_error, result.thermal_errors):
        assert errors is not None
        dump = errors.model_dump()
        for entry in dump.pop("at", []):
            entry.pop("temperature")
            numbers += entry.values()
        for value in dump.values():
            numbers += value if isinstance(value, list) else [value]
    structure = result.structure_errors
    assert structure is not None
    numbers += [structure.volume_error, structure.max_displacement, *structure.length_errors]
    numbers += [*structure.angle_errors, structure.relax_steps]
    assert len(numbers) > 30
    return all(number == 0.0 for number in numbers)


@pytest.mark.parametrize(
    ("make", "unitcell", "matrix", "changes"),
    [
        (EMT, bulk("Cu", a=3.6, cubic=True), np.diag([2, 2, 2]), {}),
        (EMT, bulk("Cu", a=3.6), np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) * 2, {"plus_minus": "never"}),
        (EMT, bulk("Cu", "hcp", a=2.6, c=4.1), np.diag([3, 3, 2]), {"dos_method": "tetrahedron"}),
        (lennard_jones, bulk("Ar", "hcp", a=2.6, c=4.3), np.diag([4, 4, 2]), {"relax": "positions"}),
    ],
)
def test_a_potential_against_itself_has_no_error_at_all(
    make: Any, unitcell: Atoms, matrix: np.ndarray, changes: dict[str, Any]
) -> None:
    protocol = PROTOCOL.model_copy(update=changes)
    reference = reference_of(make(), unitcell, matrix, protocol)
    result = PhononBenchmark().run(make(), reference, protocol)
    assert result.status == "complete"
    assert all_zero(result)
    assert result.stability == reference.stability


def test_silicon_against_itself_and_against_dft(dft_references: dict[str, PhononReference]) -> None:
    potential = pytest.importorskip("quippy.potential")
    benchmark = PhononBenchmark()
    for name, reference in dft_references.items():
        result = benchmark.run(potential.Potential("IP SW", param_str=STILLINGER_WEBER), reference, PROTOCOL)
        assert result.status == "complete", result.message
        assert result.phonons is not None
        assert result.mesh_errors is not None
        assert result.path_errors is not None
        assert result.structure_errors is not None
        # This potential is known to be 2 to 3 THz too stiff in the optical branches.
        assert 1.0 < result.mesh_errors.rmse < 3.0
        assert 1.0 < result.path_errors.rmse < 3.0
        assert result.mesh_errors.bias > 0.5
        assert result.mesh_errors.max_difference == pytest.approx(2.8, abs=0.3)
        assert -0.03 < result.structure_errors.volume_error < -0.015
        assert result.structure_errors.relax_steps > 0
        # The same displacements as DFT.
        assert [(r.atom, r.vector.tolist()) for r in result.phonons.displacement_set.records] == [
            (atom, vector.tolist()) for atom, vector in reference.displacements
        ]
        itself = PhononReference.from_result(result.phonons)
        again = benchmark.run(potential.Potential("IP SW", param_str=STILLINGER_WEBER), itself, PROTOCOL)
        assert all_zero(again), name


def test_a_stiffer_potential_has_a_positive_bias() -> None:
    unitcell, matrix = bulk("Ar", "fcc", a=3.55), 3 * np.eye(3, dtype=int)
    reference = reference_of(lennard_jones(), unitcell, matrix, PROTOCOL)
    stiff = LennardJones(epsilon=0.2 * 1.21, sigma=2.3, rc=6.0, smooth=True)
    result = PhononBenchmark().run(stiff, reference, PROTOCOL)
    assert result.mesh_errors is not None
    assert result.thermal_errors is not None
    # Forces scale with epsilon, frequencies with its root.
    frequencies = np.array(reference.mesh.frequencies)
    weights = np.array(reference.mesh.weights) / np.sum(reference.mesh.weights)
    assert result.mesh_errors.bias == pytest.approx(0.1 * weights @ frequencies.mean(axis=1), rel=1e-3)
    assert result.mesh_errors.rmse == pytest.approx(0.1 * np.sqrt(weights @ np.mean(frequencies**2, axis=1)), rel=1e-3)
    assert result.thermal_errors.zero_point_energy == pytest.approx(
        0.1 * reference.thermal.zero_point_energy_per_atom, rel=1e-3
    )


def test_a_reference_without_displacements() -> None:
    """Linear response has none: phonopy's choice at the protocol's distance is taken."""
    unitcell, matrix = bulk("Cu", a=3.6), 2 * np.eye(3, dtype=int)
    reference = replace(reference_of(EMT(), unitcell, matrix, PROTOCOL), displacements=())
    protocol = PROTOCOL.model_copy(update={"displacement_distance": 0.02})
    result = PhononBenchmark().run(EMT(), reference, protocol)
    assert result.phonons is not None
    assert result.mesh_errors is not None
    assert np.linalg.norm(result.phonons.displacement_set.records[0].vector) == pytest.approx(0.02)
    assert 0 < result.mesh_errors.max_abs < 0.01


class FailsInSupercells(EMT):
    """Relaxes well, and gives NaN where there are many atoms."""

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        super().calculate(*args, **kwargs)
        if len(self.atoms) > 4:
            self.results["forces"][0, 0] = np.nan


def test_failures_are_results() -> None:
    reference = reference_of(EMT(), bulk("Cu", a=3.6), 2 * np.eye(3, dtype=int), PROTOCOL)
    bad = PhononBenchmark().run(FailsInSupercells(), reference, PROTOCOL)
    assert (bad.status, bad.reason) == ("failed", "not_finite")
    assert bad.message
    assert bad.structure_errors is not None
    assert bad.structure_errors.relax_steps == 0
    assert bad.mesh_errors is None
    stretched = replace(reference, unitcell=bulk("Cu", a=3.9))
    slow = PhononBenchmark().run(EMT(), stretched, PROTOCOL.model_copy(update={"max_relax_steps": 1}))
    assert (slow.status, slow.reason) == ("failed", "not_converged")
    assert slow.structure_errors is None
    assert slow.reference_stability == reference.stability


FIXED = PROTOCOL.model_copy(update={"relax": "none"})


def forces_of(cell: FixedCell, calculator: Any) -> list[Any]:
    return [evaluate_forces(atoms, calculator) for atoms in (cell.unitcell, *cell.supercells)]


@pytest.mark.parametrize("changes", [{}, {"plus_minus": "never"}])
def test_given_forces_give_what_a_run_at_the_fixed_cell_gives(changes: dict[str, Any]) -> None:
    protocol = FIXED.model_copy(update=changes)
    matrix = np.diag([3, 3, 2])
    reference = reference_of(EMT(), bulk("Cu", "hcp", a=2.6, c=4.1), matrix, PROTOCOL.model_copy(update=changes))
    cell = FixedCell(reference, protocol)
    # The undisplaced supercell is asked for where its forces do not cancel.
    assert len(cell.supercells) == len(reference.displacements) + (protocol.plus_minus == "never")
    potentials = [EMT(), LennardJones(epsilon=0.4, sigma=2.3, rc=6.0, smooth=True), EMT()]
    # One after the other on the same cell: none may see what another left.
    found = [cell.result_from_forces(forces_of(cell, potential)) for potential in potentials]
    for potential, given in zip(potentials, found, strict=True):
        run = PhononBenchmark().run(potential, reference, protocol)
        assert given.status == run.status == "complete"
        assert given.phonons is not None
        assert run.phonons is not None
        # To the last bit.
        assert given.phonons.mesh == run.phonons.mesh
        assert given.phonons.band_structure == run.phonons.band_structure
        assert given.phonons.dos == run.phonons.dos
        assert given.phonons.phonopy_params == run.phonons.phonopy_params
        for name in ("mesh_errors", "path_errors", "dos_error", "thermal_errors", "structure_errors", "stability"):
            assert getattr(given, name) == getattr(run, name)
        assert given.structure_errors is not None
        assert (given.structure_errors.volume_error, given.structure_errors.relax_steps) == (0.0, 0)
        assert given.structure_errors.pressure_at_reference is None
    assert found[0].mesh_errors == found[2].mesh_errors != found[1].mesh_errors


def test_a_potential_against_itself_at_the_fixed_cell() -> None:
    reference = reference_of(EMT(), bulk("Cu", a=3.6, cubic=True), np.diag([2, 2, 2]), PROTOCOL)
    assert all_zero(PhononBenchmark().run(EMT(), reference, FIXED))


def test_given_forces_that_are_no_numbers_are_a_failed_result() -> None:
    reference = reference_of(EMT(), bulk("Cu", a=3.6), 2 * np.eye(3, dtype=int), PROTOCOL)
    cell = FixedCell(reference, FIXED)
    forces = forces_of(cell, EMT())
    bad = cell.result_from_forces([forces[0], *(np.full_like(values, np.inf) for values in forces[1:])])
    assert (bad.status, bad.reason) == ("failed", "not_finite")
    assert bad.structure_errors is not None
    run = PhononBenchmark().run(FailsInSupercells(), reference, FIXED)
    assert (run.status, run.reason, run.message) == (bad.status, bad.reason, bad.message)
    assert run.structure_errors == bad.structure_errors
    bad = cell.result_from_forces([np.full_like(forces[0], np.nan), *forces[1:]])
    assert (bad.reason, bad.structure_errors) == ("not_finite", None)
    with pytest.raises(PhononError, match=r"0 sets of forces were given for 1 supercells"):
        cell.result_from_forces(forces[:1])
    # What failed leaves no trace.
    assert cell.result_from_forces(forces).status == "complete"


def test_a_programming_error_is_raised() -> None:
    reference = reference_of(EMT(), bulk("Cu", a=3.6), 2 * np.eye(3, dtype=int), PROTOCOL)
    broken = replace(reference, supercell_matrix="2x2x2")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(ValueError, match="could not convert"):
        PhononBenchmark().run(EMT(), broken, PROTOCOL)
