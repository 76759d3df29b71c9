from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mlipdb.schemas.common import ArtifactRef
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.training_set import TrainingSet, TrainingSetMember

MEMBER = {
    "configuration_id": "cfg-0",
    "config_type": "rattled",
    "split": "train",
    "energy_sigma": 0.001,
    "virial_sigma": 0.05,
    "force_sigma_min": 0.01,
    "force_sigma_max": 0.1,
}


def key(**changes: Any) -> str:
    given = {"training_set_id": "", "name": "full", "members": [MEMBER], "isolated_atom_energies": {"Si": -102.5}}
    return make_key("ts", TrainingSet.model_validate({**given, **changes}).identity())


def test_key_is_pinned() -> None:
    assert key() == "ts-d50576a240dd05655429"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"isolated_atom_energies": {"Si": -102.6}},
        {"members": [{**MEMBER, "split": "test"}]},
        {"members": [{**MEMBER, "energy_sigma": 0.002}]},
        {"train_file": ArtifactRef.of("train.extxyz", b"1")},
    ],
)
def test_what_is_trained_on_makes_the_key(change: dict[str, Any]) -> None:
    assert key(**change) != key()


def test_standing_and_recipe_do_not() -> None:
    assert key(current=False, recipe={"query": {}}, state="withdrawn") == key()


@pytest.mark.parametrize("wrong", [{"energy_sigma": 0}, {"force_sigma_min": -1}, {"split": "validation"}])
def test_sigmas_are_above_zero(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingSetMember.model_validate({**MEMBER, **wrong})
