from __future__ import annotations

from pathlib import Path

import pytest

from mlipdb.errors import UsageError
from mlipdb.ingest.external import add_external, hyperparameter_of_text
from mlipdb.ingest.manifest import read_manifest
from mlipdb.stores import Database

YAML = """
defaults: {framework: gap, license: CC-BY-4.0, references: [10.1/x]}
potentials:
- {file: a/phonopy_params.yaml, name: GAP-1, hyperparameters: {n_sparse: 200, delta: 1.0, soap: {l_max: 6}}}
- {file: b, name: NEP, framework: nep, reference: 10.1/y, references: null, material: diamond}
"""
CSV = """file,name,framework,references,license,material,hyperparameters.n_sparse,hyperparameters.soap.l_max
a/phonopy_params.yaml,GAP-1,gap,10.1/x; 10.1/y,CC-BY-4.0,,200,6
b,NEP,nep,,,diamond,,
"""


def manifest(tmp_path: Path, text: str, name: str = "manifest.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_yaml(tmp_path: Path) -> None:
    first, second = read_manifest(manifest(tmp_path, YAML.replace(", references: null", "")))
    assert (first.path, first.name, first.framework, first.item) == (
        tmp_path / "a/phonopy_params.yaml",
        "GAP-1",
        "gap",
        "1",
    )
    assert first.hyperparameters == {"n_sparse": 200, "delta": 1.0, "soap": {"l_max": 6}}
    assert (first.references, first.license, first.material) == (["10.1/x"], "CC-BY-4.0", None)
    assert (second.framework, second.license, second.material) == ("nep", "CC-BY-4.0", "diamond")


def test_csv(tmp_path: Path) -> None:
    first, second = read_manifest(manifest(tmp_path, CSV, "m.csv"))
    assert first.hyperparameters == {"n_sparse": 200, "soap": {"l_max": 6}}
    assert (first.references, first.license, first.material) == (["10.1/x", "10.1/y"], "CC-BY-4.0", None)
    assert (second.references, second.license, second.material, second.hyperparameters) == ([], None, "diamond", {})


def test_one_potential_by_either_way(tmp_path: Path) -> None:
    row = "file,name,framework,hyperparameters.n_sparse,hyperparameters.delta\na,G,gap,200,0.5\n"
    (one,) = read_manifest(manifest(tmp_path, row, "m.csv"))
    (other,) = read_manifest(
        manifest(tmp_path, "- {file: a, name: G, framework: gap, hyperparameters: {delta: 0.5, n_sparse: 200}}")
    )
    assert one.potential_id == other.potential_id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "0 rows"),
        ("a: 1", "no field 'a'"),
        ("7", "a list of rows"),
        ("potentials: 7", "a list of rows"),
        ("- 7", "row 1: a mapping"),
        ("- {name: x, framework: y}", "row 1: has no file"),
        ("- {file: a, framework: y}", "row 1: name is None"),
        ("- {file: a, name: [x], framework: y}", "row 1: name is"),
        ("- {file: a, name: x}", "row 1: framework is None"),
        ("- {file: a, name: x, framework: y, refernce: z}", "no field 'refernce'"),
        ("- {file: a, name: x, framework: y, hyperparameters: [1]}", "hyperparameters must be"),
        ("- {file: a, name: x, framework: y, hyperparameters: {n: .nan}}", "hyperparameters must be"),
        ("- {file: a, name: x, framework: y, hyperparameters: {$where: 1}}", "hyperparameters must be"),
        ("- {file: a, name: x, framework: y, hyperparameters: {n: 99999999999999999999}}", "hyperparameters must be"),
        ("- {file: a, name: x, framework: y, references: {a: 1}}", "references is"),
        ("- {file: ../a, name: x, framework: y}", "outside the folder"),
        ("- {file: /etc/passwd, name: x, framework: y}", "outside the folder"),
        ("- {file: link/a, name: x, framework: y}", "outside the folder"),
        ('- {file: "a\\0b", name: x, framework: y}', "outside the folder"),
        ("- !!python/object/apply:os.getcwd []", "has the tag"),
        ("- &a {file: a, name: x, framework: y}\n- *a", "has an alias"),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError) as caught:
        read_manifest(manifest(tmp_path / "sub", text))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,name\na", "another number of cells"),
        ("file,name\na,b,c", "another number of cells"),
        ("file,file\na,b", "two columns"),
        ("file,name,framework,n_sparse\na,b,c,3", "no field 'n_sparse'"),
        ("file,name,framework,hyperparameters.a,hyperparameters.a.b\na,b,c,1,2", "a group and a value"),
        ('file,name\n"a,b', "no CSV"),
    ],
)
def test_what_is_wrong_in_csv(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_manifest(manifest(tmp_path, text, "m.csv"))
    assert message in caught.value.message


def test_a_manifest_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_manifest(tmp_path / "nothing.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot be read"):
        read_manifest(tmp_path / "bytes.yaml")


def test_links_out_of_a_folder_are_refused(database: Database, tmp_path: Path) -> None:
    run, outside = tmp_path / "sub" / "run", tmp_path / "outside"
    run.mkdir(parents=True)
    outside.mkdir()
    (outside / "phonopy.yaml").write_text("secret: 1\n")
    (run / "phonopy.yaml").symlink_to(outside / "phonopy.yaml")
    (run / "more").symlink_to(outside)
    rows = read_manifest(manifest(tmp_path / "sub", "- {file: run, name: x, framework: y}"))
    report = add_external(database, rows)
    assert report.added == 0
    assert report.problems
    assert all("outside the folder of the manifest" in problem for problem in report.problems)


@pytest.mark.parametrize("value", ["1_000", "2_1", "1_0.5"])
def test_underscores_make_no_numbers(tmp_path: Path, value: str) -> None:
    (row,) = read_manifest(manifest(tmp_path, f"file,name,framework,hyperparameters.v\na,G,gap,{value}\n", "m.csv"))
    assert row.hyperparameters == {"v": value} == hyperparameter_of_text([f"v={value}"])
