"""The wheel holds every module and data file of the tree, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a wheel built from what git tracks, so that nothing left lying around hides a fault."""
    source = tmp_path_factory.mktemp("source")
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for name in filter(None, tracked):
        path = ROOT / name
        target = source / name
        if not path.exists() and not path.is_symlink():
            continue  # removed, and not committed yet
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            target.symlink_to(path.readlink())
        else:
            target.write_bytes(path.read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(out),
        ".",
    ]
    subprocess.run(command, cwd=source, check=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def expected_names() -> set[str]:
    names: set[str] = set()
    for prefix, folder in (("mlipdb", "mlipdb"), ("mlipdb/builders", "builders"), ("mlipdb/schemas", "schemas")):
        base = ROOT / folder
        for path in base.rglob("*"):
            inside = path.relative_to(base)
            linked = folder == "mlipdb" and inside.parts[0] in {"builders", "schemas"}
            if path.is_file() and not linked and "__pycache__" not in inside.parts:
                names.add(f"{prefix}/{inside.as_posix()}")
    return names


def test_wheel_holds_the_whole_tree(wheel_names: set[str]) -> None:
    assert wheel_names == expected_names()


def test_builders_and_schemas_are_no_import_names_of_their_own(wheel_names: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel_names} == {"mlipdb"}
