from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mlipdb.errors import IngestError
from mlipdb.ingest.walk import ARCHIVE, JSON, walk

FRAME = "1\nProperties=species:S:1:pos:R:3 energy=-1.0\nSi 0 0 0\n"


def names(folder: Path) -> list[tuple[str, str]]:
    return [(unit.path.relative_to(folder).as_posix(), unit.format) for unit in walk(folder).units]


def test_a_tree_in_order(tmp_path: Path) -> None:
    for name in ("b.json", "a.jsonl", "sub/c.json.gz", "sub/d.JSONL.zst", "sub/e.txt", "f.json.bak", "sub/g.tar.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "sub" / "h.xyz").write_text(FRAME)
    (tmp_path / "plain.xyz").write_text("1\nwater\nO 0 0 0\n")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "z.json").write_text("{}")
    assert names(tmp_path) == [
        ("a.jsonl", JSON),
        ("b.json", JSON),
        ("sub/c.json.gz", JSON),
        ("sub/d.JSONL.zst", JSON),
        ("sub/g.tar.gz", ARCHIVE),
        ("sub/h.xyz", "extxyz"),
    ]
    assert walk(tmp_path).others == 3
    assert names(tmp_path / ".hidden") == [("z.json", JSON)]


def test_loops_of_links_end(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "t.json").write_text("{}")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to(tmp_path / "c")
    (tmp_path / "d.json").symlink_to(tmp_path / "d.json")
    found = walk(tmp_path)
    assert [unit.path.name for unit in found.units] == ["t.json", "d.json"]
    assert found.others == 1  # the link to itself of no known name


def test_pipes_and_sockets_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe.json")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket.extxyz")
        assert walk(tmp_path).others == 2
    for name in ("pipe.json", "socket.extxyz"):
        with pytest.raises(IngestError, match="is a pipe, a socket or a device") as error:
            walk(tmp_path / name)
        assert error.value.reason == "no_file"


@pytest.mark.parametrize("name", ["gone", "x" * 300, "null\0byte"])
def test_nothing_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(IngestError) as error:
        walk(tmp_path / name)
    assert error.value.reason == "no_file"


def test_a_folder_without_tasks(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("{}")
    with pytest.raises(IngestError, match="holds no task; files that end in") as error:
        walk(tmp_path)
    assert error.value.reason == "empty_directory"


@pytest.mark.parametrize(
    ("text", "expected"), [("{}", JSON), (' \n[{"a": 1}]', JSON), ("", JSON), ("hello", ""), (FRAME, "")]
)
def test_a_named_file_is_told_by_its_content(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "tasks.txt").write_text(text)
    (unit,) = walk(tmp_path / "tasks.txt").units
    assert unit.format == expected
    assert (unit.problem is None) == bool(expected)


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "t.json").write_text("{}")
    listing = os.listdir

    def refuse(path: Path) -> list[str]:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "listdir", refuse)
    closed, good = walk(tmp_path).units
    assert closed.problem is not None
    assert "closed cannot be listed (Permission denied)" in closed.problem.message
    assert good.format == JSON
