from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlipdb.errors import UsageError
from mlipdb.ingest.files import Record
from mlipdb.ingest.given_level import level_of_file, level_of_text, with_level

SITES = {"sites": [{"species": [{"element": "Si"}]}]}


def test_text() -> None:
    text = "code=VASP, functional=PBE, cutoff_ev=700,k_spacing=0.2,spin_polarised=false,dispersion=D3(BJ),kpoints=4x5x6"
    assert level_of_text(text + ",pseudopotentials.Li=Li_sv,pseudopotentials.Cl=Cl,hubbard_u.Fe=5.3") == {
        "code": "VASP",
        "functional": "PBE",
        "cutoff_ev": 700.0,
        "k_spacing": 0.2,
        "spin_polarised": False,
        "dispersion": "D3(BJ)",
        "kpoints": {"mesh": [4, 5, 6]},
        "pseudopotentials": {"Li": "Li_sv", "Cl": "Cl"},
        "hubbard_u": {"Fe": 5.3},
    }
    assert level_of_text("code=CP2K,functional=PBE,SIC") == {"code": "CP2K", "functional": "PBE,SIC"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no field with a value"),
        ("VASP", "is no field with a value"),
        ("code=", "is no field with a value"),
        ("code=A,code=B", "code is given twice"),
        ("code=A,code.Li=B", "code.Li is given twice"),
        ("encut=700", "there is no field 'encut'"),
        ("cutoff_ev=high", "cutoff_ev is 'high'; a number above zero"),
        ("cutoff_ev=-1", "a number above zero"),
        ("cutoff_ev=nan", "a number above zero"),
        ("k_spacing=0", "a number above zero"),
        ("spin_polarised=maybe", "true or false"),
        ("kpoints=4x4", "a mesh is needed"),
        ("kpoints=0x4x4", "a mesh is needed"),
        ("pseudopotentials=Li", "names by element"),
        ("hubbard_u.Fe=large", "eV by element"),
    ],
)
def test_texts_that_are_wrong(text: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        level_of_text(text)
    assert words in error.value.message


def test_file(tmp_path: Path) -> None:
    path = tmp_path / "level.yaml"
    path.write_text("code: VASP\nfunctional: PBEsol\nhubbard_u: {Fe: 5}\nkpoints: {mesh: [4, 4, 4]}\n")
    assert level_of_file(path)["kpoints"] == {"mesh": [4, 4, 4]}
    for text in (
        "- a\n",
        "code: [\n",
        "!!python/object:os.system {}\n",
        "cutoff_ev: yes\n",
        "x: 1\n",
        "hubbard_u: {1: 2}",
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match="--level-file"):
            level_of_file(path)
    with pytest.raises(UsageError, match="--level-file"):
        level_of_file(tmp_path / "gone.yaml")


def merged(raw: dict[str, Any], given: dict[str, Any] | None) -> Record:
    return with_level(Record(Path("a.xyz"), "3", {"structure": SITES, **raw}), given)


def test_what_the_file_does_not_say_is_filled_in() -> None:
    given = level_of_text("code=VASP,functional=PBE,pseudopotentials.Li=Li_sv,pseudopotentials.Si=Si")
    record = merged({"code": "vasp", "cutoff_ev": 500}, given)
    assert record.raw is not None
    assert record.raw["code"] == "vasp"
    assert record.raw["functional"] == "PBE"
    assert record.raw["pseudopotentials"] == {"Si": "Si"}  # of the elements that are there
    assert record.raw["cutoff_ev"] == 500


def test_a_contradiction_is_refused() -> None:
    record = merged({"code": "VASP", "functional": "PBEsol"}, {"functional": "PBE"})
    assert record.problem is not None
    assert record.problem.reason == "level_conflict"
    assert "a.xyz item 3: says functional 'PBEsol', but the level of theory given for it says 'PBE'" in str(
        record.problem
    )
    assert merged({"code": "A", "functional": "B", "cutoff_ev": 700.0001}, {"cutoff_ev": 700}).problem is None


def test_no_level_names_the_way() -> None:
    record = merged({"code": "VASP"}, None)
    assert record.problem is not None
    assert record.problem.reason == "no_level"
    assert 'does not say its functional; give the level of theory, such as `mlipdb add PATH --level "' in str(
        record.problem
    )
    assert "`--level-file`" in str(record.problem)
