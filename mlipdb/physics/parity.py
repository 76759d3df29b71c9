"""How far predictions are from DFT, overall and by config type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlipdb.errors import DataError
from mlipdb.physics.frames import FloatArray, Frame
from mlipdb.units import stress_to_virial

__all__ = ["Prediction", "parity_errors"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a potential gives for one frame.

    Parameters
    ----------
    energy
        eV, whole cell.
    forces
        Shape (N, 3), eV/Angstrom.
    stress
        Voigt, shape (6,), eV/Angstrom^3, tension positive; None where not asked for.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class _Deviations:
    n_atoms: int
    energy: float
    forces: FloatArray
    virial: FloatArray | None


def parity_errors(frames: Sequence[Frame], predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Root-mean-square and mean absolute errors of energies, forces and virials.

    Every configuration counts once in the energy errors, every force component once in the force
    errors, and the six independent virial components once in the virial errors, which are per
    atom.  Isolated atoms appear under their own config type only: their energy is the zero of the
    fit and their forces vanish, so both would make the overall errors look better.

    Parameters
    ----------
    frames, predictions
        The same configurations in the same order.

    Returns
    -------
    dict
        ``overall`` and, under ``by_config_type``, each type's ``n_configurations``, ``n_atoms``,
        ``energy_rmse``, ``energy_mae`` (eV/atom), ``force_rmse``, ``force_mae`` (eV/Angstrom,
        components), ``n_virials``, ``virial_rmse``, ``virial_mae`` (eV/atom; None where no
        configuration has both a DFT and a predicted stress).  Errors over no configuration are
        None.

    Raises
    ------
    DataError
        If the two sequences do not match, or a prediction is not finite.
    """
    if len(frames) != len(predictions):
        raise DataError(
            f"{len(predictions)} predictions given for {len(frames)} frames; each frame needs one",
            reason="mismatch",
        )
    deviations = [_deviate(frame, prediction) for frame, prediction in zip(frames, predictions, strict=True)]
    overall = [deviation for frame, deviation in zip(frames, deviations, strict=True) if not frame.is_isolated_atom]
    by_type: dict[str, list[_Deviations]] = {}
    for frame, deviation in zip(frames, deviations, strict=True):
        by_type.setdefault(frame.config_type, []).append(deviation)
    return {
        "overall": _summarise(overall),
        "by_config_type": {name: _summarise(by_type[name]) for name in sorted(by_type)},
    }


def _deviate(frame: Frame, prediction: Prediction) -> _Deviations:
    forces = np.asarray(prediction.forces, dtype=float)
    if forces.shape != frame.forces.shape:
        raise DataError(
            f"configuration {frame.configuration_id!r}: predicted forces have shape {forces.shape}, "
            f"expected {frame.forces.shape}",
            reason="mismatch",
        )
    virial = _virial_deviation(frame, prediction)
    finite = np.isfinite(prediction.energy) and np.all(np.isfinite(forces))
    if not finite or (virial is not None and not np.all(np.isfinite(virial))):
        raise DataError(
            f"configuration {frame.configuration_id!r}: a prediction is NaN or infinite", reason="not_finite"
        )
    return _Deviations(
        n_atoms=frame.n_atoms,
        energy=(float(prediction.energy) - frame.energy) / frame.n_atoms,
        forces=(forces - frame.forces).ravel(),
        virial=virial,
    )


def _virial_deviation(frame: Frame, prediction: Prediction) -> FloatArray | None:
    if frame.virial is None or prediction.stress is None:
        return None
    difference = stress_to_virial(prediction.stress, frame.volume) - frame.virial
    deviation: FloatArray = difference[np.triu_indices(3)] / frame.n_atoms
    return deviation


def _summarise(deviations: Sequence[_Deviations]) -> dict[str, Any]:
    energies = np.array([deviation.energy for deviation in deviations])
    forces = np.concatenate([np.empty(0), *(deviation.forces for deviation in deviations)])
    virials = [deviation.virial for deviation in deviations if deviation.virial is not None]
    virial_components = np.concatenate([np.empty(0), *virials])
    return {
        "n_configurations": len(deviations),
        "n_atoms": sum(deviation.n_atoms for deviation in deviations),
        "energy_rmse": _rmse(energies),
        "energy_mae": _mae(energies),
        "force_rmse": _rmse(forces),
        "force_mae": _mae(forces),
        "n_virials": len(virials),
        "virial_rmse": _rmse(virial_components),
        "virial_mae": _mae(virial_components),
    }


def _rmse(values: FloatArray) -> float | None:
    return float(np.sqrt(np.mean(values**2))) if values.size else None


def _mae(values: FloatArray) -> float | None:
    return float(np.mean(np.abs(values))) if values.size else None
