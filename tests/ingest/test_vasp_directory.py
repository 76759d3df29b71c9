from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vasp import LICL, Run, load, need_real
from workbench import Workbench

from mlipdb.derive.configurations import configuration_of
from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest.add import add_paths
from mlipdb.ingest.calculation import Calculation, require_good
from mlipdb.ingest.files import Record
from mlipdb.ingest.interpret import interpret, recognise
from mlipdb.ingest.prepare import prepare
from mlipdb.ingest.sources import claimed_by
from mlipdb.ingest.vasp_directory import NAME, claims, read
from mlipdb.ingest.walk import walk
from mlipdb.schemas.configuration import Configuration

Raw = dict[str, Any]


def record_of(path: Path) -> Record:
    (record,) = read(path)
    return record


def calculation_of(path: Path) -> Calculation:
    raw = record_of(path).raw
    assert raw is not None
    return interpret(raw["task_id"], raw, NAME)


def configuration(calculation: Calculation) -> Configuration:
    """The configuration; its kind, which takes no part in its key and some time to tell, is given."""
    return configuration_of(replace(calculation, config_type=calculation.config_type or "other"), [])


def key_of_document(doc: Raw) -> str:
    source_format, task_id = recognise(doc)
    return configuration(interpret(task_id, doc, source_format)).configuration_id


def key_of_directory(path: Path) -> str:
    return configuration(calculation_of(path)).configuration_id


def names(path: Path) -> frozenset[str]:
    return frozenset(file.name for file in path.iterdir())


def test_a_directory_and_its_documents_are_one_configuration(tmp_path: Path) -> None:
    for run in (Run(), Run(ionic=3), Run(mesh=None)):
        folder = run.write(tmp_path / f"{run.ionic}{run.mesh}")
        keys = {key_of_directory(folder), key_of_document(run.document()), key_of_document(run.jobflow())}
        assert len(keys) == 1


def test_what_a_directory_gives(tmp_path: Path) -> None:
    folder = Run(ionic=2).write(tmp_path / "rand_static_3")
    assert claims(folder, names(folder))
    assert claimed_by(folder, names(folder)) == NAME
    record = record_of(folder)
    assert record.raw is not None
    assert (record.format, record.item, record.path) == (NAME, "vasprun.xml.gz", folder)
    assert record.raw["config_type"] == "rattled"
    (source,) = record.raw["source_files"]
    assert (source["name"], source["bytes"]) == ("vasprun.xml.gz", (folder / "vasprun.xml.gz").stat().st_size)
    calculation = calculation_of(folder)
    require_good(calculation)
    assert calculation.level.label == "PBEsol, VASP, PAW, 520 eV, k-mesh >= 19 A"


def test_a_moved_directory_keeps_its_id(tmp_path: Path) -> None:
    first = Run().write(tmp_path / "a")
    ids = [record_of(first).raw["task_id"]]  # type: ignore[index]
    shutil.move(first, tmp_path / "rand_static_1")
    ids.append(record_of(tmp_path / "rand_static_1").raw["task_id"])  # type: ignore[index]
    plain = tmp_path / "b"
    plain.mkdir()
    (plain / "vasprun.xml").write_text(Run().vasprun())
    ids.append(record_of(plain).raw["task_id"])  # type: ignore[index]
    assert len(set(ids)) == 1
    assert ids[0].startswith(f"{NAME}-")


def test_a_renamed_or_copied_directory_is_left_alone(bench: Workbench, tmp_path: Path) -> None:
    first = Run().write(tmp_path / "rand_static_1")
    report = add_paths(bench.database, [first])
    assert (report.added, report.problems) == (1, [])
    shutil.copytree(first, tmp_path / "copy")
    shutil.move(first, tmp_path / "tight_relax_1")
    report = add_paths(bench.database, [tmp_path / "copy", tmp_path / "tight_relax_1"])
    assert (report.added, report.updated, report.unchanged, report.problems) == (0, 0, 2, [])
    (task,) = bench.docs("tasks")
    assert task["raw"]["config_type"] == "rattled"


def test_the_energy_under_a_pressure_may_be_the_enthalpy(tmp_path: Path) -> None:
    run = Run()
    run.incar["PSTRESS"] = 1000.0
    folder = run.write(tmp_path / "run")
    raw = record_of(folder).raw
    assert raw is not None
    assert raw["vasp_inputs"]["parameters"]["PSTRESS"] == 1000.0
    assert "PSTRESS = 1000 kB" in raw["energy_kind"]
    assert calculation_of(folder).energy_kind == "unknown"
    problem = prepare(record_of(folder)).understood.problem
    assert problem is not None
    assert "PSTRESS" in problem
    with pytest.raises(ConfigurationError) as caught:
        require_good(calculation_of(folder))
    assert caught.value.reason == "energy_kind"
    assert calculation_of(Run().write(tmp_path / "other")).energy_kind == "free"


def test_a_charged_cell_is_refused(tmp_path: Path) -> None:
    run = Run()
    run.incar["NELECT"] = 1.5  # its POTCARs add up to two electrons
    with pytest.raises(ConfigurationError) as caught:
        calculation_of(run.write(tmp_path / "run"))
    assert caught.value.reason == "charged"
    run.incar["NELECT"] = 2.0
    assert calculation_of(run.write(tmp_path / "neutral")).energy == run.energy


def test_a_folder_called_md_holds_other_runs(tmp_path: Path) -> None:
    assert record_of(Run().write(tmp_path / "md" / "1")).raw.get("config_type") is None  # type: ignore[union-attr]
    run = Run(ionic=5)
    run.incar.update({"NSW": 5, "IBRION": 0})
    raw = record_of(run.write(tmp_path / "md" / "2")).raw
    assert raw is not None
    assert raw["config_type"] == "molecular_dynamics"


