from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from mlipdb.errors import ConfigurationError
from mlipdb.ingest.calculation import MAX_COMPONENT, MAX_FORCE, require_crystal, require_good, require_usable
from mlipdb.ingest.flat import interpret

Raw = dict[str, Any]


def of(raw: Raw, key: str, index: int, value: float | None) -> Raw:
    rows = [list(row) for row in raw[key]]
    rows[index][0] = value
    return {**raw, key: rows}


def without_volume(raw: Raw) -> Raw:
    lattice = {**raw["structure"]["lattice"], "matrix": [[5, 0, 0], [0, 5, 0], [5, 5, 0]]}
    return {**raw, "structure": {**raw["structure"], "lattice": lattice}}


def lone(side: float, *, calc_type: str | None = None) -> Raw:
    """One silicon atom in a cube."""
    sites = [{"species": [{"element": "Si", "occu": 1}], "abc": [0, 0, 0]}]
    matrix = (side * np.eye(3)).tolist()
    return {
        "structure": {"lattice": {"matrix": matrix}, "sites": sites},
        "energy": -1.0,
        "forces": [[0, 0, 0]],
        "code": "VASP",
        "functional": "PBE",
        "calc_type": calc_type,
    }


def moved(raw: Raw, abc: list[float]) -> Raw:
    sites = [dict(site) for site in raw["structure"]["sites"]]
    sites[0]["abc"] = abc
    return {**raw, "structure": {**raw["structure"], "sites": sites}}


BAD: dict[str, tuple[Any, str, str]] = {
    "no energy": (lambda raw: {**raw, "energy": None}, "no_energy", "has no energy"),
    "no forces": (lambda raw: {k: v for k, v in raw.items() if k != "forces"}, "no_forces", "has no forces"),
    "empty forces": (lambda raw: {**raw, "forces": []}, "no_forces", "has no forces"),
    "a force too few": (lambda raw: {**raw, "forces": raw["forces"][1:]}, "wrong_shape", "is needed for its"),
    "flat forces": (lambda raw: {**raw, "forces": raw["forces"][0]}, "wrong_shape", "is needed for its"),
    "NaN energy": (lambda raw: {**raw, "energy": float("nan")}, "not_finite", "in its energy"),
    "NaN force": (lambda raw: of(raw, "forces", 3, float("nan")), "not_finite", "in its forces"),
    "null force": (lambda raw: of(raw, "forces", 3, None), "not_finite", "in its forces"),
    "infinite stress": (lambda raw: {**raw, "stress": [float("inf")] * 6}, "not_finite", "in its stress"),
    "NaN position": (lambda raw: moved(raw, [float("nan"), 0, 0]), "not_finite", "in its positions"),
    "impossible force": (lambda raw: of(raw, "forces", 0, 2 * MAX_COMPONENT), "bad_forces", "at most 1e+06"),
    "impossible energy": (lambda raw: {**raw, "energy": -1e9}, "bad_energy", "eV per atom; at most 1e+06"),
    "many atoms called one": (
        lambda raw: {**raw, "calc_type": "isolated_atom"},
        "not_isolated",
        "is called an isolated atom but has 32 atoms",
    ),
    "a cell without volume": (without_volume, "bad_cell", "that is no crystal"),
}


#: Complete, but not to be trusted without a second look.
DOUBTFUL: dict[str, tuple[Any, str]] = {
    "unconverged": (lambda raw: {**raw, "converged": False}, "unconverged"),
    "energy extrapolated": (lambda raw: {**raw, "energy_kind": "extrapolated to T=0"}, "energy_kind"),
    "energy of no known kind": (lambda raw: {**raw, "energy_kind": "total"}, "energy_kind"),
    "no energy written": (lambda raw: {**raw, "energy": 0.0}, "zero_energy"),
    "large force": (lambda raw: of(raw, "forces", 0, 2 * MAX_FORCE), "force_too_large"),
    "atoms on top of each other": (lambda raw: moved(raw, raw["structure"]["sites"][1]["abc"]), "atoms_too_close"),
    "an atom close to its images": (lambda _: lone(6.9, calc_type="isolated_atom"), "small_box"),
    "forces that move the crystal": (lambda raw: of(raw, "forces", 0, 5.0), "force_drift"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_doubtful_labels(silicon: dict[str, Raw], name: str) -> None:
    change, reason = DOUBTFUL[name]
    calculation = interpret("task-7", change(silicon["rattled-diamond-00"]))
    require_usable(calculation)
    with pytest.raises(ConfigurationError) as caught:
        require_good(calculation)
    assert caught.value.reason == reason
    assert caught.value.message.startswith("task task-7: ")


def test_good_labels(silicon: dict[str, Raw]) -> None:
    for name in ("rattled-diamond-00", "isolated-atom", "relax-bc8"):
        require_good(interpret("a", silicon[name]))


@pytest.mark.parametrize("name", BAD)
def test_unusable_labels(silicon: dict[str, Raw], name: str) -> None:
    change, reason, words = BAD[name]
    with pytest.raises(ConfigurationError) as caught:
        require_usable(interpret("task-7", change(silicon["rattled-diamond-00"])))
    assert caught.value.reason == reason
    assert words in caught.value.message
    assert caught.value.message.startswith("task task-7: ")


def test_a_stress_is_not_needed(silicon: dict[str, Raw]) -> None:
    require_usable(interpret("a", {**silicon["rattled-diamond-00"], "stress": None}))


def test_a_large_force_is_believed_up_to_the_limit(silicon: dict[str, Raw]) -> None:
    calculation = interpret("a", silicon["rattled-diamond-00"])
    assert calculation.forces is not None
    calculation.forces = np.zeros_like(calculation.forces)
    calculation.forces[0] = [0, 0, MAX_FORCE]
    require_usable(calculation)


@pytest.mark.parametrize("side", [8.1, 99.0])
def test_an_atom_in_a_box_is_isolated(side: float) -> None:
    require_good(interpret("a", lone(side, calc_type="isolated_atom")))


@pytest.mark.parametrize(("pbc", "passes"), [(False, True), (True, False)])
def test_a_molecule_needs_no_cell(pbc: bool, passes: bool) -> None:
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.74]], pbc=pbc)
    with nullcontext() if passes else pytest.raises(ConfigurationError, match="that is no crystal"):
        require_crystal("a", atoms)
