"""plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def finished(bench: Any) -> Any:
    bench.settle(bench.recipe + bench.small_fit)
    bench.add(bench.diamond)
    bench.build()
    return bench


def test_every_figure_is_written(shell: Any, finished: Any, tmp_path: Path) -> None:
    answer = shell("plot", "all", "--format", "svg")
    assert answer.code == 0
    names = sorted(path.name for path in (finished.directory / "figures").iterdir())
    assert names == ["bands-diamond.svg", "rmse-force.svg", "rmse-n-sparse.svg"]
    potential = finished.docs("potentials")[0]["potential_id"]
    target = tmp_path / "x.pdf"
    assert shell("plot", "bands", "diamond", "--potential", potential, "-o", target).out == f"{target}\n"
    assert target.read_bytes().startswith(b"%PDF")


def test_figures_of_nothing(shell: Any, finished: Any, tmp_path: Path) -> None:
    assert shell("plot", "bands", "graphite").code == 2
    answer = shell("plot", "rmse-n-sparse", "--where", "n_sparse>1000", "-o", tmp_path / "a.png")
    assert answer.code == 1
    assert not (tmp_path / "a.png").exists()
    assert shell("plot", "bands", "diamond", "-o", tmp_path / "a.docx").code == 2
