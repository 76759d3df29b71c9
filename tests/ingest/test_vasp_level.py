from __future__ import annotations

from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from vasp import EMMET, LICL, load, need_real

from mlipdb.errors import ConfigurationError
from mlipdb.ingest.interpret import interpret, recognise
from mlipdb.ingest.vasp_level import element_of_titel, level_of
from mlipdb.schemas.level_of_theory import LevelOfTheory

Raw = dict[str, Any]
PBE = ["PAW_PBE Na_pv 19Sep2006", "PAW_PBE Cl 06Sep2000"]
SALT = bulk("NaCl", "rocksalt", a=5.7)


def level(incar: Raw | None = None, atoms: Atoms = SALT, **inputs: Any) -> LevelOfTheory:
    return level_of("t", atoms, {"incar": {"ENCUT": 520, **(incar or {})}, "potcars": PBE, **inputs})


def test_what_a_usual_input_gives() -> None:
    found = level({"GGA": "Ps", "ISPIN": 2}, kpoints={"mesh": [6, 6, 6]})
    assert found.label == "PBEsol, VASP, PAW, 520 eV, k-mesh >= 19 A, spin-polarised"
    assert found.pseudopotentials == {"Cl": "PAW_PBE Cl 06Sep2000", "Na": "PAW_PBE Na_pv 19Sep2006"}
    assert (found.cutoff_ev, found.k_length_class, found.spin_polarised) == (520.0, 19.0, True)
    assert found.level_id.startswith("lvl-")


@pytest.mark.parametrize(
    ("incar", "functional", "dispersion"),
    [
        ({}, "PBE", None),
        ({"GGA": "PE"}, "PBE", None),
        ({"GGA": "PS"}, "PBEsol", None),
        ({"GGA": "--", "METAGGA": "NONE"}, "PBE", None),
        ({"GGA": "rp"}, "RPBE", None),
        ({"GGA": "QQ"}, "GGA QQ", None),
        ({"METAGGA": "R2SCAN"}, "r2SCAN", None),
        ({"METAGGA": "R2SCA"}, "r2SCAN", None),
        ({"METAGGA": "F"}, "PBE", None),
        ({"METAGGA": "Scan", "LUSE_VDW": True, "BPARAM": 15.7}, "SCAN", "rVV10"),
        ({"GGA": "MK", "LUSE_VDW": ".TRUE.", "PARAM1": 0.1234, "PARAM2": 1.0}, "optB86b", "vdW-DF"),
        ({"GGA": "MK", "LUSE_VDW": True, "PARAM1": 0.1234, "PARAM2": 0.711357}, "rev-vdW-DF2", "vdW-DF"),
        ({"GGA": "BO", "LUSE_VDW": True, "PARAM1": 0.22}, "optB88 (PARAM1 0.22, PARAM2 1)", "vdW-DF"),
        ({"IVDW": 11}, "PBE", "D3(0)"),
        ({"IVDW": 12}, "PBE", "D3(BJ)"),
        ({"IVDW": 999}, "PBE", "IVDW 999"),
        ({"LHFCALC": True, "HFSCREEN": 0.2}, "HSE06", None),
        ({"LHFCALC": True, "HFSCREEN": 0.2, "AEXX": 0.3}, "HSE06 (AEXX 0.3)", None),
        ({"LHFCALC": True, "HFSCREEN": 0.3}, "HSE03", None),
        ({"LHFCALC": True}, "PBE0", None),
        ({"LHFCALC": True, "AEXX": 1.0}, "HF", None),
        ({"LHFCALC": True, "GGA": "B3", "AEXX": 0.2}, "B3LYP", None),
        ({"LHFCALC": True, "HFSCREEN": 0.11}, "hybrid PBE (AEXX 0.25, HFSCREEN 0.11)", None),
        ({"LHFCALC": "F", "HFSCREEN": 0.2}, "PBE", None),
        ({"LSORBIT": True}, "PBE + SOC", None),
        ({"LVDW": True}, "PBE", "D2"),
        ({"LVDW": True, "IVDW": 11}, "PBE", "D3(0)"),
        ({"LVDW": ".FALSE."}, "PBE", None),
        ({"GGA": "LIBXC", "LIBXC1": "GGA_X_PBE", "LIBXC2": 130}, "Libxc GGA_X_PBE + 130", None),
        ({"METAGGA": "LIBXC", "LIBXC1": 497, "LIBXC2": 498}, "Libxc 497 + 498", None),
        ({"GGA": "LI", "LIBXC1": 101, "LIBXC1_P1": 0.8}, "Libxc 101 LIBXC1_P1 0.8", None),
        ({"METAGGA": "SCAN", "LUSE_VDW": True, "BPARAM": 10.0}, "SCAN", "rVV10 (BPARAM 10)"),
        ({"METAGGA": "SCAN", "LUSE_VDW": True}, "SCAN", "rVV10 (BPARAM 6.3)"),
        ({"METAGGA": "R2SCAN", "LUSE_VDW": True, "BPARAM": 11.95}, "r2SCAN", "rVV10"),
        ({"GGA": "ML", "LUSE_VDW": True, "BPARAM": 6.3, "CPARAM": 0.01}, "rPW86", "rVV10 (CPARAM 0.01)"),
        ({"GGA": "ML", "LUSE_VDW": True}, "rPW86", "vdW-DF"),
    ],
)
def test_functionals(incar: Raw, functional: str, dispersion: str | None) -> None:
    found = level(incar)
    assert (found.functional, found.dispersion) == (functional, dispersion)


