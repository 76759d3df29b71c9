from __future__ import annotations

from mlipdb.frameworks.base import FitResult
from mlipdb.frameworks.gap_log import parse_log


def test_empty_log() -> None:
    log = parse_log([])
    assert log.targets == {}
    assert log.empty_descriptors == []


def test_real_log(small_fit: tuple[object, FitResult]) -> None:
    log = parse_log(small_fit[1].log_tail.splitlines())
    assert log.sigmas["force_atom_sigma"] == 0


def test_removed_environments_belong_to_their_descriptor() -> None:
    log = parse_log(
        [
            "Descriptor 1: soap Z=3 n_sparse=400",
            "Number of descriptors:                        57",
            "Descriptor 2: soap Z=17 n_sparse=5",
            "Number of descriptors:                        0",
            "WARNING: x: number of data points (51) less than the number of sparse points (400)",
            "WARNING: gpCoordinates_sparsify: affected descriptor :  soap Z=3 n_sparse=400",
        ]
    )
    assert log.environments == {"soap Z=3 n_sparse=400": 57, "soap Z=17 n_sparse=5": 0}
    assert log.unique_environments == {"soap Z=3 n_sparse=400": 51}
    assert log.empty_descriptors == ["soap Z=17 n_sparse=5"]
    assert len(log.warnings) == 2
