"""Kernel rows of real descriptors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlipdb.errors import FitError
from mlipdb.frameworks.gap_grid import StudyResult, load_potentials
from mlipdb.frameworks.gap_grid.kernel import VIRIAL_ROWS, kernel_rows, power
from mlipdb.frameworks.gap_grid.soap import Term, descriptor_dimensions, descriptors, environments
from mlipdb.physics.frames import Frame
from mlipdb.units import stress_to_virial


def test_power() -> None:
    base = np.linspace(0.0, 1.2, 7)
    for exponent in (0, 1, 2, 4, 8, 9, 2.5):
        np.testing.assert_allclose(power(base, exponent), base**exponent, rtol=1e-14)
    assert base[-1] == 1.2


def test_rows_times_weights_are_predictions(study: tuple[Path, StudyResult], held_out: list[Frame]) -> None:
    directory, result = study
    potentials = load_potentials(directory, [fit.details["study_file"] for fit in result.fits])
    zetas = [term.zeta for term in potentials.terms]
    for frame in held_out:
        parts = environments(frame, potentials.terms)
        rows = kernel_rows(parts, potentials.sparse, zetas, frame.n_atoms)
        # The smallest chunks take sixteen sparse points at once.
        chunked = kernel_rows(parts, potentials.sparse, zetas, frame.n_atoms, chunk_bytes=1)
        np.testing.assert_allclose(chunked, rows, atol=1e-12)
        found = rows @ potentials.weights[0]
        for p, predictions in enumerate(potentials.predict([frame])):
            (predicted,) = predictions
            energy = predicted.energy - frame.n_atoms * potentials.isolated_atom_energies[p][14]
            assert found[0, p] == pytest.approx(energy, abs=1e-8)
            np.testing.assert_allclose(found[1:-6, p], predicted.forces.ravel(), atol=1e-9)
            assert predicted.stress is not None
            virial = stress_to_virial(predicted.stress, frame.volume)
            np.testing.assert_allclose(found[-6:, p], [virial[i, j] for i, j in VIRIAL_ROWS], atol=1e-8)


def test_descriptors_without_gradients_are_the_same(study: tuple[Path, StudyResult], held_out: list[Frame]) -> None:
    directory, result = study
    terms = load_potentials(directory, [result.fits[0].details["study_file"]]).terms
    for frame in held_out:
        (bare,), (full,) = descriptors(frame, terms), environments(frame, terms)
        np.testing.assert_array_equal(bare, full.x)
        np.testing.assert_allclose(np.sum(bare**2, axis=1), 1.0, atol=1e-12)
        assert full.centers.tolist() == list(range(frame.n_atoms))
        assert full.starts[-1] == len(full.gradients) == len(full.atoms) == len(full.positions)


def test_elements_that_are_not_there(held_out: list[Frame]) -> None:
    text = "soap Z=8 n_species=2 species_Z={8 14} cutoff=4.0 cutoff_transition_width=1.0 l_max=2 n_max=2 atom_sigma=0.5"
    term = Term(8, text, 2.0)
    (part,) = environments(held_out[0], [term])
    assert part.x.shape == (0, descriptor_dimensions(term))
    points = np.zeros((3, descriptor_dimensions(term)))
    assert not np.any(kernel_rows([part], [points], [2.0], held_out[0].n_atoms))


def test_descriptors_that_are_not_one_an_atom(held_out: list[Frame]) -> None:
    text = "soap Z=14 n_species=1 species_Z={14} cutoff=4.0 l_max=2 n_max=2 atom_sigma=0.5 average=T"
    with pytest.raises(FitError, match="not one an atom"):
        descriptors(held_out[0], [Term(14, text, 2.0)])
