from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from phonopy_runs import CUBIC, phonopy_run

from mlipdb.errors import IngestError
from mlipdb.ingest.phonopy_text import read_phonopy_text

NAME = "phonopy_params.yaml"
BOTH = {"force_sets": True, "displacements": True, "force_constants": True}


@pytest.fixture(scope="module")
def text() -> str:
    """Copper in its cubic cell: four atoms, one displacement, 32 forces."""
    return str(phonopy_run(bulk("Cu", cubic=True), CUBIC).to_phonopy_yaml(settings={"force_sets": True}))


def refused(text: str, reason: str, **others: str) -> str:
    with pytest.raises(IngestError) as caught:
        read_phonopy_text({NAME: text, **others})
    assert caught.value.reason == reason
    return str(caught.value.message)


def test_cells_displacements_and_forces(text: str) -> None:
    found = read_phonopy_text({NAME: text})
    assert (len(found.unitcell), len(found.supercell), len(found.displacements)) == (4, 32, 1)
    assert found.supercell_matrix.tolist() == CUBIC
    assert found.distance == pytest.approx(0.01)
    assert found.forces is not None
    assert found.forces.shape == (1, 32, 3)
    # The displaced atom is pulled back.
    atom, vector = found.displacements[0]
    assert found.forces[0, atom] @ vector < 0
    assert found.force_constants is None
    assert (found.calculator, found.born_charges) == (None, False)


@pytest.mark.parametrize("units", ["qe", "cp2k", "abinit", "wien2k", "elk"])
def test_units_are_converted(text: str, units: str) -> None:
    other = phonopy_run(bulk("Cu", cubic=True), CUBIC, units=units)
    found, expected = read_phonopy_text({NAME: str(other.to_phonopy_yaml())}), read_phonopy_text({NAME: text})
    assert found.calculator == units
    assert np.allclose(found.unitcell.cell.array, expected.unitcell.cell.array, atol=1e-6)
    assert found.forces is not None
    assert expected.forces is not None
    assert np.allclose(found.forces, expected.forces, atol=1e-6)


@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("units", [None, "qe", "cp2k"])
def test_force_constants_alone(compact: bool, units: str | None) -> None:
    phonopy = phonopy_run(bulk("Cu", cubic=True), CUBIC, units=units)
    phonopy.produce_force_constants(calculate_full_force_constants=not compact, show_drift=False)
    settings = {"force_sets": False, "displacements": False, "force_constants": True}
    found = read_phonopy_text({NAME: str(phonopy.to_phonopy_yaml(settings=settings))})
    expected = phonopy_run(bulk("Cu", cubic=True), CUBIC)
    expected.produce_force_constants(calculate_full_force_constants=True, show_drift=False)
    assert found.forces is None
    assert found.displacements == []
    assert found.force_constants is not None
    assert np.allclose(found.force_constants, expected.force_constants, atol=1e-5)


def test_forces_are_taken_before_force_constants(text: str) -> None:
    phonopy = phonopy_run(bulk("Cu", cubic=True), CUBIC)
    phonopy.produce_force_constants(show_drift=False)
    found = read_phonopy_text({NAME: str(phonopy.to_phonopy_yaml(settings=BOTH))})
    assert found.force_constants is None
    assert found.forces is not None


def test_force_sets_and_force_constants_files(tmp_path: Path) -> None:
    from phonopy.file_IO import write_FORCE_CONSTANTS, write_FORCE_SETS

    phonopy = phonopy_run(bulk("Cu", cubic=True), CUBIC)
    phonopy.produce_force_constants(show_drift=False)
    write_FORCE_SETS(phonopy.dataset, filename=str(tmp_path / "FORCE_SETS"))
    write_FORCE_CONSTANTS(phonopy.force_constants, filename=str(tmp_path / "FORCE_CONSTANTS"))
    bare = str(phonopy.to_phonopy_yaml(settings={"force_sets": False, "displacements": True}))
    assert "forces:" not in bare
    sets = {kind: (tmp_path / kind).read_text() for kind in ("FORCE_SETS", "FORCE_CONSTANTS")}
    found = read_phonopy_text({NAME: bare, "FORCE_SETS": sets["FORCE_SETS"]})
    assert found.forces is not None
    assert np.allclose(found.forces, phonopy.forces, atol=1e-9)
    alone = read_phonopy_text({NAME: bare, "FORCE_CONSTANTS": sets["FORCE_CONSTANTS"]})
    assert alone.force_constants is not None
    assert np.allclose(alone.force_constants, phonopy.force_constants, atol=1e-9)
    assert "no forces and no force constants" in refused(bare, "no_forces")
    lines = sets["FORCE_SETS"].splitlines()
    assert "34 lines" in refused(bare, "wrong_shape", FORCE_SETS="\n".join(lines[:-1]))
    refused(bare, "bad_phonopy_file", FORCE_SETS="32\nmany\n")
    refused(bare, "wrong_shape", FORCE_SETS=sets["FORCE_SETS"].replace(lines[-1], "0.0 x 0.0"))
    refused(bare, "not_finite", FORCE_SETS=sets["FORCE_SETS"].replace(lines[-1], "0.0 nan 0.0"))
    refused(bare, "many_displaced_atoms", FORCE_SETS="0 0 0.01 0 0 0\n" * 32)


