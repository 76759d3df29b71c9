"""The project: its folder, its ``mlipdb.yaml`` and the ``MLIPDB_*`` variables above it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as VariableError

from mlipdb.errors import NotFoundError, SettingsError
from mlipdb.schemas.configuration import ConfigType
from mlipdb.schemas.phonon_protocol import PhononProtocol
from mlipdb.schemas.quality import QualityLimits, QualityReason, SetReason
from mlipdb.settings_fits import FitSettings, Strict
from mlipdb.settings_messages import SettingValueError, explain, near, sentence
from mlipdb.settings_yaml import Place, load_yaml

__all__ = [
    "PROJECT_FILE",
    "BenchmarkSettings",
    "FitSettings",
    "ForceRegularisation",
    "Project",
    "ProjectSettings",
    "Recipe",
    "Sigmas",
    "Split",
    "find_project",
    "load_project",
]

PROJECT_FILE = "mlipdb.yaml"
PREFIX = "MLIPDB_"
#: Variables with the prefix that are not settings of a project.
OTHER_VARIABLES = {"MLIPDB_PROJECT", "MLIPDB_TEST_DATABASE"}


class Split(Strict):
    """How a training set is divided into train and test."""

    by: Literal["configuration", "material"] = Field(
        "configuration", description="Draw single configurations, or leave whole materials out"
    )
    test_fraction: float = Field(0.1, ge=0, lt=1, description="Share of the test side")
    seed: int = Field(0, ge=0, description="The same seed and members give the same split")
    test_materials: list[str] = Field(
        default_factory=list, description="With by: material, the materials to leave out; empty draws them"
    )

    @model_validator(mode="after")
    def _materials_need_their_mode(self) -> Self:
        if self.test_materials and self.by != "material":
            raise ValueError("test_materials needs by: material")
        return self


class ForceRegularisation(Strict):
    """Atomwise force sigmas f * max(|F|, floor)."""

    f: float = Field(0.1, gt=0, description="Share of the force on an atom that its sigma is")
    floor: float = Field(0.1, gt=0, description="Smallest |F| counted, eV/Angstrom")


class Sigmas(Strict):
    """Expected errors: the smaller, the closer the fit follows."""

    energy: float = Field(0.001, gt=0, description="eV/atom")
    force: float = Field(0.1, gt=0, description="eV/Angstrom; where force_regularisation is null")
    virial: float = Field(0.05, gt=0, description="eV/atom")


class Recipe(Strict):
    """What a training set is made of."""

    query: dict[str, Any] = Field(default_factory=dict, description="MongoDB filter on configurations")
    config_types: list[ConfigType] = Field(
        default=["isolated_atom", "bulk", "strained", "single_displacement", "rattled"],
        min_length=1,
        description="Kinds to take; isolated atoms always come along",
    )
    materials: list[str] = Field(default_factory=list, description="Material ids, names or foreign ids; empty: all")
    level: str | None = Field(None, description="Level of theory (id or label); null: the one there is")
    allow: list[QualityReason | SetReason] = Field(
        default_factory=list, description="Reasons of the quality gates that keep nothing out"
    )
    limits: QualityLimits = Field(
        default_factory=QualityLimits, description="Limits of the quality gates in place of the default ones"
    )
    split: Split = Field(default_factory=Split, description="How it is divided into train and test")
    force_regularisation: ForceRegularisation | None = Field(
        default_factory=ForceRegularisation, description="null: one flat force sigma"
    )
    sigmas: dict[str, Sigmas] = Field(
        default_factory=lambda: {"default": Sigmas()},
        description="Per config_type; `default` for the rest",
    )

    @field_validator("sigmas", mode="before")
    @classmethod
    def _fill_in(cls, value: Any) -> Any:
        """Give every config_type what it leaves out from `default`."""
        default = value.get("default") if isinstance(value, dict) else None
        if not isinstance(default, dict):
            return value
        return {name: {**default, **item} if isinstance(item, dict) else item for name, item in value.items()}

    @field_validator("sigmas")
    @classmethod
    def _known_types(cls, value: dict[str, Sigmas]) -> dict[str, Sigmas]:
        from mlipdb.schemas.configuration import CONFIG_TYPES

        allowed = ("default", *CONFIG_TYPES)
        for name in value:
            if name not in allowed:
                raise ValueError(f"{name!r} is no config_type; use one of {', '.join(allowed)}")
        return {"default": Sigmas(), **value}

    def sigmas_for(self, config_type: str) -> Sigmas:
        """The sigmas of a config_type, else the default ones."""
        return self.sigmas.get(config_type, self.sigmas["default"])


class BenchmarkSettings(Strict):
    """A kind of benchmark, run on every matching potential and every reference."""

    kind: Literal["phonons"] = Field("phonons", description="Kind of benchmark that `mlipdb build` runs")
    protocol: dict[str, Any] = Field(default_factory=dict, description="Changes to the protocol under `phonons`")
    potentials: dict[str, Any] = Field(default_factory=dict, description="MongoDB filter on potentials")
    materials: list[str] = Field(default_factory=list, description="Material ids or names; empty: all")


class ProjectSettings(BaseSettings):
    """Content of ``mlipdb.yaml``; every key may be overridden by ``MLIPDB_<KEY>``, nested with ``__``."""

    model_config = SettingsConfigDict(extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__", frozen=True)

    database: str = Field(
        "embedded",
        repr=False,  # it may hold a password
        description="embedded, or a mongodb:// address with the database's name at its end",
    )
    group: str | None = Field(None, description="Written into every document")
    workers: int = Field(2, ge=1, description="Processes that fits and benchmarks may use at once")
    training_sets: dict[str, Recipe] = Field(default_factory=dict, description="Recipes by name")
    fits: dict[str, FitSettings] = Field(default_factory=dict, description="Families of potentials by name")
    phonons: PhononProtocol = Field(default_factory=PhononProtocol, description="How DFT phonons are made")
    benchmarks: dict[str, BenchmarkSettings] = Field(default_factory=dict, description="Benchmarks by name")

    @field_validator("database")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        if value != "embedded" and not value.startswith(("mongodb://", "mongodb+srv://")):
            raise ValueError("use `embedded` or an address such as mongodb://host:27017/mlipdb")
        return value

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for name, fit in self.fits.items():
            for wanted in [] if fit.training_sets == "all" else fit.training_sets:
                if wanted not in self.training_sets:
                    known = ", ".join(self.training_sets) or "none yet"
                    raise SettingValueError(
                        ("fits", name, "training_sets"), f"no recipe is called {wanted!r}; there are: {known}"
                    )
        relaxed = {("phonons", "relax"): self.phonons.relax} | {
            ("benchmarks", name, "protocol", "relax"): benchmark.protocol.get("relax")
            for name, benchmark in self.benchmarks.items()
        }
        for place, word in relaxed.items():
            if word == "external":
                raise SettingValueError(place, "external cannot be set: it marks benchmarks whose cell a file gave")
        for name, benchmark in self.benchmarks.items():
            try:
                self.protocol_of(benchmark)
            except ValidationError as error:
                first = error.errors()[0]
                path = ("benchmarks", name, "protocol", *(str(part) for part in first["loc"]))
                raise SettingValueError(path, sentence(first, PhononProtocol)) from None
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, and read nothing else."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    def protocol_of(self, benchmark: BenchmarkSettings) -> PhononProtocol:
        """The phonon protocol of a benchmark: the project's with the benchmark's changes."""
        return PhononProtocol.model_validate({**self.phonons.model_dump(), **benchmark.protocol})

    def check_fits(self) -> None:
        """Go through all grid points, which takes the frameworks to know.

        Raises
        ------
        SettingsError
            If a framework does not know a hyperparameter or refuses its value.
        """
        for fit in self.fits.values():
            for _ in fit.points():
                pass

    def recipes_of(self, fit: FitSettings) -> list[str]:
        """Names of the recipes a fit uses."""
        return list(self.training_sets) if fit.training_sets == "all" else list(fit.training_sets)


class Project:
    """A folder with a ``mlipdb.yaml``.

    Attributes
    ----------
    directory
        The folder.
    settings
        The validated content of its file under the environment.
    """

    def __init__(self, directory: Path, settings: ProjectSettings) -> None:
        self.directory = directory
        self.settings = settings

    @property
    def data_directory(self) -> Path:
        """Where the embedded database keeps its files."""
        return self.directory / ".mlipdb"

    @property
    def figures_directory(self) -> Path:
        """Where figures go unless another folder is named."""
        return self.directory / "figures"


def find_project(start: Path | None = None) -> Path:
    """The nearest folder upwards that holds a ``mlipdb.yaml``, as git finds its repository.

    Raises
    ------
    NotFoundError
        If there is none up to the root.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / PROJECT_FILE).is_file():
            return folder
    raise NotFoundError(
        f"no {PROJECT_FILE} in {here} or above it; make a project with `mlipdb init DIR`, "
        "or name one with `mlipdb --project DIR ...`"
    )


