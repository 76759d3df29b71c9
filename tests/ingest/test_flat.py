from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase.units import Ry

from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest.calculation import require_usable
from mlipdb.ingest.flat import interpret, recognises, task_id_of

Raw = dict[str, Any]


@pytest.fixture
def record(silicon: dict[str, Raw]) -> Raw:
    return silicon["rattled-diamond-00"]


def test_every_shipped_task_is_usable(silicon: dict[str, Raw]) -> None:
    for name, raw in silicon.items():
        calculation = interpret(name, raw)
        require_usable(calculation)
        assert calculation.energy == raw["energy"]
        assert len(calculation.atoms) == raw["n_atoms"]
        xyz = np.array([site["xyz"] for site in raw["structure"]["sites"]])
        assert np.allclose(calculation.atoms.positions, xyz, atol=1e-8)


def test_what_a_record_says(silicon: dict[str, Raw]) -> None:
    atom, crystal = silicon["isolated-atom"], silicon["relax-diamond"]
    assert interpret("a", atom).config_type == "isolated_atom"
    assert interpret("a", atom).stress is None
    assert interpret("a", atom).level.spin_polarised is True
    found = interpret("a", crystal)
    assert found.config_type == "bulk"
    assert found.material_names == ["diamond"]
    assert found.level.cutoff_ev == pytest.approx(18 * Ry)
    assert found.level.pseudopotentials == {"Si": "Si.pbe-rrkj.UPF"}
    assert found.level.k_length_class == 19.0


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("relax", "bulk"),
        ("phonon_displacement", "single_displacement"),
        ("rattled", "rattled"),
        ("md", "molecular_dynamics"),
        ("something", None),
        (None, None),
    ],
)
def test_kinds(record: Raw, word: str | None, expected: str | None) -> None:
    assert interpret("a", {**record, "calc_type": word}).config_type == expected


def test_an_undisplaced_supercell_is_bulk(record: Raw) -> None:
    raw = {**record, "calc_type": "phonon_displacement", "displacement_index": 0}
    assert interpret("a", raw).config_type == "bulk"


def test_an_atom_is_isolated_by_either_word(silicon: dict[str, Raw]) -> None:
    atom = silicon["isolated-atom"]
    other = {**atom, "config_type": "isolated_atom", "calc_type": None}
    assert (
        interpret("a", other).level
        == interpret("a", atom).level.model_copy(update={"last_updated": interpret("a", other).level.last_updated})
        or interpret("a", other).level.level_id == interpret("a", atom).level.level_id
    )


def test_foreign_ids(record: Raw) -> None:
    assert interpret("a", {**record, "mp_id": "mp-149"}).foreign_ids == ["mp-149"]


@pytest.mark.parametrize("given", [{"structure": {}}, {"structure": {}, "output": {}, "energy": 1}, {"energy": 1}])
def test_what_is_not_ours(given: Raw) -> None:
    assert not recognises(given)


@pytest.mark.parametrize(("value", "expected"), [("x", "x"), (3, "3"), (None, None), ("", None)])
def test_ids(value: Any, expected: str | None) -> None:
    assert task_id_of({"task_id": value}) == expected


def site(**changes: Any) -> Raw:
    return {"species": [{"element": "Si", "occu": 1}], "abc": [0, 0, 0], **changes}


def structure(*sites: Raw, matrix: Any = ((5, 0, 0), (0, 5, 0), (0, 0, 5))) -> Raw:
    return {"lattice": {"matrix": matrix}, "sites": list(sites)}


def box(*sides: float) -> list[list[float]]:
    """Rows of a right-angled cell."""
    return [[side if row == column else 0.0 for column in range(3)] for row, side in enumerate(sides)]


