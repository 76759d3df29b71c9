"""A database for every test, a project on it, and the shipped silicon tasks."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import settings as hypothesis_settings

from mlipdb import embedded
from mlipdb.client import MlipDB
from mlipdb.data import SILICON_TASKS
from mlipdb.settings import Project, load_project
from mlipdb.stores import Database

Raw = dict[str, Any]
WriteLines = Callable[[str, Iterable[Any]], Path]
NewDatabase = Callable[[], AbstractContextManager[Database]]

os.environ["OMP_NUM_THREADS"] = "1"
# Services of the tests are on this machine: no proxy of the outside may stand between.
for _name in ("NO_PROXY", "no_proxy"):
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), "127.0.0.1,localhost,::1")))
# The same examples in every run, and no deadline that a busy machine could miss.
# HYPOTHESIS_PROFILE=default looks further.
hypothesis_settings.register_profile("fixed", derandomize=True, deadline=None, database=None)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
# The workbench of tests/support, on the fixtures of this file.
pytest_plugins = ("workbench",)
TEST_DATABASE = pytest.StashKey[str | None]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the outside's MLIPDB_* variables out of all tests, from their collection on."""
    config.stash[TEST_DATABASE] = os.environ.get("MLIPDB_TEST_DATABASE")
    for name in [name for name in os.environ if name.upper().startswith("MLIPDB_")]:
        del os.environ[name]


@pytest.fixture(autouse=True)
def _no_variables_leak() -> Iterator[None]:
    """Fail a test that leaves variables behind for the next one."""
    yield
    assert [name for name in os.environ if name.upper().startswith("MLIPDB_")] == []


def address_in(server: str, name: str) -> str:
    """A server's address with a database's name at its end; options and login stay."""
    scheme, _, rest = server.partition("://")
    hosts, _, tail = rest.partition("/")
    old, _, options = tail.partition("?")
    if "@" in hosts and "authsource=" not in options.lower():
        options = "&".join(part for part in (options, f"authSource={old or 'admin'}") if part)
    return f"{scheme}://{hosts}/{name}" + (f"?{options}" if options else "")


@pytest.fixture(scope="session")
def database_server(pytestconfig: pytest.Config) -> Iterator[str]:
    """Address of the server all tests share: MLIPDB_TEST_DATABASE, else an embedded one."""
    given = pytestconfig.stash[TEST_DATABASE]
    if given is not None:
        with Database(given) as reached:
            reached.ping()
        yield given
        return
    # pytest's own temporary folders have long names; a short one keeps the socket inside.
    folder = Path(tempfile.mkdtemp(prefix="mdb"))
    address = embedded.start(folder / "data", idle_timeout=60.0)
    with Database(address) as kept_awake:
        kept_awake.ping()
        yield address
    embedded.stop(folder / "data")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def new_database(database_server: str) -> Iterator[NewDatabase]:
    """Contexts with an empty database, which nobody else has meanwhile; dropped in the end.

    To make some forty indexes takes longer than most tests, so a database is emptied and used again.
    """
    made: list[str] = []
    free: list[str] = []

    @contextmanager
    def fresh() -> Iterator[Database]:
        if not free:
            made.append(f"test-{uuid4().hex[:16]}")
            free.append(made[-1])
        name = free.pop()
        address = address_in(database_server, name)
        with Database(address) as opened:
            opened.ensure_indexes()
            yield opened
        with Database(address) as again:
            for collection in again.db.list_collection_names():
                again.db[collection].delete_many({})
        free.append(name)

    yield fresh
    with Database(database_server) as last:
        for name in made:
            last.client.drop_database(name)


@pytest.fixture
def database(new_database: NewDatabase) -> Iterator[Database]:
    """An empty database with its indexes."""
    with new_database() as opened:
        yield opened


@pytest.fixture
def project(database: Database, tmp_path: Path) -> Project:
    """A project whose mlipdb.yaml names `database`."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "mlipdb.yaml").write_text(f"database: {json.dumps(database._address)}\n", encoding="utf-8")
    return load_project(folder)


@pytest.fixture
def client(database: Database) -> MlipDB:
    """A client on `database`, which closes it."""
    return MlipDB.of(database)


@pytest.fixture(scope="session")
def silicon_lines() -> list[str]:
    """The shipped tasks as they stand in their file."""
    with gzip.open(SILICON_TASKS, "rt", encoding="utf-8") as stream:
        return list(stream)


@pytest.fixture(scope="session")
def silicon_pickle(silicon_lines: list[str]) -> bytes:
    """The shipped tasks, ready to be copied fast."""
    return pickle.dumps([json.loads(line) for line in silicon_lines])


@pytest.fixture
def silicon_records(silicon_pickle: bytes) -> list[Raw]:
    """The shipped tasks, fresh for every test to change."""
    records: list[Raw] = pickle.loads(silicon_pickle)
    return records


@pytest.fixture
def silicon(silicon_records: list[Raw]) -> dict[str, Raw]:
    """The shipped tasks by their id, fresh for every test to change."""
    return {record["task_id"]: record for record in silicon_records}


@pytest.fixture
def write_jsonl(tmp_path: Path) -> WriteLines:
    """Write a JSON-lines file: text as it is, anything else as JSON; gzipped where the name ends in .gz."""

    def write(name: str, items: Iterable[Any]) -> Path:
        text = "".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in items)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode("utf-8", "surrogatepass")
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write
