"""The examples in the documentation run as they are printed."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from mlipdb.frameworks.base import Framework
from mlipdb.ingest.files import read_records
from mlipdb.ingest.interpret import interpret, recognise

DOCS = Path(__file__).resolve().parents[1] / "docs"


def python_blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@contextmanager
def module_of(code: str, name: str, folder: Path) -> Iterator[ModuleType]:
    """The code as a module that can be imported, since its classes are pickled."""
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules[name]


def test_the_example_of_a_framework_passes_its_own_test(tmp_path: Path) -> None:
    work = tmp_path / "fit"
    work.mkdir()
    blocks = python_blocks("adding-a-framework.md")
    assert len(blocks) == 2
    with module_of("\n".join(blocks), "mlipdb_example_framework", tmp_path) as module:
        assert isinstance(module.LennardJonesFramework(), Framework)
        module.test_lennard_jones(work)


def test_the_example_of_a_benchmark_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with module_of("\n".join(python_blocks("adding-a-benchmark.md")), "mlipdb_example_benchmark", tmp_path) as module:
        printed = capsys.readouterr().out
        assert "status='complete'" in printed
        protocol = module.LargestForceBenchmark.Protocol()
        assert module.LargestForceBenchmark().run(Calculator(), module.reference, protocol).status == "failed"


def test_records_written_from_ase_are_understood(tmp_path: Path) -> None:
    (code,) = python_blocks("raw-tasks.md")
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = EMT()
    level = {"code": "EMT", "functional": "none", "cutoff_ev": 500.0}
    with module_of(code, "mlipdb_example_records", tmp_path) as module:
        module.write_records([module.record("cu-1", atoms, **level)], tmp_path / "tasks.jsonl")
    (record,) = read_records(tmp_path / "tasks.jsonl")
    assert isinstance(record.raw, dict)
    source_format, task_id = recognise(record.raw)
    calculation = interpret(task_id, record.raw, source_format)
    assert calculation.task_id == "cu-1"
    assert calculation.energy == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(calculation.forces, atoms.get_forces(), atol=1e-12)
    np.testing.assert_allclose(calculation.stress, atoms.get_stress(), atol=1e-12)
    np.testing.assert_allclose(calculation.atoms.positions, atoms.positions, atol=1e-10)
    assert calculation.level.cutoff_ev == 500.0
