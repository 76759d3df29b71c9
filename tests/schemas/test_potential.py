from __future__ import annotations

from typing import Any

import pytest

from mlipdb.derive.potentials import potential_key
from mlipdb.schemas.common import ArtifactRef
from mlipdb.schemas.keys import make_key
from mlipdb.schemas.potential import Potential

FILES = [ArtifactRef.of("gap.xml", b"1"), ArtifactRef.of("gap.xml.sparseX", b"2")]


def key(**given: Any) -> str:
    return make_key("pot", Potential(potential_id="", framework="gap", **given).identity())


def test_key_of_a_fit_is_pinned() -> None:
    found = key(training_set_id="ts-0", hyperparameters={"n_sparse": 100, "delta": 1.0})
    assert found == "pot-de1bb5a948cb90213ff1"
    assert found == potential_key("gap", "ts-0", {"delta": 1.0, "n_sparse": 100})


@pytest.mark.parametrize("change", [{"training_set_id": "ts-1"}, {"hyperparameters": {"n_sparse": 101}}])
def test_other_inputs_have_other_keys(change: dict[str, Any]) -> None:
    base = {"training_set_id": "ts-0", "hyperparameters": {"n_sparse": 100}}
    assert key(**{**base, **change}) != key(**base)


def test_results_do_not_change_the_key() -> None:
    assert key(training_set_id="ts-0", files=FILES, fit_name="b", errors={"test": {}}) == key(training_set_id="ts-0")


def test_an_imported_potential_is_its_files() -> None:
    assert key(origin="imported", files=FILES) == key(origin="imported", files=FILES[::-1], training_set="x")
    assert key(origin="imported", files=FILES[:1]) != key(origin="imported", files=FILES)
