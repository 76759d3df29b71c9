"""Sigmas and config types as hyperparameters and axes of a fit."""

from __future__ import annotations

from typing import Any

import pytest

from mlipdb.errors import SettingsError
from mlipdb.settings import FitSettings, parse_settings


def points(text: str) -> list[dict[str, Any]]:
    return list(parse_settings(f"fits:\n  gap:\n{text}").fits["gap"].points())


@pytest.mark.parametrize(
    "text",
    [
        "hyperparameters: {sigmas: {energy: 0.01}}",
        "grid: {sigmas.energy: [0.01]}",
        "hyperparameters: {own_sigmas: keep}\n    grid: {sigmas.force: [0.01]}",
        "hyperparameters: {own_sigmas: replace}\n    grid: {own_sigmas: [keep, replace], sigmas.force: [0.01]}",
    ],
)
def test_sigmas_that_would_change_nothing_are_refused(text: str) -> None:
    said = r"line 2: fits\.gap: sigmas of a fit would change nothing, .*NAME\.sigmas, or give .* own_sigmas: replace"
    with pytest.raises(SettingsError, match=said):
        parse_settings(f"fits:\n  gap:\n    {text}\n")


@pytest.mark.parametrize("where", ["hyperparameters: {own_sigmas: replace}", "grid: {own_sigmas: [replace]}"])
def test_sigmas_that_replace_those_of_the_recipe(where: str) -> None:
    axis = "sigmas.energy: [0.001, 0.01]"
    text = where.replace("grid: {", f"grid: {{{axis}, ") if "grid" in where else f"{where}\n    grid: {{{axis}}}"
    found = points(f"    {text}\n")
    assert [point["sigmas"]["energy"] for point in found] == [0.001, 0.01]
    assert {point["own_sigmas"] for point in found} == {"replace"}


def test_axes_of_config_types() -> None:
    found = points("    grid: {config_types: [[rattled, bulk], [bulk, rattled, isolated_atom], null], delta: [1, 2]}\n")
    assert [point.get("config_types") for point in found] == [["bulk", "rattled"]] * 4 + [None] * 2
    # One subset written in two ways is one potential.
    assert found[0] == found[2]


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("grid: {config_types: [[bulk, ratled]]}", r"line 3: fits\.gap\.grid\.config_types", "'rattled'"),
        ("grid: {config_types: [bulk, rattled]}", r"line 3: fits\.gap\.grid\.config_types", "valid list, not 'bulk'"),
        ("hyperparameters: {config_types: []}", r"line 3: fits\.gap\.hyperparameters\.config_types", "at least one"),
        ("grid: {own_sigmas: [drop]}", r"line 3: fits\.gap\.grid\.own_sigmas", "'keep' or 'replace', not 'drop'"),
    ],
)
def test_values_that_are_refused(text: str, key: str, said: str) -> None:
    with pytest.raises(SettingsError, match=f"{key}.*{said}"):
        points(f"    {text}\n")


def test_policies_for_sparse_points() -> None:
    assert FitSettings().sparse_from == "any"
    assert FitSettings(sparse_from="every").sparse_from == "every"
    with pytest.raises(SettingsError, match=r"fits\.gap\.sparse_from: .*'any' or 'every'"):
        parse_settings("fits:\n  gap:\n    sparse_from: all\n")
