"""A server per session over a unix socket, and helpers for whole commands without one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from pymongo.collection import Collection

from mlipdb.embedded import start, stop
from mlipdb.embedded.engine import Engine
from mlipdb.embedded.wire import Message

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def server_address() -> Iterator[str]:
    # pytest's own temporary folders have long names; a short one keeps the socket inside.
    directory = Path(tempfile.mkdtemp(prefix="emb"))
    yield start(directory / "data", idle_timeout=60.0)
    stop(directory / "data")
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def client(server_address: str) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](server_address, serverSelectionTimeoutMS=10_000) as connected:
        yield connected


@pytest.fixture
def collection(
    client: pymongo.MongoClient[dict[str, Any]], request: pytest.FixtureRequest
) -> Collection[dict[str, Any]]:
    found = client["tests"][request.node.name]
    found.drop()
    return found


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    built = Engine(tmp_path)
    yield built
    built.close()


@pytest.fixture
def run(engine: Engine) -> Run:
    """Carry out a command in the test's own process."""

    def execute(**command: Any) -> dict[str, Any]:
        return engine.execute(Message(1, {**command, "$db": command.get("db", "tests")}))

    return execute
