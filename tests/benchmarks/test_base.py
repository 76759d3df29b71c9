"""Benchmarks are found by name, and nothing is imported before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlipdb.benchmarks import Benchmark, benchmark_names, get_benchmark
from mlipdb.errors import NotFoundError


def test_the_built_in_benchmark() -> None:
    assert "phonons" in benchmark_names()
    benchmark = get_benchmark("phonons")
    assert isinstance(benchmark, Benchmark)
    assert benchmark.name == "phonons"
    assert benchmark.Protocol().model_dump()["displacement_distance"] == 0.01


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NotFoundError) as caught:
        get_benchmark("melting")
    assert "phonons" in caught.value.message


def test_the_registry_is_cheap() -> None:
    code = (
        "import sys, mlipdb.benchmarks as b; b.benchmark_names(); "
        "sys.exit(len({'phonopy', 'spglib', 'ase', 'numpy', 'pydantic', 'pymatgen'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_physics_imports_no_heavy_package() -> None:
    code = (
        "import sys, mlipdb.benchmarks.phonons; "
        "sys.exit(len({'phonopy', 'spglib', 'seekpath', 'pymatgen'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
