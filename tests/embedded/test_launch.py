"""Starting, finding, ending: one server per folder, whoever comes first and however the last one died."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from mlipdb.embedded import launch, start, status, stop
from mlipdb.embedded.sockets import file_system, socket_path
from mlipdb.errors import EmbeddedError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="emb"))
    directory = base / "data"
    yield directory
    if directory.exists():
        stop(directory)
    shutil.rmtree(base, ignore_errors=True)


def connect(address: str) -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(address, serverSelectionTimeoutMS=10_000)


def wait_for(condition: Any, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the awaited state did not come"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def pid_of(directory: Path) -> int:
    found = status(directory).pid
    assert found is not None
    return found


def test_start_status_stop(folder: Path) -> None:
    address = start(folder, idle_timeout=30)
    assert address == launch.address(folder.resolve() / "mlipdb.sock")
    with connect(address) as client:
        client["d"]["c"].insert_many([{"x": n} for n in range(3)])
    assert start(folder) == address
    found = status(folder)
    assert found.running
    assert found.documents == 3
    assert found.format_version == launch.FORMAT_VERSION
    assert found.size > 0
    assert "mlipdb copy" in found.limits
    assert "100,000 documents" in (folder / "server.log").read_text()
    assert stop(folder)
    assert not stop(folder)
    after = status(folder)
    assert (after.running, after.pid, after.documents) == (False, None, 3)
    assert not (folder / "mlipdb.sock").exists()


def test_status_of_nothing(tmp_path: Path) -> None:
    found = status(tmp_path / "none")
    assert (found.running, found.documents, found.size, found.format_version) == (False, 0, 0, 0)
    assert not stop(tmp_path / "none")


def test_the_api_imports_neither_pymongo_nor_mongomock() -> None:
    code = "import sys, mlipdb.embedded; print(sorted({'pymongo', 'bson', 'mongomock_ng'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


CLIENT = """
import sys, pymongo
from pathlib import Path
from mlipdb.embedded import start, status
address = start(Path(sys.argv[1]), idle_timeout=30)
with pymongo.MongoClient(address, serverSelectionTimeoutMS=10000) as client:
    client["d"]["c"].insert_one({"_id": int(sys.argv[2])})
    print(status(Path(sys.argv[1])).pid)
