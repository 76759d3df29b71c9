"""A copy is the same to the byte, whatever numbers the documents hold."""

from __future__ import annotations

from typing import Any

import pytest

from mlipdb.copying import copy_database
from mlipdb.errors import DatabaseError
from mlipdb.stores import Database


def test_numbers_that_are_none_are_copied(database: Database, new_database: Any) -> None:
    database.replace("tasks", {"task_id": "a", "raw": {"energy": float("nan"), "forces": [float("inf"), -0.0]}})
    with new_database() as target:
        assert copy_database(database, target).copied == 1
        again = copy_database(database, target)
        assert (again.copied, again.present) == (0, 1)
        copied = target.collection("tasks").find_one({"task_id": "a"})
        assert copied is not None
        assert repr(copied["raw"]) == "{'energy': nan, 'forces': [inf, -0.0]}"


@pytest.mark.parametrize("value", [1.5, 1.0, True, float("nan")])
def test_other_content_is_refused(database: Database, new_database: Any, value: Any) -> None:
    database.replace("tasks", {"task_id": "a", "raw": {"energy": 1}})
    with new_database() as target:
        target.collection("tasks").insert_one({"task_id": "a", "raw": {"energy": value}})
        with pytest.raises(DatabaseError, match=r"tasks a is in .* already with other content"):
            copy_database(database, target)
