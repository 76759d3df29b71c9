"""The quality gates on their way from tasks to training sets, phonons and materials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

Raw = dict[str, Any]
BUILDERS = ("materials", "configurations", "phonons", "training_sets")


def reasons(bench: Any) -> dict[str, list[str]]:
    """Reasons by task."""
    docs = bench.docs("configurations", state="complete")
    return {doc["task_ids"][0]: [item["reason"] for item in doc["quality"]] for doc in docs if doc["quality"]}


def recipe(text: str) -> str:
    return f"training_sets:\n  full: {{split: {{test_fraction: 0}}, {text}}}\n"


def test_a_recipe_may_let_reasons_in(bench: Any) -> None:
    bench.settle(recipe(""))
    bench.add([*bench.diamond, bench.record("rattled-diamond-05", converged=False)])
    bench.build(*BUILDERS)
    (strict,) = bench.docs("training_sets", current=True)
    assert strict["left_out"] == {"unconverged": 1}
    assert len(strict["configuration_ids"]) == 8
    bench.settle(recipe("allow: [unconverged]"))
    bench.build(*BUILDERS)
    (open_,) = bench.docs("training_sets", current=True)
    assert open_["left_out"] == {}
    assert len(open_["configuration_ids"]) == 9


def test_a_recipe_may_set_limits(bench: Any) -> None:
    bench.settle(recipe("limits: {max_force: 2.5}"))
    bench.add(bench.diamond)
    bench.build(*BUILDERS)
    (found,) = bench.docs("training_sets", current=True)
    large = [doc for doc in bench.docs("configurations") if doc["max_force"] > 2.5]
    assert found["left_out"] == {"force_too_large": len(large)}
    assert not {doc["configuration_id"] for doc in large} & set(found["configuration_ids"])
    assert large
    assert reasons(bench) == {}, "the limits of a recipe are its own"


def test_nothing_left_says_what_was_left_out(bench: Any) -> None:
    bench.settle(recipe("config_types: [rattled]"))
    bench.add(["isolated-atom", bench.record("rattled-diamond-00", converged=False)])
    bench.build(*BUILDERS)
    (found,) = bench.docs("training_sets")
    assert found["failure"]["reason"] == "empty_selection"
    assert "left out for their quality: 1 unconverged" in found["failure"]["message"]


def test_an_isolated_atom_in_a_small_box(bench: Any) -> None:
    bench.settle(recipe(""))
    atom = bench.record("isolated-atom")
    atom["structure"]["lattice"]["matrix"] = (7.5 * np.eye(3)).tolist()
    bench.add([atom, *bench.diamond[1:]])
    bench.build(*BUILDERS)
    assert reasons(bench) == {"isolated-atom": ["small_box"]}
    (found,) = bench.docs("training_sets")
    assert found["failure"]["reason"] == "no_isolated_atom"
    assert "1 small_box" in found["failure"]["message"]
    bench.settle(recipe("allow: [small_box]"))
    bench.build(*BUILDERS)
    assert [doc["state"] for doc in bench.docs("training_sets")] == ["complete"]


def test_phonons_and_materials_take_nothing_doubtful(bench: Any) -> None:
    bench.add([bench.record("phonon-diamond-01", converged=False), bench.record("relax-diamond", converged=False)])
    bench.build(*BUILDERS)
    assert bench.docs("materials") == []
    assert bench.docs("phonons") == []
    assert len(bench.docs("configurations", state="complete")) == 2
    bench.add(["relax-diamond", "phonon-diamond-01"])
    bench.build(*BUILDERS)
    assert [doc["state"] for doc in bench.docs("phonons")] == ["complete"]


def test_a_doubt_goes_away_with_the_task_that_states_it(bench: Any) -> None:
    """One calculation by two ways, of which one says that it did not converge."""
    first, second = bench.record("rattled-diamond-05"), bench.record("rattled-diamond-05", converged=False)
    second["task_id"] = "the-same-again"
    for order in ([first, second], [second, first]):
        bench.add(order)
        bench.build("materials", "configurations")
        (doc,) = bench.docs("configurations")
        assert doc["task_ids"] == ["rattled-diamond-05", "the-same-again"]
        assert [item["reason"] for item in doc["quality"]] == ["unconverged"]
        bench.database.collection("configurations").delete_many({})
        bench.database.touch("configurations")
    bench.build("configurations")
    bench.database.collection("tasks").delete_one({"task_id": "the-same-again"})
    bench.database.touch("tasks")
    bench.build("configurations")
    (doc,) = bench.docs("configurations")
    assert (doc["task_ids"], doc["quality"]) == (["rattled-diamond-05"], [])


def scan_record(bench: Any, ratio: float, *, sign: float = 1.0) -> Raw:
    """Diamond under isotropic strain with the bulk modulus of silicon."""
    record: Raw = bench.record("relax-diamond", task_id=f"scan-{ratio}", calc_type="strained")
    lattice = record["structure"]["lattice"]
    cell = np.array(lattice["matrix"])
    volume = abs(np.linalg.det(cell))
    lattice["matrix"] = (cell * ratio ** (1 / 3)).tolist()
    modulus, x = 95 / 160.2176634, ratio - 1
    record["energy"] += volume * modulus * x**2 / 2
    record["stress"] = [sign * modulus * x] * 3 + [0.0] * 3
    record["forces"] = [[0.0] * 3 for _ in record["forces"]]
    return record


def test_a_stress_of_the_wrong_sign(bench: Any) -> None:
    bench.settle(recipe(""))
    ratios = (0.96, 0.98, 1.02, 1.04)
    bench.add([*bench.diamond, *(scan_record(bench, r, sign=-1.0 if r == 0.98 else 1.0) for r in ratios)])
    bench.build(*BUILDERS)
    assert reasons(bench) == {"scan-0.98": ["stress_inconsistent"]}
    docs = {doc["task_ids"][0]: doc for doc in bench.docs("configurations")}
    (problem,) = docs["scan-0.98"]["quality"]
    assert problem["value"] == docs["scan-0.98"]["stress_error"] == pytest.approx(2 * 95 * 0.02, abs=0.2)
    assert docs["scan-1.02"]["stress_error"] < 0.3
    assert "stress_error" not in docs["rattled-diamond-00"]
    (training_set,) = bench.docs("training_sets")
    assert training_set["left_out"] == {"stress_inconsistent": 1}
    assert bench.build(*BUILDERS)["configurations"].built == 0
    # Without the rest of the scan nothing can be told, and nothing is said.
    bench.database.collection("tasks").delete_many({"task_id": {"$in": ["scan-0.96", "scan-1.02", "scan-1.04"]}})
    bench.database.collection("tasks").delete_many({"task_id": "relax-diamond"})
    bench.database.touch("tasks")
    bench.build("configurations")
    assert reasons(bench) == {}


def test_mixed_spin_has_a_name_and_may_be_let_in(bench: Any) -> None:
    bench.settle(recipe(""))
    bench.add([*bench.diamond, bench.record("rattled-diamond-05", spin_polarised=True)])
    bench.build(*BUILDERS)
    (found,) = bench.docs("training_sets")
    assert found["failure"]["reason"] == "mixed_spin"
    assert "allow: [mixed_spin]" in found["failure"]["message"]
    bench.settle(recipe("allow: [mixed_spin]"))
    bench.build(*BUILDERS)
    (found,) = bench.docs("training_sets")
    assert found["warnings"] == ["mixed_spin: 1 configurations with spin polarisation, 7 configurations without"]
    (level,) = bench.docs("levels_of_theory", level_id=found["level_id"])
    assert "spin_polarised" not in level
    assert len(found["configuration_ids"]) == 9
