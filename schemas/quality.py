"""Why a configuration should not be trained on without a second look."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from mlipdb.schemas.common import Model

__all__ = ["QUALITY_REASONS", "SET_REASONS", "QualityLimits", "QualityProblem", "QualityReason", "SetReason"]

QualityReason = Literal[
    "unconverged",
    "zero_energy",
    "energy_kind",
    "force_too_large",
    "force_drift",
    "atoms_too_close",
    "small_box",
    "stress_inconsistent",
]
#: Reasons of configurations, in the order they are told.
QUALITY_REASONS: tuple[QualityReason, ...] = get_args(QualityReason)

SetReason = Literal["mixed_spin"]
#: Reasons that only a whole training set can have.
SET_REASONS: tuple[SetReason, ...] = get_args(SetReason)


class QualityProblem(Model):
    """One reason to leave a configuration out."""

    reason: QualityReason
    message: str = Field(description="One sentence with the numbers")
    value: float | None = Field(None, description="What was found, in the unit of the limit")
    limit: float | None = Field(None, description="What was allowed")


class QualityLimits(BaseModel):
    """How far a measured value may go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_force: float = Field(100.0, gt=0, description="Largest force norm (`force_too_large`), eV/Angstrom")
    max_drift: float = Field(0.01, gt=0, description="|Sum of all forces| over the atoms (`force_drift`), eV/Angstrom")
    min_distance: float = Field(
        0.5, ge=0, le=1.5, description="Shortest distance between two atoms (`atoms_too_close`), Angstrom"
    )
    min_box: float = Field(
        8.0, ge=0, le=100, description="Distance of an isolated atom from its images (`small_box`), Angstrom"
    )
    max_stress_error: float = Field(
        1.0, gt=0, description="Difference of stress and energy derivative (`stress_inconsistent`), GPa"
    )
