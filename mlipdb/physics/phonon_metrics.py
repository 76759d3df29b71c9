"""How two sets of phonons differ, and whether one is stable."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlipdb.errors import PhononError
from mlipdb.schemas.phonon_data import (
    BandStructure,
    DensityOfStates,
    DosError,
    FrequencyErrors,
    MeshFrequencies,
    Stability,
    TemperatureErrors,
    ThermalErrors,
    ThermalProperties,
)

__all__ = [
    "dos_error",
    "frequency_errors",
    "mesh_errors",
    "path_errors",
    "stability",
    "thermal_errors",
    "wasserstein_1",
]

Floats = NDArray[np.float64]


def frequency_errors(reference: ArrayLike, candidate: ArrayLike, weights: ArrayLike | None = None) -> FrequencyErrors:
    """Compare frequencies on the same q-points, the bands sorted at each of them.

    With weights w_q (1 on a path, multiplicities on a mesh), n_b bands and
    d_qb = candidate - reference::

        RMSE = sqrt( sum_q w_q sum_b d_qb^2 / (n_b sum_q w_q) )

    and likewise MAE and bias.  On a path this is the RMSE of George, Hautier, Bartok,
    Csanyi and Deringer (J. Chem. Phys. 153, 044104, 2020), also that of autoplex.

    Parameters
    ----------
    reference, candidate
        Shape (nq, nb), THz.
    weights
        Shape (nq,); all equal by default.

    Returns
    -------
    FrequencyErrors

    Raises
    ------
    PhononError
        Shapes differ or numbers are not finite (reason ``bad_frequencies``).
    """
    first, second, share = _checked(reference, candidate, weights)
    difference = second - first
    per_q = np.mean(difference**2, axis=1)
    return FrequencyErrors(
        rmse=float(np.sqrt(share @ per_q)),
        mae=float(share @ np.mean(np.abs(difference), axis=1)),
        bias=float(share @ np.mean(difference, axis=1)),
        max_abs=float(np.abs(difference).max()),
        wasserstein_1=wasserstein_1(first, second, share),
        per_branch_rmse=np.sqrt(share @ difference**2).tolist(),
        per_q_rmse=np.sqrt(per_q).tolist(),
        mean_difference=float(share @ (second.mean(axis=1) - first.mean(axis=1))),
        max_difference=float(second.max() - first.max()),
        min_difference=float(second.min() - first.min()),
    )


def _checked(reference: ArrayLike, candidate: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats, Floats]:
    first, second = (np.asarray(value, dtype=float) for value in (reference, candidate))
    if first.ndim != 2 or first.shape != second.shape or first.size == 0:
        raise PhononError(
            f"Frequencies of shapes {first.shape} and {second.shape} cannot be compared; both must be (nq, nb).",
            reason="bad_frequencies",
        )
    share = np.ones(len(first)) if weights is None else np.asarray(weights, dtype=float)
    if share.shape != (len(first),) or share.min() < 0 or share.sum() <= 0:
        raise PhononError(
            f"Weights must be {len(first)} non-negative numbers, one a q-point, not of shape {share.shape}.",
            reason="bad_frequencies",
        )
    if not (np.all(np.isfinite(first)) and np.all(np.isfinite(second))):
        raise PhononError("Frequencies must be finite numbers.", reason="bad_frequencies")
    return np.sort(first, axis=1), np.sort(second, axis=1), share / share.sum()


def wasserstein_1(reference: ArrayLike, candidate: ArrayLike, weights: ArrayLike) -> float:
    """Earth mover's distance between two weighted sets of frequencies, THz.

    The integral of |F - G| over frequency, F and G the cumulative distributions
    (Vallender, Theory Probab. Appl. 18, 784, 1974).

    Parameters
    ----------
    reference, candidate
        Shape (nq, nb), THz.
    weights
        Shape (nq,), shared by the bands of a q-point.
    """
    first, second = np.asarray(reference, dtype=float), np.asarray(candidate, dtype=float)
    mass = np.repeat(np.asarray(weights, dtype=float), first.shape[1])
    mass = mass / mass.sum()
    grid = np.sort(np.concatenate([first.ravel(), second.ravel()]))
    # Each distribution is summed on its own, so that equal ones differ by exactly nothing.
    difference = _cumulative(first.ravel(), mass, grid[:-1]) - _cumulative(second.ravel(), mass, grid[:-1])
    return float(np.abs(difference) @ np.diff(grid))


def _cumulative(values: Floats, mass: Floats, grid: Floats) -> Floats:
    """Share of the mass at or below each point of the grid."""
    order = np.argsort(values, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(mass[order])])
    result: Floats = sums[np.searchsorted(values[order], grid, side="right")]
    return result


def mesh_errors(reference: MeshFrequencies, candidate: MeshFrequencies) -> FrequencyErrors:
    """Weighted errors on a mesh; the RMSE by which potentials are ranked.

    Raises
    ------
    PhononError
        The q-points differ (reason ``different_qpoints``).
    """
    _same_points(reference.qpoints, candidate.qpoints, "meshes")
    return frequency_errors(reference.frequencies, candidate.frequencies, reference.weights)


def path_errors(reference: BandStructure, candidate: BandStructure) -> FrequencyErrors:
    """Errors along a band path, every point of every segment with the same weight.

    Raises
    ------
    PhononError
        The q-points differ (reason ``different_qpoints``).
    """
    points = [[q for segment in bands.segments for q in segment.qpoints] for bands in (reference, candidate)]
    _same_points(points[0], points[1], "band paths")
    first, second = (
        [row for segment in bands.segments for row in segment.frequencies] for bands in (reference, candidate)
    )
    return frequency_errors(first, second)


def _same_points(first: ArrayLike, second: ArrayLike, where: str) -> None:
    one, two = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if one.shape != two.shape or np.abs(one - two).max(initial=0.0) > 1e-9:
        raise PhononError(
            f"The q-points of the two {where} differ; the candidate must be computed on the reference's.",
            reason="different_qpoints",
        )


def dos_error(reference: DensityOfStates, candidate: DensityOfStates) -> DosError:
    """Compare densities of states on a common grid.

    The grid runs over both ranges with the reference's step; a density is zero
    outside its own range and linear between its points (with one step, no
    interpolation takes place).  ``relative`` is the integral of |g - g_ref| over that
    of g_ref.
    """
    x, y = np.array(reference.frequencies), np.array(candidate.frequencies)
    step = (x[-1] - x[0]) / max(len(x) - 1, 1) or 1.0
    low, high = round(min(x[0], y[0]) / step), round(max(x[-1], y[-1]) / step)
    grid = np.arange(low, high + 1) * step
    first = np.interp(grid, x, reference.total, left=0.0, right=0.0)
    second = np.interp(grid, y, candidate.total, left=0.0, right=0.0)
    difference = second - first
    area = float(np.abs(first).sum())
    return DosError(
        mae=float(np.abs(difference).mean()),
        rmse=float(np.sqrt(np.mean(difference**2))),
        relative=float(np.abs(difference).sum()) / area if area > 0 else 0.0,
    )


def thermal_errors(reference: ThermalProperties, candidate: ThermalProperties) -> ThermalErrors:
    """Differences of the thermal properties per atom, at the temperatures they share.

    Raises
    ------
    PhononError
        The temperatures differ (reason ``different_temperatures``).
    """
    if reference.temperatures != candidate.temperatures:
        raise PhononError(
            f"Thermal properties at {candidate.temperatures} K cannot be compared with those at "
            f"{reference.temperatures} K.",
            reason="different_temperatures",
        )
    free, entropy, heat = (
        np.array(getattr(candidate, name)) - np.array(getattr(reference, name))
        for name in ("free_energy_per_atom", "entropy_per_atom", "heat_capacity_per_atom")
    )
    return ThermalErrors(
        zero_point_energy=candidate.zero_point_energy_per_atom - reference.zero_point_energy_per_atom,
        at=[
            TemperatureErrors(temperature=t, free_energy=float(f), entropy=float(s), heat_capacity=float(c))
            for t, f, s, c in zip(reference.temperatures, free, entropy, heat, strict=True)
        ],
        free_energy_mae=float(np.abs(free).mean()),
        entropy_mae=float(np.abs(entropy).mean()),
        heat_capacity_mae=float(np.abs(heat).mean()),
    )


def stability(mesh: MeshFrequencies, bands: BandStructure | None, *, threshold: float) -> Stability:
    """Lowest frequencies at Gamma and away from it, and what published definitions make of them.

    At Gamma the three modes closest to zero are the acoustic ones; force constants
    that obey the sum rule leave them there, however soft the others are.

    Parameters
    ----------
    mesh
        Gamma-centred mesh.
    bands
        Band path, where there is one.
    threshold
        Tolerance of ``stable``, THz.

    Returns
    -------
    Stability
        ``stable``: no mode but the acoustic ones at Gamma lies below ``-threshold``.
        ``stable_matbench_discovery``: the rule of its ``check_imaginary_freqs`` (Riebesell
        et al., Nat. Mach. Intell. 7, 836, 2025).  ``stable_pymatgen``: that of
        ``PhononBandStructure.has_imaginary_freq``.

    Raises
    ------
    PhononError
        The mesh has no Gamma point (reason ``no_gamma``).
    """
    frequencies = np.array(mesh.frequencies)
    gamma = _is_gamma(np.array(mesh.qpoints))
    if not gamma.any():
        raise PhononError("The mesh has no Gamma point; a Gamma-centred one is needed.", reason="no_gamma")
    at_gamma = frequencies[gamma][0]
    order = np.argsort(np.abs(at_gamma), kind="stable")
    acoustic, optical = at_gamma[order[:3]], at_gamma[order[3:]]
    away = frequencies[~gamma]
    path = _away_from_gamma(bands)
    return Stability.from_minima(
        gamma_acoustic_min=float(acoustic.min()),
        gamma_optical_min=float(optical.min()) if optical.size else None,
        off_gamma_min=float(away.min()) if away.size else None,
        path_min=float(path.min()) if path.size else None,
        threshold=threshold,
    )


def _is_gamma(qpoints: Floats) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = np.abs(qpoints - np.rint(qpoints)).max(axis=1) < 1e-6
    return result


def _away_from_gamma(bands: BandStructure | None) -> Floats:
    if bands is None or not bands.segments:
        return np.empty(0)
    qpoints = np.array([q for segment in bands.segments for q in segment.qpoints])
    frequencies = np.array([row for segment in bands.segments for row in segment.frequencies])
    result: Floats = frequencies[~_is_gamma(qpoints)]
    return result
