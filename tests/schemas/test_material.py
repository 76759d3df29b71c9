from __future__ import annotations

from typing import Any

import pytest
from documents import material
from pydantic import ValidationError

from mlipdb.schemas.material import Material


def test_shipped_diamond(silicon: dict[str, Any]) -> None:
    diamond = material(silicon)
    assert diamond.material_id == "Si-A_cF8_227_a"
    assert (diamond.space_group_number, diamond.n_sites, diamond.formula) == (227, 2, "Si")
    assert diamond.volume_per_atom == pytest.approx(5.4695**3 / 8, rel=1e-3)


@pytest.mark.parametrize("wrong", [{"space_group_number": 231}, {"n_sites": 0}, {"volume_per_atom": 0}])
def test_impossible_crystals_are_refused(silicon: dict[str, Any], wrong: dict[str, Any]) -> None:
    good = material(silicon).to_bson()
    with pytest.raises(ValidationError):
        Material.model_validate({**good, **wrong})
