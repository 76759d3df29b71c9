from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import lease_holder
import pytest
from pymongo.errors import AutoReconnect

import mlipdb
from mlipdb.errors import LockedError
from mlipdb.locks import _machine, lease
from mlipdb.schemas.common import utc_now
from mlipdb.stores import Database

Start = Callable[[], "subprocess.Popen[str]"]


@pytest.fixture
def start(database: Database) -> Iterator[Start]:
    """Start processes that wait to ask for the lease on `phonons`."""
    started: list[subprocess.Popen[str]] = []
    environment = {**os.environ, "PYTHONPATH": str(Path(mlipdb.__file__).parents[1])}

    def one() -> subprocess.Popen[str]:
        command = [sys.executable, lease_holder.__file__, database._address, "phonons"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        assert answer(process) == "ready"
        return process

    yield one
    for process in started:
        process.kill()
        process.communicate()


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def held(database: Database) -> dict[str, Any] | None:
    return database.locks.find_one({"_id": "phonons"})


def test_held_and_given_back(database: Database) -> None:
    with lease(database, "phonons") as lock:
        entry = held(database)
        assert entry is not None
        assert (entry["owner"], entry["pid"]) == (lock.owner, os.getpid())
        assert entry["expires"] > utc_now()
    assert held(database) is None


def test_given_back_after_an_error(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), lease(database, "phonons"):
        raise ZeroDivisionError
    assert held(database) is None


def test_a_second_one_is_told_who_holds_it(database: Database) -> None:
    told = f"phonons is being built by process {os.getpid()} on .* UTC; wait"
    with lease(database, "phonons"):
        with pytest.raises(LockedError, match=told), lease(database, "phonons"):
            pytest.fail("two held it")
        assert held(database) is not None
        with lease(database, "materials"):
            pass


def test_of_many_threads_exactly_one_wins(database: Database) -> None:
    barrier, over = threading.Barrier(12), threading.Event()
    lost = threading.Semaphore(0)

    def ask(_: int) -> bool:
        barrier.wait()
        try:
            with lease(database, "phonons"):
                over.wait(30)
                return True
        except LockedError:
            lost.release()
            return False

    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask, number) for number in range(12)]
        assert all(lost.acquire(timeout=30) for _ in range(11))
        over.set()
        assert [future.result() for future in asked].count(True) == 1


def test_of_several_processes_exactly_one_wins(start: Start) -> None:
    processes = [start() for _ in range(3)]
    for process in processes:
        tell(process)
    assert sorted(answer(process) for process in processes) == ["held", "locked", "locked"]


def test_a_dead_holder_of_this_host_is_followed_at_once(database: Database, start: Start) -> None:
    process = start()
    tell(process)
    assert answer(process) == "held"
    with pytest.raises(LockedError), lease(database, "phonons"):
        pytest.fail("the holder lives")
    process.kill()
    process.wait()
    entry = held(database)
    assert entry is not None
    assert entry["expires"] > utc_now()
    with lease(database, "phonons") as lock:
        assert lock.pid == os.getpid()


def plant(database: Database, **changes: Any) -> None:
    now = utc_now()
    entry = {"_id": "phonons", "owner": "x", "host": "elsewhere", "pid": 1, "acquired": now}
    database.locks.insert_one({**entry, "expires": now + timedelta(seconds=60), **changes})


def test_of_two_successors_of_a_dead_holder_exactly_one_wins(database: Database) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    plant(database, host=socket.gethostname(), pid=process.pid, machine=_machine())
    barrier, over, lost = threading.Barrier(6), threading.Event(), threading.Semaphore(0)

    def ask(_: int) -> bool:
        barrier.wait()
        try:
            with lease(database, "phonons"):
                return over.wait(30)
        except LockedError:
            lost.release()
            return False

    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, number) for number in range(6)]
        assert all(lost.acquire(timeout=30) for _ in range(5))
        over.set()
        assert [future.result() for future in asked].count(True) == 1


def test_a_holder_elsewhere_is_followed_when_it_has_expired(database: Database) -> None:
    plant(database, expires=utc_now() - timedelta(seconds=1))
    with lease(database, "phonons") as lock:
        entry = held(database)
        assert entry is not None
        assert entry["owner"] == lock.owner


def test_a_holder_elsewhere_is_believed_until_then(database: Database) -> None:
    plant(database, pid=999_999_999)
    with pytest.raises(LockedError, match="on elsewhere"), lease(database, "phonons"):
        pytest.fail("it has not expired")


def test_a_lease_is_renewed(database: Database) -> None:
    with lease(database, "phonons", seconds=0.3):
        first = held(database)
        assert first is not None
        deadline = time.monotonic() + 30
        while (now := held(database)) is not None and now["expires"] == first["expires"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert now is not None
        assert now["expires"] > first["expires"]


def test_a_lost_renewal_is_tried_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    locks = database.locks
    update = type(locks).update_one

    def flaky(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            raise AutoReconnect("the network is away for a moment")
        return update(self, *args, **options)

    monkeypatch.setattr(type(locks), "update_one", flaky)
    with lease(database, "phonons", seconds=0.3):
        deadline = time.monotonic() + 30
        while len(calls) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_what_somebody_else_took_over_is_not_given_back(database: Database) -> None:
    with lease(database, "phonons"):
        database.locks.update_one({"_id": "phonons"}, {"$set": {"owner": "another"}})
    entry = held(database)
    assert entry is not None
    assert entry["owner"] == "another"


def test_a_namesake_of_this_host_is_not_taken_for_it(database: Database) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    plant(database, host=socket.gethostname(), pid=process.pid, machine="another boot pid:[1]")
    with pytest.raises(LockedError), lease(database, "phonons"):
        pytest.fail("a process of another machine was taken for a dead one")


def test_a_lease_taken_over_is_noticed(database: Database) -> None:
    with lease(database, "phonons", seconds=0.3) as held_here:
        held_here.check()
        change = {"owner": "another", "pid": 77, "host": "elsewhere"}
        database.locks.update_one({"_id": "phonons"}, {"$set": change})
        assert held_here.lost.wait(30)
        with pytest.raises(LockedError, match="phonons was taken over by process 77 on elsewhere; this run stops"):
            held_here.check()
        assert held_here.lock.owner == held_here.owner != "another"
