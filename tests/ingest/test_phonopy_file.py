from __future__ import annotations

import bz2
import gzip
import lzma
import random
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from phonopy_runs import CUBIC, phonopy_run, save

from mlipdb.errors import ConfigurationError
from mlipdb.ingest import phonopy_file
from mlipdb.ingest.phonopy_file import claims, interpret, phonopy_data, read

LEVEL = {"functional": "PBE", "kpoints": {"mesh": [3, 3, 3]}}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    phonopy = phonopy_run(bulk("Cu", a=3.6, cubic=True), CUBIC, units="vasp")
    return save(phonopy, tmp_path_factory.mktemp("run") / "phonopy_params.yaml").read_text()


def put(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def reason(path: Path) -> str | None:
    (record,) = read(path)
    return None if record.problem is None else record.problem.reason


@pytest.mark.parametrize(
    ("name", "claimed"),
    [
        ("phonopy.yaml", True),
        ("phonopy_params.yaml.xz", True),
        ("phonopy_disp.yaml.gz", True),
        ("phonopy_params-NaCl.yml", True),
        ("FORCE_SETS", False),
        ("mlipdb.yaml", False),
        ("band.yaml", False),
        ("phonopy.conf", False),
    ],
)
def test_claims(name: str, claimed: bool) -> None:
    assert claims(Path(name), None) is claimed
    assert not claims(Path("phonopy.yaml"), frozenset({name}))


def test_a_record(tmp_path: Path, text: str) -> None:
    (record,) = read(put(tmp_path / "phonopy_params.yaml", text))
    raw = record.raw
    assert raw is not None
    assert record.format == "phonopy_file"
    assert (raw["code"], raw["n_displacements"], raw["supercell_matrix"]) == ("VASP", 1, CUBIC)
    assert raw["files"] == [{"name": "phonopy_params.yaml", "text": text}]
    assert [file["name"] for file in raw["source_files"]] == ["phonopy_params.yaml"]
    assert phonopy_data(raw).forces is not None
    calculation = interpret("a", {**raw, **LEVEL})
    assert (len(calculation.atoms), calculation.energy, calculation.forces) == (4, None, None)
    # The mesh of k-points is that of the supercell: 3 times 7.2 Angstrom.
    assert calculation.level.k_length_class == 19.0


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".xz", lzma.compress), (".bz2", bz2.compress)])
def test_a_moved_or_compressed_file_keeps_its_id(tmp_path: Path, text: str, ending: str, pack: Any) -> None:
    (plain,) = read(put(tmp_path / "phonopy_params.yaml", text))
    (packed,) = read(put(tmp_path / "elsewhere" / f"phonopy_params.yaml{ending}", pack(text.encode())))
    assert plain.raw is not None
    assert packed.raw is not None
    assert plain.raw["task_id"] == packed.raw["task_id"]
    assert plain.raw["task_id"].startswith("phonopy-")


def test_force_sets_beside(tmp_path: Path) -> None:
    from phonopy.file_IO import write_FORCE_SETS

    phonopy = phonopy_run(bulk("Cu", a=3.6, cubic=True), CUBIC)
    bare = str(phonopy.to_phonopy_yaml(settings={"force_sets": False}))
    path = put(tmp_path / "phonopy_disp.yaml", bare)
    assert reason(path) == "no_forces"
    write_FORCE_SETS(phonopy.dataset, filename=str(tmp_path / "FORCE_SETS"))
    (record,) = read(path)
    assert record.raw is not None
    assert [file["name"] for file in record.raw["source_files"]] == ["phonopy_disp.yaml", "FORCE_SETS"]
    # phonopy's summary of the same run is not a second calculation.
    assert list(read(put(tmp_path / "phonopy.yaml", bare))) == []
    put(tmp_path / "phonopy_params.yaml", str(phonopy.to_phonopy_yaml()))
    assert list(read(path)) == []


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    from phonopy.file_IO import write_FORCE_SETS

    phonopy = phonopy_run(bulk("Cu", a=3.6, cubic=True), CUBIC)
    write_FORCE_SETS(phonopy.dataset, filename=str(tmp_path / "FORCE_SETS"))
    bare = str(phonopy.to_phonopy_yaml(settings={"force_sets": False}))
    path = put(tmp_path / "run" / "phonopy_disp.yaml", bare)
    (tmp_path / "run" / "FORCE_SETS").symlink_to(tmp_path / "FORCE_SETS")
    assert reason(path) == "no_forces"


def test_files_that_are_none(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason(put(tmp_path / "phonopy.yaml", "")) == "empty_file"
    assert reason(put(tmp_path / "phonopy.yaml", b"\xff\xfe\x00")) == "bad_phonopy_file"
    assert reason(put(tmp_path / "phonopy.yaml.xz", lzma.compress(text.encode())[:-40])) == "truncated"
    assert reason(put(tmp_path / "phonopy.yaml.gz", b"no gzip")) == "truncated"
    assert reason(tmp_path / "phonopy_nothing.yaml") == "truncated"
    monkeypatch.setattr(phonopy_file, "MAX_TEXT", 1000)
    # A bomb: a megabyte in a few hundred bytes.
    assert reason(put(tmp_path / "phonopy.yaml.xz", lzma.compress(b" " * 1_000_000))) == "too_large"


def test_forces_of_a_potential_are_not_those_of_dft(tmp_path: Path, text: str) -> None:
    (record,) = read(put(tmp_path / "phonopy_params.yaml", text))
    assert record.raw is not None
    with pytest.raises(ConfigurationError) as caught:
        interpret("a", {**record.raw, **LEVEL, "potential": {"name": "EMT"}})
    assert caught.value.reason == "external_potential"


def test_damage_of_any_kind_is_a_refusal(tmp_path: Path, text: str) -> None:
    """Truncations, lost lines, changed bytes: a refused item or a right one, never a crash."""
    generator = random.Random(1)
    lines = text.splitlines(keepends=True)
    outcomes = set()
    for number in range(60):
        kind = number % 4
        if kind == 0:
            damaged = text[: generator.randrange(len(text))]
        elif kind == 1:
            start = generator.randrange(len(lines))
            damaged = "".join(lines[:start] + lines[start + generator.randrange(1, 9) :])
        elif kind == 2:
            place = generator.randrange(len(text))
            damaged = text[:place] + generator.choice("[]{}&*!:-#'\"\t\0é9e") + text[place + 1 :]
        else:
            place = generator.randrange(len(lines))
            damaged = "".join([*lines[:place], generator.choice(lines), *lines[place:]])
        (record,) = read(put(tmp_path / "phonopy_params.yaml", damaged))
        outcomes.add(record.problem is None)
        assert (record.raw is None) is (record.problem is not None)
    assert outcomes == {True, False}


def test_force_sets_that_several_files_share(tmp_path: Path) -> None:
    from phonopy.file_IO import write_FORCE_SETS

    phonopy = phonopy_run(bulk("Cu", a=3.6, cubic=True), CUBIC)
    bare = str(phonopy.to_phonopy_yaml(settings={"force_sets": False}))
    write_FORCE_SETS(phonopy.dataset, filename=str(tmp_path / "FORCE_SETS"))
    one = put(tmp_path / "phonopy-one.yaml", bare)
    put(tmp_path / "band.yaml", "nqpoint: 3\n")
    assert reason(one) is None
    other = put(tmp_path / "phonopy-other.yaml", bare)
    assert reason(one) == reason(other) == "shared_force_sets"
    assert reason(put(tmp_path / "phonopy.yaml", bare)) is None
