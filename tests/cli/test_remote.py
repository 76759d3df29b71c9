"""`mlipdb add` with the address of a database, and with ids of the Materials Project."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mp_server import materials_project

from mlipdb.stores import Database

KEY = "0123456789abcdef" * 2
Shell = Callable[..., Any]


def test_a_database_is_added_and_then_only_what_is_new(
    shell: Shell, new_database: Any, silicon_records: list[dict[str, Any]]
) -> None:
    with new_database() as theirs:
        theirs.db["outputs"].insert_many([dict(record) for record in silicon_records[:6]])
        address = theirs._address
        first = shell("add", address, "--collection", "outputs", "--json")
        assert first.code == 0, first.err
        assert (first.json["added"], first.json["unchanged"]) == (6, 0)
        theirs.db["outputs"].insert_one(dict(silicon_records[6]))
        second = shell("add", address, "--collection", "outputs", "--json")
        assert (second.json["added"], second.json["unchanged"]) == (1, 6)
        energy = silicon_records[0]["energy"]
        asked = shell("add", address, "--collection", "outputs", "--query", json.dumps({"energy": energy}), "--json")
        assert asked.json["added"] == 0
        nameless = shell("add", address)
        assert nameless.code == 2
        assert "--collection NAME" in nameless.err
        theirs.db["outputs"].delete_many({})


def test_a_password_is_printed_nowhere(shell: Shell, bench: Any) -> None:
    address = "mongodb://mia:hunter2@127.0.0.1:1/name?serverSelectionTimeoutMS=200"
    answer = shell("add", address, "--collection", "outputs")
    assert answer.code == 3
    assert "no answer from the database at mongodb://***@127.0.0.1:1/name" in answer.err
    assert "hunter2" not in answer.out + answer.err
    stored = json.dumps(
        [list(bench.database.db[name].find({})) for name in ("tasks", "ingest_watermarks")], default=str
    )
    assert "hunter2" not in stored


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("x.json", "--collection", "outputs"), "go with the address of a database"),
        (("x.json", "--from-start"), "go with the address of a database"),
        (("x.json", "--what", "tasks"), "go with ids of the Materials Project"),
        (("mp-149", "--what", "bands"), "structure, phonons, tasks"),
    ],
)
def test_options_that_do_not_fit(shell: Shell, words: tuple[str, ...], message: str) -> None:
    answer = shell("add", *words)
    assert answer.code == 2
    assert message in answer.err


def test_an_id_of_the_materials_project(
    shell: Shell, database: Database, monkeypatch: pytest.MonkeyPatch, bench: Any
) -> None:
    pytest.importorskip("mp_api")
    monkeypatch.setenv("MP_API_ENDPOINT", "http://127.0.0.1:1/")
    monkeypatch.delenv("MP_API_KEY", raising=False)
    answer = shell("add", "mp-149")
    assert (answer.code, "needs a key; set MP_API_KEY" in answer.err) == (2, True)
    monkeypatch.setenv("MP_API_KEY", KEY)
    site = {"species": [{"element": "Cu", "occu": 1}], "abc": [0.0, 0.0, 0.0]}
    structure = {"lattice": {"matrix": [[0, 1.8, 1.8], [1.8, 0, 1.8], [1.8, 1.8, 0]]}, "sites": [site]}
    with materials_project() as service:
        monkeypatch.setenv("MP_API_ENDPOINT", service.endpoint)
        service.routes["materials/core"] = lambda _: [{"material_id": "mp-30", "structure": structure}]
        answer = shell("add", "mp-30", "--what", "structure", "--json")
        assert answer.code == 0, answer.err
        assert answer.json["formats"] == {"materials_project_structure": 1}
        assert KEY not in answer.out + answer.err
        assert shell("add", "mp-30", "--what", "structure", "--refresh", "--json").json["unchanged"] == 1
    assert (Path(bench.directory) / ".mlipdb" / "cache" / "materials_project" / "2025.09.25").is_dir()


def test_a_file_that_is_called_like_an_id_is_a_file(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mp-149").mkdir()
    answer = shell("add", "mp-149")
    assert answer.code == 1
    assert "mp-149 holds no task" in answer.err
