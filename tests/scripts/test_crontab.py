"""The example for cron is a valid table, and its command does what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

from mlipdb import embedded

ROOT = Path(__file__).resolve().parents[2]
FIELD = re.compile(r"(\*|\d+(-\d+)?)(/\d+)?(,(\*|\d+(-\d+)?)(/\d+)?)*")


def entries() -> list[tuple[list[str], str]]:
    """Times and command of each line that is no comment and no variable."""
    found = []
    for line in (ROOT / "scripts" / "crontab.example").read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#") and not re.match(r"^\w+=", line):
            *times, command = line.split(maxsplit=5)
            found.append((times, command))
    return found


def test_there_is_one_entry_every_five_minutes() -> None:
    ((times, command),) = entries()
    assert times == ["*/5", "*", "*", "*", "*"]
    assert all(FIELD.fullmatch(time) for time in times)
    # cron reads % as the end of the line.
    assert "%" not in command


def test_its_command_builds_and_writes_the_log(tmp_path: Path) -> None:
    ((_, command),) = entries()
    program = tmp_path / "mlipdb" / ".venv" / "bin" / "mlipdb"
    program.parent.mkdir(parents=True)
    code = "from mlipdb.cli import main; main()"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{code}" "$@"\n')
    program.chmod(0o755)
    project = tmp_path / "potentials"
    project.mkdir()
    (project / "mlipdb.yaml").write_text("database: embedded\n")
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(["/bin/sh", "-c", command], env=environment, check=False, timeout=120)
    finally:
        embedded.stop(project / ".mlipdb")
    assert done.returncode == 0
    assert "nothing to do" in (project / "build.log").read_text(encoding="utf-8")
