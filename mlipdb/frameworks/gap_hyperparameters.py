"""Hyperparameters of a Gaussian approximation potential.

The dump of these models is hashed into the key of a potential, so it has one form for one meaning:
whole numbers given for real ones become real, options are sorted and typed.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from mlipdb.frameworks.gap_options import (
    COMMON_DESCRIPTOR_OPTIONS,
    DESCRIPTOR_OPTIONS,
    DESCRIPTOR_RESERVED,
    FIT_OPTIONS,
    FIT_RESERVED,
    OptionValue,
    check_options,
    near_miss,
)
from mlipdb.physics.frames import ISOLATED_ATOM
from mlipdb.schemas import configuration

__all__ = [
    "AngleDescriptor",
    "DefaultSigmas",
    "DescriptorBase",
    "DistanceDescriptor",
    "GapHyperparameters",
    "SoapDescriptor",
]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SparseCount = Annotated[int, Field(ge=1)]
ConfigType = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.+-]*$")]
SparseMethod = Literal[
    "cur_points",
    "cur_covariance",
    "uniform",
    "random",
    "kmeans",
    "cluster",
    "covariance",
    "pivot",
    "fuzzy",
    "none",
    "file",
    "index_file",
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_near_misses(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for name in data:
                if name not in cls.model_fields:
                    near = near_miss(str(name), list(cls.model_fields))
                    raise ValueError(f"{cls.__name__} has no hyperparameter {name!r}{near}")
        return data


class DefaultSigmas(_Model):
    """Expected errors of targets that bring none of their own (``default_kernel_regularisation``)."""

    energy: Positive = Field(0.001, description="eV/atom; times sqrt(N) for a configuration of N atoms.")
    force: Positive = Field(0.05, description="eV/Angstrom.")
    virial: Positive = Field(0.05, description="eV/atom; times sqrt(N) for a configuration of N atoms.")
    hessian: NotNegative = Field(0.0, description="eV/Angstrom^2; 0 where there are no Hessian targets.")


class DescriptorBase(_Model):
    """What all descriptors have."""

    kind: ClassVar[str]

    n_sparse: SparseCount | dict[ConfigType, SparseCount] = Field(
        description="Number of sparse points of each combination of elements; or a mapping of config types."
    )
    delta: Positive = Field(1.0, description="Standard deviation of the Gaussian process, eV.")
    cutoff: Positive = Field(5.0, description="Cutoff radius, Angstrom.")
    cutoff_transition_width: Positive = Field(1.0, description="Width over which the cutoff sets in, Angstrom.")
    covariance_type: Literal["dot_product", "ard_se", "pp", "bond_real_space"] = Field(
        description="Kernel: dot_product (with zeta), ard_se (Gaussian) or pp (piecewise polynomial)."
    )
    sparse_method: SparseMethod = Field(description="How sparse points are chosen among the environments.")
    options: dict[str, OptionValue] = Field(
        default_factory=dict, description="Any further option of this descriptor of gap_fit, by its name."
    )

    @model_validator(mode="after")
    def _check_options(self) -> DescriptorBase:
        known = {**COMMON_DESCRIPTOR_OPTIONS, **DESCRIPTOR_OPTIONS[self.kind]}
        checked = check_options(self.options, known, DESCRIPTOR_RESERVED[self.kind], self.kind)
        # The model is frozen; this is still its validation.
        object.__setattr__(self, "options", checked)
        if isinstance(self.n_sparse, dict):
            if not self.n_sparse:
                raise ValueError("n_sparse by config type must name at least one config type")
            object.__setattr__(self, "n_sparse", dict(sorted(self.n_sparse.items())))
        return self


class SoapDescriptor(DescriptorBase):
    """Smooth overlap of atomic positions, A. P. Bartok et al., Phys. Rev. B 87, 184115 (2013)."""

    kind = "soap"

    n_sparse: SparseCount | dict[ConfigType, SparseCount] = Field(
        500, description="Number of sparse points of each central element; or a mapping of config types."
    )
    l_max: int = Field(6, ge=0, le=40, description="Largest angular momentum.")
    n_max: int = Field(8, ge=1, le=40, description="Number of radial functions.")
    atom_sigma: Positive = Field(0.5, description="Width of the atoms' Gaussians, Angstrom.")
    zeta: Positive = Field(4.0, description="Exponent of the dot-product kernel.")
    central_weight: NotNegative = Field(1.0, description="Weight of the central atom's Gaussian.")
    covariance_type: Literal["dot_product", "ard_se", "pp", "bond_real_space"] = "dot_product"
    sparse_method: SparseMethod = "cur_points"


class DistanceDescriptor(DescriptorBase):
    """Pair distances (``distance_2b``), one term for each pair of elements."""

    kind = "distance_2b"

    n_sparse: SparseCount | dict[ConfigType, SparseCount] = Field(
        15, description="Number of sparse points of each pair of elements; or a mapping of config types."
    )
    theta_uniform: Positive | None = Field(1.0, description="Length scale of the kernel, Angstrom.")
    covariance_type: Literal["dot_product", "ard_se", "pp", "bond_real_space"] = "ard_se"
    sparse_method: SparseMethod = "uniform"


class AngleDescriptor(DescriptorBase):
    """Triplets (``angle_3b``), one term for each central element and pair of neighbours."""

    kind = "angle_3b"

    n_sparse: SparseCount | dict[ConfigType, SparseCount] = Field(
        100, description="Number of sparse points of each triplet of elements; or a mapping of config types."
    )
    cutoff: Positive = Field(3.25, description="Cutoff radius, Angstrom.")
    theta_uniform: Positive | None = Field(1.0, description="Length scale of the kernel.")
    covariance_type: Literal["dot_product", "ard_se", "pp", "bond_real_space"] = "ard_se"
    sparse_method: SparseMethod = "uniform"


class GapHyperparameters(_Model):
    """Everything that decides a GAP but the training set."""

    soap: SoapDescriptor | None = Field(default_factory=SoapDescriptor)
    two_body: DistanceDescriptor | None = None
    three_body: AngleDescriptor | None = None
    sigmas: DefaultSigmas = Field(default_factory=DefaultSigmas)
    f: Positive | None = Field(
        None,
        description="Per-atom force sigmas f * max(|F|, floor) for configurations that bring such sigmas; "
        "where none does, for all but isolated atoms.",
    )
    floor: Positive | None = Field(None, description="Smallest |F| for f, eV/Angstrom; 0.01 unless given.")
    own_sigmas: Literal["keep", "replace"] = Field(
        "keep",
        description="keep: sigmas that configurations bring win over those here; replace: those here (sigmas, f, "
        "floor) take their place, but for the energy sigma of isolated atoms.",
    )
    config_types: list[configuration.ConfigType] | None = Field(
        None, description="Which configurations of the training set are fitted, beside isolated atoms; null for all."
    )
    seed: int = Field(1, ge=1, le=2**31 - 1, description="Random seed (rnd_seed); equal seeds give equal potentials.")
    sparse_jitter: Positive = Field(1e-8, description="Added to the diagonal of the sparse kernel matrix.")
    e0_method: Literal["isolated", "average"] = Field(
        "isolated",
        description="Energy zero: isolated atoms, or the mean energy per atom of the training set.",
    )
    options: dict[str, OptionValue] = Field(
        default_factory=dict, description="Any further option of gap_fit, by its name."
    )

    @field_validator("config_types")
    @classmethod
    def _one_form(cls, value: list[str] | None) -> list[str] | None:
        if value is None:
            return None
        # Isolated atoms are always fitted, so naming them makes no other potential.
        named = sorted(set(value) - {ISOLATED_ATOM})
        if not named:
            raise ValueError(f"name at least one config type besides {ISOLATED_ATOM}, or give null for all")
        return named

    @model_validator(mode="after")
    def _check(self) -> GapHyperparameters:
        if self.soap is None and self.two_body is None and self.three_body is None:
            raise ValueError("at least one of soap, two_body and three_body must be given")
        if self.floor is not None and self.f is None:
            raise ValueError("floor has no effect without f; give f too")
        if self.f is not None and self.floor is None:
            object.__setattr__(self, "floor", 0.01)
        object.__setattr__(self, "options", check_options(self.options, FIT_OPTIONS, FIT_RESERVED, "gap_fit"))
        return self

    @model_serializer(mode="wrap")
    def _leave_out_what_says_nothing(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Potentials fitted before these were hyperparameters keep their keys.
        content: dict[str, Any] = dump(self)
        for name, without_effect in (("own_sigmas", "keep"), ("config_types", None)):
            if name in content and content[name] == without_effect:
                del content[name]
        return content

    @property
    def descriptors(self) -> list[DescriptorBase]:
        """The descriptors in the order they are fitted: two-body, three-body, SOAP."""
        found: list[DescriptorBase | None] = [self.two_body, self.three_body, self.soap]
        return [descriptor for descriptor in found if descriptor is not None]
