"""Help, version, start-up and errors."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mlipdb import __version__

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("init", "demo", "add", "build", "status", "find", "show", "remove", "check", "copy", "plot")
#: What takes longer to import than a whole `mlipdb --help` may.
HEAVY = ("numpy", "pymongo", "pydantic", "ase", "pymatgen", "phonopy", "quippy", "maggma", "matplotlib", "yaml")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(run: Any, command: str) -> None:
    answer = run(command, "--help")
    assert answer.code == 0
    assert "Usage:" in answer.out
    assert len(answer.out.splitlines()) > 5
    assert command in run("--help").out


def test_version(run: Any) -> None:
    assert run("--version").out.strip() == f"mlipdb {__version__}"


def test_start_up_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['mlipdb', '--help']\n"
        "from mlipdb.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"sys.stderr.write(','.join(sorted(set({HEAVY!r}) & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "Usage" in done.stdout


def test_importing_the_package_is_cheap() -> None:
    code = f"import sys, mlipdb; print(','.join(sorted(set({HEAVY!r}) & set(sys.modules))))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_no_project_is_one_sentence_and_exit_2(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answer = run("status")
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert "mlipdb init" in answer.err


def test_the_nearest_project_upwards_is_found(
    shell: Any, run: Any, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = bench.directory / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert run("find", "tasks", "--json").json == []


def test_a_wrong_setting_names_its_line(shell: Any, bench: Any) -> None:
    bench.settle("training_sets:\n  full:\n    splitt: {seed: 1}\n")
    answer = shell("status")
    assert answer.code == 2
    assert "mlipdb.yaml line 5: training_sets.full.splitt: unknown key; did you mean split?" in answer.err


def test_an_unreachable_database_is_exit_3_without_the_password(run: Any, tmp_path: Path) -> None:
    address = "mongodb://someone:s3cret@127.0.0.1:9/mlipdb?serverSelectionTimeoutMS=200&connectTimeoutMS=200"
    (tmp_path / "mlipdb.yaml").write_text(f"database: {address}\n")
    answer = run("--project", tmp_path, "status")
    assert answer.code == 3
    assert "no answer from the database" in answer.err
    assert "s3cret" not in answer.err + answer.out


def test_a_full_disk_is_one_sentence_and_exit_1() -> None:
    code = "import sys; sys.argv = ['mlipdb', '--help']\nfrom mlipdb.cli import main\nmain()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


def test_figures_into_what_is_no_folder(shell: Any, bench: Any) -> None:
    (bench.directory / "file").write_text("")
    answer = shell("plot", "rmse-n-sparse", "-o", bench.directory / "file" / "a.png")
    assert answer.code in (1, 2)
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied", "figures"),
            2,
            "figures cannot be used (Permission denied)",
        ),
        (OSError(errno.EROFS, "Read-only file system", "figures"), 2, "figures cannot be used (Read-only"),
        (OSError(errno.EIO, "Input/output error"), 1, "refused to read or write (Input/output error)"),
    ],
)
def test_what_the_system_refuses(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: OSError, code: int, words: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Path, "mkdir", refuse)
    answer = run("init", tmp_path / "p")
    assert answer.code == code
    assert words in answer.err
    assert answer.err.count("\n") == 1
