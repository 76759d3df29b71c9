"""Families of potentials in ``mlipdb.yaml``: hyperparameters, their grids, and how they are solved."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from mlipdb.errors import NotFoundError, SettingsError
from mlipdb.settings_messages import sentence
from mlipdb.settings_yaml import Place

__all__ = ["FitSettings", "Strict"]


class Strict(BaseModel):
    """A group of settings: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FitSettings(Strict):
    """A family of potentials: one for each training set and grid point."""

    framework: str = Field("gap", description="Name of an installed framework")
    training_sets: list[str] | Literal["all"] = Field("all", description="Names of recipes")
    hyperparameters: dict[str, Any] = Field(default_factory=dict, description="Shared by the whole grid")
    grid: dict[str, list[Any]] = Field(
        default_factory=dict, description="Hyperparameter (dotted path) to the values it takes"
    )
    engine: Literal["gap_fit", "grid"] = Field(
        "gap_fit",
        description="grid: solve all points that share descriptors from one pass over the training set; points that "
        "cannot (two-body or three-body terms, say) go to gap_fit",
    )
    sparse_from: Literal["any", "every"] = Field(
        "any",
        description="With engine grid and subsets of config_types: environments of which configurations may become "
        "sparse points, those that any point of a study fits or those that every point fits",
    )
    memory_mb: float = Field(6000.0, gt=0, description="Memory a study with engine grid may use, 1e6 bytes")
    timeout: float | None = Field(None, gt=0, description="s a single fit may take; null: no limit")
    train_errors: bool = Field(True, description="Evaluate the training side too, beside the test side")
    _place: Place = PrivateAttr(default_factory=lambda: Place(("fits",)))

    @field_validator("grid")
    @classmethod
    def _no_empty_axis(cls, value: dict[str, list[Any]]) -> dict[str, list[Any]]:
        for name, values in value.items():
            if not values:
                raise ValueError(f"axis {name!r} has no values; give at least one, or leave the axis out")
        return value

    @model_validator(mode="after")
    def _sigmas_replace_those_of_recipes(self) -> Self:
        axes = [name for name in self.grid if name.split(".")[0] == "sigmas"]
        own = self.grid.get("own_sigmas", [self.hyperparameters.get("own_sigmas", "keep")])
        if (axes or "sigmas" in self.hyperparameters) and any(value != "replace" for value in own):
            raise ValueError(
                "sigmas of a fit would change nothing, since training sets bring their own; set them in the recipe, "
                "under training_sets.NAME.sigmas, or give the hyperparameter own_sigmas: replace"
            )
        return self

    def points(self) -> Iterator[dict[str, Any]]:
        """Hyperparameters of every grid point, axes in the order written, validated and complete.

        Raises
        ------
        SettingsError
            If the framework does not know a hyperparameter or refuses its value.
        """
        from mlipdb.frameworks import get_framework

        try:
            framework = get_framework(self.framework)
        except NotFoundError as error:
            raise SettingsError(self._place.explain(("framework",), error.message)) from None
        targets = {axis: framework.grid_aliases.get(axis, axis) for axis in self.grid}
        for values in product(*self.grid.values()):
            merged = _copy(self.hyperparameters)
            for axis, value in zip(self.grid, values, strict=True):
                if not _put(merged, targets[axis], value):
                    raise SettingsError(
                        self._place.explain(("grid", axis), f"{targets[axis]} goes through a value that is no group")
                    )
            try:
                model = framework.Hyperparameters.model_validate(merged)
            except ValidationError as error:
                problem = error.errors()[0]
                message = sentence(problem, framework.Hyperparameters)
                raise SettingsError(self._place.explain(_written(problem["loc"], targets), message)) from None
            yield model.model_dump(mode="json")


def _written(loc: tuple[int | str, ...], targets: dict[str, str]) -> tuple[str, ...]:
    """Where the file has a hyperparameter: on a grid axis, else among those all points share."""
    path = tuple(str(part) for part in loc)
    for axis, target in targets.items():
        if path[: target.count(".") + 1] == tuple(target.split(".")):
            return ("grid", axis)
    return ("hyperparameters", *(part for part in path if not part.startswith("constrained-")))


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value


def _put(target: dict[str, Any], path: str, value: Any) -> bool:
    """Set a value at a dotted path; False where the path goes through something that is no mapping."""
    *parents, last = path.split(".")
    for part in parents:
        node = target.setdefault(part, {})
        if not isinstance(node, dict):
            return False
        target = node
    target[last] = value
    return True
