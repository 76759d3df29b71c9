from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mlipdb.schemas.keys import make_key
from mlipdb.schemas.phonon import Phonon, phonon_identity

MATRIX = ((2, 0, 0), (0, 2, 0), (0, 0, 2))


def phonon(**changes: Any) -> Phonon:
    given = {
        "phonon_id": "",
        "material_id": "Si-A_cF8_227_a",
        "level_id": "lvl-0",
        "supercell_matrix": MATRIX,
        "superlattice": MATRIX,
        "displacement_distance": 0.01,
    }
    return Phonon.model_validate({**given, **changes})


def key(document: Phonon) -> str:
    return make_key("ph", document.identity())


def test_key_is_pinned() -> None:
    assert key(phonon()) == "ph-9c6997538245b42efa57"


def test_key_is_that_of_the_planned_set() -> None:
    planned = phonon_identity("Si-A_cF8_227_a", "lvl-0", [list(row) for row in MATRIX], 0.0100004, 1.0)
    assert make_key("ph", planned) == key(phonon())


@pytest.mark.parametrize(
    "change",
    [
        {"material_id": "Si-A_hP4_194_f"},
        {"level_id": "lvl-1"},
        {"superlattice": ((1, 0, 0), (0, 2, 0), (0, 0, 2))},
        {"displacement_distance": 0.02},
        {"volume_ratio": 0.995},
    ],
)
def test_other_sets_have_other_keys(change: dict[str, Any]) -> None:
    assert key(phonon(**change)) != key(phonon())


def test_the_basis_of_the_supercell_does_not_matter() -> None:
    assert key(phonon(supercell_matrix=((2, 2, 0), (0, 2, 0), (0, 0, 2)))) == key(phonon())


def test_a_displacement_has_a_length() -> None:
    with pytest.raises(ValidationError):
        phonon(displacement_distance=0.0)
