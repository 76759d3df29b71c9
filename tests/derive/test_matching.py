from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from documents import calculations, material

from mlipdb.derive.matching import STRAINS, match_material
from mlipdb.schemas.structure import AtomicStructure

Raw = dict[str, Any]
NAMES = ("diamond", "lonsdaleite", "bc8", "st12", "4h")


@pytest.fixture
def crystals(silicon: dict[str, Raw]) -> list[Raw]:
    return [material(silicon, f"relax-{name}").to_bson() for name in NAMES]


@pytest.mark.parametrize("task", ["rattled-diamond-00", "rattled-lonsdaleite-00", "rattled-bc8-00", "rattled-4h-00"])
@pytest.mark.parametrize("named", [True, False])
def test_rattled_cells_find_their_crystal(silicon: dict[str, Raw], crystals: list[Raw], task: str, named: bool) -> None:
    (calculation,) = calculations(silicon, (task,))
    found, match = match_material(calculation.atoms, calculation.material_names if named else [], crystals)
    assert found is not None
    assert match is not None
    assert found["names"] == [silicon[task]["allotrope"]]
    assert 0 < match.max_displacement < 0.4


def test_a_single_atom_is_no_supercell(silicon: dict[str, Raw], crystals: list[Raw]) -> None:
    (atom,) = calculations(silicon, ("isolated-atom",))
    assert match_material(atom.atoms, [], crystals) == (None, None)


def test_a_primitive_cell_of_one_atom_is_a_crystal() -> None:
    from ase.build import bulk

    copper = {
        "material_id": "Cu",
        "names": [],
        "chemsys": "Cu",
        "structure": AtomicStructure.from_ase(bulk("Cu", a=3.6)).model_dump(),
    }
    found, match = match_material(bulk("Cu", a=3.62), [], [copper])
    assert found is copper
    assert match is not None
    assert match_material(bulk("Cu", "sc", a=9.0), [], [copper]) == (None, None)


def test_no_crystal_fits(silicon: dict[str, Raw], crystals: list[Raw]) -> None:
    (calculation,) = calculations(silicon, ("rattled-bc8-00",))
    assert match_material(calculation.atoms, ["diamond"], crystals[:1]) == (None, None)
    assert match_material(calculation.atoms, [], []) == (None, None)


def test_of_two_that_fit_the_named_one_is_believed(silicon: dict[str, Raw], crystals: list[Raw]) -> None:
    (calculation,) = calculations(silicon, ("rattled-diamond-00",))
    near = {**crystals[0], "material_id": "near", "names": ["other"]}
    structure = {**near["structure"], "cell": (np.array(near["structure"]["cell"]) * 1.01).tolist()}
    structure["positions"] = (np.array(near["structure"]["positions"]) * 1.01).tolist()
    far = {**near, "material_id": "far", "names": ["asked for"], "structure": structure}
    assert match_material(calculation.atoms, ["asked for"], [near, far])[0] == far
    assert match_material(calculation.atoms, ["unknown"], [near, far])[0] in (near, far)


@pytest.mark.parametrize("strain", [0.5 * STRAINS[0], 0.9 * STRAINS[1]])
def test_strained_cells_are_found_too(silicon: dict[str, Raw], crystals: list[Raw], strain: float) -> None:
    (calculation,) = calculations(silicon, ("relax-diamond",))
    atoms = calculation.atoms
    atoms.set_cell(atoms.cell.array @ np.diag([1 + strain, 1, 1]), scale_atoms=True)
    found, match = match_material(atoms, [], crystals)
    assert found is not None
    assert match is not None
    assert found["names"] == ["diamond"]
    assert np.linalg.det(match.deformation) == pytest.approx(1 + strain, rel=1e-3)


def test_a_nearly_unstrained_crystal_comes_before_a_named_strained_one(
    silicon: dict[str, Raw], crystals: list[Raw]
) -> None:
    (calculation,) = calculations(silicon, ("relax-diamond",))
    structure = crystals[0]["structure"]
    blown_up = {
        **structure,
        "cell": (np.array(structure["cell"]) * 1.06).tolist(),
        "positions": (np.array(structure["positions"]) * 1.06).tolist(),
    }
    named = {**crystals[0], "names": ["asked for"], "structure": blown_up}
    assert match_material(calculation.atoms, ["asked for"], [named, crystals[0]])[0] == crystals[0]
    assert match_material(calculation.atoms, ["asked for"], [named])[0] == named
