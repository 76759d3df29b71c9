"""Gaussian approximation potentials, fitted by `gap_fit` of quippy-ase."""

from __future__ import annotations

import errno
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from mlipdb.errors import DataError, FitError, FrameworkNotInstalledError
from mlipdb.frameworks.base import FitInput, FitResult
from mlipdb.frameworks.gap_checks import check_counts, check_output, check_run
from mlipdb.frameworks.gap_command import CONFIG_FILE, GAP_FILE, TRAINING_FILE, gap_fit_words
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.frameworks.gap_log import GapLog, parse_log
from mlipdb.frameworks.gap_training import fitted_frames, training_bytes
from mlipdb.frameworks.gap_xml import GapXml, normalised_xml_hash
from mlipdb.frameworks.process import ProgramRun, run_program
from mlipdb.physics.extxyz import read_extxyz
from mlipdb.physics.frames import Frame, frame_elements
from mlipdb.version import __version__

if TYPE_CHECKING:
    from mlipdb.frameworks.gap_calculator import GapCalculator

__all__ = ["GAP", "normalised_xml_hash"]

# gap_fit refuses one argument of more than 4,096 characters; it reads longer ones from a file.
_MAX_ARGUMENT: Final = 4000
_DISK_FULL_CODES: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class GAP:
    """The framework ``gap``.

    Parameters
    ----------
    executable
        The `gap_fit` program; by default the one inside the installed quippy package.
    """

    executable: Path | None = None
    name: ClassVar[str] = "gap"
    Hyperparameters: ClassVar[type[GapHyperparameters]] = GapHyperparameters
    grid_aliases: ClassVar[dict[str, str]] = {"n_sparse": "soap.n_sparse", "delta": "soap.delta"}

    def summary(self, hyperparameters: GapHyperparameters) -> dict[str, float | int | None]:
        """Sparse points of all descriptors together, delta (eV) of the leading one, and f."""
        descriptors = [
            descriptor
            for descriptor in (hyperparameters.soap, hyperparameters.two_body, hyperparameters.three_body)
            if descriptor is not None
        ]
        counts = [
            sum(descriptor.n_sparse.values()) if isinstance(descriptor.n_sparse, dict) else descriptor.n_sparse
            for descriptor in descriptors
        ]
        return {"n_sparse": sum(counts), "delta": descriptors[0].delta, "f": hyperparameters.f}

    def fit(
        self,
        data: FitInput,
        hyperparameters: GapHyperparameters,
        directory: Path,
        *,
        timeout_s: float | None = None,
    ) -> FitResult:
        """Fit a GAP.

        Parameters
        ----------
        data
            The training set; its extxyz is what `gap_fit` reads, unless ``f``, ``own_sigmas`` or
            ``config_types`` ask for other sigmas or fewer configurations.
        hyperparameters
            The hyperparameters.
        directory
            An existing directory; files of an earlier fit there are removed first.
        timeout_s
            Seconds after which the fit is given up; None for no limit.

        Returns
        -------
        FitResult
            Files (an XML and a side file for each descriptor), command, times, memory, and in
            ``details`` the sparse points written, targets read and environments found.

        Raises
        ------
        FitError
            ``reason`` is ``inconsistent_input``, ``not_finite``, ``no_isolated_atom``, ``crashed``,
            ``killed``, ``out_of_memory``, ``disk_full``, ``targets_mismatch``, ``no_environments``,
            ``unknown_config_type``, ``value_too_long`` or one of the reasons of `CalculatorError`.
        FitTimeoutError
            If it takes too long.
        FrameworkNotInstalledError
            If quippy is not installed.
        """
        executable = self.executable or find_gap_fit()
        frames = checked_frames(data)
        energies = isolated_energies(data, frames, hyperparameters)
        fitted = fitted_frames(frames, hyperparameters)
        training, n_atomwise = training_bytes(data, fitted, hyperparameters)
        numbers = sorted({int(z) for frame in frames for z in frame.numbers})

        def make_words(without: Sequence[str] = ()) -> list[str]:
            return gap_fit_words(hyperparameters, numbers, energies, without=without)

        clean(directory)
        try:
            _write(directory / TRAINING_FILE, training)
            runs, words, empty = _run_without_empty_terms(executable, make_words, directory, timeout_s)
            run = runs[-1]
            log = parse_log(run.lines)
            check_run(run, timeout_s)
            check_counts(log, read_extxyz(training), run)
            xml, xml_bytes = check_output(directory, fitted, run)
        finally:
            _remove_temporary(directory)
        names = [GAP_FILE, *(term.side_file for term in xml.terms if term.side_file is not None)]
        return FitResult(
            files={name: directory / name for name in names},
            main_file=GAP_FILE,
            command=["gap_fit", *words],
            wall_time_s=sum(one.wall_time_s for one in runs),
            cpu_time_s=sum(one.cpu_time_s for one in runs),
            peak_memory_mb=max(one.peak_memory_mb for one in runs),
            log_tail=run.log_tail(),
            versions=_versions(log),
            details={
                "config_types": hyperparameters.config_types,
                "descriptors": _descriptor_details(xml, log, hyperparameters),
                "descriptors_without_environments": empty,
                "n_targets": dict(log.targets),
                "n_sigmas": dict(log.sigmas),
                "n_atomwise_configurations": n_atomwise,
                "warnings": log.warnings,
                "normalised_xml_hash": normalised_xml_hash(xml_bytes),
            },
        )

    def calculator(self, directory: Path, main_file: str, *, trust: bool = False) -> GapCalculator:
        """Load a GAP; see `mlipdb.frameworks.gap_calculator.GapCalculator`."""
        from mlipdb.frameworks.gap_calculator import GapCalculator

        return GapCalculator(directory, main_file, trust=trust)


