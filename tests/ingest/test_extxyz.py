from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from ingest_corpus import LEVEL, frames

from mlipdb.errors import IngestError
from mlipdb.ingest.extxyz import claims, labels_of, parts, read
from mlipdb.ingest.files import Record
from mlipdb.ingest.interpret import interpret

Raw = dict[str, Any]
CELL = np.diag([4.0, 5.0, 6.0]) + 0.3
STRESS = np.array([0.01, -0.02, 0.03, 0.004, 0.005, -0.006])
MATRIX = np.array([[0.01, -0.006, 0.005], [-0.006, -0.02, 0.004], [0.005, 0.004, 0.03]])
VIRIAL = -abs(np.linalg.det(CELL)) * MATRIX


def comment(**keys: Any) -> str:
    def text(value: Any) -> str:
        return f'"{" ".join(map(repr, np.ravel(value).tolist()))}"' if isinstance(value, np.ndarray) else str(value)

    pairs = " ".join(f"{name}={text(value)}" for name, value in keys.items())
    return f'Lattice="{" ".join(map(str, CELL.ravel()))}" pbc="T T T" {pairs}'


def frame(prefix: str = "", columns: str | None = None, **keys: Any) -> str:
    columns = columns or f"species:S:1:pos:R:3:{prefix}forces:R:3"
    rows = "Si 0 0 0 0.1 0.2 0.3\nSi 1 2 2 -0.1 -0.2 -0.3\n"
    if columns.endswith("pos:R:3"):
        rows = "Si 0 0 0\nSi 1 2 2\n"
    return f"2\nProperties={columns} {comment(**{**LEVEL, **keys})}\n{rows}"


def records(tmp_path: Path, text: str) -> list[Record]:
    path = tmp_path / "a.extxyz"
    path.write_text(text)
    return list(read(path))


def only(tmp_path: Path, text: str) -> Raw:
    (record,) = records(tmp_path, text)
    assert record.problem is None
    assert record.raw is not None
    return record.raw


def problem(tmp_path: Path, text: str) -> IngestError:
    (record,) = records(tmp_path, text)
    assert record.problem is not None
    return record.problem


@pytest.mark.parametrize("prefix", ["", "REF_"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("stress", STRESS), ("stress", MATRIX), ("virial", VIRIAL), ("virials", VIRIAL)],
)
def test_every_form_of_a_stress(tmp_path: Path, prefix: str, key: str, value: np.ndarray) -> None:
    raw = only(tmp_path, frame(prefix, **{f"{prefix}energy": -1.5, f"{prefix}{key}": value}))
    assert raw["energy"] == -1.5
    assert raw["forces"] == [[0.1, 0.2, 0.3], [-0.1, -0.2, -0.3]]
    np.testing.assert_allclose(raw["stress"], STRESS, rtol=1e-12)
    assert raw["label_keys"] == {"energy": f"{prefix}energy", "forces": f"{prefix}forces", "stress": f"{prefix}{key}"}
    calculation = interpret(raw["task_id"], raw, "extxyz")
    np.testing.assert_allclose(calculation.atoms.cell.array, CELL)
    np.testing.assert_allclose(calculation.atoms.positions, [[0, 0, 0], [1, 2, 2]], atol=1e-12)


def test_stress_and_virial_must_be_one(tmp_path: Path) -> None:
    keys = {"energy": -1.0, "virial": VIRIAL}
    np.testing.assert_allclose(only(tmp_path, frame(stress=STRESS, **keys))["stress"], STRESS)
    raw = only(tmp_path, frame(stress=-STRESS, **keys))
    np.testing.assert_allclose(raw["stress"], STRESS)
    assert raw["notes"] == ["stress has compression positive; its sign was taken from virial"]
    error = problem(tmp_path, frame(stress=STRESS * 160.2, **keys))
    assert error.reason == "stress_mismatch"
    assert "a.extxyz frame 1: its stress is not -virial / volume" in error.message


def test_a_stress_that_is_not_symmetric(tmp_path: Path) -> None:
    wrong = MATRIX.copy()
    wrong[0, 1] = 0.5
    assert problem(tmp_path, frame(energy=-1.0, stress=wrong)).reason == "stress_mismatch"


def test_ref_keys_win_whole(tmp_path: Path) -> None:
    columns = "species:S:1:pos:R:3:forces:R:3"
    raw = only(tmp_path, frame(columns=columns, energy=-9.0, REF_energy=-1.0, stress=STRESS))
    assert raw["energy"] == -1.0
    assert raw["forces"] is None
    assert raw["stress"] is None
    assert raw["notes"] == ["the REF_ keys were read; the bare energy and forces beside them were not"]


