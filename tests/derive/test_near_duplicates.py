from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from mlipdb.derive.near_duplicates import Labelled, NearDuplicate, near_duplicates

Raw = dict[str, Any]
CELL = np.array([[7.0, 0, 0], [1.0, 8.0, 0], [0, 0.5, 9.0]])
POSITIONS = np.random.default_rng(0).random((8, 3)) @ CELL


def document(key: str, positions: Any = POSITIONS, *, energy: float = -40.0, level: str = "a", **more: Any) -> Raw:
    structure = {
        "cell": CELL.tolist(),
        "numbers": [14] * 8,
        "positions": np.array(positions).tolist(),
        "pbc": [True] * 3,
    }
    return {
        "configuration_id": key,
        "level_id": level,
        "level_label": f"label {level}",
        "structure": structure,
        "energy": energy,
        "forces": np.zeros((8, 3)).tolist(),
        **more,
    }


def found(documents: Iterable[Raw]) -> list[NearDuplicate]:
    by_key = {doc["configuration_id"]: doc for doc in documents}
    return list(near_duplicates(by_key.values(), lambda keys: {key: Labelled(by_key[key]) for key in keys}))


def shifted(distance: float, atom: int = 3) -> Any:
    positions = POSITIONS.copy()
    positions[atom, 1] += distance
    return positions


def test_one_structure_with_two_energies() -> None:
    (pair,) = found([document("cfg-b", shifted(5e-4), energy=-40.1), document("cfg-a")])
    assert pair.configuration_ids == ("cfg-a", "cfg-b")
    assert pair.distance == pytest.approx(5e-4)
    assert pair.energy_difference == pytest.approx(0.1 / 8)
    assert pair.force_difference == 0.0
    assert "differ by 12.5 meV/atom" in pair.sentence()
    assert "at label a" in pair.sentence()
    assert pair.as_dict()["distance"] == pair.distance


def test_one_structure_with_two_forces() -> None:
    forces = np.zeros((8, 3))
    forces[2, 1] = -0.3
    (pair,) = found([document("cfg-a"), document("cfg-b", forces=forces.tolist())])
    assert pair.force_difference == pytest.approx(0.3)


OTHERS: dict[str, Raw] = {
    "labels that agree": document("cfg-b", energy=-40.004),
    "another structure": document("cfg-b", shifted(0.0012), energy=-50.0),
    "another level of theory": document("cfg-b", energy=-50.0, level="b"),
    "other elements": document("cfg-b", energy=-50.0)
    | {"structure": {**document("x")["structure"], "numbers": [14] * 7 + [6]}},
    "another cell": document("cfg-b", energy=-50.0)
    | {"structure": {**document("x")["structure"], "cell": (1.01 * CELL).tolist()}},
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_none(name: str) -> None:
    assert found([document("cfg-a"), OTHERS[name]]) == []


def test_faces_of_the_cell_make_no_difference() -> None:
    inside, outside = POSITIONS.copy(), POSITIONS.copy()
    inside[0], outside[0] = 1e-4 * CELL[0] / 7, CELL[0] * (1 - 1e-4 / 7)
    outside[5] += CELL[1] - 2 * CELL[2]
    assert len(found([document("cfg-a", inside), document("cfg-b", outside, energy=-50.0)])) == 1


@pytest.mark.parametrize("seed", range(20))
def test_every_site_may_have_moved(seed: int) -> None:
    moves = np.random.default_rng(seed).standard_normal((8, 3))
    moves *= 9.9e-4 / np.linalg.norm(moves, axis=1, keepdims=True)
    assert len(found([document("cfg-a"), document("cfg-b", POSITIONS + moves, energy=-50.0)])) == 1


def test_few_of_many_are_looked_at_closely() -> None:
    rng = np.random.default_rng(2)
    documents = {f"cfg-{i}": document(f"cfg-{i}", POSITIONS + rng.normal(0, 0.05, (8, 3))) for i in range(2000)}
    twin = documents["cfg-77"]
    documents["cfg-twin"] = {**twin, "configuration_id": "cfg-twin", "energy": -41.0}
    asked: list[str] = []

    def load(keys: list[str]) -> dict[str, Labelled]:
        asked.extend(keys)
        return {key: Labelled(documents[key]) for key in keys}

    (pair,) = near_duplicates(documents.values(), load)
    assert pair.configuration_ids == ("cfg-77", "cfg-twin")
    assert len(asked) < 50


def test_molecules() -> None:
    structure = {**document("x")["structure"], "cell": np.zeros((3, 3)).tolist(), "pbc": [False] * 3}
    documents = [document("cfg-a", structure=structure), document("cfg-b", energy=-50.0, structure=structure)]
    assert len(found(documents)) == 1
