from __future__ import annotations

from typing import Any

import pytest

from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest.interpret import READERS, interpret, recognise


def test_shipped_records_are_flat(silicon: dict[str, Any]) -> None:
    assert {recognise(raw) for raw in silicon.values()} == {("flat", name) for name in silicon}


def test_a_reader_that_is_gone(silicon: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="task x: no reader 'castep' is installed"):
        interpret("x", silicon["relax-diamond"], "castep")


def test_unknown_fields_are_listed_in_order() -> None:
    with pytest.raises(IngestError, match="with the fields a, b, c, d, e, f;"):
        recognise(dict.fromkeys("gfedcba"))


def test_readers_have_names_of_their_own() -> None:
    names = [reader.NAME for reader in READERS]
    assert len(set(names)) == len(names)
