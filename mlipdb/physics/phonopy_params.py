"""Read a ``phonopy_params.yaml`` without trusting it."""

from __future__ import annotations

from typing import Any

import numpy as np
import yaml

from mlipdb.errors import PhononError

__all__ = ["phonopy_from_params"]

# phonopy's own reader lets a file make Python objects; the safe loader does not (the C one is quicker).
_SafeLoader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _plain_yaml(text: str) -> Any:
    loader = _SafeLoader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def phonopy_from_params(text: str) -> Any:
    """Rebuild a phonopy object from `PhononResult.phonopy_params`.

    The text is read as plain YAML (no Python objects), and only cells, matrices and
    force constants are taken from it.

    Parameters
    ----------
    text
        Content of a ``phonopy_params.yaml`` with force constants.

    Returns
    -------
    phonopy.Phonopy
        With force constants, ready for `frequencies_at`.

    Raises
    ------
    PhononError
        The text is not such a file (reason ``bad_phonopy_params``).
    """
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    try:
        content = _plain_yaml(text)
        points = content["unit_cell"]["points"]
        cell = PhonopyAtoms(
            symbols=[str(point["symbol"]) for point in points],
            cell=np.array(content["unit_cell"]["lattice"], dtype=float),
            scaled_positions=np.array([point["coordinates"] for point in points], dtype=float),
            masses=np.array([point["mass"] for point in points], dtype=float),
        )
        stored = content["force_constants"]
        constants = np.array(stored["elements"], dtype=float).reshape(*stored["shape"], 3, 3)
        phonopy = Phonopy(
            cell,
            supercell_matrix=np.array(content["supercell_matrix"], dtype=int),
            primitive_matrix=np.array(content["primitive_matrix"], dtype=float),
            log_level=0,
        )
        phonopy.force_constants = constants
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise PhononError(
            f"The text is not a phonopy_params.yaml with force constants: {type(error).__name__}: {error}.",
            reason="bad_phonopy_params",
        ) from error
    return phonopy