def test_the_free_energy_belongs_to_the_forces(tmp_path: Path) -> None:
    assert only(tmp_path, frame(energy=-1.0, free_energy=-1.25))["energy"] == -1.25


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (frame(columns="species:S:1:pos:R:3"), "no_labels"),
        (frame(energy="hello"), "bad_number"),
        (frame(energy=-1.0, stress="1"), "wrong_shape"),
        (frame(energy=-1.0, cutoff_ev="high"), "bad_level"),
        (frame(energy=-1.0, pbc='"T T F"').replace('pbc="T T T" ', ""), "partly_periodic"),
        (frame(energy=-1.0).replace("Lattice=", "Other="), "bad_cell"),
        (frame(energy=-1.0).replace("Si 1", "Qq 1"), "bad_extxyz"),
        (frame(energy=-1.0).replace("0.3\n", "0.3 0.4\n"), "bad_extxyz"),
        (frame(energy=-1.0).replace("-0.3", "many"), "bad_extxyz"),
        ("2\n" + "x" * 10, "truncated"),
        ("0\n\n", "bad_extxyz"),
        ("99999999\n\n", "bad_extxyz"),
        ("hello\n", "bad_extxyz"),
    ],
)
def test_frames_that_cannot_be_read(tmp_path: Path, text: str, reason: str) -> None:
    assert reason_of(tmp_path, text) == reason


def reason_of(tmp_path: Path, text: str) -> str:
    try:
        return problem(tmp_path, text).reason
    except IngestError as error:  # the file, not a frame of it
        return error.reason


def test_frames_around_a_bad_one_are_read(tmp_path: Path) -> None:
    found = records(tmp_path, frame(energy=-1.0) + "\n" + frame(energy="x") + frame(energy=-3.0))
    assert [(item.item, item.raw and item.raw["energy"]) for item in found] == [("1", -1.0), ("2", None), ("3", -3.0)]


def test_a_file_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.xyz.gz"
    path.write_bytes(gzip.compress("".join(frame(energy=-float(number)) for number in range(50)).encode()))
    whole = list(read(path))
    monkeypatch.setattr("mlipdb.ingest.extxyz.PART_BYTES", 1000)
    assert len(list(parts(path))) > 5
    assert list(read(path)) == whole
    assert [item.item for item in whole] == [str(number) for number in range(1, 51)]


@pytest.mark.parametrize("box", [None, 12.0])
def test_an_isolated_atom_by_geometry(tmp_path: Path, box: float | None) -> None:
    atoms = Atoms("Cl", cell=None if box is None else [box] * 3, pbc=box is not None)
    atoms.info.update(REF_energy=-0.3, config_type="anything", **LEVEL)
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    (record,) = read(tmp_path / "a.xyz")
    assert record.raw is not None
    assert record.raw["config_type"] == "isolated_atom"
    assert record.raw["forces"] == [[0.0, 0.0, 0.0]]
    calculation = interpret("x", record.raw, "extxyz")
    assert calculation.config_type == "isolated_atom"
    assert bool(calculation.atoms.pbc.all()) is (box is not None)


def test_words_for_kinds(tmp_path: Path) -> None:
    raw = only(tmp_path, frame(energy=-1.0, config_type="IsolatedAtom", material="rock_salt", material_id="mp-1"))
    assert (raw["config_type"], raw["config_name"], raw["material"]) == ("isolated_atom", "IsolatedAtom", "rock_salt")
    assert interpret("x", only(tmp_path, frame(energy=-1.0, config_type="dia_300K")), "extxyz").config_type is None


def test_ids_are_of_the_content(tmp_path: Path) -> None:
    first = only(tmp_path, frame(energy=-1.0))["task_id"]
    assert only(tmp_path, frame(energy=-1.0, functional="PBEsol", config_type="bulk"))["task_id"] == first
    assert only(tmp_path, frame(energy=-1.1))["task_id"] != first
    assert only(tmp_path, frame(energy=-1.0, task_id="mine"))["task_id"] == "mine"
    assert first.startswith("extxyz-")
    assert len(first) == len("extxyz-") + 20


def test_what_is_claimed(tmp_path: Path) -> None:
    for name, text, expected in (
        ("a.xyz", frame(energy=1), True),
        ("b.xyz", "1\nwater\nO 0 0 0\n", False),
        ("c.extxyz", "", True),
        ("d.txt", frame(energy=1), False),
    ):
        (tmp_path / name).write_text(text)
        assert claims(tmp_path / name, None) is expected
    assert not claims(tmp_path, frozenset({"a.xyz"}))


def test_what_ase_writes_is_read(tmp_path: Path) -> None:
    (atoms,) = frames(1)
    write(tmp_path / "a.xyz", atoms, format="extxyz")
    (record,) = read(tmp_path / "a.xyz")
    assert record.raw is not None
    assert record.raw["stress"] == pytest.approx(atoms.get_stress().tolist(), abs=1e-8)
    energy, forces, _, _, _ = labels_of({"energy": 1, "forces": np.zeros((8, 3))}, atoms)
    assert (energy, forces is not None) == (1.0, True)


def test_a_frame_of_long_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlipdb.ingest.extxyz.MAX_FRAME", 2000)
    path = tmp_path / "a.extxyz"
    path.write_text(frame(energy=-1.0) + "9\n" + ("x" * 500 + "\n") * 10)
    found = parts(path)
    assert next(found)[0] == 1
    with pytest.raises(IngestError, match="frame 2 of 9 atoms is longer than") as caught:
        next(found)
    assert caught.value.reason == "too_large"
