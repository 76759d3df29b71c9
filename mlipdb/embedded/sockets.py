"""Where the socket of a data folder lies."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from mlipdb.errors import EmbeddedError

__all__ = ["SOCKET_NAME", "file_system", "is_socket_of", "socket_path"]

SOCKET_NAME: Final = "mlipdb.sock"
MAX_PATH_BYTES: Final = 100
"""A unix socket's address holds 108 bytes on Linux and 104 elsewhere."""

_NETWORK: Final = {
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "glusterfs", "gpfs",
    "lustre", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "smb3", "smbfs", "vboxsf", "wekafs",
}  # fmt: skip


def file_system(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Type of the file system a path lies on, ``"unknown"`` where the system does not tell.

    Parameters
    ----------
    path
        Absolute path.
    mounts
        Table of mounts in the form of Linux.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    best, found = -1, "unknown"
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        inside = point == "/" or str(path) == point or str(path).startswith(point.rstrip("/") + "/")
        # Of mounts on the same place the later one lies on top.
        if inside and len(point) >= best:
            best, found = len(point), fields[2]
    return found


def socket_path(directory: Path, mounts: Path = Path("/proc/mounts")) -> Path:
    """Path of the socket of a data folder.

    In the folder itself; in the user's runtime folder where that path would be
    too long or a network file system cannot carry a socket.

    Raises
    ------
    EmbeddedError
        The runtime folder is not the user's own.
    """
    inside = directory / SOCKET_NAME
    if len(os.fsencode(inside)) <= MAX_PATH_BYTES and file_system(directory, mounts) not in _NETWORK:
        return inside
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime) if runtime and Path(runtime).is_dir() and len(runtime) < 50 else Path(tempfile.gettempdir())
    folder = base / _runtime_name(directory)
    _private_folder(folder)
    path = folder / SOCKET_NAME
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise EmbeddedError(f"the socket path {path} is too long; set XDG_RUNTIME_DIR to a short folder of your own")
    return path


def is_socket_of(place: str, directory: Path) -> bool:
    """Whether a place written in a lock file is one for this data folder.

    The lock file of a folder that was copied or moved names the socket of where the folder came
    from, and another database may be served there by now.

    Parameters
    ----------
    place
        Path of a socket, or ``host:port``, which goes with any folder.
    directory
        The data folder.
    """
    if not place.startswith("/"):
        return True
    parent = Path(place).parent
    # The base of the runtime folder may differ between two sessions of a user.
    if parent.name == _runtime_name(directory):
        return True
    try:
        return parent.samefile(directory)
    except OSError:
        return False


def _runtime_name(directory: Path) -> str:
    return f"mlipdb-{os.getuid()}-{hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]}"


def _private_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise EmbeddedError(f"the folder {folder} for the socket cannot be made: {error}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise EmbeddedError(f"{folder} must be a folder that only you can enter; remove it and try again")
