"""How phonons are computed: one frozen set of choices, shared by DFT and potentials."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = ["PhononProtocol"]


class PhononProtocol(BaseModel):
    """Every choice that changes a phonon number.

    Two sets of phonons are comparable only under one protocol, so it is part of
    the key of a benchmark.  Lengths are in Angstrom, frequencies in THz,
    temperatures in K.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    displacement_distance: float = Field(
        default=0.01,
        gt=0,
        le=0.2,
        description="Length of a finite displacement, Angstrom. A benchmark takes the displacements of its "
        "reference where the reference has them.",
    )
    plus_minus: Literal["auto", "never"] = Field(
        default="auto",
        description="'auto': each displacement needs its opposite, observed or equivalent by symmetry. "
        "'never': one direction is enough (first-order forward differences).",
    )
    relax: Literal["cell", "positions", "none", "external"] = Field(
        default="cell",
        description="What the potential relaxes before its phonons: cell and positions, positions alone, or nothing. "
        "'external' marks benchmarks of external potentials, whose relaxed cell their file gave; it cannot be set.",
    )
    fmax: float = Field(
        default=1e-3,
        gt=0,
        description="Relaxation ends when every force is below this, eV/Angstrom; the cell's generalised "
        "forces (virial per atom, eV) are held to the same number.",
    )
    max_relax_steps: int = Field(default=500, ge=0, description="Most relaxation steps before it counts as failed.")
    symprec: float = Field(default=1e-3, gt=0, description="Tolerance of the symmetry search, Angstrom.")
    symmetrise_force_constants: bool = Field(
        default=True,
        description="Impose translational invariance and permutation symmetry on the force constants.",
    )
    mesh_length: float = Field(
        default=60.0,
        gt=0,
        description="Length l (Angstrom) that sets the Gamma-centred mesh: N_i = max(1, round(l |b_i|)), "
        "b_i without 2 pi, as VASP and phonopy define it.",
    )
    path_scheme: Literal["seekpath"] = Field(
        default="seekpath",
        description="Source of the band path: HPKOT paths of seekpath (Hinuma et al. 2017).",
    )
    path_density: float = Field(
        default=150.0,
        gt=0,
        description="Points per 1/Angstrom along the band path (reciprocal lengths without 2 pi); "
        "each segment has ceil(length x density) + 1 points, both ends included, and at least two.",
    )
    dos_method: Literal["tetrahedron", "gaussian"] = Field(
        default="gaussian",
        description="Brillouin-zone integration of the density of states. The linear tetrahedron method "
        "turns flat bands into spikes that no frequency grid resolves; Gaussians keep the integral, "
        "so that two densities compare.",
    )
    dos_sigma: float = Field(default=0.1, gt=0, description="Standard deviation of the Gaussians, THz.")
    dos_pitch: float = Field(
        default=0.05,
        gt=0,
        description="Step of the frequency grid of the density of states, THz; grid points are its multiples.",
    )
    temperatures: tuple[float, ...] = Field(
        default=(0.0, 75.0, 150.0, 300.0, 600.0),
        description="Temperatures of the thermal properties, K, ascending.",
    )
    thermal_cutoff: float = Field(
        default=0.01,
        ge=0,
        description="Modes below this frequency (THz) are left out of the thermal properties and counted: "
        "the acoustic modes at Gamma and imaginary modes.",
    )
    imaginary_threshold: float = Field(
        default=0.1,
        ge=0,
        description="A crystal counts as stable when no mode but the acoustic ones at Gamma "
        "lies below minus this, THz.",
    )
    nac: Literal["none"] = Field(
        default="none",
        description="Non-analytical term correction of polar crystals: not applied, on either side.",
    )

    @field_validator("temperatures")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or any(t < 0 for t in value) or any(b <= a for a, b in pairwise(value)):
            raise ValueError("temperatures must be a non-empty, strictly ascending list of values >= 0 K")
        return value
