"""A fitted or imported potential with its files, errors and costs."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from mlipdb.schemas.common import ArtifactRef, Document, Model

__all__ = ["FitRecord", "Potential"]


class FitRecord(Model):
    """How a fit went."""

    command: list[str] = Field(default_factory=list, description="Full command, relative to the fit's folder")
    wall_time_s: float | None = Field(None, description="s")
    cpu_time_s: float | None = Field(None, description="s")
    peak_memory_mb: float | None = Field(None, description="MB (1e6 bytes)")
    versions: dict[str, str] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict, description="What the framework reports of itself")
    log_tail: str | None = None


class Potential(Document):
    """One potential; the key is a hash of framework, training set and hyperparameters."""

    key_field: ClassVar[str] = "potential_id"
    prefix: ClassVar[str] = "pot"

    potential_id: str
    framework: str = Field(description="Such as gap")
    origin: Literal["fitted", "imported", "external"] = Field(
        "fitted", description="external: its files are not at hand, only forces that it gave"
    )
    name: str | None = Field(None, description="What its makers call it; external potentials have one")
    engine: str | None = Field(None, description="What solved the fit, such as gap_fit or grid")
    study: dict[str, Any] | None = Field(
        None,
        description="What a shared study adds to the inputs: all sizes of its sparse sets, which are nested, and where "
        "not all config types could give sparse points, which could",
    )
    fit_name: str | None = Field(None, description="Name of the fit in mlipdb.yaml")
    training_set_id: str | None = None
    training_set: str | None = Field(None, description="Name of its recipe")
    hyperparameters: dict[str, Any] = Field(default_factory=dict)
    n_sparse: int | None = Field(None, description="Sparse points asked for, all descriptors together")
    delta: float | None = Field(None, description="Energy scale of the main descriptor, eV")
    f: float | None = Field(None, description="Atomwise force regularisation: sigma = f max(|F|, floor)")
    chemsys: str = ""
    elements: list[str] = Field(default_factory=list)
    level_id: str | None = None
    level_label: str | None = None
    isolated_atom_energies: dict[str, float] = Field(default_factory=dict, description="eV per element")
    files: list[ArtifactRef] = Field(default_factory=list, description="With the exact names they must keep")
    main_file: str | None = Field(None, description="Name of the file to load")
    errors: dict[str, Any] = Field(
        default_factory=dict, description="`train` and `test`: overall and by config_type (RMSE, MAE)"
    )
    evaluation_time_ms: float | None = Field(
        None,
        description="CPU time per atom of one evaluation of energy, forces and stress, one thread, as users' "
        "calculator loads the potential, ms; in a study measured once for each n_sparse, which alone sets it",
    )
    fit: FitRecord | None = None

    def identity(self) -> dict[str, Any]:
        """Framework, training set and hyperparameters; files of an imported potential, the name of an external one."""
        if self.origin == "external":
            return {"framework": self.framework, "name": self.name, "hyperparameters": self.hyperparameters}
        if self.origin == "imported":
            return {"framework": self.framework, "files": sorted(f.sha256 for f in self.files)}
        return {
            "framework": self.framework,
            "training_set_id": self.training_set_id,
            "hyperparameters": self.hyperparameters,
            # Sparse points of a study depend on its other sizes; a single fit's on nothing else.
            **({"engine": self.engine, "study": self.study} if self.study is not None else {}),
        }