@pytest.mark.parametrize(
    ("potcars", "run_type", "functional"),
    [
        (["PAW Na 11Feb1998", "PAW Cl 17Jan2003"], None, "LDA"),
        (["PAW_GGA Na 11Feb1998", "PAW_GGA Cl 17Jan2003"], None, "PW91"),
        (["US Na", "US Cl"], None, "LDA"),
        ([], "PBESol", "PBEsol"),
        ([], "GGA+U", "PBE"),
        ([], "r2SCAN", "r2SCAN"),
    ],
)
def test_functional_without_a_tag(potcars: list[str], run_type: str | None, functional: str) -> None:
    assert level(potcars=potcars, run_type=run_type).functional == functional


def test_parameters_serve_where_the_incar_is_silent() -> None:
    inputs = {"parameters": {"GGA": "PS", "ENMAX": 400.0, "ISPIN": 2}, "potcars": PBE}
    found = level_of("t", SALT, inputs)
    assert (found.functional, found.cutoff_ev, found.spin_polarised) == ("PBEsol", 400.0, True)


@pytest.mark.parametrize(
    ("tags", "functional"),
    [
        ({}, "HSE06"),
        ({"AEXX": 0.25, "HFSCREEN": 0.2}, "HSE06"),
        ({"AEXX": 0.3}, "HSE06 (AEXX 0.3)"),
        ({"HFSCREEN": 0.11}, "hybrid PBE (AEXX 0.25, HFSCREEN 0.11)"),
    ],
)
def test_a_hybrid_known_by_its_run_type(tags: Raw, functional: str) -> None:
    assert level({"LHFCALC": True, **tags}, potcars=[], run_type="HSE06").functional == functional


def test_libxc_without_its_functionals() -> None:
    for tag in ("GGA", "METAGGA"):
        with pytest.raises(ConfigurationError) as caught:
            level({tag: "LIBXC"})
        assert caught.value.reason == "no_level"


@pytest.mark.parametrize(
    ("incar", "neutral", "charged"),
    [
        ({"NELECT": 13.0}, 14.0, True),
        ({"NELECT": 14.0}, 14.0, False),
        ({"NELECT": 13.0}, None, True),
        ({}, 14.0, False),
        ({}, None, False),
    ],
)
def test_a_charged_cell_is_refused(incar: Raw, neutral: float | None, charged: bool) -> None:
    inputs = {"neutral_electrons": neutral, "parameters": {"NELECT": 14.0}}
    if not charged:
        assert level(incar, **inputs).level_id == level().level_id
        return
    with pytest.raises(ConfigurationError, match="13 electrons") as caught:
        level(incar, **inputs)
    assert caught.value.reason == "charged"


