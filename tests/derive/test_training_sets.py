from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from documents import configurations, material

from mlipdb.derive.training_sets import TEST_FILE, TRAIN_FILE, isolated_atom_energies, training_set_of
from mlipdb.errors import RecipeError
from mlipdb.physics.extxyz import read_extxyz
from mlipdb.schemas.common import ArtifactRef
from mlipdb.schemas.configuration import Configuration
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.level_of_theory import LevelOfTheory
from mlipdb.schemas.training_set import TrainingSet
from mlipdb.settings import Recipe

Raw = dict[str, Any]
LEVEL = LevelOfTheory(code="Quantum ESPRESSO pw.x", functional="PBE").with_keys()
RATTLED = tuple(f"rattled-diamond-{number:02d}" for number in range(6))
TASKS = ("isolated-atom", "relax-diamond", *RATTLED)


@pytest.fixture
def selection(silicon: dict[str, Raw]) -> list[Configuration]:
    return configurations(silicon, TASKS)


def recipe(**given: Any) -> Recipe:
    return Recipe.model_validate(given)


def frozen(selection: list[Configuration], **given: Any) -> TrainingSet:
    document = training_set_of("full", recipe(**given), selection, [], [LEVEL]).document
    assert isinstance(document, TrainingSet)
    return document


def test_what_is_frozen(selection: list[Configuration]) -> None:
    built = training_set_of("full", recipe(split={"test_fraction": 0.34, "seed": 1}), selection, [], [LEVEL])
    found = built.document
    assert isinstance(found, TrainingSet)
    assert found.configuration_ids == sorted(item.configuration_id for item in selection)
    assert {member.configuration_id for member in found.members} == set(found.configuration_ids)
    assert found.train is not None
    assert found.test is not None
    assert found.train.by_config_type == {"bulk": 1, "isolated_atom": 1, "rattled": 4}
    assert found.test.by_config_type == {"rattled": 2}
    assert found.train.n_atoms + found.test.n_atoms == sum(item.n_atoms for item in selection)
    assert found.training_set_id == make_key("ts", found.identity())
    assert (found.chemsys, found.elements) == ("Si", ["Si"])
    assert found.train_file == ArtifactRef.of(TRAIN_FILE, built.files[TRAIN_FILE])
    assert found.test_file == ArtifactRef.of(TEST_FILE, built.files[TEST_FILE])
    for side, file in (("train", TRAIN_FILE), ("test", TEST_FILE)):
        members = [member.configuration_id for member in found.members if member.split == side]
        assert [frame.configuration_id for frame in read_extxyz(built.files[file])] == members


def test_order_does_not_matter(selection: list[Configuration]) -> None:
    first = training_set_of("full", recipe(), selection, [], [LEVEL])
    second = training_set_of("full", recipe(), selection[::-1], [], [LEVEL])
    assert first.files == second.files
    assert first.document.identity() == second.document.identity()


def test_the_files_hold_labels_and_sigmas(selection: list[Configuration]) -> None:
    given = {"sigmas": {"default": {"energy": 0.002, "virial": 0.07}, "bulk": {"energy": 0.0005}}}
    built = training_set_of("full", recipe(split={"test_fraction": 0}, **given), selection, [], [LEVEL])
    by_id = {item.configuration_id: item for item in selection}
    frames = read_extxyz(built.files[TRAIN_FILE])
    assert len(frames) == len(selection)
    for frame in frames:
        source = by_id[frame.configuration_id]
        assert source.structure is not None
        assert frame.energy == pytest.approx(source.energy, abs=1e-8)
        assert np.allclose(frame.forces, source.forces, atol=1e-8)  # type: ignore[arg-type]
        assert np.allclose(frame.positions, source.structure.positions, atol=1e-8)
        assert frame.energy_sigma == (0.0005 if frame.config_type == "bulk" else 0.002)
        assert frame.virial_sigma == (None if source.stress is None else 0.07)


def test_force_sigmas_follow_the_forces(selection: list[Configuration]) -> None:
    found = frozen(selection, force_regularisation={"f": 0.2, "floor": 0.05})
    by_id = {item.configuration_id: item for item in selection}
    for member in found.members:
        norms = np.linalg.norm(by_id[member.configuration_id].forces, axis=1)  # type: ignore[arg-type]
        sigmas = 0.2 * np.maximum(norms, 0.05)
        assert member.force_sigma_min == pytest.approx(sigmas.min())
        assert member.force_sigma_max == pytest.approx(sigmas.max())


def test_flat_force_sigmas(selection: list[Configuration]) -> None:
    found = frozen(selection, force_regularisation=None, sigmas={"rattled": {"force": 0.3}})
    sigmas = {member.config_type: (member.force_sigma_min, member.force_sigma_max) for member in found.members}
    assert sigmas == {"rattled": (0.3, 0.3), "bulk": (0.1, 0.1), "isolated_atom": (0.1, 0.1)}


