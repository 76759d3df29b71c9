from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from pydantic import ValidationError

from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters


def dump(data: dict[str, Any]) -> str:
    return json.dumps(GapHyperparameters.model_validate(data).model_dump(mode="json"), sort_keys=True)


def test_one_meaning_has_one_dump() -> None:
    one = {
        "soap": {"cutoff": 5, "zeta": 4, "options": {"normalize": "T", "cutoff_dexp": "2"}},
        "options": {"sigma_per_atom": "false", "config_type_sigma": "{bulk:0.1:0.2:0.3:0.0}"},
        "f": 1,
    }
    two = {
        "f": 1.0,
        "floor": 0.01,
        "options": {
            "config_type_kernel_regularisation": "bulk:0.1:0.2:0.3:0.0",
            "kernel_regularisation_is_per_atom": False,
        },
        "soap": {"options": {"cutoff_dexp": 2, "normalise": True}, "zeta": 4.0, "cutoff": 5.0},
    }
    assert dump(one) == dump(two)
    assert dump(json.loads(dump(one))) == dump(one)
    assert '"cutoff": 5.0' in dump(one)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"saop": {}}, r"no hyperparameter 'saop'; did you mean 'soap'"),
        ({"soap": {"lmax": 3}}, r"no hyperparameter 'lmax'; did you mean 'l_max'"),
        (
            {"soap": {"options": {"radial_bases": "GTO"}}},
            r"soap has no option 'radial_bases'; .*'radial_basis'",
        ),
        ({"options": {"sparse_jiter": 1e-8}}, r"gap_fit has no option 'sparse_jiter'; .*'sparse_jitter'"),
        ({"options": {"sparse_jitter": 1e-8}}, r"use the field sparse_jitter"),
        ({"options": {"default_sigma": "1 2 3 4"}}, r"use the field sigmas"),
        ({"options": {"dryrun": True}}, r"no potential"),
        ({"options": {"config_file": "x"}}, r"write its lines as options"),
        ({"soap": {"options": {"zeta": 4}}}, r"use the field zeta"),
        ({"options": {"template_file": "/etc/passwd"}}, r"not plain text"),
        ({"options": {"template_file": "x} gap_file={y"}}, r"not plain text"),
        ({"options": {"template_file": "x\ny"}}, r"not plain text"),
        ({"options": {"do_ip_timing": "maybe"}}, r"not true or false"),
        ({"options": {"e0_offset": True}}, r"truth value"),
        ({"options": {"openmp_chunk_size": 1.5}}, r"not a whole number"),
        ({"options": {"e0_offset": "nan"}}, r"not a finite number"),
        ({"options": {"sigma_per_atom": True, "kernel_regularisation_is_per_atom": True}}, r"given twice"),
        ({"soap": None}, r"at least one of"),
        ({"floor": 0.01}, r"without f"),
        ({"f": 0}, r"greater than 0"),
        ({"sigmas": {"force": 0}}, r"greater than 0"),
        ({"sigmas": {"energy": "inf"}}, r"finite"),
        ({"soap": {"n_sparse": 0}}, r"greater than or equal to 1"),
        ({"soap": {"n_sparse": {}}}, r"at least one config type"),
        ({"soap": {"n_sparse": {"a b": 3}}}, r"pattern"),
        ({"soap": {"sparse_method": "best"}}, r"sparse_method"),
        ({"seed": 0}, r"greater than or equal to 1"),
    ],
)
def test_mistakes_are_named(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GapHyperparameters.model_validate(data)


def test_defaults_are_a_soap_alone() -> None:
    hyperparameters = GapHyperparameters()
    assert [descriptor.kind for descriptor in hyperparameters.descriptors] == ["soap"]
    with pytest.raises(ValidationError, match="frozen"):
        hyperparameters.seed = 2


def test_config_types_have_one_form() -> None:
    one = dump({"config_types": ["rattled", "bulk", "isolated_atom", "rattled"], "own_sigmas": "replace"})
    assert one == dump({"own_sigmas": "replace", "config_types": ["bulk", "rattled"]})
    assert dump(json.loads(one)) == one
    assert json.loads(one)["config_types"] == ["bulk", "rattled"]


def test_what_says_nothing_is_not_dumped() -> None:
    """Potentials fitted before these were hyperparameters keep their keys."""
    plain = dump({})
    assert dump({"own_sigmas": "keep", "config_types": None}) == plain
    assert not {"own_sigmas", "config_types"} & set(json.loads(plain))
    # The hash of the dump that the first version made.
    assert (
        hashlib.sha256(plain.encode()).hexdigest() == "feb1f280651027073675d50cbfb9623abdb7691ea1282b2e46b40d2c3fd1a162"
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "at least one config type besides isolated_atom"),
        (["isolated_atom"], "at least one config type besides isolated_atom"),
        (["ratled"], "'rattled'"),
        ("bulk", "valid list"),
    ],
)
def test_config_types_that_are_refused(value: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        GapHyperparameters(config_types=value)
    assert caught.value.errors()[0]["loc"][0] == "config_types"
