"""The shared checks of MongoDB's semantics, and of maggma, FireWorks and jobflow, over a loopback port."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipdb.embedded.greeting import is_alive
from mlipdb.embedded.launch import read_lock

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT.parent / "shared" / "tools"

# Each is an error of the server, never a wrong answer; docs/embedded.md says which.
REFUSED = {
    "cursor/collation_ci",
    "agg/a_bucketauto",
    "agg/a_collstats_indexstats",
    "agg/a_densify",
    "index/idx_text_search",
    "admin/capped",
    "admin/views",
    "session/txn_commit",
    "session/txn_abort",
    "session/txn_isolation",
    "session/txn_other_client_write_survives_abort",
    "session/change_stream",
}


@pytest.fixture(scope="module")
def port_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not TOOLS.is_dir():
        pytest.skip("the shared checks are not there: no folder ../shared/tools beside the repository")
    directory = tmp_path_factory.mktemp("conformance")
    command = [
        sys.executable,
        "-m",
        "mlipdb.embedded",
        "serve",
        str(directory),
        "--port",
        "0",
        "--idle",
        "120",
    ]
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            while (found := read_lock(directory)) is None or not is_alive(found["socket"]):
                assert process.poll() is None, (directory / "server.log").read_text()
            yield f"mongodb://{found['socket']}/"
        finally:
            process.terminate()


def test_all_that_is_not_refused_conforms(port_address: str, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    command = [sys.executable, str(TOOLS / "mongo_conformance.py"), port_address, str(out)]
    subprocess.run(command, check=True, capture_output=True, timeout=300, cwd=tmp_path)
    results = json.loads(out.read_text())["res"]
    passed = [one for one in results if one["status"] == "PASS"]
    others = {f"{one['group']}/{one['name']}": one for one in results if one["status"] != "PASS"}
    assert len(passed) >= 295
    assert {name: one["msg"] for name, one in others.items() if name not in REFUSED} == {}
    # A refusal is an error; a failed comparison would be a wrong answer.
    assert {one["status"] for one in others.values()} <= {"ERROR"}


def test_refusals_are_documented() -> None:
    text = (ROOT / "docs" / "embedded.md").read_text(encoding="utf-8")
    assert {name for name in REFUSED if f"`{name}`" not in text} == set()


def test_maggma_fireworks_and_jobflow_work(port_address: str, tmp_path: Path) -> None:
    pytest.importorskip("fireworks")
    pytest.importorskip("jobflow")
    command = [sys.executable, str(TOOLS / "mongo_integration.py"), port_address]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=300, cwd=tmp_path, env=environment
    )
    assert [line for line in done.stdout.splitlines() if line.startswith("FAIL")] == []
    assert "passed 19 of 19" in done.stdout