def test_sets_with_one_moving_atom_each_in_the_general_form() -> None:
    phonopy = phonopy_run(bulk("Cu", cubic=True), CUBIC)
    expected = read_phonopy_text({NAME: str(phonopy.to_phonopy_yaml())})
    from phonopy.structure.dataset import get_displacements_and_forces

    moved, forces = get_displacements_and_forces(phonopy.dataset)
    phonopy.dataset = {"displacements": moved, "forces": forces}
    general = str(phonopy.to_phonopy_yaml())
    assert "dataset:" in general
    found = read_phonopy_text({NAME: general})
    assert found.displacements[0][0] == expected.displacements[0][0]
    assert found.forces is not None
    assert np.allclose(found.forces, np.array(expected.forces), atol=1e-12)


def test_many_displaced_atoms() -> None:
    phonopy = phonopy_run(bulk("Cu", cubic=True), CUBIC)
    moved = np.random.default_rng(1).normal(0, 0.01, (2, 32, 3))
    phonopy.dataset = {"displacements": moved, "forces": moved}
    message = refused(str(phonopy.to_phonopy_yaml()), "many_displaced_atoms")
    assert "displaces 32 atoms" in message
    # With the force constants fitted to them there is something to go on with.
    phonopy.force_constants = np.zeros((32, 32, 3, 3))
    found = read_phonopy_text({NAME: str(phonopy.to_phonopy_yaml(settings=BOTH))})
    assert found.force_constants is not None


def test_born_charges_are_seen(text: str) -> None:
    more = text + "\nnac:\n  born_effective_charge: [[[1, 0, 0], [0, 1, 0], [0, 0, 1]]]\n"
    assert read_phonopy_text({NAME: more}).born_charges


FORCE_ROW = r"  - \[ [-0-9., ]+\]\n"


