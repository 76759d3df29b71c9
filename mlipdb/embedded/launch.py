"""Finding, starting and stopping the server of a data folder; standard library only.

Files of a data folder: ``mlipdb.sqlite`` (the data), ``server.lock`` (locked by
the running server, which writes its process and socket into it), ``start.lock``
(locked by the client that starts one), ``server.log`` and ``mlipdb.sock``.  Locks
are those of ``flock``, which end with their process: what a killed server leaves
behind is never taken for a running one.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

from mlipdb.embedded.greeting import ask, is_alive
from mlipdb.embedded.sockets import is_socket_of, socket_path
from mlipdb.errors import EmbeddedError

__all__ = [
    "DATABASE_FILE",
    "FORMAT_VERSION",
    "LIMITS",
    "ServerStatus",
    "check_format",
    "start",
    "status",
    "stop",
]

FORMAT_VERSION: Final = 1
"""Version of the layout of the data file, kept in SQLite's ``user_version``."""

DATABASE_FILE: Final = "mlipdb.sqlite"
LOCK_FILE: Final = "server.lock"
START_LOCK_FILE: Final = "start.lock"
LOG_FILE: Final = "server.log"

LIMITS: Final = (
    "the embedded database is for one user and up to about 100,000 documents; "
    "to move to a MongoDB server, copy the data there with `mlipdb copy` and change the address"
)

_POLL_SECONDS: Final = 0.05
_STOP_SECONDS: Final = 20.0
_SQLITE_MAGIC: Final = b"SQLite format 3\x00"


@dataclass(frozen=True)
class ServerStatus:
    """What is known of the server of a data folder.

    Attributes
    ----------
    running
        A server answers.
    pid
        Its process, None when there is none.
    socket
        Where it listens, None when there is none.
    size
        Bytes of the data file and its log.
    documents
        Number of all documents.
    format_version
        Version of the data format of the file, 0 when there is no file.
    limits
        What the embedded database is meant for, and the way to a MongoDB server.
    """

    running: bool
    pid: int | None
    socket: str | None
    size: int
    documents: int
    format_version: int
    limits: str = LIMITS


def address(path: Path | str) -> str:
    """``mongodb://`` address of a unix socket."""
    return f"mongodb://{quote(str(path), safe='')}/"


def start(directory: Path, *, idle_timeout: float = 300.0, wait: float = 20.0) -> str:
    """Make sure that a server for a data folder runs.

    Parameters
    ----------
    directory
        The data folder; made when it is missing.
    idle_timeout
        Seconds without any connection after which a server that is started now
        ends by itself (at least 2).
    wait
        Seconds to wait for the server to answer.

    Returns
    -------
    str
        Address for pymongo: ``mongodb://%2F...mlipdb.sock/``.

    Raises
    ------
    EmbeddedError
        The data were written by a newer version, or no server answers in time.

    Notes
    -----
    A server that still serves the folder under the name it had before it was moved is ended first.
    """
    directory = Path(directory).resolve()
    running = _running(directory)
    if running is not None:
        return address(running["socket"])
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(f"the data folder {directory} cannot be made: {error}") from error
    check_format(directory / DATABASE_FILE)
    deadline = time.monotonic() + wait
    # Clients that come at the same time queue here; all but the first find a running server.
    with _start_lock(directory, deadline):
        running = _running(directory)
        if running is None:
            _end_server_of_moved(directory)
            running = _launch(directory, idle_timeout, deadline)
    return address(running["socket"])


