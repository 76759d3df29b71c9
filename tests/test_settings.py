"""Every wrong setting is refused with its place, its key and what would be right."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from mlipdb.data import template
from mlipdb.errors import NotFoundError, SettingsError
from mlipdb.settings import (
    PROJECT_FILE,
    FitSettings,
    Project,
    ProjectSettings,
    Recipe,
    find_project,
    load_project,
    parse_settings,
)

WRONG = {
    "unknown key": ("wrokers: 3", 1, "wrokers", "did you mean workers?"),
    "unknown nested key": ("training_sets:\n  a:\n    splitt: {}", 3, "training_sets.a.splitt", "did you mean split?"),
    "unknown key with no near one": ("colour: red", 1, "colour", "known are benchmarks, database"),
    "unknown protocol key": ("phonons:\n  mesh_lenght: 3", 2, "phonons.mesh_lenght", "did you mean mesh_length?"),
    "wrong type": ("\nworkers: two", 2, "workers", "should be a valid integer"),
    "too small": ("workers: 0", 1, "workers", "greater than or equal to 1, not 0"),
    "wrong word": ("training_sets:\n  a: {split: {by: atom}}", 2, "training_sets.a.split.by", "'configuration' or"),
    "wrong item": ("training_sets:\n  a:\n    config_types: [bulk, rattle]", 3, "config_types.1", "'rattled'"),
    "sigma of no type": (
        "training_sets:\n  a:\n    sigmas: {bulky: {}}",
        3,
        "training_sets.a.sigmas",
        "bulk, strained",
    ),
    "sigma below zero": ("training_sets:\n  a:\n    sigmas: {bulk: {energy: 0}}", 3, "sigmas.bulk.energy", "than 0"),
    "test materials without their mode": (
        "training_sets:\n  a:\n    split: {test_materials: [x]}",
        3,
        "training_sets.a.split",
        "needs by: material",
    ),
    "duplicate key": ("workers: 1\ngroup: a\nworkers: 2", 3, "workers", "first on line 1"),
    "key that is no text": ("training_sets:\n  1: {}", 2, "1", "write it in quotes"),
    "list as key": ("? [a, b]\n: 1", 1, "", "is no text"),
    "bad YAML": ("workers: [1\ngroup: a", 2, "", "expected ',' or ']'"),
    "tab": ("workers: 2\n\tgroup: x", 2, "", "cannot start any token"),
    "control character": ("workers: 2\ngroup: \x00", 2, "", "special characters"),
    "two documents": ("workers: 1\n---\nworkers: 2", 2, "", "found another document"),
    "object tag": ("group: !!python/object/apply:os.getcwd []", 1, "", "could not determine a constructor"),
    "alias of itself": ("training_sets: &a [*a]", 1, "training_sets", "may repeat itself"),
    "unknown recipe in a fit": ("fits:\n  f:\n    training_sets: [b]", 3, "fits.f.training_sets", "'b'"),
    "word for a list": ("fits:\n  f:\n    training_sets: some", 3, "fits.f.training_sets", "should be 'all'"),
    "empty axis": ("fits:\n  f:\n    grid: {delta: []}", 3, "fits.f.grid", "at least one"),
    "unknown key of a benchmark's protocol": (
        "benchmarks:\n  b:\n    protocol: {fmaxx: 1}",
        3,
        "benchmarks.b.protocol.fmaxx",
        "did you mean fmax?",
    ),
    "bad database": ("database: postgres://h/d", 1, "database", "mongodb://host:27017/mlipdb"),
    "descending temperatures": ("phonons:\n  temperatures: [3, 2]", 2, "phonons.temperatures", "ascending"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files(name: str) -> None:
    text, line, key, hint = WRONG[name]
    with pytest.raises(SettingsError) as caught:
        parse_settings(text)
    message = str(caught.value)
    assert message.startswith(f"mlipdb.yaml line {line}")
    assert key in message
    assert hint in message


@pytest.mark.parametrize(
    ("text", "line", "key", "hint"),
    [
        ("hyperparameters: {soap: {cutof: 5}}", 3, "fits.f.hyperparameters.soap", "did you mean 'cutoff'?"),
        ("hyperparameters:\n      soap:\n        cutoff: -5", 5, "fits.f.hyperparameters.soap.cutoff", "not -5"),
        ("grid: {delta: [1.0], n_sparse: [-1]}", 3, "fits.f.grid.n_sparse", "greater than or equal to 1, not -1"),
        ("framework: gapp", 3, "fits.f.framework", "there are gap"),
    ],
)
def test_wrong_hyperparameters(text: str, line: int, key: str, hint: str) -> None:
    fit = parse_settings(f"fits:\n  f:\n    {text}\n").fits["f"]
    with pytest.raises(SettingsError) as caught:
        list(fit.points())
    assert str(caught.value).startswith(f"mlipdb.yaml line {line}: {key}: ")
    assert hint in str(caught.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_settings("workers: 0\ncolour: red\n")
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "mlipdb.yaml line 1",
        "mlipdb.yaml line 2",
    ]


@pytest.mark.parametrize("text", ["- 1", "just text", "3"])
def test_a_file_is_a_mapping(text: str) -> None:
    with pytest.raises(SettingsError, match="must be a mapping"):
        parse_settings(text)


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n"])
def test_an_empty_file_is_all_defaults(text: str) -> None:
    assert parse_settings(text) == ProjectSettings()


def test_a_few_lines_cannot_stand_for_billions_of_values() -> None:
    lines = ["a: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(SettingsError, match="more than 100000 values"):
        parse_settings("\n".join(lines))
    with pytest.raises(SettingsError, match="nested too deeply"):
        parse_settings("group: " + "[" * 5000)


def test_anchors_share_settings() -> None:
    settings = parse_settings("training_sets:\n  a:\n    split: &s {seed: 7}\n  b:\n    split: *s\n")
    assert settings.training_sets["b"].split.seed == 7


@pytest.mark.parametrize("name", ["project.yaml", "demo.yaml"])
def test_shipped_templates(name: str) -> None:
    settings = parse_settings(template(name), name)
    assert settings.training_sets
    for fit in settings.fits.values():
        assert list(fit.points())
    for benchmark in settings.benchmarks.values():
        settings.protocol_of(benchmark)


def test_every_commented_key_of_the_template_is_one() -> None:
    """A line such as `    # timeout: 86400` must validate once its hash sign is taken away."""
    lines = template("project.yaml").splitlines()
    commented = [
        n for n, line in enumerate(lines) if line.lstrip().startswith("# ") and ": " in line and line[0] != "#"
    ]
    assert len(commented) >= 4
    for number in commented:
        text = [*lines]
        text[number] = text[number].replace("# ", "", 1)
        parse_settings("\n".join(text))


def models(model: type[BaseModel]) -> set[type[BaseModel]]:
    found = {model}
    for info in model.model_fields.values():
        stack: list[Any] = [info.annotation]
        while stack:
            kind = stack.pop()
            stack += get_args(kind)
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind not in found:
                found |= models(kind)
    return found


def test_every_setting_has_a_description() -> None:
    all_models = models(ProjectSettings)
    assert {Recipe, FitSettings} < all_models
    bare = [
        f"{model.__name__}.{name}"
        for model in all_models
        for name, info in model.model_fields.items()
        if not info.description
    ]
    assert bare == []


def test_variables_win_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIPDB_PHONONS__MESH_LENGTH", "33")
    monkeypatch.setenv("MLIPDB_WORKERS", "7")
    monkeypatch.setenv("MLIPDB_TRAINING_SETS__a__SPLIT__SEED", "5")
    settings = parse_settings(
        "workers: 1\nphonons: {mesh_length: 20, symprec: 0.002}\ntraining_sets: {a: {split: {test_fraction: 0.3}}}"
    )
    assert settings.workers == 7
    assert (settings.phonons.mesh_length, settings.phonons.symprec) == (33, 0.002)
    assert (settings.training_sets["a"].split.seed, settings.training_sets["a"].split.test_fraction) == (5, 0.3)


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("MLIPDB_WORKER", "3", "is no setting; did you mean MLIPDB_WORKERS?"),
        ("MLIPDB_PHONONS__MESH_LENGHT", "3", "did you mean mesh_length?"),
        ("MLIPDB_PHONONS__MESH_LENGTH", "long", "should be a valid number"),
        ("MLIPDB_WORKERS", "many", "should be a valid integer"),
        ("MLIPDB_TRAINING_SETS", "{cut off", "is no JSON"),
    ],
)
def test_wrong_variables(monkeypatch: pytest.MonkeyPatch, name: str, value: str, hint: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        parse_settings("phonons: {symprec: 0.002}")
    assert "environment variable" in str(caught.value)
    assert hint in str(caught.value)
    assert "line" not in str(caught.value)


def test_grid_points_in_order() -> None:
    settings = parse_settings(
        "fits:\n  f:\n    hyperparameters: {soap: {cutoff: 4.5}}\n    grid: {n_sparse: [10, 20], delta: [0.5, 1.0]}\n"
    )
    points = list(settings.fits["f"].points())
    assert [(point["soap"]["n_sparse"], point["soap"]["delta"]) for point in points] == [
        (10, 0.5),
        (10, 1.0),
        (20, 0.5),
        (20, 1.0),
    ]
    assert {point["soap"]["cutoff"] for point in points} == {4.5}


def test_recipes_of_a_fit() -> None:
    settings = parse_settings("training_sets: {a: {}, b: {}}\nfits: {x: {}, y: {training_sets: [b]}}")
    assert settings.recipes_of(settings.fits["x"]) == ["a", "b"]
    assert settings.recipes_of(settings.fits["y"]) == ["b"]


def test_sigmas_of_a_config_type() -> None:
    recipe = Recipe(sigmas={"bulk": {"energy": 0.5}})
    assert recipe.sigmas_for("bulk").energy == 0.5
    assert recipe.sigmas_for("rattled") == recipe.sigmas["default"]


def test_sigmas_left_out_are_those_of_default() -> None:
    text = "training_sets: {a: {sigmas: {default: {virial: 0.07}, bulk: {energy: 0.5}}}}"
    bulk = parse_settings(text).training_sets["a"].sigmas_for("bulk")
    assert (bulk.energy, bulk.virial, bulk.force) == (0.5, 0.07, 0.1)


def test_a_benchmark_changes_the_protocol_of_the_project() -> None:
    settings = parse_settings("phonons: {mesh_length: 20}\nbenchmarks: {b: {protocol: {fmax: 0.01}}}")
    protocol = settings.protocol_of(settings.benchmarks["b"])
    assert (protocol.mesh_length, protocol.fmax) == (20, 0.01)


def test_the_nearest_project_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "outer" / "inner" / "deep"
    inner.mkdir(parents=True)
    with pytest.raises(NotFoundError, match="mlipdb init"):
        find_project(inner)
    (tmp_path / "outer" / PROJECT_FILE).write_text("workers: 1")
    assert find_project(inner) == tmp_path / "outer"
    (tmp_path / "outer" / "inner" / PROJECT_FILE).write_text("workers: 2")
    assert find_project(inner) == tmp_path / "outer" / "inner"
    monkeypatch.chdir(inner)
    assert load_project().settings.workers == 2
    monkeypatch.setenv("MLIPDB_PROJECT", str(tmp_path / "outer"))
    assert load_project().settings.workers == 1


def test_a_folder_of_that_name_is_no_project(tmp_path: Path) -> None:
    (tmp_path / PROJECT_FILE).mkdir()
    with pytest.raises(NotFoundError):
        load_project(tmp_path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / PROJECT_FILE).write_bytes(b"group: \xff\xfe")
    with pytest.raises(SettingsError, match="UTF-8"):
        load_project(tmp_path)


def test_folders_of_a_project(tmp_path: Path) -> None:
    project = Project(tmp_path, ProjectSettings())
    assert project.data_directory == tmp_path / ".mlipdb"
    assert project.figures_directory == tmp_path / "figures"


def test_a_password_is_not_shown() -> None:
    settings = parse_settings("database: mongodb://reader:hunter2@host/db")
    assert "hunter2" in settings.database
    assert "hunter2" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        parse_settings("database: http://reader:hunter2@host/db")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["hyperparameters: {sigmas: {energy: 0.01}}", "grid: {sigmas.energy: [0.01]}"])
def test_sigmas_of_a_fit_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"fits\.gap: .*set them in the recipe, under training_sets\.NAME\.sigmas"):
        parse_settings(f"fits:\n  gap:\n    {text}\n")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("phonons: {relax: external}\n", "phonons.relax"),
        ("benchmarks: {phonons: {protocol: {relax: external}}}\n", "benchmarks.phonons.protocol.relax"),
    ],
)
def test_the_protocol_of_files_cannot_be_set(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "mlipdb.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load_project(tmp_path)
    assert place in caught.value.message
    assert "external cannot be set" in caught.value.message
