"""Values as VASP and pymatgen write them, in the units and forms of mlipdb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mlipdb.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["KBAR", "is_converged", "stress_of_kbar"]

#: kB in one eV/Angstrom^3 (CODATA 2018: e = 1.602176634e-19 C).
KBAR = 1602.176634
#: NELM where neither INCAR nor vasprun.xml says it (VASP manual).
NELM = 60
#: IBRION of runs whose electronic steps are not those of one self-consistency (response functions).
RESPONSE = (7, 8)


def stress_of_kbar(task_id: str, value: Any) -> NDArray[np.float64] | None:
    """Voigt stress in eV/Angstrom^3, tension positive, from VASP's 3x3 matrix in kB, compression positive.

    Raises
    ------
    ConfigurationError
        ``wrong_shape`` or ``bad_number``.
    """
    if value is None:
        return None
    try:
        matrix = np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise ConfigurationError(f"task {task_id}: its stress is no array of numbers", reason="bad_number") from None
    if matrix.shape != (3, 3):
        raise ConfigurationError(
            f"task {task_id}: its stress has shape {matrix.shape}; VASP writes (3, 3), in kB", reason="wrong_shape"
        )
    sides = (matrix + matrix.T) / 2.0
    voigt = np.array([sides[0, 0], sides[1, 1], sides[2, 2], sides[1, 2], sides[0, 2], sides[0, 1]])
    return -voigt / KBAR


def is_converged(task_id: str, step: Mapping[str, Any], inputs: Mapping[str, Any]) -> bool | None:
    """Whether the last self-consistency ended before NELM ran out; None where nothing tells.

    Parameters
    ----------
    task_id
        Named in errors.
    step
        The last ionic step: ``electronic_steps`` or ``num_electronic_steps``.
    inputs
        As for `mlipdb.ingest.vasp_level.level_of`.

    Raises
    ------
    ConfigurationError
        ``bad_number`` if NELM is no number.
    """
    done = step.get("num_electronic_steps")
    if done is None and isinstance(step.get("electronic_steps"), list):
        done = len(step["electronic_steps"])
    if not isinstance(done, int) or done == 0:
        return None
    incar, parameters = (inputs.get(name) for name in ("incar", "parameters"))
    said = {**(parameters if isinstance(parameters, Mapping) else {}), **(incar if isinstance(incar, Mapping) else {})}
    if said.get("LEPSILON") or said.get("IBRION") in RESPONSE:
        return None
    try:
        limit = int(said.get("NELM", NELM))
    except (TypeError, ValueError, OverflowError):
        raise ConfigurationError(f"task {task_id}: its NELM is {said['NELM']!r:.40}", reason="bad_number") from None
    return done < limit
