"""Leases: one run of a builder at a time, and none lost to a crash."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic
from uuid import uuid4

from mlipdb.errors import LockedError
from mlipdb.schemas.build_run import BuildLock
from mlipdb.schemas.common import utc_now
from mlipdb.stores import Database

__all__ = ["LEASE_SECONDS", "Held", "lease"]

#: A lease not renewed for this long may be taken over.
LEASE_SECONDS = 60.0


class Held:
    """A lease while it is held.

    Parameters
    ----------
    database
        Where the lease is kept.
    lock
        Its entry.
    seconds
        How long it lasts without renewal.

    Attributes
    ----------
    lock
        The entry, with owner, builder, pid and host.
    lost
        Set once somebody else is known to have taken the lease over.
    """

    def __init__(self, database: Database, lock: BuildLock, seconds: float) -> None:
        self.lock = lock
        self.lost = threading.Event()
        self._database = database
        self._seconds = seconds
        self._renewed = monotonic()

    @property
    def owner(self) -> str:
        """Unique to this run."""
        return self.lock.owner

    @property
    def builder(self) -> str:
        """What is being built."""
        return self.lock.builder

    @property
    def pid(self) -> int:
        """The process that holds it."""
        return self.lock.pid

    @property
    def host(self) -> str:
        """The host of that process."""
        return self.lock.host

    def check(self) -> None:
        """Make sure that the lease still is this run's; to be called before each write.

        Asks the database only where the renewal is late: by then somebody may have taken it over.

        Raises
        ------
        LockedError
            If somebody else has it.
        """
        if not self.lost.is_set() and monotonic() - self._renewed > self._seconds:
            self.renew()
        if self.lost.is_set():
            raise LockedError(f"the lease on {self.builder} was taken over by {self._successor()}; this run stops")

    def renew(self) -> None:
        """Put off the end of the lease, or find that it is lost."""
        asked = monotonic()
        result = self._database.locks.update_one(
            {"_id": self.builder, "owner": self.owner},
            {"$set": {"expires": utc_now() + timedelta(seconds=self._seconds)}},
        )
        if result.matched_count == 0:
            self.lost.set()
        else:
            self._renewed = asked

    def _successor(self) -> str:
        entry = self._database.locks.find_one({"_id": self.builder})
        if entry is None:
            return "somebody who has ended since"
        return f"process {entry.get('pid')} on {entry.get('host')}"


@contextmanager
def lease(database: Database, builder: str, seconds: float = LEASE_SECONDS) -> Iterator[Held]:
    """Hold the lease on a builder, renewing it in the background.

    One atomic operation decides between two that ask at once.  A lease whose process is gone from
    this machine is taken over at once, one of another machine when it expires.  A run that slept
    through that end (a laptop that was closed, a network that was away) is told by `Held.check`.

    Yields
    ------
    Held
        The lease.

    Raises
    ------
    LockedError
        If somebody else holds it; the message says who.
    """
    lock = _acquire(database, builder, seconds)
    held = Held(database, lock, seconds)
    stop = threading.Event()
    renewer = threading.Thread(target=_renew, args=(held, seconds, stop), daemon=True, name="lease")
    renewer.start()
    try:
        yield held
    finally:
        stop.set()
        renewer.join(timeout=seconds)
        database.locks.delete_one({"_id": builder, "owner": lock.owner})


def _acquire(database: Database, builder: str, seconds: float) -> BuildLock:
    from pymongo.errors import DuplicateKeyError

    now = utc_now()
    lock = BuildLock(
        builder=builder,
        owner=uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        machine=_machine(),
        acquired=now,
        expires=now + timedelta(seconds=seconds),
    )
    current = database.locks.find_one({"_id": builder})
    # Whoever is dead on this machine is named in the filter, so that only one of two successors gets it.
    free: list[dict[str, object]] = [{"expires": {"$lt": now}}]
    if current is not None and _is_dead(current):
        free.append({"owner": current["owner"]})
    try:
        database.locks.find_one_and_update(
            {"_id": builder, "$or": free}, {"$set": lock.model_dump(exclude={"builder"})}, upsert=True
        )
    except DuplicateKeyError:
        held = database.locks.find_one({"_id": builder}) or {}
        raise LockedError(
            f"{builder} is being built by process {held.get('pid')} on {held.get('host')} since "
            f"{held.get('acquired'):%Y-%m-%d %H:%M:%S} UTC; wait for it to end"
            if held
            else f"{builder} is being built by somebody else; wait for it to end"
        ) from None
    return lock


def _machine() -> str | None:
    """Boot and pid namespace of this process: together with them a pid means one process.

    Containers and clones of a machine share a host name, and each counts its processes by itself.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _is_dead(current: dict[str, object]) -> bool:
    machine = _machine()
    if machine is None or current.get("machine") != machine:
        return False
    try:
        os.kill(int(str(current["pid"])), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError, ValueError, KeyError):
        return False
    return False


def _renew(held: Held, seconds: float, stop: threading.Event) -> None:
    from pymongo.errors import PyMongoError

    while not held.lost.is_set() and not stop.wait(seconds / 3):
        try:
            held.renew()
        except PyMongoError:
            continue  # tried again in a moment; the lease lasts three rounds
