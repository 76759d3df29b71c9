from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipdb.ingest.flat import interpret
from mlipdb.schemas.level_of_theory import K_LENGTH_EDGES, LevelOfTheory, k_length_class


@pytest.mark.parametrize("edge", K_LENGTH_EDGES)
def test_an_edge_opens_its_class(edge: float) -> None:
    assert k_length_class(edge) == edge
    if edge:
        assert k_length_class(math.nextafter(edge, 0)) == K_LENGTH_EDGES[K_LENGTH_EDGES.index(edge) - 1]


@given(st.floats(0, 1e4))
@settings(deadline=None)
def test_classes_are_ordered_and_below(length: float) -> None:
    found = k_length_class(length)
    assert found in K_LENGTH_EDGES
    assert found <= length
    assert k_length_class(length * 1.01) >= found


@pytest.mark.parametrize("asked", [10, 15, 20, 25, 30, 40])
def test_strain_keeps_usual_densities_in_their_class(asked: float) -> None:
    assert k_length_class(asked * 0.97) == k_length_class(asked * 1.03)


def level(**changes: Any) -> LevelOfTheory:
    given: dict[str, Any] = {
        "code": "Quantum ESPRESSO",
        "functional": "PBE",
        "cutoff_ev": 18 * 13.605693122994,
        "pseudopotentials": {"Si": "Si.pbe-rrkj.UPF"},
        "k_length_class": 19.0,
        "spin_polarised": False,
    }
    return LevelOfTheory(**{**given, **changes}).with_keys()


def test_keys_never_change() -> None:
    assert (level().level_id, level().hamiltonian_id) == ("lvl-038e4a46dafedf4f92cd", "ham-5e87470780af0ae21023")
    assert level().label == "PBE, Quantum ESPRESSO, 245 eV, k-mesh >= 19 A"


def test_an_atom_shares_the_hamiltonian_of_its_crystals() -> None:
    atom = level(k_length_class=None, spin_polarised=True)
    assert atom.hamiltonian_id == level().hamiltonian_id
    assert atom.level_id != level().level_id
    assert "spin-polarised" in atom.label


def test_shipped_atom_and_crystals_share_a_hamiltonian(silicon: dict[str, Any]) -> None:
    levels = [interpret(name, raw).level for name, raw in silicon.items()]
    assert len({item.hamiltonian_id for item in levels}) == 1
    assert len({item.level_id for item in levels}) == 2


def test_rydberg_and_electronvolt_are_one_level(silicon: dict[str, Any]) -> None:
    raw = silicon["relax-diamond"]
    in_ev = {**raw, "cutoff_ev": 244.9}
    del in_ev["ecutwfc_Ry"]
    assert interpret("a", in_ev).level.level_id == interpret("a", raw).level.level_id


@pytest.mark.parametrize(
    "change",
    [
        {"code": "VASP"},
        {"functional": "PBEsol"},
        {"cutoff_ev": 300.0},
        {"dispersion": "D3"},
    ],
)
def test_what_makes_another_hamiltonian(change: dict[str, Any]) -> None:
    assert level(**change).hamiltonian_id != level().hamiltonian_id
    assert level(**change).level_id != level().level_id
    assert not level(**change).agrees(level())


@pytest.mark.parametrize("change", [{"hubbard_u": {"Si": 2.0}}, {"pseudopotentials": {"Si": "other.UPF"}}])
def test_elements_calculated_in_another_way_do_not_agree(change: dict[str, Any]) -> None:
    assert level(**change).level_id != level().level_id
    assert not level(**change).agrees(level())
    assert not level().agrees(level(**change), atom=True)


def test_crystals_of_different_elements_agree_and_join() -> None:
    germanium = level(pseudopotentials={"Ge": "Ge.UPF"})
    alloy = level(pseudopotentials={"Ge": "Ge.UPF", "Si": "Si.pbe-rrkj.UPF"})
    other = level(pseudopotentials={"Ge": "Ge-d.UPF", "Si": "Si.pbe-rrkj.UPF"})
    assert len({item.level_id for item in (level(), germanium, alloy, other)}) == 4
    assert level().agrees(alloy)
    assert germanium.agrees(alloy)
    assert level().agrees(germanium)
    assert not germanium.agrees(other)
    assert level().joined([germanium]).level_id == alloy.level_id
    atom = level(pseudopotentials={"Ge": "Ge.UPF"}, k_length_class=None, spin_polarised=True)
    assert atom.agrees(alloy, atom=True)
    assert not atom.agrees(alloy)


@pytest.mark.parametrize("change", [{"k_length_class": 26.9}, {"spin_polarised": True}])
def test_what_makes_another_level_alone(change: dict[str, Any]) -> None:
    assert level(**change).hamiltonian_id == level().hamiltonian_id
    assert level(**change).level_id != level().level_id


@pytest.mark.parametrize(("share", "expected"), [(0.0, True), (0.03, True), (0.049, True), (0.06, False)])
def test_an_atom_may_have_a_slightly_other_cutoff(share: float, expected: bool) -> None:
    crystal = level(cutoff_ev=700.0)
    atom = level(cutoff_ev=700.0 * (1 - share), k_length_class=None, spin_polarised=True)
    assert atom.agrees(crystal, atom=True) is expected
    assert crystal.agrees(atom, atom=True) is expected
    assert atom.cutoff_difference(crystal) == pytest.approx(share, abs=1e-4)
    # Crystals are compared strictly.
    assert level(cutoff_ev=700.0 * (1 - share)).agrees(crystal) is (share == 0.0)


def test_an_atom_of_unknown_cutoff_agrees_with_its_like_alone() -> None:
    unknown = level(cutoff_ev=None)
    assert unknown.agrees(level(cutoff_ev=None), atom=True)
    assert not unknown.agrees(level(), atom=True)
    for change in ({"functional": "PBEsol"}, {"code": "VASP"}, {"dispersion": "D3"}):
        assert not level(**change).agrees(level(), atom=True)


def test_method_and_spacing_are_read_and_not_hashed() -> None:
    told = level(method="PAW", k_spacing=0.2)
    assert told.level_id == level().level_id
    assert told.label == "PBE, Quantum ESPRESSO, PAW, 245 eV, KSPACING 0.2"
    assert told.joined([level(method="PAW", k_spacing=0.2)]).label == told.label
    assert told.joined([level(method="PAW")]).label == "PBE, Quantum ESPRESSO, PAW, 245 eV, k-mesh >= 19 A"
    assert told.agrees(level())


def test_spelling_of_names_does_not_matter() -> None:
    assert level(code="QUANTUM Espresso", functional="pbe").level_id == level().level_id
