"""The server process: sockets, threads, and the end when nobody is there any more."""

from __future__ import annotations

import contextlib
import json
import logging
import logging.handlers
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import IO, Any, Final

from mlipdb.embedded.engine import Engine
from mlipdb.embedded.launch import DATABASE_FILE, LIMITS, LOCK_FILE, LOG_FILE, check_format, lock_server
from mlipdb.embedded.sockets import socket_path
from mlipdb.embedded.wire import Message, WireError, read_message, reply_bytes

__all__ = ["GRACE_SECONDS", "Server", "serve"]

GRACE_SECONDS: Final = 2.0
"""Least time between the last connection and the end: who was just given the address still finds somebody."""

_LOCK_SECONDS: Final = 10.0
_WAKE_SECONDS: Final = 0.25
_TICK_SECONDS: Final = 60.0
_BACKLOG: Final = 128
_LOG_BYTES: Final = 1_000_000

_log = logging.getLogger("mlipdb.embedded")


class Server:
    """Answers connections until nobody has been connected for a while.

    Parameters
    ----------
    directory
        Data folder.
    idle
        Seconds without a connection after which to end.
    port
        Listen on this port of the loopback device instead of the unix socket;
        0 takes a free one.
    """

    def __init__(self, directory: Path, idle: float, port: int | None = None) -> None:
        self.directory = directory
        self._idle = max(idle, GRACE_SECONDS)
        self._lock_file: IO[str] = lock_server(directory, _LOCK_SECONDS)
        check_format(directory / DATABASE_FILE)
        self.engine = Engine(directory)
        self._path: Path | None = None
        self._socket_inode = 0
        self._listener = self._listen(port)
        self._connections: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._last_use = time.monotonic()
        self._stopping = threading.Event()
        self._announce()

    def _listen(self, port: int | None) -> socket.socket:
        if port is not None:
            listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
            self.place = f"127.0.0.1:{listener.getsockname()[1]}"
        else:
            self._path = socket_path(self.directory)
            # Whatever lies there is stale: the lock is ours.
            self._path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            previous = os.umask(0o177)
            try:
                listener.bind(str(self._path))
            finally:
                os.umask(previous)
            listener.listen(_BACKLOG)
            self._socket_inode = self._path.stat().st_ino
            self.place = str(self._path)
        listener.settimeout(_WAKE_SECONDS)
        return listener

    def _announce(self) -> None:
        self._lock_file.seek(0)
        self._lock_file.truncate()
        json.dump({"pid": os.getpid(), "socket": self.place}, self._lock_file)
        self._lock_file.flush()
        _log.info("listening at %s; %s", self.place, LIMITS)

    def stop(self, *_: Any) -> None:
        """End soon; also the handler of signals."""
        self._stopping.set()

    def run(self) -> None:
        """Serve until there is nothing left to do."""
        next_tick = time.monotonic() + _TICK_SECONDS
        while not self._stopping.is_set():
            self._accept()
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + _TICK_SECONDS
                self._tick()
            if self._is_idle(now) and self._leave():
                break
        self._finish()

    def _accept(self) -> bool:
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            return False
        except BlockingIOError:
            return False
        except OSError as error:
            # Out of file descriptors, for example: it may get better.
            _log.warning("no connection could be accepted: %s", error)
            time.sleep(_WAKE_SECONDS)
            return False
        connection.settimeout(None)
        with self._guard:
            self._connections.add(connection)
        threading.Thread(target=self._converse, args=(connection,), daemon=True).start()
        return True

    def _is_idle(self, now: float) -> bool:
        with self._guard:
            return not self._connections and now - self._last_use > self._idle

    def _leave(self) -> bool:
        """Take the socket out of the way, and look whether somebody came in that moment."""
        if self._path is None or not self._owns_socket():
            return True
        hidden = self._path.with_name(self._path.name + ".ending")
        try:
            self._path.rename(hidden)
        except OSError:
            return True
        # Who has connected before the rename waits in the queue of the listener.
        self._listener.settimeout(0.0)
        came = self._accept()
        self._listener.settimeout(_WAKE_SECONDS)
        if came:
            hidden.rename(self._path)
            return False
        hidden.unlink(missing_ok=True)
        self._path = None
        _log.info("nobody has been connected for %.0f s", self._idle)
        return True

    def _owns_socket(self) -> bool:
        """Whether the socket at our path is ours.

        Where somebody removed the data folder and made it anew, the one there belongs to the next
        server, and taking it away would leave that one running where nobody reaches it.
        """
        if self._path is None:
            return False
        try:
            return self._path.stat().st_ino == self._socket_inode
        except OSError:
            return False

    def _tick(self) -> None:
        try:
            self.engine.tick()
            mine, there = os.fstat(self._lock_file.fileno()), (self.directory / LOCK_FILE).stat()
            if (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino):
                raise FileNotFoundError(LOCK_FILE)
        except FileNotFoundError:
            _log.warning("the data folder is gone")
            self._stopping.set()
        except Exception:  # noqa: BLE001 - the next round may go well, and clients are being served
            _log.exception("the regular work failed")

    def _finish(self) -> None:
        self._listener.close()
        if self._path is not None and self._owns_socket():
            self._path.unlink(missing_ok=True)
        # Waits for the command that runs, and holds all later ones off.
        self.engine.close()
        with self._guard:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        _log.info("ended")
        self._lock_file.seek(0)
        self._lock_file.truncate()
        self._lock_file.close()

    def _converse(self, connection: socket.socket) -> None:
        try:
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while (message := read_message(connection)) is not None:
                self._answer(connection, message)
        except WireError as error:
            _log.warning("a connection was closed: %s", error)
        except (OSError, ValueError) as error:
            _log.debug("a connection broke: %s", error)
        except Exception:  # noqa: BLE001 - other connections go on
            _log.exception("a connection was closed after an error of the server")
        finally:
            connection.close()
            with self._guard:
                self._connections.discard(connection)
                self._last_use = time.monotonic()

    def _answer(self, connection: socket.socket, message: Message) -> None:
        reply = self.engine.execute(message)
        if message.wants_reply:
            connection.sendall(reply_bytes(message, reply))


def _configure_log(directory: Path) -> None:
    handler = logging.handlers.RotatingFileHandler(
        directory / LOG_FILE, maxBytes=_LOG_BYTES, backupCount=1, encoding="utf-8"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)


def serve(directory: Path, idle: float, port: int | None = None) -> None:
    """Run the server of a data folder in this process until it ends.

    Raises
    ------
    EmbeddedError
        Another server runs there, or the data cannot be used.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _configure_log(directory)
    server = Server(directory, idle, port)
    signal.signal(signal.SIGTERM, server.stop)
    signal.signal(signal.SIGINT, server.stop)
    server.run()