def stop(directory: Path) -> bool:
    """End the server of a data folder, after the command it is busy with.

    Returns
    -------
    bool
        Whether there was one.

    Raises
    ------
    EmbeddedError
        The server does not end within 20 seconds.
    """
    directory = Path(directory).resolve()
    deadline = time.monotonic() + _STOP_SECONDS
    stopped = False
    while _is_locked(directory):
        pid = (read_lock(directory) or {}).get("pid")
        if isinstance(pid, int) and not stopped:
            try:
                os.kill(pid, signal.SIGTERM)
                stopped = True
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline:
            raise EmbeddedError(f"the server of {directory} (process {pid}) did not end within {_STOP_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)
    return stopped


def status(directory: Path) -> ServerStatus:
    """Tell what is known of the server and the data of a folder.

    Raises
    ------
    EmbeddedError
        The data were written by a newer version, or the file is damaged.
    """
    directory = Path(directory).resolve()
    database = directory / DATABASE_FILE
    version = check_format(database)
    size = sum(path.stat().st_size for path in directory.glob(DATABASE_FILE + "*") if path.is_file())
    deadline = time.monotonic() + _STOP_SECONDS
    while True:
        running = _running(directory)
        if running is not None:
            reply = ask(running["socket"], {"mlipdbStatus": 1, "$db": "admin"}) or {}
            return ServerStatus(True, running["pid"], running["socket"], size, int(reply.get("documents", 0)), version)
        try:
            return ServerStatus(False, None, None, size, _count_documents(directory) if version else 0, version)
        except EmbeddedError as error:
            # A server that began, or was beginning, in the meantime is asked instead.
            if error.reason != "already_running" or time.monotonic() > deadline:
                raise


def check_format(path: Path) -> int:
    """Version of the data format of a file; 0 when it is not there yet.

    Raises
    ------
    EmbeddedError
        It is no data file of this kind, or of a newer version.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise EmbeddedError(f"the data file {path} cannot be read: {error}") from error
    if not header:
        return 0
    if len(header) < 100 or not header.startswith(_SQLITE_MAGIC):
        raise EmbeddedError(f"{path} is not a data file of the embedded database; it must be an SQLite file")
    version = int.from_bytes(header[60:64], "big")
    if version > FORMAT_VERSION:
        message = f"{path} has data format {version}, this version reads up to {FORMAT_VERSION}; update mlipdb"
        raise EmbeddedError(message, reason="newer_format")
    return version


def read_lock(directory: Path) -> dict[str, Any] | None:
    """Read what the server wrote into its lock file; None when that is nothing useful."""
    try:
        found = json.loads((directory / LOCK_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if isinstance(found, dict) and isinstance(found.get("pid"), int) and isinstance(found.get("socket"), str):
        return found
    return None


def lock_server(directory: Path, seconds: float) -> IO[str]:
    """Lock a data folder for a server; the lock lasts as long as the file stays open.

    Raises
    ------
    EmbeddedError
        Another server keeps it locked for that many seconds, or the file system has no locks.
    """
    file = (directory / LOCK_FILE).open("a+", encoding="utf-8")
    deadline = time.monotonic() + seconds
    while not _try_lock(file):
        # A server that is ending answers no more; it is waited for.
        if time.monotonic() > deadline or _running(directory) is not None:
            file.close()
            raise EmbeddedError(f"another server runs on {directory}; stop it first", reason="already_running")
        time.sleep(_POLL_SECONDS)
    return file


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        message = f"the file system of {file.name} has no locks ({error}); put the data folder on a local disk"
        raise EmbeddedError(message) from error
    return True


def _is_locked(directory: Path) -> bool:
    try:
        with (directory / LOCK_FILE).open("r+", encoding="utf-8") as file:
            return not _try_lock(file)
    except FileNotFoundError:
        return False


@contextmanager
def _start_lock(directory: Path, deadline: float) -> Iterator[None]:
    try:
        opened = (directory / START_LOCK_FILE).open("a+", encoding="utf-8")
    except OSError as error:
        raise EmbeddedError(f"the data folder {directory} cannot be written: {error}") from error
    with opened as file:
        while not _try_lock(file):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"another process has been starting the server of {directory} for too long")
            time.sleep(_POLL_SECONDS)
        yield


def _running(directory: Path) -> dict[str, Any] | None:
    """Process and socket of a server of this folder that answers."""
    found = read_lock(directory)
    if found is None or not is_socket_of(found["socket"], directory):
        return None
    return found if is_alive(found["socket"]) else None


def _end_server_of_moved(directory: Path) -> None:
    """End the server that holds the folder's lock and listens where the folder was before it was moved."""
    found = read_lock(directory)
    if found is None or is_socket_of(found["socket"], directory) or not _is_locked(directory):
        return
    # The number may be that of any process by now: only one that is such a server is ended.
    if _is_server(found["pid"]):
        stop(directory)


def _is_server(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return (b"mlipdb.embedded", b"serve") in pairwise(words)


def _launch(directory: Path, idle_timeout: float, deadline: float) -> dict[str, Any]:
    """Start a server process of its own session and wait until it answers."""
    socket_path(directory)
    root = str(Path(__file__).resolve().parents[2])
    environment = dict(os.environ)
    # The server must find this very package wherever its caller found it.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [environment.get("PYTHONPATH"), root]))
    # -P: files in the data folder must not be imported.
    command = [
        sys.executable,
        "-P",
        "-m",
        "mlipdb.embedded",
        "serve",
        str(directory),
        "--idle",
        str(idle_timeout),
    ]
    with (directory / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
    while time.monotonic() < deadline:
        running = _running(directory)
        if running is not None:
            # Should it end before us, this takes note of it, so that no dead process stays in the table.
            threading.Thread(target=process.wait, daemon=True).start()
            return running
        if process.poll() is not None:
            tail = _log_tail(directory)
            raise EmbeddedError(
                f"the server of {directory} ended with code {process.returncode} at once: {_last_line(tail)}; "
                f"see {LOG_FILE}",
                log_tail=tail,
            )
        time.sleep(_POLL_SECONDS)
    process.terminate()
    raise EmbeddedError(
        f"the server of {directory} did not answer in time; see {LOG_FILE}", log_tail=_log_tail(directory)
    )


def _log_tail(directory: Path) -> str:
    try:
        return (directory / LOG_FILE).read_text(encoding="utf-8", errors="replace")[-4000:]
    except OSError:
        return ""


def _last_line(text: str) -> str:
    lines = text.split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _count_documents(directory: Path) -> int:
    """Count the documents of a folder that no server runs on."""
    with lock_server(directory, 5.0):
        try:
            connection = sqlite3.connect(directory / DATABASE_FILE)
            try:
                numbers = connection.execute("SELECT id FROM collections").fetchall()
                counts = (connection.execute(f"SELECT count(*) FROM d{int(number)}") for (number,) in numbers)  # noqa: S608 - a number
                return sum(int(count.fetchone()[0]) for count in counts)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise EmbeddedError(f"the data file of {directory} cannot be read: {error}") from error
