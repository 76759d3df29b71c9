"""Files of potentials against references, without a database."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from phonopy_runs import CUBIC, phonopy_run

from mlipdb.benchmarks.external import external_result, same_displacements
from mlipdb.benchmarks.phonons import PhononBenchmark, PhononReference
from mlipdb.benchmarks.relaxation import evaluate_forces
from mlipdb.errors import PhononError
from mlipdb.ingest.phonopy_text import read_phonopy_text
from mlipdb.physics.displacement_sets import DisplacementRecord
from mlipdb.physics.phonons import phonons_from_forces
from mlipdb.physics.phonopy_data import PhonopyData
from mlipdb.schemas.phonon_protocol import PhononProtocol

PROTOCOL = PhononProtocol(mesh_length=20.0, path_density=20.0, relax="none")
EXTERNAL = PROTOCOL.model_copy(update={"relax": "external"})
ALLOY = bulk("NiAl", "cesiumchloride", a=2.9)


def data(a: float = 2.9) -> PhonopyData:
    unitcell = bulk("NiAl", "cesiumchloride", a=a)
    return read_phonopy_text({"phonopy.yaml": str(phonopy_run(unitcell, CUBIC, primitive="P").to_phonopy_yaml())})


@pytest.fixture(scope="module")
def reference() -> PhononReference:
    """Phonons that are a tenth too soft."""
    calculator = EMT()
    result = phonons_from_forces(
        ALLOY, np.array(CUBIC), lambda atoms: 0.81 * evaluate_forces(atoms, calculator), PROTOCOL
    )
    return PhononReference.from_result(result)


def test_as_with_the_calculator(reference: PhononReference) -> None:
    found, same = external_result(data(), reference, EXTERNAL, "file")
    expected = PhononBenchmark().run(EMT(), reference, PROTOCOL)
    assert same is True
    assert (found.status, expected.status) == ("complete", "complete")
    for name in ("mesh_errors", "path_errors"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.rmse == pytest.approx(other.rmse, abs=1e-7)
        assert one.bias == pytest.approx(other.bias, abs=1e-7)
    assert found.phonons is not None
    assert expected.phonons is not None
    assert found.phonons.max_frequency == pytest.approx(expected.phonons.max_frequency, abs=1e-9)
    assert expected.mesh_errors is not None
    # Softer by the root of 0.81.
    assert expected.mesh_errors.bias > 0.3


def test_a_relaxed_cell(reference: PhononReference) -> None:
    found, _ = external_result(data(2.95), reference, EXTERNAL, "file")
    assert found.structure_errors is not None
    assert found.structure_errors.volume_error == pytest.approx((2.95 / 2.9) ** 3 - 1, abs=1e-9)
    assert found.structure_errors.fmax_relaxed is None


def test_another_supercell_is_refused(reference: PhononReference) -> None:
    other = replace(reference, supercell_matrix=np.diag([2, 2, 3]))
    with pytest.raises(PhononError) as caught:
        external_result(data(), other, EXTERNAL, "file")
    assert caught.value.reason == "no_match"
    with pytest.raises(PhononError, match="file has another crystal"):
        external_result(data(3.5), reference, EXTERNAL, "file")


def test_displacements_that_are_the_same(reference: PhononReference) -> None:
    records = [
        DisplacementRecord(atom, np.array(vector), np.zeros((16, 3))) for atom, vector in reference.displacements
    ]
    assert same_displacements(records[::-1], reference) is True
    assert same_displacements(records[:1], reference) is False
    moved = [*records[:1], replace(records[1], vector=-records[1].vector)]
    assert same_displacements(moved, reference) is False
    assert same_displacements(records, replace(reference, displacements=())) is None
