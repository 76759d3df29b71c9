from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from documents import material

from mlipdb.derive.materials import material_behind, material_of, may_be_displaced
from mlipdb.ingest.calculation import Calculation
from mlipdb.ingest.interpret import interpret
from mlipdb.schemas.material import Material

Raw = dict[str, Any]

#: Names as other databases write them: formula and protostructure.
ALLOTROPES = {
    "relax-diamond": ("Si-A_cF8_227_a", 2, 227),
    "relax-lonsdaleite": ("Si-A_hP4_194_f", 4, 194),
    "relax-bc8": ("Si-A_cI16_206_c", 8, 206),
    "relax-st12": ("Si-A_tP12_96_ab", 12, 96),
}


@pytest.fixture
def relaxed(silicon: dict[str, Raw]) -> Calculation:
    return interpret("relax-diamond", silicon["relax-diamond"], "flat")


@pytest.mark.parametrize("name", ALLOTROPES)
def test_shipped_relaxations(silicon: dict[str, Raw], name: str) -> None:
    material_id, n_sites, group = ALLOTROPES[name]
    found = material(silicon, name)
    assert (found.material_id, found.n_sites, found.space_group_number) == (material_id, n_sites, group)
    assert found.structure_from == "reference"
    assert found.task_ids == [name]
    assert found.energy_per_atom == pytest.approx(silicon[name]["energy"] / silicon[name]["n_atoms"])
    volume = np.linalg.det(silicon[name]["structure"]["lattice"]["matrix"]) / silicon[name]["n_atoms"]
    assert found.volume_per_atom == pytest.approx(abs(volume), rel=1e-4)


def test_a_supercell_shows_its_primitive_cell(relaxed: Calculation) -> None:
    primitive = material_of(relaxed)
    relaxed.atoms = relaxed.atoms.repeat((2, 1, 1))
    relaxed.energy, relaxed.forces = 2 * relaxed.energy, np.zeros((len(relaxed.atoms), 3))  # type: ignore[operator]
    found = material_of(relaxed)
    assert primitive is not None
    assert found is not None
    assert isinstance(found.document, Material)
    assert found.document.n_sites == 2
    assert found.document.energy_per_atom == pytest.approx(primitive.document.energy_per_atom)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["isolated-atom", "rattled-diamond-00", "phonon-diamond-01"])
def test_what_shows_no_crystal_at_rest(silicon: dict[str, Raw], name: str) -> None:
    assert material_of(interpret(name, silicon[name], "flat")) is None


@pytest.mark.parametrize(
    "change",
    [
        {"converged": False},
        {"energy": None},
        {"energy": float("nan")},
        {"forces": None},
        {"forces": [[float("nan")] * 3] * 8},
        {"forces": [[0, 0, 0.06]] * 8},
        {"forces": [[0, 0, 0]]},
        {"calc_type": "md"},
    ],
)
def test_an_unusable_calculation_is_no_reference(silicon: dict[str, Raw], change: Raw) -> None:
    raw = silicon["relax-diamond"]
    assert material_of(interpret("a", raw, "flat")) is not None
    assert material_of(interpret("a", {**raw, **change}, "flat")) is None


def test_a_position_that_is_no_number(silicon: dict[str, Raw]) -> None:
    raw = silicon["relax-diamond"]
    raw["structure"]["sites"][0]["abc"] = [float("nan"), 0, 0]
    assert material_of(interpret("a", raw, "flat")) is None
    assert not may_be_displaced(interpret("a", {**raw, "calc_type": None}, "flat"))


def test_a_calculation_without_a_word_on_its_kind(silicon: dict[str, Raw]) -> None:
    raw = {**silicon["relax-diamond"], "calc_type": None}
    assert material_of(interpret("a", raw, "flat")) is not None
    assert may_be_displaced(interpret("a", {**silicon["phonon-diamond-01"], "calc_type": None}, "flat"))
    assert not may_be_displaced(interpret("a", silicon["rattled-diamond-00"], "flat"))
    assert not may_be_displaced(interpret("a", silicon["isolated-atom"], "flat"))


def test_the_crystal_behind_a_displaced_supercell(silicon: dict[str, Raw]) -> None:
    built = material_behind(interpret("phonon-diamond-01", silicon["phonon-diamond-01"], "flat"))
    assert built is not None
    found = built.document
    assert isinstance(found, Material)
    assert (found.material_id, found.structure_from, found.level_id) == ("Si-A_cF8_227_a", "displaced", None)
    assert found.energy_per_atom is None, "the energy of a displaced supercell is not that of the crystal"
    assert found.volume_per_atom == pytest.approx(material(silicon).volume_per_atom, rel=1e-5)


def test_no_crystal_behind_rattled_atoms(silicon: dict[str, Raw]) -> None:
    assert material_behind(interpret("a", silicon["rattled-bc8-00"], "flat")) is None


def test_a_slightly_displaced_supercell_is_no_crystal(relaxed: Calculation) -> None:
    cell = relaxed.atoms * (2, 2, 2)
    cell.positions[3, 0] += 0.01
    forces = np.zeros((len(cell), 3))
    forces[3, 0] = -0.016  # below what a relaxed cell may have
    displaced = dataclasses.replace(relaxed, atoms=cell, forces=forces, stress=None, config_type=None)
    assert material_of(displaced) is None
    assert may_be_displaced(displaced)
    at_rest = dataclasses.replace(displaced, atoms=relaxed.atoms * (2, 2, 2), forces=0 * forces)
    assert material_of(at_rest) is not None
