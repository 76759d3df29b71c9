from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from documents import configurations, material

from mlipdb.derive.configurations import configuration_of, matching_hash
from mlipdb.errors import ConfigurationError
from mlipdb.ingest.interpret import interpret
from mlipdb.schemas.keys import make_key

Raw = dict[str, Any]


def test_a_displaced_supercell(silicon: dict[str, Raw]) -> None:
    raw = silicon["phonon-diamond-01"]
    (found,) = configurations(silicon, ("phonon-diamond-01",), material(silicon))
    assert (found.config_type, found.config_type_from) == ("single_displacement", "metadata")
    assert (found.material_id, found.material_name) == ("Si-A_cF8_227_a", "diamond")
    assert found.supercell_matrix is not None
    assert abs(round(np.linalg.det(found.supercell_matrix))) == 32
    assert found.volume_ratio == pytest.approx(1.0, abs=1e-4)
    assert found.displacement is not None
    assert found.displacement.distance == pytest.approx(0.01, abs=1e-4)
    assert found.displacement.atom == raw["displacement"]["number"]
    assert np.allclose(found.displacement.vector, raw["displacement"]["displacement"], atol=1e-4)
    assert found.energy == raw["energy"]
    assert found.energy_per_atom == raw["energy"] / 64
    assert np.array_equal(found.forces, raw["forces"])  # type: ignore[arg-type]
    assert found.stress == tuple(raw["stress"])
    assert found.max_force == pytest.approx(max(np.linalg.norm(force) for force in raw["forces"]))


def test_geometry_tells_the_kind_where_nobody_does(silicon: dict[str, Raw]) -> None:
    known = [material(silicon).to_bson()]
    expected = {
        "isolated-atom": "isolated_atom",
        "relax-diamond": "bulk",
        "phonon-diamond-01": "single_displacement",
        "rattled-diamond-00": "rattled",
    }
    for name, kind in expected.items():
        raw = {**silicon[name], "calc_type": None}
        found = configuration_of(interpret(name, raw, "flat"), known)
        assert (found.config_type, found.config_type_from) == (kind, "geometry")


def test_an_isolated_atom(silicon: dict[str, Raw]) -> None:
    (found,) = configurations(silicon, ("isolated-atom",), material(silicon))
    assert (found.formula, found.n_atoms, found.material_id, found.stress) == ("Si", 1, None, None)
    assert found.displacement is None


def test_the_key_is_that_of_the_content(silicon: dict[str, Raw]) -> None:
    (alone,) = configurations(silicon, ("rattled-diamond-00",))
    (matched,) = configurations(silicon, ("rattled-diamond-00",), material(silicon))
    assert alone.configuration_id == matched.configuration_id == make_key("cfg", alone.identity())
    assert (alone.material_id, matched.material_id) == (None, "Si-A_cF8_227_a")


def test_what_the_match_depended_on(silicon: dict[str, Raw]) -> None:
    diamond, bc8 = material(silicon).to_bson(), material(silicon, "relax-bc8").to_bson()
    calculation = interpret("a", silicon["rattled-diamond-00"], "flat")
    matched = configuration_of(calculation, [bc8, diamond])
    assert matched.matching_hash == matching_hash([diamond]), "another crystal must not ask for a new match"
    assert configuration_of(calculation, [bc8]).matching_hash == matching_hash([bc8])
    moved = {**diamond, "structure": {**diamond["structure"], "pbc": [True, True, False]}}
    assert matching_hash([moved]) != matching_hash([diamond])
    assert matching_hash([{**diamond, "names": ["x"]}]) == matching_hash([diamond])


def test_an_unusable_calculation(silicon: dict[str, Raw]) -> None:
    raw = {**silicon["rattled-diamond-00"], "forces": None}
    with pytest.raises(ConfigurationError) as caught:
        configuration_of(interpret("a", raw, "flat"), [])
    assert caught.value.reason == "no_forces"


def test_a_doubtful_calculation_is_complete_with_reasons(silicon: dict[str, Raw]) -> None:
    raw = silicon["rattled-diamond-00"]
    good = configuration_of(interpret("a", raw, "flat"), [])
    assert good.quality == []
    doubtful = configuration_of(interpret("a", {**raw, "converged": False, "energy_kind": "internal"}, "flat"), [])
    assert [item.reason for item in doubtful.quality] == ["unconverged", "energy_kind"]
    assert doubtful.state == "complete"
    assert doubtful.configuration_id == good.configuration_id, "quality is no part of the key"
    forces = [[3 * value for value in row] for row in raw["forces"]]
    forces[0][0] += 200.0
    (drift, large) = sorted(
        configuration_of(interpret("a", {**raw, "forces": forces}, "flat"), []).quality, key=lambda item: item.reason
    )
    assert (drift.reason, drift.limit) == ("force_drift", 0.01)
    assert drift.value == pytest.approx(200 / 32, abs=1e-2)
    assert (large.reason, large.limit) == ("force_too_large", 100.0)
    assert large.value is not None
    assert large.value > 190


def test_a_single_atom_is_measured_against_its_images(silicon: dict[str, Raw]) -> None:
    (atom,) = configurations(silicon, ("isolated-atom",))
    assert atom.box_distance == pytest.approx(10.0)
    assert (atom.min_distance, atom.quality) == (None, [])


def test_a_displacement_of_several_atoms_is_refused(silicon: dict[str, Raw]) -> None:
    raw = {**silicon["rattled-diamond-00"], "calc_type": "phonon_displacement"}
    with pytest.raises(ConfigurationError, match="task a: is called a single displacement but 32 of its 32") as caught:
        configuration_of(interpret("a", raw, "flat"), [material(silicon).to_bson()])
    assert caught.value.reason == "not_single_displacement"
    alone = configuration_of(interpret("a", raw, "flat"), [])
    assert (alone.config_type, alone.config_type_from) == ("single_displacement", "metadata")


def test_a_displacement_of_no_atom_is_bulk(silicon: dict[str, Raw]) -> None:
    raw = {**silicon["relax-diamond"], "calc_type": "phonon_displacement"}
    found = configuration_of(interpret("a", raw, "flat"), [material(silicon).to_bson()])
    assert (found.config_type, found.config_type_from, found.displacement) == ("bulk", "geometry", None)
