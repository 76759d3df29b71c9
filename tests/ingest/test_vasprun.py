from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
from vasp import LICL, Run, need_real

from mlipdb.errors import IngestError
from mlipdb.ingest.vasprun import MAX_TEXT, Vasprun, read_vasprun


def parse(tmp_path: Path, text: str | bytes) -> Vasprun:
    path = tmp_path / "vasprun.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("latin-1"))
    return read_vasprun(path)


def reason_of(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(IngestError) as caught:
        parse(tmp_path, text)
    return caught.value.reason


def test_the_last_step_and_the_inputs(tmp_path: Path) -> None:
    run = Run(ionic=3)
    found = parse(tmp_path, run.vasprun())
    assert found.symbols == ["Na", "Cl"]  # <atoms> has them cut to one letter
    assert found.potcars == run.potcars
    assert (found.cell, found.positions) == (run.cell, run.positions)
    assert (found.energy, found.forces, found.stress) == (run.energy, run.forces, run.stress)
    assert (found.n_ionic, found.n_electronic, found.version) == (3, 9, "6.4.2")
    assert found.incar == run.incar
    assert found.kpoints == {"mesh": [6, 6, 6]}
    assert found.parameters["ENMAX"] == 520.0
    assert "EMIN" not in found.parameters


def test_k_points_of_other_kinds(tmp_path: Path) -> None:
    run = Run(mesh=None)
    assert parse(tmp_path, run.vasprun()).kpoints == {"generation_style": "Reciprocal"}
    listed = run.vasprun().replace('<generation param="listgenerated"/>', "")
    assert parse(tmp_path, listed).kpoints == {"generation_style": "Reciprocal"}
    start, end = (run.vasprun().index(tag) for tag in ("<kpoints>", "<parameters>"))
    assert parse(tmp_path, run.vasprun()[:start] + run.vasprun()[end:]).kpoints == {}
    automatic = '<generation param="Automatic"><i name="subdivisionlength"> 40.0 </i></generation>'
    text = run.vasprun().replace('<generation param="listgenerated"/>', automatic)
    assert parse(tmp_path, text).kpoints == {"generation_style": "Automatic", "kpoints": [[40.0]]}


def test_asterisks_are_no_numbers(tmp_path: Path) -> None:
    text = (
        Run()
        .vasprun()
        .replace("-0.2", "********")
        .replace(' type="int" name="NELM"> 40', ' type="int" name="NELM"> **')
    )
    found = parse(tmp_path, text)
    assert found.forces is not None
    assert math.isnan(found.forces[0][1])
    assert found.incar["NELM"] is None


def test_a_part_without_energy_leaves_the_last_step(tmp_path: Path) -> None:
    text = Run().vasprun().replace('<structure name="finalpos"/>', "<calculation><dielectricfunction/></calculation>")
    assert parse(tmp_path, text).energy == Run().energy


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.99])
def test_a_file_that_ends_early(tmp_path: Path, share: float) -> None:
    text = Run(ionic=2).vasprun()
    assert reason_of(tmp_path, text[: int(len(text) * share)]) == "truncated"
    whole = gzip.compress(text.encode())
    path = tmp_path / "vasprun.xml.gz"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(IngestError) as caught:
        read_vasprun(path)
    assert caught.value.reason == "truncated"


def test_entities_and_document_types_are_refused(tmp_path: Path) -> None:
    body = Run().vasprun().split("\n", 1)[1]
    bomb = '<!DOCTYPE modeling [<!ENTITY a "b"><!ENTITY c "&a;&a;">]>'
    for before in (bomb, "<!-- <modeling> -->" + bomb, '<?xml version="1.0" encoding="cp037"?>', "<?xml-stylesheet?>"):
        assert reason_of(tmp_path, before + body) == "bad_xml"
    outside = '<!DOCTYPE modeling [<!ENTITY x SYSTEM "file:///etc/hostname">]>\n'
    assert reason_of(tmp_path, outside + body.replace("vasp", "&x;")) == "bad_xml"
    assert parse(tmp_path, body).energy == Run().energy  # without a declaration it is well


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "empty_file"),
        (b"\x00" * 5000, "bad_xml"),
        (b"<html></html>", "bad_xml"),
        (b"<modeling><a></b></modeling>", "bad_xml"),
        (b"<modeling>" + b"<a>" * 100, "bad_xml"),
        (b"<modeling>" + b"x" * (MAX_TEXT + 200_000) + b"</modeling>", "bad_xml"),
    ],
)
def test_what_is_no_vasprun(tmp_path: Path, text: bytes, reason: str) -> None:
    assert reason_of(tmp_path, text) == reason


def test_a_document_without_a_step(tmp_path: Path) -> None:
    found = parse(tmp_path, "<modeling></modeling>")
    assert (found.energy, found.symbols) == (None, [])


@need_real
def test_a_real_file() -> None:
    found = read_vasprun(LICL / "rand_static_1" / "outputs" / "vasprun.xml.gz")
    assert (len(found.symbols), found.energy, found.n_electronic) == (64, -243.90847635, 27)
    assert found.potcars == ["PAW_PBE Li_sv 10Sep2004", "PAW_PBE Cl 06Sep2000"]
