"""What of a training set a GAP is fitted to, and with which sigmas."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from mlipdb.errors import FitError
from mlipdb.frameworks.base import FitInput
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.physics.extxyz import write_extxyz
from mlipdb.physics.frames import ISOLATED_ATOM, Frame
from mlipdb.physics.sigmas import atomwise_force_sigmas

__all__ = ["check_config_types", "fitted_frames", "training_bytes", "without_own_sigmas"]


def check_config_types(named: Collection[str], frames: Sequence[Frame]) -> None:
    """Refuse config types that a training set does not have; isolated atoms may be named anyway.

    Raises
    ------
    FitError
        ``reason`` is ``unknown_config_type``.
    """
    there = {frame.config_type for frame in frames}
    unknown = sorted(set(named) - there - {ISOLATED_ATOM})
    if unknown or not named:
        raise FitError(
            f"the training set has no configurations of type {', '.join(unknown) or '(none named)'}; it has "
            f"{', '.join(sorted(there))}",
            reason="unknown_config_type",
        )


def without_own_sigmas(frames: Sequence[Frame]) -> list[Frame]:
    """Frames whose targets have the sigmas of the fit; isolated atoms keep that of their energy.

    Their forces are zero whatever is fitted.  A column of sigmas for these would say that other
    configurations without one are not to be scaled by ``f``.
    """
    return [
        replace(
            frame,
            energy_sigma=frame.energy_sigma if frame.is_isolated_atom else None,
            force_sigmas=None,
            virial_sigma=None,
        )
        for frame in frames
    ]


def fitted_frames(frames: Sequence[Frame], hyperparameters: GapHyperparameters) -> list[Frame]:
    """The configurations that are fitted, with the sigmas they bring, before ``f`` is applied.

    Parameters
    ----------
    frames
        The training set.
    hyperparameters
        Their ``config_types`` and ``own_sigmas`` are used.

    Raises
    ------
    FitError
        If the training set has no configuration of a config type that is named.
    """
    chosen = list(frames)
    if hyperparameters.config_types is not None:
        check_config_types(hyperparameters.config_types, frames)
        wanted = {*hyperparameters.config_types, ISOLATED_ATOM}
        chosen = [frame for frame in frames if frame.config_type in wanted]
    return without_own_sigmas(chosen) if hyperparameters.own_sigmas == "replace" else chosen


def training_bytes(data: FitInput, frames: Sequence[Frame], hyperparameters: GapHyperparameters) -> tuple[bytes, int]:
    """Give the bytes to fit and the number of configurations with per-atom force sigmas.

    ``f`` replaces the column where the training set has one; where no configuration has one, all
    configurations but isolated atoms get it.

    Parameters
    ----------
    data
        The training set; its bytes are given back where nothing changes them.
    frames
        What `fitted_frames` gave.
    hyperparameters
        The hyperparameters.
    """
    marked = [frame.force_sigmas is not None for frame in frames]
    if hyperparameters.f is None or hyperparameters.floor is None:
        as_stored = hyperparameters.config_types is None and hyperparameters.own_sigmas == "keep"
        return data.extxyz if as_stored else write_extxyz(frames), sum(marked)
    if not any(marked):
        marked = [not frame.is_isolated_atom for frame in frames]
    changed = []
    for frame, mark in zip(frames, marked, strict=True):
        if mark:
            sigmas = atomwise_force_sigmas(frame.forces, hyperparameters.f, hyperparameters.floor)
            changed.append(replace(frame, force_sigmas=sigmas))
        else:
            changed.append(frame)
    return write_extxyz(changed), sum(marked)