"""


def test_first_clients_at_once_get_one_server(folder: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(folder), str(n)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for n in range(4)
    ]
    answers = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert len(set(answers)) == 1
    assert status(folder).documents == 4


def test_idle_server_ends_and_the_next_client_gets_a_new_one(folder: Path) -> None:
    address = start(folder, idle_timeout=0.0)
    first = pid_of(folder)
    with connect(address) as client:
        client["d"]["c"].insert_one({"_id": 1})
        # An open connection keeps the server, however long nothing is asked.
        time.sleep(3.0)
        assert client["d"]["c"].count_documents({}) == 1
        assert pid_of(folder) == first
    # Asking the server would keep it.
    wait_for(lambda: not (folder / "mlipdb.sock").exists())
    with connect(start(folder, idle_timeout=30)) as client:
        assert client["d"]["c"].count_documents({}) == 1
    assert pid_of(folder) != first


def test_a_folder_made_anew_is_not_harmed_by_the_end_of_its_first_server(folder: Path) -> None:
    start(folder, idle_timeout=0.0)
    first = pid_of(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    with connect(start(folder, idle_timeout=30)) as client:
        client["d"]["c"].insert_one({"_id": 1})
    assert pid_of(folder) != first
    wait_for(lambda: not runs(first))
    with connect(start(folder, idle_timeout=30)) as client:
        assert client["d"]["c"].count_documents({}) == 1


def test_clients_that_come_and_go_around_the_end_lose_nothing(folder: Path) -> None:
    written = 0
    pids = set()
    for pause in (2.05, 2.2, 2.35):
        with connect(start(folder, idle_timeout=0.0)) as client:
            client["d"]["c"].insert_one({"_id": written})
            written += 1
            pids.add(pid_of(folder))
        time.sleep(pause)
    with connect(start(folder, idle_timeout=0.0)) as client:
        assert client["d"]["c"].count_documents({}) == written
    assert len(pids) > 1


def test_killed_server_leaves_nothing_in_the_way(folder: Path) -> None:
    address = start(folder, idle_timeout=30)
    first = pid_of(folder)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not status(folder).running)
    assert (folder / "mlipdb.sock").exists()
    assert json.loads((folder / "server.lock").read_text())["pid"] == first
    assert start(folder, idle_timeout=30) == address
    assert pid_of(folder) != first


def test_lock_file_of_another_process_is_not_believed(folder: Path) -> None:
    folder.mkdir(parents=True)
    # A living process that is no server, and a socket path where nobody listens.
    (folder / "server.lock").write_text(json.dumps({"pid": os.getpid(), "socket": str(folder / "mlipdb.sock")}))
    (folder / "mlipdb.sock").write_text("")
    assert not status(folder).running
    assert not stop(folder)
    with connect(start(folder, idle_timeout=30)) as client:
        assert client.admin.command("ping")["ok"] == 1.0


def test_second_server_is_kept_out(folder: Path) -> None:
    start(folder, idle_timeout=30)
    with pytest.raises(EmbeddedError, match="another server runs"):
        launch.lock_server(folder, 0.1)


def test_long_path_puts_the_socket_elsewhere(folder: Path) -> None:
    deep = folder / ("x" * 60) / ("y" * 60)
    address = start(deep, idle_timeout=30)
    try:
        assert "x" * 60 not in address
        with connect(address) as client:
            client["d"]["c"].insert_one({})
        place = status(deep).socket
        assert place is not None
        assert Path(place).parent.stat().st_mode & 0o777 == 0o700
        assert len(os.fsencode(place)) <= 100
    finally:
        stop(deep)
        Path(place).parent.rmdir()


def test_network_file_system_puts_the_socket_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Path("/home/someone/project")
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda1 / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n/dev/sdb1 /home/someone/local xfs rw 0 0\n"
    )
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    assert file_system(directory, mounts) == "nfs4"
    assert file_system(Path("/home/someone/local/x"), mounts) == "xfs"
    assert file_system(Path("/homes"), mounts) == "ext4"
    found = socket_path(directory, mounts)
    assert found.name == "mlipdb.sock"
    assert not found.is_relative_to(directory)
    found.parent.rmdir()
    assert socket_path(Path("/home/someone/local/x"), mounts) == Path("/home/someone/local/x/mlipdb.sock")
    assert file_system(directory, tmp_path / "none") == "unknown"


def test_foreign_runtime_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr(tempfile, "tempdir", tempfile.mkdtemp(prefix="emb"))
    deep = tmp_path / ("x" * 100)
    chosen = socket_path(deep).parent
    chosen.rmdir()
    chosen.symlink_to(tmp_path)
    with pytest.raises(EmbeddedError, match="only you can enter"):
        socket_path(deep)
    shutil.rmtree(tempfile.gettempdir())


def test_newer_format_is_refused(folder: Path) -> None:
    start(folder, idle_timeout=30)
    stop(folder)
    with sqlite3.connect(folder / "mlipdb.sqlite") as connection:
        connection.execute(f"PRAGMA user_version={launch.FORMAT_VERSION + 1}")
    connection.close()
    for call in (start, status):
        with pytest.raises(EmbeddedError, match="update mlipdb"):
            call(folder)


def test_foreign_file_is_refused(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "mlipdb.sqlite").write_text("not a database, though long enough to be taken for one" * 3)
    with pytest.raises(EmbeddedError, match="not a data file"):
        start(folder)


def test_failure_to_start_tells_the_end_of_the_log(folder: Path) -> None:
    start(folder, idle_timeout=30)
    stop(folder)
    with (folder / "mlipdb.sqlite").open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 4000)
    with pytest.raises(EmbeddedError, match=r"ended with code .* at once: .*(database|disk)") as caught:
        start(folder)
    assert caught.value.log_tail


def test_command_line_with_a_port(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "mlipdb.embedded", "serve", str(folder), "--port", "0", "--idle", "60"],
        cwd=ROOT,
    )
    try:
        wait_for(lambda: status(folder).running)
        place = status(folder).socket
        with connect(f"mongodb://{place}/") as client:
            client["d"]["c"].insert_one({"_id": 1})
        refused = subprocess.run(
            [sys.executable, "-m", "mlipdb.embedded", "serve", str(folder)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 3
        assert "another server runs" in refused.stderr
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_server_whose_folder_is_gone_notices(tmp_path: Path) -> None:
    from mlipdb.embedded.server import Server

    server = Server(tmp_path / "d" if (tmp_path / "d").mkdir() is None else tmp_path, 30.0, 0)
    (tmp_path / "d" / "server.lock").unlink()
    server._tick()
    server.run()
    assert not status(tmp_path / "d").running


def test_a_moved_folder_gets_a_server_of_its_own(folder: Path) -> None:
    with connect(start(folder, idle_timeout=60)) as client:
        client["d"]["c"].insert_one({"_id": 1})
    first = pid_of(folder)
    moved = folder.with_name("moved")
    folder.rename(moved)
    try:
        address = start(moved, idle_timeout=60)
        assert "moved" in address
        assert not runs(first)
        with connect(address) as client:
            client["d"]["c"].insert_one({"_id": 2})
            assert sorted(document["_id"] for document in client["d"]["c"].find()) == [1, 2]
    finally:
        stop(moved)


def test_a_copied_folder_does_not_lead_to_the_server_of_the_first(folder: Path) -> None:
    start(folder, idle_timeout=60)
    first = pid_of(folder)
    copy = folder.with_name("copy")
    copy.mkdir()
    shutil.copy(folder / "server.lock", copy / "server.lock")
    try:
        assert start(copy, idle_timeout=60) != start(folder, idle_timeout=60)
        assert pid_of(folder) == first
    finally:
        stop(copy)
