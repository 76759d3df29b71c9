from __future__ import annotations

from typing import Any

import pytest

from mlipdb.errors import IngestError
from mlipdb.ingest.phonopy_units import CALCULATORS, FORCE_CONSTANTS, units_of


@pytest.mark.parametrize("calculator", [None, *sorted(CALCULATORS)])
def test_the_table_is_that_of_phonopy(calculator: str | None) -> None:
    from phonopy.interface.calculator import get_calculator_physical_units

    theirs = get_calculator_physical_units(calculator)
    ours = units_of({"phonopy": {"calculator": calculator}} if calculator else {}, "phonopy.yaml")
    # phonopy's constants are those of CODATA 2010.
    assert ours.length == pytest.approx(theirs.distance_to_A, rel=1e-7)
    assert ours.force == pytest.approx(theirs.force_to_eVperA, rel=1e-6)
    assert ours.force_constants == pytest.approx(FORCE_CONSTANTS[theirs.force_constants_unit], rel=1e-12)
    # With force constants in phonopy's units, its factor to THz gives what ours gives in eV and Angstrom.
    electron_volts = get_calculator_physical_units(None).factor
    assert ours.force_constants**0.5 * electron_volts == pytest.approx(theirs.factor, rel=1e-6)


@pytest.mark.parametrize(
    "content",
    [
        {"phonopy": {"calculator": "vaspp"}},
        {"phonopy": {"calculator": "vasp"}, "physical_unit": {"length": "au"}},
        {"phonopy": {"calculator": "qe"}, "physical_unit": {"force": "eV/angstrom"}},
        {"physical_unit": {"force_constants": "Ry/au^2"}},
    ],
)
def test_units_that_do_not_fit(content: dict[str, Any]) -> None:
    with pytest.raises(IngestError) as caught:
        units_of(content, "phonopy.yaml")
    assert caught.value.reason == "bad_units"
