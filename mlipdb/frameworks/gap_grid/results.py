"""From solved points to what every framework's fit reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlipdb.frameworks.base import FitResult
from mlipdb.frameworks.gap_grid.environment_set import SparseSet
from mlipdb.frameworks.gap_grid.points import StudyPoint, study_terms
from mlipdb.frameworks.gap_grid.soap import Term
from mlipdb.frameworks.gap_grid.xml_writer import SideFile

__all__ = ["FitContext"]

_FACTS = (
    "n_targets",
    "log_likelihood",
    "condition_number",
    "kernel_condition_number",
    "jitter",
    "normalised_xml_hash",
)


@dataclass(frozen=True, eq=False)
class FitContext:
    """What the points of a study have in common.

    Parameters
    ----------
    directory
        Where their files are.
    numbers
        Elements.
    sets, sides
        Sparse points of each term, and the files that hold them.
    shared
        Facts about the study, among them ``n_points`` and what its ``assembly`` used.
    warnings
        About the data and the grid.
    versions
        Of the programs that took part.
    """

    directory: Path
    numbers: Sequence[int]
    sets: Sequence[SparseSet]
    sides: Sequence[SideFile]
    shared: Mapping[str, Any]
    warnings: Sequence[str]
    versions: Mapping[str, str]

    def fit(self, point: StudyPoint, record: Mapping[str, Any]) -> FitResult:
        """Give one point's result; of the shared time every point has an equal part."""
        terms = study_terms(point, self.numbers)
        descriptors = [_describe(point, term, part) for term, part in zip(terms, self.sets, strict=True)]
        warnings = [*self.warnings, *_jitter_warning(point, record)]
        assembly = self.shared["assembly"]
        share = 1.0 / self.shared["n_points"]
        files: dict[str, Path | bytes] = {"gap.xml": self.directory / str(record["file"])}
        files.update({side.name: self.directory / side.name for side in self.sides})
        details = {
            "engine": "grid",
            "study_file": record["file"],
            "config_types": None if point.config_types is None else sorted(point.config_types),
            "descriptors": descriptors,
            "descriptors_without_environments": [],
            "warnings": warnings,
            **{name: record[name] for name in _FACTS},
            "study": dict(self.shared),
        }
        return FitResult(
            files=files,
            main_file="gap.xml",
            command=["mlipdb", "gap_grid", *(term.descriptor for term in terms)],
            wall_time_s=record["wall_time_s"] + share * assembly["wall_time_s"],
            cpu_time_s=record["cpu_time_s"] + share * assembly["cpu_time_s"],
            peak_memory_mb=self.shared["total"]["peak_memory_mb"],
            log_tail="\n".join(warnings),
            versions=dict(self.versions),
            details=details,
        )


def _jitter_warning(point: StudyPoint, record: Mapping[str, Any]) -> list[str]:
    wanted = point.hyperparameters.sparse_jitter
    largest = max(record["jitter"])
    if largest <= wanted * (1 + 1e-6):
        return []
    taken = f"the kernel matrix was singular with a sparse_jitter of {wanted:g}; {largest:g} was taken"
    return [f"{taken}, which changes the potential a little"]


def _describe(point: StudyPoint, term: Term, part: SparseSet) -> dict[str, Any]:
    tier = point.tier(term.number)
    origins = part.origins[:tier]
    ids = sorted({name for name, _, _ in origins})
    place = {name: index for index, name in enumerate(ids)}
    excluded = [kind for _, _, kind in origins if point.config_types is not None and kind not in point.config_types]
    return {
        "descriptor": term.descriptor,
        "n_sparse": tier,
        "n_sparse_requested": tier,
        "n_environments": part.n_environments,
        "n_unique_environments": part.n_distinct,
        "n_sparse_of_excluded_config_types": len(excluded),
        "sparse_configurations": ids,
        "sparse_atoms": [[place[name], atom] for name, atom, _ in origins],
    }
