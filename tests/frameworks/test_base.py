from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from mlipdb import plugins
from mlipdb.errors import FrameworkError, FrameworkNotInstalledError, NotFoundError
from mlipdb.frameworks import base, framework_names, get_framework
from mlipdb.frameworks.base import Framework


def test_gap_is_found_with_or_without_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda **_: ())
    assert framework_names() == ["gap"]
    gap = get_framework("gap")
    assert gap.name == "gap"
    assert isinstance(gap, Framework)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(NotFoundError, match=r"'gpa'.*there are .*gap"):
        get_framework("gpa")


def declare(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint(name="other", value=value, group=base.ENTRY_POINT_GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda **_: (point,))


def test_plug_in_is_listed_and_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, "mlipdb.frameworks.gap:GAP")
    assert framework_names() == ["gap", "other"]
    assert get_framework("other").name == "gap"


def test_plug_in_with_a_missing_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, "no_such_package_here:Thing")
    with pytest.raises(FrameworkNotInstalledError, match="no_such_package_here"):
        get_framework("other")


def test_plug_in_that_is_no_framework_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    declare(monkeypatch, "collections:OrderedDict")
    with pytest.raises(FrameworkError, match="lacks name") as caught:
        get_framework("other")
    assert caught.value.reason == "not_a_framework"


@pytest.mark.parametrize(
    "module", ["mlipdb.frameworks", "mlipdb.frameworks.gap", "mlipdb.physics.frames", "mlipdb.physics.extxyz"]
)
def test_import_is_cheap(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{'ase', 'quippy', 'scipy', 'pymatgen'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_frameworks_package_does_not_import_gap() -> None:
    code = "import sys, mlipdb.frameworks; print([m for m in sys.modules if 'gap' in m or m == 'pydantic'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_built_in_table_is_what_pyproject_declares() -> None:
    import tomllib
    from pathlib import Path

    project: dict[str, Any] = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["entry-points"][base.ENTRY_POINT_GROUP] == base._BUILT_IN
