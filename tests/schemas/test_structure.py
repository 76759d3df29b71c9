from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mlipdb.schemas.structure import AtomicStructure, formula_of


def test_an_isolated_chlorine_atom_is_cl() -> None:
    assert formula_of([17]) == ("Cl", "Cl", ["Cl"])


@pytest.mark.parametrize(
    ("numbers", "formula", "chemsys"),
    [
        ([3, 17] * 4, "LiCl", "Cl-Li"),
        ([14] * 8, "Si", "Si"),
        ([22, 8, 8], "TiO2", "O-Ti"),
        ([8, 26, 26, 8, 8], "Fe2O3", "Fe-O"),
    ],
)
def test_formula(numbers: list[int], formula: str, chemsys: str) -> None:
    assert formula_of(numbers) == (formula, chemsys, chemsys.split("-"))


@given(st.lists(st.integers(1, 94), min_size=1, max_size=6), st.integers(1, 4), st.randoms())
@settings(deadline=None, max_examples=30)
def test_formula_depends_on_neither_order_nor_supercell(numbers: list[int], copies: int, random: object) -> None:
    many = numbers * copies
    random.shuffle(many)  # type: ignore[attr-defined]
    assert formula_of(many) == formula_of(numbers)


def test_ase_round_trip_is_exact() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.rattle(0.1, seed=1)
    atoms.pbc = (True, True, False)
    back = AtomicStructure.from_ase(atoms).to_ase()
    assert np.array_equal(back.positions, atoms.positions)
    assert np.array_equal(back.cell.array, atoms.cell.array)
    assert back.numbers.tolist() == atoms.numbers.tolist()
    assert back.pbc.tolist() == [True, True, False]


def test_pymatgen_sees_the_same_crystal() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    structure = AtomicStructure.from_ase(atoms).to_pymatgen()
    assert structure.composition.reduced_formula == "NaCl"
    assert structure.volume == pytest.approx(atoms.get_volume())
    assert np.allclose(structure.cart_coords, atoms.positions)


def test_numbers_and_positions_must_agree() -> None:
    cell = np.eye(3).tolist()
    with pytest.raises(ValidationError, match="2 atomic numbers but 1 positions"):
        AtomicStructure(cell=cell, numbers=[14, 14], positions=[(0, 0, 0)])
    with pytest.raises(ValidationError):
        AtomicStructure(cell=cell, numbers=[], positions=[])
