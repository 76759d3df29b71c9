"""Phonon quantities go into documents and come back; what is not a number does not."""

from __future__ import annotations

from typing import Any

import bson
import pytest
from pydantic import ValidationError

from mlipdb.physics.phonons import PhononResult
from mlipdb.schemas.phonon_data import DensityOfStates, MeshFrequencies, Stability
from mlipdb.schemas.phonon_protocol import PhononProtocol


def test_models_survive_bson(silicon_phonons: dict[str, PhononResult]) -> None:
    result = silicon_phonons["lonsdaleite"]
    for model in (result.mesh, result.band_structure, result.dos, result.thermal, result.stability):
        stored = bson.decode(bson.encode(model.model_dump()))
        assert type(model).model_validate(stored) == model
    protocol = PhononProtocol()
    assert PhononProtocol.model_validate(bson.decode(bson.encode(protocol.model_dump(mode="json")))) == protocol


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValidationError):
        MeshFrequencies(mesh=[1, 1, 1], qpoints=[[0, 0, 0]], weights=[1], frequencies=[[bad]])
    with pytest.raises(ValidationError):
        DensityOfStates(frequencies=[0.0], total=[bad])
    with pytest.raises(ValidationError):
        Stability.from_minima(
            gamma_acoustic_min=bad, gamma_optical_min=None, off_gamma_min=None, path_min=None, threshold=0.1
        )


@pytest.mark.parametrize(
    "change",
    [
        {"temperatures": []},
        {"temperatures": [300.0, 0.0]},
        {"temperatures": [-1.0]},
        {"displacement_distance": 0.0},
        {"mesh": [4, 4, 4]},
        {"relax": "everything"},
    ],
)
def test_protocols_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PhononProtocol.model_validate(change)


def test_a_protocol_is_frozen_and_described() -> None:
    protocol = PhononProtocol()
    with pytest.raises(ValidationError):
        protocol.fmax = 0.1  # type: ignore[misc]  # on purpose
    assert all(field.description for field in PhononProtocol.model_fields.values())
    assert hash(protocol) == hash(PhononProtocol())
