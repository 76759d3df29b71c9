"""Phonon quantities as documents embed them: lists of plain floats, never NaN.

Frequencies are in THz, imaginary ones negative, ascending at each q-point.
q-points are fractional coordinates of the reciprocal primitive lattice.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, FiniteFloat

from mlipdb.schemas.common import Model

__all__ = [
    "BandSegment",
    "BandStructure",
    "DensityOfStates",
    "DosError",
    "FrequencyErrors",
    "MeshFrequencies",
    "Stability",
    "StructureErrors",
    "TemperatureErrors",
    "ThermalErrors",
    "ThermalProperties",
]

Vector = Annotated[list[FiniteFloat], Field(min_length=3, max_length=3)]
Floats = list[FiniteFloat]


class MeshFrequencies(Model):
    """Frequencies on the irreducible points of a Gamma-centred mesh."""

    mesh: Annotated[list[int], Field(min_length=3, max_length=3)] = Field(description="Mesh numbers along b1, b2, b3.")
    qpoints: list[Vector] = Field(description="Irreducible q-points, shape (nq, 3), fractional.")
    weights: list[int] = Field(description="Multiplicity of each q-point, shape (nq,); they sum to the mesh's points.")
    frequencies: list[Floats] = Field(description="Shape (nq, nb), THz, ascending at each q-point.")


class BandSegment(Model):
    """One straight piece of a band path."""

    start: str = Field(description="Label of the first point, such as GAMMA or X.")
    end: str = Field(description="Label of the last point.")
    qpoints: list[Vector] = Field(description="Shape (n, 3), fractional, both ends included.")
    distances: Floats = Field(
        description="Shape (n,), 1/Angstrom without 2 pi, counted from the start of the whole path."
    )
    frequencies: list[Floats] = Field(description="Shape (n, nb), THz, ascending at each point (not band-connected).")


class BandStructure(Model):
    """Frequencies along a path of high-symmetry lines.

    A segment that starts where the last one ended shares that point with it; a
    jump of the path shows as two labels at one distance.
    """

    scheme: str = Field(description="Source of the path, such as seekpath.")
    segments: list[BandSegment] = Field(description="Pieces in the order of the path.")


class DensityOfStates(Model):
    """Density of states of a primitive cell."""

    frequencies: Floats = Field(description="Frequency grid, THz, equally spaced multiples of its step.")
    total: Floats = Field(description="States per THz and primitive cell; the integral is 3 x atoms.")


class ThermalProperties(Model):
    """Harmonic thermal properties of a primitive cell and of an atom."""

    n_atoms: int = Field(gt=0, description="Atoms in the primitive cell.")
    temperatures: Floats = Field(description="K.")
    zero_point_energy: FiniteFloat = Field(description="eV per primitive cell.")
    free_energy: Floats = Field(description="Helmholtz free energy with the zero-point energy, eV per primitive cell.")
    entropy: Floats = Field(description="eV/K per primitive cell.")
    heat_capacity: Floats = Field(description="At constant volume, eV/K per primitive cell.")
    zero_point_energy_per_atom: FiniteFloat = Field(description="eV per atom.")
    free_energy_per_atom: Floats = Field(description="eV per atom.")
    entropy_per_atom: Floats = Field(description="eV/K per atom.")
    heat_capacity_per_atom: Floats = Field(description="eV/K per atom.")
    excluded_modes: FiniteFloat = Field(
        ge=0, description="Modes per primitive cell below the cutoff, left out of every sum."
    )


class Stability(Model):
    """Raw minima of the frequencies, and the published definitions of stability made from them."""

    gamma_acoustic_min: FiniteFloat = Field(
        description="Lowest of the three acoustic modes at Gamma (those closest to zero), THz."
    )
    gamma_optical_min: FiniteFloat | None = Field(
        default=None, description="Lowest other mode at Gamma, THz; none with one atom in the primitive cell."
    )
    off_gamma_min: FiniteFloat | None = Field(
        default=None, description="Lowest mode on the mesh away from Gamma, THz; none for a mesh of Gamma alone."
    )
    path_min: FiniteFloat | None = Field(
        default=None, description="Lowest mode on the band path away from Gamma, THz; none where there is no path."
    )
    threshold: FiniteFloat = Field(ge=0, description="Tolerance of `stable`, THz.")

    stable: bool = Field(description="No mode but the acoustic ones at Gamma lies below -threshold, on mesh and path.")
    stable_matbench_discovery: bool = Field(
        description="matbench-discovery's check_imaginary_freqs: acoustic Gamma modes above -0.01 THz, "
        "every other mode of the mesh above 0."
    )
    stable_pymatgen: bool = Field(
        description="pymatgen's has_imaginary_freq at its tolerance of 0.01 THz: the band path, Gamma included."
    )

    @classmethod
    def from_minima(
        cls,
        *,
        gamma_acoustic_min: float,
        gamma_optical_min: float | None,
        off_gamma_min: float | None,
        path_min: float | None,
        threshold: float,
    ) -> Self:
        """Derive every definition of stability from the raw minima (THz)."""
        mesh = [value for value in (gamma_optical_min, off_gamma_min) if value is not None]
        path = [] if path_min is None else [path_min]
        gamma = [gamma_acoustic_min, *([] if gamma_optical_min is None else [gamma_optical_min])]
        return cls(
            gamma_acoustic_min=gamma_acoustic_min,
            gamma_optical_min=gamma_optical_min,
            off_gamma_min=off_gamma_min,
            path_min=path_min,
            threshold=threshold,
            stable=min(mesh + path, default=0.0) >= -threshold,
            stable_matbench_discovery=gamma_acoustic_min >= -0.01 and min(mesh, default=0.0) >= 0.0,
            stable_pymatgen=min(path + gamma) >= -0.01,
        )


class FrequencyErrors(Model):
    """Candidate against reference on the same q-points; THz throughout."""

    rmse: FiniteFloat = Field(description="Root of the weighted mean square over q-points and sorted bands.")
    mae: FiniteFloat = Field(description="Weighted mean absolute error.")
    bias: FiniteFloat = Field(description="Weighted mean of candidate - reference; negative is softening.")
    max_abs: FiniteFloat = Field(description="Largest absolute error.")
    wasserstein_1: FiniteFloat = Field(
        description="Earth mover's distance between the two weighted sets of frequencies."
    )
    per_branch_rmse: Floats = Field(description="RMSE of each sorted band over q-points, shape (nb,).")
    per_q_rmse: Floats = Field(description="RMSE of each q-point over bands, shape (nq,).")
    mean_difference: FiniteFloat = Field(description="Difference of the mean frequencies (equals bias).")
    max_difference: FiniteFloat = Field(description="Difference of the highest frequencies, candidate - reference.")
    min_difference: FiniteFloat = Field(description="Difference of the lowest frequencies, candidate - reference.")


class DosError(Model):
    """Candidate against reference density of states on one frequency grid."""

    mae: FiniteFloat = Field(description="Mean absolute difference over the grid, states/THz per primitive cell.")
    rmse: FiniteFloat = Field(description="Root mean square difference over the grid, states/THz per primitive cell.")
    relative: FiniteFloat = Field(
        description="Integral of |difference| over the integral of the reference: 0 equal, 2 disjoint."
    )


class TemperatureErrors(Model):
    """Differences candidate - reference at one temperature, per atom."""

    temperature: FiniteFloat = Field(description="K.")
    free_energy: FiniteFloat = Field(description="eV per atom.")
    entropy: FiniteFloat = Field(description="eV/K per atom.")
    heat_capacity: FiniteFloat = Field(description="eV/K per atom.")


class ThermalErrors(Model):
    """Differences candidate - reference of the thermal properties, per atom."""

    zero_point_energy: FiniteFloat = Field(description="eV per atom.")
    at: list[TemperatureErrors] = Field(description="One entry per temperature.")
    free_energy_mae: FiniteFloat = Field(description="Mean absolute error over the temperatures, eV per atom.")
    entropy_mae: FiniteFloat = Field(description="Mean absolute error over the temperatures, eV/K per atom.")
    heat_capacity_mae: FiniteFloat = Field(description="Mean absolute error over the temperatures, eV/K per atom.")


class StructureErrors(Model):
    """The potential's relaxed unit cell against the reference's."""

    volume_error: FiniteFloat = Field(description="(V - V_ref) / V_ref.")
    length_errors: Vector = Field(description="(a_i - a_i,ref) / a_i,ref of the three cell vectors.")
    angle_errors: Vector = Field(description="Differences of alpha, beta, gamma, degrees.")
    max_displacement: FiniteFloat = Field(
        description="Largest move of an atom at fixed cell shape, Angstrom, without the common translation."
    )
    fmax_at_reference: FiniteFloat | None = Field(
        default=None, description="Largest force at the reference structure, eV/Angstrom; none for external potentials."
    )
    pressure_at_reference: FiniteFloat | None = Field(
        default=None,
        description="Pressure at the reference structure, eV/Angstrom^3; none when the cell is not relaxed.",
    )
    fmax_relaxed: FiniteFloat | None = Field(
        default=None, description="Largest force after relaxation, eV/Angstrom; none for external potentials."
    )
    relax_steps: int | None = Field(
        default=None, ge=0, description="Relaxation steps taken; none for external potentials."
    )
