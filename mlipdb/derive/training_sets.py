"""A frozen training set from selected configurations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from mlipdb.derive import Built
from mlipdb.derive.quality import left_out_text
from mlipdb.errors import RecipeError
from mlipdb.physics.extxyz import write_extxyz
from mlipdb.physics.frames import Frame
from mlipdb.physics.sigmas import atomwise_force_sigmas
from mlipdb.physics.splits import split_by_group, split_within_groups
from mlipdb.schemas.common import ArtifactRef
from mlipdb.schemas.configuration import Configuration
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.level_of_theory import LevelOfTheory
from mlipdb.schemas.structure import formula_of
from mlipdb.schemas.training_set import SplitStatistics, TrainingSet, TrainingSetMember
from mlipdb.settings import Recipe

__all__ = ["TEST_FILE", "TRAIN_FILE", "isolated_atom_energies", "training_set_of"]

Raw = dict[str, Any]
TRAIN_FILE = "train.extxyz"
TEST_FILE = "test.extxyz"


def training_set_of(
    name: str,
    recipe: Recipe,
    configurations: list[Configuration],
    test_materials: list[str],
    levels: list[LevelOfTheory],
    atom_levels: Mapping[str, LevelOfTheory] | None = None,
    left_out: dict[str, int] | None = None,
) -> Built:
    """Freeze a selection: split it, weight it, write it.

    Parameters
    ----------
    name
        Name of the recipe.
    recipe
        Split, sigmas and regularisation.
    configurations
        The selection at one level of theory, isolated atoms among it.
    test_materials
        Material ids to leave out, where the recipe names them.
    levels
        Levels of theory of the crystals, which agree with each other.
    atom_levels
        Levels of theory of the isolated atoms by their id, for the warning where a cutoff is another.
    left_out
        Number of configurations that the recipe left out for their quality, by reason.

    Raises
    ------
    RecipeError
        If nothing can be trained on, or the energy of an isolated atom is missing.
    """
    atoms = isolated_atom_energies(configurations)
    chosen = sorted((c for c in configurations if c.config_type != "isolated_atom"), key=_key)
    singles = sorted((c for c in configurations if c.config_type == "isolated_atom"), key=_key)
    if not chosen:
        raise RecipeError(
            f"training set {name!r}: the recipe selects no configuration; look at its query, materials and "
            f"config_types, and at `mlipdb find configurations`{left_out_text(left_out or {})}",
            reason="empty_selection",
        )
    elements = sorted({element for configuration in chosen for element in configuration.elements})
    missing = [element for element in elements if element not in atoms]
    if missing:
        raise RecipeError(
            f"training set {name!r}: no isolated atom of {', '.join(missing)} at this level of theory; add a "
            f"calculation of the single atom in a large box{left_out_text(left_out or {})}",
            reason="no_isolated_atom",
        )
    level = _common_level(levels)
    test = _test_side(recipe, chosen, test_materials)
    train_side = [*singles, *(c for c in chosen if c.configuration_id not in test)]
    if len(train_side) == len(singles):
        raise RecipeError(f"training set {name!r}: the split leaves nothing to train on", reason="nothing_to_train")
    test_side = [c for c in chosen if c.configuration_id in test]
    frames = {side: [_frame(c, recipe) for c in part] for side, part in (("train", train_side), ("test", test_side))}
    files = {TRAIN_FILE: write_extxyz(frames["train"])}
    if test_side:
        files[TEST_FILE] = write_extxyz(frames["test"])
    document = TrainingSet(
        training_set_id="ts-",
        name=name,
        recipe=recipe.model_dump(mode="json"),
        chemsys=formula_of([number for c in chosen for number in _numbers(c)])[1],
        elements=elements,
        level_id=level.level_id,
        level_label=level.label,
        hamiltonian_id=level.hamiltonian_id,
        material_ids=sorted({c.material_id for c in chosen if c.material_id}),
        configuration_ids=sorted(c.configuration_id for c in configurations),
        members=[*_members(frames["train"], "train"), *_members(frames["test"], "test")],
        isolated_atom_energies={element: atoms[element] for element in elements},
        warnings=[*_spin_warnings(chosen, levels), *_cutoff_warnings(singles, level, atom_levels or {})],
        left_out=dict(sorted((left_out or {}).items())),
        train=_statistics(train_side, atoms),
        test=_statistics(test_side, atoms),
        train_file=ArtifactRef.of(TRAIN_FILE, files[TRAIN_FILE]),
        test_file=ArtifactRef.of(TEST_FILE, files[TEST_FILE]) if test_side else None,
    )
    key = make_key("ts", document.identity())
    return Built(document.model_copy(update={"training_set_id": key}), files=files, extra={"level": level})


def isolated_atom_energies(configurations: list[Configuration]) -> dict[str, float]:
    """Energy of the free atom of each element, eV: the lowest where there are several spin states.

    Only configurations of one atom count, whatever the others are called.
    """
    energies: dict[str, float] = {}
    for configuration in configurations:
        single = configuration.config_type == "isolated_atom" and configuration.n_atoms == 1
        if single and configuration.energy is not None:
            element = configuration.elements[0]
            energies[element] = min(configuration.energy, energies.get(element, np.inf))
    return energies


def _common_level(levels: list[LevelOfTheory]) -> LevelOfTheory:
    """The level of theory of a set; where its recipe lets both in, with spin unknown."""
    level = levels[0].joined(levels[1:])
    if len({item.spin_polarised for item in levels}) == 1:
        return level
    return level.model_copy(update={"spin_polarised": None}).with_keys()


def _spin_warnings(chosen: list[Configuration], levels: list[LevelOfTheory]) -> list[str]:
    """A sentence where crystals with and without spin polarisation stand together."""
    words = {True: "with spin polarisation", False: "without", None: "not saying"}
    spins = {item.level_id: words[item.spin_polarised] for item in levels}
    if len(set(spins.values())) == 1:
        return []
    counts = Counter(spins[c.level_id or ""] for c in chosen)
    return ["mixed_spin: " + ", ".join(f"{counts[word]} configurations {word}" for word in sorted(counts))]


def _cutoff_warnings(
    singles: list[Configuration], level: LevelOfTheory, atom_levels: Mapping[str, LevelOfTheory]
) -> list[str]:
    """A sentence for each element whose isolated atom was computed at another cutoff than the crystals."""
    found = set()
    for single in singles:
        own = atom_levels.get(single.level_id or "")
        if own is not None and own.cutoff_difference(level) > 0:
            found.add(
                f"isolated atom of {single.elements[0]} computed at {own.cutoff_ev:g} eV, the crystals at "
                f"{level.cutoff_ev:g} eV"
            )
    return sorted(found)


def _key(configuration: Configuration) -> str:
    return configuration.configuration_id


def _numbers(configuration: Configuration) -> list[int]:
    if configuration.structure is None:
        raise RecipeError(f"configuration {configuration.configuration_id} has no structure", reason="no_structure")
    return configuration.structure.numbers


def _test_side(recipe: Recipe, chosen: list[Configuration], test_materials: list[str]) -> set[str]:
    split = recipe.split
    if split.by == "material":
        groups = {c.configuration_id: c.material_id or "" for c in chosen}
        return split_by_group(groups, split.test_fraction, split.seed, test_materials)
    kinds = {c.configuration_id: c.config_type or "other" for c in chosen}
    return split_within_groups(kinds, split.test_fraction, split.seed)


def _frame(configuration: Configuration, recipe: Recipe) -> Frame:
    structure, kind = configuration.structure, configuration.config_type or "other"
    if structure is None or configuration.forces is None or configuration.energy is None:
        raise RecipeError(f"configuration {configuration.configuration_id} has no labels", reason="no_labels")
    sigmas = recipe.sigmas_for(kind)
    forces = np.array(configuration.forces)
    regularisation = recipe.force_regularisation
    if regularisation is None:
        force_sigmas = np.full(len(forces), sigmas.force)
    else:
        force_sigmas = atomwise_force_sigmas(forces, regularisation.f, regularisation.floor)
    return Frame(
        configuration_id=configuration.configuration_id,
        numbers=np.array(structure.numbers),
        cell=np.array(structure.cell),
        positions=np.array(structure.positions),
        pbc=structure.pbc,
        energy=configuration.energy,
        forces=forces,
        stress=None if configuration.stress is None else np.array(configuration.stress),
        config_type=kind,
        energy_sigma=sigmas.energy,
        force_sigmas=force_sigmas,
        virial_sigma=None if configuration.stress is None else sigmas.virial,
    )


def _members(frames: list[Frame], split: Literal["train", "test"]) -> list[TrainingSetMember]:
    members = []
    for frame in frames:
        assert frame.force_sigmas is not None
        assert frame.energy_sigma is not None
        members.append(
            TrainingSetMember(
                configuration_id=frame.configuration_id,
                config_type=frame.config_type,
                split=split,
                energy_sigma=frame.energy_sigma,
                virial_sigma=frame.virial_sigma,
                force_sigma_min=float(frame.force_sigmas.min()),
                force_sigma_max=float(frame.force_sigmas.max()),
            )
        )
    return members


def _statistics(configurations: list[Configuration], atoms: dict[str, float]) -> SplitStatistics:
    crystals = [c for c in configurations if c.config_type != "isolated_atom"]
    energies = [_binding_energy(c, atoms) for c in crystals]
    forces = [c.max_force for c in crystals if c.max_force is not None]
    return SplitStatistics(
        n_configurations=len(configurations),
        n_atoms=sum(c.n_atoms for c in configurations),
        by_config_type=dict(sorted(Counter(c.config_type or "other" for c in configurations).items())),
        by_material=dict(sorted(Counter(c.material_id for c in crystals if c.material_id).items())),
        energy_per_atom_min=min(energies, default=None),
        energy_per_atom_max=max(energies, default=None),
        max_force=max(forces, default=None),
    )


def _binding_energy(configuration: Configuration, atoms: dict[str, float]) -> float:
    from ase.data import chemical_symbols

    free = sum(atoms[chemical_symbols[number]] for number in _numbers(configuration))
    return ((configuration.energy or 0.0) - free) / configuration.n_atoms