def load_project(directory: Path | None = None) -> Project:
    """Read and validate a project.

    Parameters
    ----------
    directory
        The project's folder; None takes ``MLIPDB_PROJECT``, else the nearest one upwards.

    Raises
    ------
    NotFoundError
        If there is no project.
    SettingsError
        If the file or a variable is wrong; the message names file, line and key.
    """
    if directory is None and os.environ.get("MLIPDB_PROJECT"):
        directory = Path(os.environ["MLIPDB_PROJECT"])
    folder = find_project() if directory is None else directory.resolve()
    file = folder / PROJECT_FILE
    if not file.is_file():
        raise NotFoundError(f"{folder} holds no {PROJECT_FILE}; make a project there with `mlipdb init`")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file.name} cannot be read: {error}; a text file in UTF-8 is needed") from None
    return Project(folder, parse_settings(text, file.name))


def parse_settings(text: str, source: str = PROJECT_FILE) -> ProjectSettings:
    """Validate the text of a project file.

    Raises
    ------
    SettingsError
        With one line per problem: file, line, key, what is wrong and what would be right.
    """
    _check_environment()
    content, lines = load_yaml(text, source)
    try:
        settings = ProjectSettings(**content)
    except ValidationError as error:
        raise SettingsError("\n".join(explain(error, lines, source, ProjectSettings, PREFIX))) from None
    except VariableError as error:
        raise SettingsError(f"an environment variable {PREFIX}... is no JSON: {error}") from None
    for name, fit in settings.fits.items():
        fit._place = Place(("fits", name), lines, source)
    return settings


def _check_environment() -> None:
    fields = {f"{PREFIX}{name.upper()}" for name in ProjectSettings.model_fields}
    for name in os.environ:
        if not name.startswith(PREFIX) or name in OTHER_VARIABLES:
            continue
        if name.split("__")[0].upper() not in fields:
            raise SettingsError(f"the environment variable {name} is no setting{near(name, fields)}")