def test_the_isolated_atom_is_never_tested_on(selection: list[Configuration]) -> None:
    for seed in range(5):
        found = frozen(selection, split={"test_fraction": 0.9, "seed": seed})
        assert [m.split for m in found.members if m.config_type == "isolated_atom"] == ["train"]


def test_of_several_spin_states_the_lowest_counts(selection: list[Configuration]) -> None:
    atom = selection[0]
    assert atom.energy is not None
    excited = atom.model_copy(update={"energy": atom.energy + 1.0, "configuration_id": "cfg-excited"})
    for order in ([atom, excited], [excited, atom]):
        assert isolated_atom_energies([*order, *selection[1:]]) == {"Si": atom.energy}
    assert frozen([excited, *selection]).isolated_atom_energies == {"Si": atom.energy}


def test_energies_are_told_against_free_atoms(selection: list[Configuration]) -> None:
    found = frozen(selection, split={"test_fraction": 0})
    assert found.train is not None
    assert found.train.energy_per_atom_min == pytest.approx(-4.542, abs=2e-3), "the published atomisation energy"
    assert found.train.energy_per_atom_max is not None
    assert found.train.energy_per_atom_min < found.train.energy_per_atom_max < -4.3
    assert found.train.max_force == pytest.approx(max(item.max_force or 0 for item in selection))


def test_a_missing_isolated_atom(selection: list[Configuration]) -> None:
    with pytest.raises(
        RecipeError, match="no isolated atom of Si at this level of theory; add a calculation"
    ) as caught:
        frozen(selection[1:])
    assert caught.value.reason == "no_isolated_atom"


@pytest.mark.parametrize("count", [0, 1])
def test_an_empty_selection(selection: list[Configuration], count: int) -> None:
    with pytest.raises(RecipeError, match="'full': the recipe selects no configuration") as caught:
        frozen(selection[:count])
    assert caught.value.reason == "empty_selection"


def test_no_test_side(selection: list[Configuration]) -> None:
    built = training_set_of("full", recipe(split={"test_fraction": 0}), selection, [], [LEVEL])
    assert list(built.files) == [TRAIN_FILE]
    assert built.document.test_file is None  # type: ignore[attr-defined]


def test_split_by_material(silicon: dict[str, Raw]) -> None:
    crystals = {name: material(silicon, f"relax-{name}") for name in ("diamond", "bc8")}
    selection = configurations(silicon, ("isolated-atom",))
    for name, crystal in crystals.items():
        selection += configurations(silicon, (f"relax-{name}", f"rattled-{name}-00"), crystal)
    built = training_set_of("full", recipe(split={"by": "material"}), selection, [crystals["bc8"].material_id], [LEVEL])
    found = built.document
    assert isinstance(found, TrainingSet)
    assert found.test is not None
    assert found.train is not None
    assert found.test.by_material == {crystals["bc8"].material_id: 2}
    assert found.train.by_material == {crystals["diamond"].material_id: 2}
    assert found.material_ids == sorted(crystal.material_id for crystal in crystals.values())
    with pytest.raises(RecipeError, match="at least one material must remain"):
        training_set_of("full", recipe(split={"by": "material"}), selection, found.material_ids, [LEVEL])


def test_a_configuration_without_labels(selection: list[Configuration]) -> None:
    broken = selection[1].model_copy(update={"forces": None})
    with pytest.raises(RecipeError, match="has no labels"):
        frozen([selection[0], broken, *selection[2:]])


def test_a_crystal_called_an_atom_gives_no_energy_of_the_free_atom(selection: list[Configuration]) -> None:
    false = selection[1].model_copy(update={"config_type": "isolated_atom"})
    assert isolated_atom_energies([false]) == {}
    assert isolated_atom_energies([false, selection[0]]) == {"Si": selection[0].energy}


def test_an_atom_of_another_cutoff_is_told(selection: list[Configuration]) -> None:
    crystal = LevelOfTheory(code="VASP", functional="PBE", cutoff_ev=700).with_keys()
    atom = LevelOfTheory(code="VASP", functional="PBE", cutoff_ev=680).with_keys()
    ours = [
        c.model_copy(update={"level_id": atom.level_id}) if c.config_type == "isolated_atom" else c for c in selection
    ]
    built = training_set_of("full", recipe(), ours, [], [crystal], {atom.level_id: atom})
    assert isinstance(built.document, TrainingSet)
    assert built.document.warnings == ["isolated atom of Si computed at 680 eV, the crystals at 700 eV"]
    silent = training_set_of("full", recipe(), ours, [], [crystal], {atom.level_id: crystal}).document
    assert isinstance(silent, TrainingSet)
    assert silent.warnings == []
    assert silent.training_set_id == built.document.training_set_id