def test_nothing_tells_the_functional() -> None:
    with pytest.raises(ConfigurationError) as caught:
        level(potcars=None)
    assert caught.value.reason == "no_level"


def test_hubbard_u_by_element() -> None:
    incar = {"LDAU": True, "LDAUU": [3.5, 0.0], "LDAUJ": [0.5, 0.0]}
    assert level(incar).hubbard_u == {"Na": 3.0}
    assert level({**incar, "LDAUU": "3.5 0", "LDAUJ": "0.5 0"}).hubbard_u == {"Na": 3.0}
    assert level({**incar, "LDAU": False}).hubbard_u == {}
    assert level(hubbards={"Na": 3.0, "Cl": 0.0, "Zr": 4.0}).level_id == level(incar).level_id
    assert level({**incar, "LDAUTYPE": 1}).functional == "PBE (LDAUTYPE 1, J Na 0.5)"
    # Where J counts by itself, the same U - J is another level.
    assert level({**incar, "LDAUTYPE": 1, "LDAUU": [3.0, 0.0], "LDAUJ": [0.0, 0.0]}).functional == "PBE (LDAUTYPE 1)"
    assert level({**incar, "LDAUL": [-1, -1]}).level_id == level().level_id
    assert level({**incar, "LDAUL": [-1, 2]}, hubbards={"Na": 3.0, "Cl": 1.0}).hubbard_u == {"Cl": 1.0}
    assert level({**incar, "LDAUL": "2 -1"}).hubbard_u == {"Na": 3.0}
    sodium = Atoms("Na", cell=[4, 4, 4], pbc=True)
    assert level({"LDAU": True, "LDAUU": 3, "LDAUJ": 0.5}, sodium, potcars=PBE[:1]).hubbard_u == {"Na": 2.5}
    assert level({**incar, "LDAUTYPE": [2]}).functional == "PBE"


def test_one_spacing_is_one_level_whatever_the_cell() -> None:
    mesh = {"generation_style": "Gamma", "kpoints": [[10, 10, 10]]}
    small = level({"KSPACING": 0.2}, kpoints=mesh)
    large = level({"KSPACING": 0.2}, atoms=SALT * 3, kpoints={"mesh": [4, 4, 4]})
    assert small.level_id == large.level_id
    assert small.label == "PBE, VASP, PAW, 520 eV, KSPACING 0.2"
    assert small.k_length_class == 26.9
    # A KPOINTS file has the last word.
    other = level({"KSPACING": 0.2}, kpoints={"mesh": [3, 3, 3]})
    assert other.k_spacing is None
    assert "k-mesh" in other.label
    # A list of points is a KPOINTS file as well.
    listed = level({"KSPACING": 0.2}, kpoints={"generation_style": "Reciprocal", "kpoints": [[0, 0, 0], [0.5, 0, 0]]})
    assert (listed.k_spacing, listed.k_length_class) == (None, None)
    # Where nothing tells the mesh, the spacing does; the default of VASP in the parameters is no word of the user.
    assert level({"KSPACING": 0.2}).k_spacing == 0.2
    assert level(parameters={"KSPACING": 0.5}).k_length_class is None


@pytest.mark.parametrize(
    ("kpoints", "expected"),
    [
        ({"generation_style": "Monkhorst", "kpoints": [[6, 6, 6]]}, 19.0),
        ({"generation_style": "Automatic", "kpoints": [[40]]}, 38.0),
        ({"generation_style": "Reciprocal", "kpoints": [[0, 0, 0], [0.5, 0, 0]]}, None),
        ({"generation_style": "Line_mode", "kpoints": [[0, 0, 0]]}, None),
        (None, None),
    ],
)
def test_kinds_of_k_points(kpoints: Raw | None, expected: float | None) -> None:
    assert level(kpoints=kpoints).k_length_class == expected


def test_an_atom_in_a_box_has_no_k_density() -> None:
    atom = Atoms("Cl", cell=[15, 15, 15], pbc=True)
    assert level(atoms=atom, kpoints={"mesh": [1, 1, 1]}).k_length_class is None
    assert level(atoms=atom).pseudopotentials == {"Cl": "PAW_PBE Cl 06Sep2000"}


