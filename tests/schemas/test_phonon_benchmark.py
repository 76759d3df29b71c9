from __future__ import annotations

from documents import errors

from mlipdb.schemas.keys import make_key
from mlipdb.schemas.phonon_benchmark import PhononBenchmark


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
