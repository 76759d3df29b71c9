from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase.units import GPa

from mlipdb.errors import ConfigurationError
from mlipdb.ingest.vasp_values import KBAR, is_converged, stress_of_kbar


def test_the_unit_is_that_of_ase() -> None:
    assert pytest.approx(10 / GPa, rel=1e-6) == KBAR  # 1 GPa is 10 kB


def test_compression_becomes_negative() -> None:
    found = stress_of_kbar("t", np.eye(3) * 16.02176634)
    assert found is not None
    assert np.allclose(found, [-0.01, -0.01, -0.01, 0, 0, 0])
    assert stress_of_kbar("t", None) is None


@pytest.mark.parametrize(
    ("step", "incar", "expected"),
    [
        ({"electronic_steps": [{}] * 39}, {"NELM": 40}, True),
        ({"electronic_steps": [{}] * 40}, {"NELM": 40}, False),
        ({"num_electronic_steps": 60}, {}, False),
        ({"num_electronic_steps": 59}, {}, True),
        ({}, {}, None),
        ({"electronic_steps": []}, {}, None),
        ({"num_electronic_steps": "many"}, {}, None),
        ({"num_electronic_steps": 99}, {"NELM": 40, "LEPSILON": True}, None),
        ({"num_electronic_steps": 99}, {"NELM": 40, "IBRION": 8}, None),
    ],
)
def test_convergence(step: Any, incar: Any, expected: bool | None) -> None:
    assert is_converged("t", step, {"incar": incar}) is expected
    assert is_converged("t", step, {"parameters": incar}) is expected


def test_a_limit_that_is_no_number() -> None:
    with pytest.raises(ConfigurationError) as caught:
        is_converged("t", {"num_electronic_steps": 3}, {"incar": {"NELM": "all"}})
    assert caught.value.reason == "bad_number"
