from __future__ import annotations

import io
from typing import Any

import pytest
from ase.io import read

from mlipdb.export import _info_word
from mlipdb.ingest.exported import exported_fields

LEVEL = {"code": 'the "best" code\'s', "functional": "PBE \\ D3", "hubbard_u": {"Fe": 5.3}, "spin_polarised": False}


def test_any_name_comes_back_through_a_comment_line() -> None:
    text = (
        f'1\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 level_of_theory={_info_word(LEVEL)}\nSi 0 0 0\n'
    )
    assert exported_fields(read(io.StringIO(text), format="extxyz").info)["level_of_theory"] == LEVEL


@pytest.mark.parametrize(
    "text", ["F", "TRUE", "T F", "149", "1e5", "1_0", "1,2", "NaN", " ", "_JSON {x}", "'a'", "'\\b c"]
)
def test_a_text_stays_a_text(text: str) -> None:
    words = f"level_of_theory={_info_word(LEVEL)} material={_info_word(text)}"
    frame = f'1\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 {words} b=T\nSi 0 0 0\n'
    info = read(io.StringIO(frame), format="extxyz").info
    assert isinstance(info["material"], str)
    assert info["b"] is True
    assert exported_fields(info)["material"] == text


def test_fields_of_a_flat_record() -> None:
    values = {
        "level_of_theory": {**LEVEL, "cutoff_ev": 500.0, "colour": "red"},
        "mlipdb_config_type": "rattled",
        "converged": False,
        "task_ids": "a b",
        "foreign_ids": ["mp-149"],
    }
    found = exported_fields(values)
    assert found["level_of_theory"] == {**LEVEL, "cutoff_ev": 500.0}
    assert (found["cutoff_ev"], found["spin_polarised"], found["config_type"]) == (500.0, False, "rattled")
    assert (found["converged"], found["exported_task_ids"], found["foreign_ids"]) == (False, ["a", "b"], ["mp-149"])


@pytest.mark.parametrize("level", [None, "PBE", "{'code': ", "[1]", 3, "{" * 50_000])
def test_what_we_did_not_write(level: Any) -> None:
    assert exported_fields({"level_of_theory": level, "converged": False, "task_ids": "a"}) == {}
