from __future__ import annotations

from typing import Any, get_args

import pytest
from documents import configurations
from pydantic import ValidationError

from mlipdb.schemas.configuration import CONFIG_TYPES, ConfigType, Configuration, Displacement
from mlipdb.schemas.keys import make_key


@pytest.fixture
def rattled(silicon: dict[str, Any]) -> Configuration:
    return configurations(silicon, ("rattled-diamond-00",))[0]


def changed(configuration: Configuration, **update: Any) -> str:
    return make_key("cfg", configuration.model_copy(update=update).identity())


def test_config_types_are_those_of_the_type() -> None:
    assert get_args(ConfigType) == CONFIG_TYPES


def test_key_rounds_to_a_hundred_thousandth(rattled: Configuration) -> None:
    assert rattled.energy is not None
    assert changed(rattled) == rattled.configuration_id
    assert changed(rattled, energy=round(rattled.energy, 5) + 2e-6) == rattled.configuration_id
    assert changed(rattled, energy=rattled.energy + 1e-4) != rattled.configuration_id


def test_key_holds_content_and_level_alone(rattled: Configuration) -> None:
    assert changed(rattled, task_ids=["another"], material_id="x", config_type="other") == rattled.configuration_id
    assert changed(rattled, level_id="lvl-other") != rattled.configuration_id
    assert changed(rattled, stress=None) != rattled.configuration_id


def test_a_failed_configuration_has_no_content_to_hash() -> None:
    with pytest.raises(ValueError, match="no content"):
        Configuration(configuration_id="cfg-0", task_ids=["t"], state="failed").identity()


def test_a_configuration_comes_from_a_task() -> None:
    with pytest.raises(ValidationError):
        Configuration(configuration_id="cfg-0", task_ids=[])


@pytest.mark.parametrize("wrong", [{"atom": -1}, {"distance": 0.0}, {"vector": [0, 0]}])
def test_displacements_move_one_atom(wrong: dict[str, Any]) -> None:
    good = {"atom": 0, "vector": [0, 0, 0.01], "distance": 0.01}
    assert Displacement.model_validate(good).distance == 0.01
    with pytest.raises(ValidationError):
        Displacement.model_validate({**good, **wrong})
