from __future__ import annotations

from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk

from mlipdb.ingest.vasp_names import kind_of

ATOM = Atoms("Cl", cell=[15, 15, 15], pbc=True)
CRYSTAL = bulk("NaCl", "rocksalt", a=5.7, cubic=True) * 2
DISPLACED = CRYSTAL.copy()
DISPLACED.positions[0, 0] += 0.01
RATTLED = CRYSTAL.copy()
RATTLED.rattle(0.05, seed=1)


@pytest.mark.parametrize(
    ("name", "atoms", "expected"),
    [
        ("Cl-statisoatom", ATOM, "isolated_atom"),
        ("static isolated atom", ATOM, "isolated_atom"),
        ("Static-isolated_atoms", ATOM, "isolated_atom"),
        ("static isolated atom", CRYSTAL, None),
        ("static", ATOM, None),
        ("rand_static_7", RATTLED, "rattled"),
        ("mc rattled 3", RATTLED, "rattled"),
        ("rand_static_7", ATOM, None),
        ("phonon static 1/2", DISPLACED, None),
        ("phonon_static_2", DISPLACED, None),
        ("disp-001", DISPLACED, None),
        ("phonon static 1/2", RATTLED, None),
        ("aimd 300 K", RATTLED, "molecular_dynamics"),
        ("NVT", RATTLED, "molecular_dynamics"),
        ("random alloy", CRYSTAL, None),
        ("brand static", CRYSTAL, None),
        ("tight_relax_1", CRYSTAL, None),
        (None, CRYSTAL, None),
        (17, CRYSTAL, None),
    ],
)
def test_names(name: Any, atoms: Atoms, expected: str | None) -> None:
    assert kind_of([name], atoms, {}) == expected
    assert kind_of([None, "outputs", name], atoms, {}) == expected


def test_the_first_telling_name_counts() -> None:
    assert kind_of(["rattled", "md"], RATTLED, {}) == "rattled"
    assert kind_of(["md", "rattled"], RATTLED, {}) == "molecular_dynamics"


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"incar": {"IBRION": -1, "NSW": 0}}, None),
        ({"incar": {"IBRION": 2, "NSW": 50}}, None),
        ({"incar": {"ENCUT": 500}}, None),
        ({"incar": {}, "parameters": {"IBRION": 0, "NSW": 0}}, None),
        ({"incar": {"NSW": 50}, "parameters": {"IBRION": 0}}, "molecular_dynamics"),
        ({"incar": {"IBRION": 0, "NSW": 1}}, "molecular_dynamics"),
        ({}, "molecular_dynamics"),
    ],
)
def test_a_folder_makes_dynamics_only_of_what_may_be(inputs: dict[str, Any], expected: str | None) -> None:
    for folder in ("md", "nvt", "npt"):
        assert kind_of([], RATTLED, inputs, ["run_1", folder]) == expected
    # A label is a word on this very calculation.
    assert kind_of(["aimd 300 K"], RATTLED, inputs, ["md"]) == "molecular_dynamics"
    assert kind_of([], RATTLED, inputs, ["rand_static_1", "md"]) == "rattled"


def test_dynamics_by_the_input() -> None:
    assert kind_of(["rattled"], RATTLED, {"incar": {"IBRION": 0, "NSW": 100}}) == "molecular_dynamics"
    assert kind_of([], RATTLED, {"incar": {"IBRION": 0, "NSW": 0}}) is None
    assert kind_of([], RATTLED, {"incar": {"IBRION": 2, "NSW": 100}}) is None
    for odd in (float("nan"), float("inf"), "many", None):
        assert kind_of([], RATTLED, {"incar": {"IBRION": 0, "NSW": odd}}) is None