@pytest.mark.parametrize(
    ("pattern", "replacement", "reason"),
    [
        (r"(  forces:\n)" + FORCE_ROW, r"\1", "wrong_shape"),
        (r"(  forces:\n)" + FORCE_ROW, r"\1  - [ nan, 0.0, 0.0 ]\n", "not_finite"),
        (r"(  forces:\n)" + FORCE_ROW, r"\1  - [ 1e300, 0.0, 0.0 ]\n", "force_too_large"),
        (r"(  forces:\n)" + FORCE_ROW, r"\1  - [ 1e999, 0.0, 0.0 ]\n", "not_finite"),
        (r"(  forces:\n)" + FORCE_ROW, r"\1  - [ 1.0, 0.0 ]\n", "wrong_shape"),
        (r"(  forces:\n)" + FORCE_ROW, r"\1  - [ a, b, c ]\n", "wrong_shape"),
        (r"- atom: +\d+", "- atom: 77", "bad_displacement"),
        (r"- atom: +\d+", "- atom: 0", "bad_displacement"),
        (r"  displacement:\n.*\n", "  displacement: [0.0, 0.0, 0.0]\n", "bad_displacement"),
        (r"  displacement:\n.*\n", "  displacement: [3.0, 0.0, 0.0]\n", "bad_displacement"),
        (r"supercell_matrix:\n- .*\n", "supercell_matrix:\n- [3, 0, 0]\n", "bad_supercell"),
        (r"supercell_matrix:\n- .*\n", "supercell_matrix:\n- [0, 0, 0]\n", "bad_phonopy_file"),
        (r"supercell_matrix:\n- .*\n", "supercell_matrix:\n- [900, 0, 0]\n", "too_large"),
        (r"supercell_matrix:\n- .*\n", "supercell_matrix:\n- [1e300, 0, 0]\n", "bad_phonopy_file"),
        (r"supercell_matrix:\n- .*\n", "supercell_matrix:\n- [2.5, 0, 0]\n", "bad_phonopy_file"),
        (r"(unit_cell:\n  lattice:\n  - ).*", r"\1[1e-9, 0, 0]", "bad_cell"),
        (r"(unit_cell:\n  lattice:\n  - ).*", r"\1[0, 0, 0]", "bad_cell"),
        (r"(unit_cell:\n  lattice:\n  - ).*", r"\1[1e200, 0, 0]", "bad_cell"),
        (r"(unit_cell:\n(?:.*\n)*?  - symbol: )Cu", r"\1Xx", "bad_element"),
        (r"(unit_cell:\n(?:.*\n)*?  - symbol: )Cu", r"\1Ag", "bad_supercell"),
        (r"(supercell:\n(?:.*\n)*?    coordinates: ).*", r"\1[ 0.1, 0.0, 0.0 ]", "bad_supercell"),
        (r"unit_cell:", "unit_call:", "bad_phonopy_file"),
        (r"(unit_cell:\n(?:.*\n)*?  points:)\n", r"\1 7\nrest:\n", "bad_phonopy_file"),
        (r"displacements:\n", "displacements: 12\nrest:\n", "bad_phonopy_file"),
        (r"phonopy:", "phonopy: !!python/object/apply:os.system ['exit 1']\nother:", "bad_yaml"),
    ],
)
def test_bad_files(text: str, pattern: str, replacement: str, reason: str) -> None:
    changed, count = re.subn(pattern, replacement, text, count=1)
    assert count == 1
    refused(changed, reason)


def test_a_displacement_without_forces() -> None:
    text = str(phonopy_run(bulk("NiAl", "cesiumchloride", a=2.9), CUBIC, primitive="P").to_phonopy_yaml())
    assert text.count("  forces:\n") == 2
    cut = re.sub(r"  forces:\n(" + FORCE_ROW + ")+", "", text, count=1)
    assert "no forces for displacement 1 (1 of 2)" in refused(cut, "missing_forces")


@pytest.mark.parametrize("text", ["[1, 2]", "a: 1", "7", "unit_cell: 7\nsupercell_matrix: x"])
def test_other_yaml(text: str) -> None:
    refused(text, "bad_phonopy_file")


def test_sites_of_mixed_occupation(text: str) -> None:
    changed = re.sub(r"(unit_cell:\n(?:.*\n)*?  - symbol: Cu.*\n)", r"\1    weight: 0.5\n", text, count=1)
    refused(changed, "disordered")


def test_force_sets_of_another_run(tmp_path: Path) -> None:
    from phonopy.file_IO import write_FORCE_SETS

    phonopy = phonopy_run(bulk("Cu", cubic=True), CUBIC)
    write_FORCE_SETS(phonopy.dataset, filename=str(tmp_path / "FORCE_SETS"))
    sets = (tmp_path / "FORCE_SETS").read_text()
    bare = str(phonopy.to_phonopy_yaml(settings={"force_sets": False, "displacements": True}))
    other = str(
        phonopy_run(bulk("Cu", cubic=True), CUBIC, distance=0.03).to_phonopy_yaml(settings={"force_sets": False})
    )
    assert read_phonopy_text({NAME: bare, "FORCE_SETS": sets}).forces is not None
    assert "number 1 is the first" in refused(other, "other_displacements", FORCE_SETS=sets)
    atom = re.sub(r"- atom: +\d+", "- atom: 9", bare)
    refused(atom, "other_displacements", FORCE_SETS=sets)
    block = sets.splitlines()[2:]
    twice = "\n".join(["32", "2", *block, *block])
    assert "2 in place of 1" in refused(bare, "other_displacements", FORCE_SETS=twice)
    without = bare[: bare.index("displacements:")]
    assert read_phonopy_text({NAME: without, "FORCE_SETS": sets}).forces is not None