def test_a_list_of_k_points_beside_a_spacing(tmp_path: Path) -> None:
    run = Run(mesh=None)
    run.incar["KSPACING"] = 0.31
    assert calculation_of(run.write(tmp_path / "run")).level.k_spacing is None
    folder = tmp_path / "outcar"
    folder.mkdir()
    (folder / "OUTCAR").write_text(Run().outcar())
    (folder / "KPOINTS").write_text("list\n2\nReciprocal\n0 0 0 1\n0.5 0.5 0.5 7\n")
    # OUTCAR shows that this list is a mesh of 2 x 2 x 2.
    assert calculation_of(folder).level.k_length_class == 6.7


def test_a_directory_called_outcar_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "OUTCAR").mkdir()
    assert not claims(tmp_path, names(tmp_path))
    run = Run().write(tmp_path / "OUTCAR" / "run")
    assert [unit.path for unit in walk(tmp_path).units] == [run]
    (tmp_path / "vasprun.xml").write_text(Run().vasprun())
    assert claims(tmp_path, names(tmp_path))


def test_the_newest_of_several_runs(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    for suffix, energy in (("relax1", -1.0), ("relax2", -2.0), ("relax10", -3.0)):
        with gzip.open(folder / f"vasprun.xml.{suffix}.gz", "wb") as stream:
            stream.write(Run(energy=energy).vasprun().encode())
    assert calculation_of(folder).energy == -3.0
    (folder / "vasprun.static.xml").write_text(Run(energy=-4.0).vasprun())
    assert calculation_of(folder).energy == -4.0
    (folder / "vasprun.xml").write_text(Run(energy=-5.0).vasprun())
    (folder / "vasprun.xml.nscf").write_text("none")
    (folder / "vasprun.xml.error1").write_text("none")
    assert calculation_of(folder).energy == -5.0


def test_an_outcar_serves_where_there_is_no_vasprun(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "OUTCAR").write_text(Run().outcar())
    (folder / "INCAR").write_text("ENCUT = 520\nGGA = Ps\nKSPACING = 0.31\n")
    (folder / "KPOINTS").write_text("mesh\n0\nGamma\n6 6 6\n")
    assert claims(folder, names(folder))
    found = calculation_of(folder)
    require_good(found)
    assert found.energy == Run().energy
    assert found.level.label == "PBEsol, VASP, PAW, 520 eV, KSPACING 0.31"
    (folder / "vasprun.xml").write_text("<html>")
    assert record_of(folder).item == "OUTCAR"
    (folder / "vasprun.xml").write_text(Run().vasprun()[:-40])
    with pytest.raises(IngestError) as caught:
        record_of(folder)
    assert caught.value.reason == "truncated"


def test_single_files(tmp_path: Path) -> None:
    folder = Run().write(tmp_path / "run")
    assert claims(folder / "vasprun.xml.gz", None)
    assert calculation_of(folder / "vasprun.xml.gz").energy == Run().energy
    for name in ("POSCAR", "vasprun.txt", "OUTCAR-old", "vasp.out"):
        assert not claims(folder / name, None)
        assert not claims(folder, frozenset({name}))


def test_an_electronic_loop_that_ran_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_good(calculation_of(Run(electronic=40).write(tmp_path / "run")))
    assert caught.value.reason == "unconverged"


def test_a_fixed_density_is_refused(tmp_path: Path) -> None:
    run = Run()
    run.incar["ICHARG"] = 11
    with pytest.raises(ConfigurationError) as caught:
        calculation_of(run.write(tmp_path / "run"))
    assert caught.value.reason == "not_self_consistent"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<modeling></modeling>", "no_ionic_step"),
        ("", "empty_file"),
        ("<modeling>", "truncated"),
        (Run().vasprun().replace('name="basis"><v> 0.0 2.85 2.85', 'name="basis"><v> 0.0 0.0 0.0'), "bad_cell"),
        (Run().vasprun().replace("PAW_PBE Na_pv", "PAW_PBE ??"), "bad_structure"),
    ],
)
def test_directories_that_give_nothing(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "vasprun.xml").write_text(text)
    with pytest.raises((IngestError, ConfigurationError)) as caught:
        record_of(tmp_path)
    assert caught.value.reason == reason


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vasprun.xml")
    with pytest.raises(IngestError) as caught:
        record_of(tmp_path)
    assert caught.value.reason == "no_run"


@need_real
def test_all_nineteen_arrive_as_one_by_both_ways() -> None:
    documents = {doc["task_label"]: doc for doc in load(LICL / "tasks.jsonl.gz")}
    assert len(documents) == 19
    keys, labels = set(), set()
    for name, doc in documents.items():
        folder = LICL / name / "outputs"
        found = configuration(calculation_of(folder))
        assert found.configuration_id == key_of_document(doc), name
        keys.add(found.configuration_id)
        labels.add(found.level_label)
    # The last steps of both relaxations and the static calculation are the same numbers.
    assert len(keys) == 17
    assert labels == {"PBEsol, VASP, PAW, 700 eV, k-mesh >= 19 A", "PBEsol, VASP, PAW, 680 eV, spin-polarised"}


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_a_damaged_vasprun_is_read_or_refused(data: st.DataObject) -> None:
    text = Run(ionic=2).vasprun().encode()
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(60, len(text) - 1))
        length = data.draw(st.integers(0, 40))
        text = text[:place] + data.draw(st.binary(max_size=12)) + text[place + length :]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vasprun.xml").write_bytes(text)
        try:
            outcome = type(calculation_of(Path(folder)))
        except (ConfigurationError, IngestError) as error:
            outcome = type(error)
    assert outcome in {Calculation, ConfigurationError, IngestError}
