"""The pages made from the documents' models are what the script writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from mlipdb.stores import COLLECTIONS

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/export_schemas.py", "--check"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_collection_has_a_schema_with_its_key() -> None:
    for name, item in COLLECTIONS.items():
        schema = json.loads((ROOT / "docs" / "schemas" / f"{name}.json").read_text(encoding="utf-8"))
        assert item.key in schema["properties"]
        assert schema["additionalProperties"] is False
