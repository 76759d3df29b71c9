"""Harmonic thermal properties from frequencies on a mesh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from mlipdb.schemas.phonon_data import ThermalProperties
from mlipdb.units import THZ_TO_EV

__all__ = ["BOLTZMANN", "thermal_properties"]

#: Boltzmann constant, eV/K; CODATA 2018 (exact).
BOLTZMANN: Final = 8.617333262e-5


def thermal_properties(
    frequencies: ArrayLike, weights: ArrayLike, temperatures: Sequence[float], *, n_atoms: int, cutoff: float
) -> ThermalProperties:
    """Zero-point energy, Helmholtz free energy, entropy and heat capacity.

    With x = h nu / k T and averages over the mesh of sums over modes::

        ZPE = sum h nu / 2
        F   = ZPE + k T sum ln(1 - exp(-x))
        S   = k sum [x / (exp(x) - 1) - ln(1 - exp(-x))]
        C_V = k sum x^2 exp(x) / (exp(x) - 1)^2

    (Dove, Introduction to Lattice Dynamics, 1993, ch. 5; what phonopy computes).

    Parameters
    ----------
    frequencies
        Shape (nq, nb), THz.
    weights
        Shape (nq,), multiplicities.
    temperatures
        K; zero is allowed.
    n_atoms
        Atoms in the primitive cell, nb / 3.
    cutoff
        Modes below this (THz) are left out and counted in ``excluded_modes``.

    Returns
    -------
    ThermalProperties
    """
    nu = np.asarray(frequencies, dtype=float)
    share = np.repeat((np.asarray(weights, dtype=float) / np.sum(weights))[:, None], nu.shape[1], axis=1)
    used = (nu > 0) & (nu >= cutoff)
    energies, share_used = THZ_TO_EV * nu[used], share[used]
    zero_point = float(share_used @ energies) / 2
    free, entropy, heat = [], [], []
    for temperature in temperatures:
        if temperature == 0:
            free.append(zero_point)
            entropy.append(0.0)
            heat.append(0.0)
            continue
        x = energies / (BOLTZMANN * temperature)
        # exp(-x) never overflows; expm1 and log1p keep small x exact.
        decay = np.exp(-x)
        log_term = np.log(-np.expm1(-x))
        occupation = decay / -np.expm1(-x)
        free.append(zero_point + BOLTZMANN * temperature * float(share_used @ log_term))
        entropy.append(BOLTZMANN * float(share_used @ (x * occupation - log_term)))
        heat.append(BOLTZMANN * float(share_used @ (x**2 * occupation * (1.0 + occupation))))
    return ThermalProperties(
        n_atoms=n_atoms,
        temperatures=[float(temperature) for temperature in temperatures],
        zero_point_energy=zero_point,
        free_energy=free,
        entropy=entropy,
        heat_capacity=heat,
        zero_point_energy_per_atom=zero_point / n_atoms,
        free_energy_per_atom=[value / n_atoms for value in free],
        entropy_per_atom=[value / n_atoms for value in entropy],
        heat_capacity_per_atom=[value / n_atoms for value in heat],
        excluded_modes=float(share[~used].sum()),
    )
