from __future__ import annotations

from documents import errors

from mlipdb.schemas.keys import make_key
from mlipdb.schemas.phonon_benchmark import PhononBenchmark
from mlipdb.schemas.phonon_data import Stability, StructureErrors


def key(**changes: object) -> str:
    given = {
        "benchmark_id": "",
        "benchmark": "phonons",
        "potential_id": "pot-0",
        "phonon_id": "ph-0",
        "material_id": "m",
    }
    return make_key("bm", PhononBenchmark.model_validate({**given, **changes}).identity())


def test_key_is_potential_reference_and_protocol() -> None:
    assert key(protocol_id="prt-0") == "bm-c925f39c11b30e648031"
    found = {key(), key(protocol_id="prt-0"), key(potential_id="pot-1"), key(phonon_id="ph-1")}
    assert len(found) == 4


def test_results_do_not_change_the_key() -> None:
    assert key(mesh=errors(0.5), n_sparse=100, benchmark="other") == key()


def test_what_is_none_is_left_out_and_read_back() -> None:
    """No pressure at a fixed cell, no optical modes with one atom, a mesh of Gamma alone, no path."""
    structure = StructureErrors(
        volume_error=0.0,
        length_errors=(0.0, 0.0, 0.0),
        angle_errors=(0.0, 0.0, 0.0),
        max_displacement=0.0,
        fmax_at_reference=0.1,
        fmax_relaxed=0.1,
        relax_steps=0,
    )
    stability = Stability.from_minima(
        gamma_acoustic_min=0.0, gamma_optical_min=None, off_gamma_min=None, path_min=None, threshold=0.1
    )
    given = {"benchmark_id": "bm-0", "benchmark": "b", "potential_id": "p", "phonon_id": "ph", "material_id": "m"}
    document = PhononBenchmark.model_validate({**given, "structure": structure, "stability": stability})
    content = document.to_bson()
    assert "pressure_at_reference" not in content["structure"]
    assert "gamma_optical_min" not in content["stability"]
    assert PhononBenchmark.model_validate(content) == document