def test_two_species_of_one_element() -> None:
    both = [*PBE, "PAW_PBE Cl_h 08Apr2002", "PAW_PBE Cl 06Sep2000"]
    assert level(potcars=both).pseudopotentials["Cl"] == "PAW_PBE Cl 06Sep2000 + PAW_PBE Cl_h 08Apr2002"
    assert [element_of_titel(t) for t in ("PAW_PBE H1.25 07Sep2000", "Li_sv", "")] == ["H", "Li", ""]


@pytest.mark.parametrize(
    ("incar", "reason"),
    [
        ({"ICHARG": 11}, "not_self_consistent"),
        ({"ALGO": "GW0"}, "not_self_consistent"),
        ({"ALGO": "None"}, "not_self_consistent"),
        ({"ML_LMLFF": True}, "force_field"),
        ({"ENCUT": "high"}, "bad_level"),
        ({"ENCUT": -1}, "bad_level"),
        ({"ENCUT": float("nan")}, "bad_level"),
        ({"ISPIN": "two"}, "bad_level"),
        ({"KSPACING": 0}, "bad_level"),
    ],
)
def test_inputs_that_make_no_label(incar: Raw, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        level(incar)
    assert caught.value.reason == reason


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
TAGS = st.sampled_from(["ENCUT", "GGA", "ISPIN", "LDAU", "LDAUU", "LDAUJ", "IVDW", "METAGGA", "LHFCALC", "AEXX",
                        "KSPACING", "LUSE_VDW", "PARAM1", "ICHARG", "ALGO", "LDAUL", "LDAUTYPE", "NELECT", "LVDW",
                        "LIBXC1", "BPARAM", "IVDW_NL"])  # fmt: skip


@given(st.dictionaries(TAGS, ANYTHING), ANYTHING, ANYTHING, ANYTHING)
@settings(deadline=None, max_examples=150)
def test_anything_gives_a_level_or_a_reason(incar: Raw, kpoints: Any, potcars: Any, hubbards: Any) -> None:
    inputs = {"incar": incar, "kpoints": kpoints, "potcars": potcars, "hubbards": hubbards}
    try:
        outcome = level_of("t", SALT, inputs).level_id[:4]
    except ConfigurationError as error:
        outcome = error.reason
    assert outcome in {"lvl-", "bad_level", "no_level", "not_self_consistent", "force_field", "charged"}


@need_real
def test_the_levels_of_real_calculations() -> None:
    labels: dict[str, LevelOfTheory] = {}
    refused = []
    for path in (LICL / "tasks.jsonl.gz", *sorted(EMMET.glob("*.gz"))):
        for doc in load(path):
            source_format, task_id = recognise(doc)
            try:
                labels[doc["task_id"] or doc["task_label"]] = interpret(task_id, doc, source_format).level
            except ConfigurationError as error:
                refused.append((error.reason, doc["task_type"]))
    assert refused == [("not_self_consistent", "NSCF Uniform")]
    assert labels["rand_static_1"].label == "PBEsol, VASP, PAW, 700 eV, k-mesh >= 19 A"
    assert labels["Cl-statisoatom"].label == "PBEsol, VASP, PAW, 680 eV, spin-polarised"
    assert labels["mp-2766060"].label == "PBEsol, VASP, PAW, 680 eV, KSPACING 0.22, spin-polarised"
    assert labels["mp-637730"].hubbard_u == {"Co": 3.32}
    assert labels["mp-637730"].pseudopotentials["Te"] == "PAW_PBE Te 08Apr2002"
    assert labels["mp-2345130"].functional == "PBE"
    atoms, crystal = [labels["Cl-statisoatom"], labels["Li-statisoatom"]], labels["rand_static_1"]
    assert len({labels[name].level_id for name in labels if "static_" in name or "relax" in name}) == 1
    assert all(atom.agrees(crystal, atom=True) for atom in atoms)
    assert not any(atom.agrees(crystal) for atom in atoms)
