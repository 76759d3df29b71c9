"""Tables, JSON and numbers."""

from __future__ import annotations

import json
import math
from datetime import datetime

import pytest

from mlipdb.cli import output


def test_json_holds_dates_and_no_nan() -> None:
    value = {"when": datetime(2026, 1, 2, 3, 4, 5, 678000), "nan": math.nan, "rows": [(1, 2.5)], "none": None}  # noqa: DTZ001
    assert json.loads(output.to_json(value)) == {
        "when": "2026-01-02T03:04:05.678Z",
        "nan": None,
        "rows": [[1, 2.5]],
        "none": None,
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "yes"),
        (0.22469737, "0.2247"),
        (-107.0360834, "-107.0361"),
        (160.0, "160"),
        (1.5e9, "1.5e+09"),
        (["a", "b"], "a, b"),
        ([1, 2, 3, 4], "4 items"),
        ({"a": 1}, "1 fields"),
        (math.inf, "inf"),
    ],
)
def test_cells(value: object, shown: str) -> None:
    assert output.cell(value) == shown


KEY = "pot-f07151e168269c32179f"


def test_keys_are_whole_where_a_program_may_read_them(capsys: pytest.CaptureFixture[str]) -> None:
    output.table([[KEY, 1.0]], ["potential_id", "mesh.rmse"])
    text = capsys.readouterr().out
    assert KEY in text
    assert "rmse" in text


def test_keys_are_short_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    output.table([[KEY, "rattled"]], ["potential_id", "training_set"])
    text = capsys.readouterr().out
    assert "pot-f07151e1 " in text
    assert KEY not in text