MIXED = [{"element": "Si", "occu": 0.5}, {"element": "Ge", "occu": 0.5}]
BAD: dict[str, tuple[Raw, str]] = {
    "no sites": ({"structure": structure()}, "bad_structure"),
    "structure is a text": ({"structure": "POSCAR"}, "bad_structure"),
    "structure is nothing": ({"structure": None}, "bad_structure"),
    "no lattice": ({"structure": {"sites": [site()]}}, "bad_structure"),
    "flat lattice": ({"structure": structure(site(), matrix=[1, 2])}, "bad_structure"),
    "unknown element": ({"structure": structure(site(species=[{"element": "Xx"}]))}, "bad_structure"),
    "two coordinates": ({"structure": structure(site(abc=[0, 0]))}, "bad_structure"),
    "no element": ({"structure": structure(site(species=[{"element": "X"}]))}, "bad_element"),
    "three numbers for a lattice": ({"structure": structure(site(), matrix=[5, 5, 5])}, "bad_structure"),
    "a lattice of zeros": ({"structure": structure(site(), matrix=[[0] * 3] * 3)}, "bad_cell"),
    "NaN in the lattice": ({"structure": structure(site(), matrix=box(float("nan"), 5, 5))}, "not_finite"),
    "an endless lattice": ({"structure": structure(site(), matrix=box(5, 5, float("inf")))}, "not_finite"),
    "a huge cube": ({"structure": structure(site(), matrix=box(1e8, 1e8, 1e8))}, "bad_cell"),
    "the largest cube": ({"structure": structure(site(), matrix=box(1e308, 1e308, 1e308))}, "bad_cell"),
    "a needle": ({"structure": structure(site(), matrix=box(1e-4, 1e5, 1e5))}, "bad_cell"),
    "a thin plate": ({"structure": structure(site(), matrix=box(0.4, 20, 20))}, "bad_cell"),
    "a long rod": ({"structure": structure(site(), matrix=box(1, 1, 2e4))}, "bad_cell"),
    "a crystal of nearly nothing": (
        {"structure": structure(site(), site(abc=[0.5] * 3), matrix=box(50, 50, 50))},
        "bad_cell",
    ),
    "converged is a text": ({"converged": "false"}, "bad_flag"),
    "converged is a number": ({"converged": 0}, "bad_flag"),
    "spin is a text": ({"spin_polarised": "no"}, "bad_flag"),
    "allotrope is a number": ({"allotrope": 4}, "bad_text"),
    "material is a mapping": ({"material": {"name": "diamond"}}, "bad_text"),
    "calc_type is a list": ({"calc_type": ["relax"]}, "bad_text"),
    "config_type is true": ({"config_type": True}, "bad_text"),
    "mixed occupation": ({"structure": structure(site(species=MIXED))}, "disordered"),
    "partial occupation": ({"structure": structure(site(species=MIXED[:1]))}, "disordered"),
    "energy is a text": ({"energy": "-3 eV"}, "bad_number"),
    "energy is a list": ({"energy": [1]}, "bad_number"),
    "energy is true": ({"energy": True}, "bad_number"),
    "forces are text": ({"forces": [["a", "b", "c"]]}, "bad_number"),
    "ragged forces": ({"forces": [[1, 2, 3], [1]]}, "bad_number"),
    "forces are a mapping": ({"forces": {"x": 1}}, "bad_number"),
    "stress is a matrix": ({"stress": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}, "wrong_shape"),
    "no code": ({"code": None}, "no_level"),
    "no functional": ({"functional": ""}, "no_level"),
    "cutoff is a text": ({"ecutwfc_Ry": "high"}, "bad_level"),
    "cutoff is no number": ({"cutoff_ev": float("nan")}, "bad_level"),
    "hubbard_u is a list": ({"hubbard_u": [1]}, "bad_level"),
    "pseudopotentials are a list": ({"pseudopotentials": ["a"]}, "bad_level"),
    "k-points are none": ({"kpoints": {"mesh": [0, 0, 0]}}, "bad_level"),
    "k-points are words": ({"kpoints": {"mesh": "Gamma"}}, "bad_level"),
    "k-points are two": ({"kpoints": {"mesh": [4, 4]}}, "bad_level"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_records(record: Raw, name: str) -> None:
    change, reason = BAD[name]
    with pytest.raises(ConfigurationError) as caught:
        interpret("task-7", {**record, **change})
    assert caught.value.reason == reason
    assert caught.value.message.startswith("task task-7: ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("field", ["converged", "spin_polarised"])
def test_a_flag_that_is_none_is_named_with_its_value(record: Raw, field: str) -> None:
    with pytest.raises(ConfigurationError, match=f"its {field} is 'false'; true, false or null is needed"):
        interpret("a", {**record, field: "false"})


@pytest.mark.parametrize(
    ("given", "converged", "spin"), [(True, True, True), (False, False, False), (None, True, False)]
)
def test_flags(record: Raw, given: bool | None, converged: bool, spin: bool) -> None:
    found = interpret("a", {**record, "converged": given, "spin_polarised": given})
    assert (found.converged, found.level.spin_polarised) == (converged, spin)


@pytest.mark.parametrize("value", [True, 1.5, ["a"], {"a": 1}])
def test_ids_of_other_types(value: Any) -> None:
    with pytest.raises(IngestError, match=r"its task_id is a .*; text or an integer is needed"):
        task_id_of({"task_id": value})