def find_gap_fit() -> Path:
    """Find the compiled `gap_fit` inside the quippy package, without importing it.

    Raises
    ------
    FrameworkNotInstalledError
        If there is none.
    """
    spec = importlib.util.find_spec("quippy")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        program = Path(folder) / "gap_fit"
        if program.is_file():
            return program
    raise FrameworkNotInstalledError("GAP needs gap_fit of the package quippy-ase; pip install quippy-ase")


def clean(directory: Path) -> None:
    """Remove what an earlier fit left in directory, and nothing else.

    Raises
    ------
    FitError
        If directory does not exist.
    """
    if not directory.is_dir():
        raise FitError(f"the directory {directory.name!r} for the fit does not exist", reason="no_directory")
    for path in (*directory.glob(f"{GAP_FILE}*"), directory / TRAINING_FILE):
        path.unlink(missing_ok=True)
    _remove_temporary(directory)


def _remove_temporary(directory: Path) -> None:
    for path in (
        *directory.glob("tmp_GAP_*"),
        *directory.glob(f"{TRAINING_FILE}.*"),
        directory / CONFIG_FILE,
    ):
        path.unlink(missing_ok=True)


def checked_frames(data: FitInput) -> list[Frame]:
    """Read the frames from the bytes that are fitted, and compare them with those given."""
    try:
        frames = read_extxyz(data.extxyz)
    except DataError as error:
        raise FitError(f"the training set cannot be fitted: {error.message}", reason=error.reason) from error
    ids = [frame.configuration_id for frame in frames]
    if ids != [frame.configuration_id for frame in data.frames]:
        raise FitError(
            f"the extxyz holds {len(ids)} configurations, which are not the {len(data.frames)} given as "
            "frames in the same order",
            reason="inconsistent_input",
        )
    if not frames:
        raise FitError("the training set holds no configurations", reason="inconsistent_input")
    return frames


def isolated_energies(data: FitInput, frames: Sequence[Frame], hyperparameters: GapHyperparameters) -> dict[str, float]:
    if hyperparameters.e0_method != "isolated":
        return {}
    elements = frame_elements(frames)
    missing = [element for element in elements if element not in data.isolated_atom_energies]
    if missing:
        raise FitError(
            f"the training set has no isolated-atom energy for {', '.join(missing)}; add a calculation of "
            "the free atom at the same level of theory, or choose e0_method=average",
            reason="no_isolated_atom",
        )
    return {element: float(data.isolated_atom_energies[element]) for element in elements}


def _run_without_empty_terms(
    executable: Path,
    make_words: Callable[[Sequence[str]], list[str]],
    directory: Path,
    timeout_s: float | None,
) -> tuple[list[ProgramRun], list[str], list[str]]:
    """Run `gap_fit`, and once more without descriptors that have no environment.

    `gap_fit` gives up when a combination of elements never meets within the cutoff.  That term is
    zero whatever is fitted, so the rest can be fitted without it.

    Returns
    -------
    tuple
        The runs, the words of the last one, and the descriptors without environments.
    """
    words = make_words(())
    first = _run(executable, words, directory, timeout_s)
    empty = parse_log(first.lines).empty_descriptors
    if first.returncode <= 0 or not empty:
        return [first], words, empty
    words = make_words(empty)
    rest_s = None if timeout_s is None else max(0.0, timeout_s - first.wall_time_s)
    return [first, _run(executable, words, directory, rest_s)], words, empty


def _run(executable: Path, words: Sequence[str], directory: Path, timeout_s: float | None) -> ProgramRun:
    arguments = list(words)
    if max(map(len, words)) > _MAX_ARGUMENT:
        # gap_fit joins lines with blanks, and breaks a line of several thousand characters anywhere.
        text = "".join(word.replace(" : ", " :\n") + "\n" for word in words)
        _write(directory / CONFIG_FILE, text.encode("ascii"))
        arguments = [f"config_file={CONFIG_FILE}"]
    return run_program([str(executable), *arguments], directory, timeout_s=timeout_s)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        reason = "disk_full" if error.errno in _DISK_FULL_CODES else "unwritable"
        raise FitError(f"{path.name} cannot be written for the fit ({error.strerror})", reason=reason) from error


def _versions(log: GapLog) -> dict[str, str]:
    versions = {"mlipdb": __version__, "gap_fit": log.version}
    try:
        versions["quippy-ase"] = version("quippy-ase")
    except PackageNotFoundError:
        versions["quippy-ase"] = "unknown"
    return versions


def _descriptor_details(xml: GapXml, log: GapLog, hyperparameters: GapHyperparameters) -> list[dict[str, Any]]:
    """Sparse points written and environments found, by descriptor.

    ``n_unique_environments`` counts those left without the ones equal by symmetry, where `gap_fit` told.
    """
    requested = {descriptor.kind: descriptor.n_sparse for descriptor in hyperparameters.descriptors}
    return [
        {
            "descriptor": term.descriptor,
            "n_sparse": term.n_sparse,
            "n_sparse_requested": requested.get(term.descriptor.split()[0]),
            "n_environments": log.environments.get(term.descriptor),
            "n_unique_environments": log.unique_environments.get(term.descriptor),
        }
        for term in xml.terms
    ]
