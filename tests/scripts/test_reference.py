"""Files that drifted, went missing or are left over are told by --check."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest
from pydantic import BaseModel, Field

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "reference.py"


@pytest.fixture
def reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("mlipdb_reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "DOCS", tmp_path)
    return module


def test_written_files_pass_the_check(reference: ModuleType, tmp_path: Path) -> None:
    files = {tmp_path / "schemas" / "a.json": "{}\n"}
    assert reference.main(files, ["--check"], "schemas/*.json") == 1
    assert reference.main(files, [], "schemas/*.json") == 0
    assert reference.main(files, ["--check"], "schemas/*.json") == 0


def test_a_changed_or_left_over_file_fails_the_check(
    reference: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {tmp_path / "schemas" / "a.json": "{}\n"}
    reference.main(files, [], "schemas/*.json")
    (tmp_path / "schemas" / "a.json").write_text("{ }\n")
    assert reference.main(files, ["--check"], "schemas/*.json") == 1
    assert "docs/schemas/a.json" in capsys.readouterr().err
    reference.main(files, [], "schemas/*.json")
    (tmp_path / "schemas" / "gone.json").write_text("{}\n")
    assert reference.main(files, ["--check"], "schemas/*.json") == 1
    reference.main(files, [], "schemas/*.json")
    assert not (tmp_path / "schemas" / "gone.json").exists()


def test_other_arguments_are_refused(reference: ModuleType, tmp_path: Path) -> None:
    assert reference.main({tmp_path / "a.md": ""}, ["--chekc"]) == 2
    assert not (tmp_path / "a.md").exists()


class Inner(BaseModel):
    """A part."""


class Outer(BaseModel):
    """A whole."""

    word: Literal["a", "b"] = "a"
    cell: tuple[tuple[float, float, float], ...]
    vector: tuple[float, float, float] | None = None
    parts: dict[str, Inner] = Field(default_factory=dict)


def test_types_and_defaults_in_words(reference: ModuleType) -> None:
    fields = Outer.model_fields
    words = {name: reference.type_text(field.annotation) for name, field in fields.items()}
    assert words == {
        "word": "`a`, `b`",
        "cell": "list of 3 × number",
        "vector": "3 × number or none",
        "parts": "mapping of text to [Inner](#inner)",
    }
    defaults = [reference.default_text(field) for field in fields.values()]
    assert defaults == ['`"a"`', "required", "`null`", "`{}`"]
    assert reference.description(fields["parts"]) == "A part."
