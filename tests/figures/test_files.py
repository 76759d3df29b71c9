"""Saving figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlipdb.errors import UsageError
from mlipdb.figures import band_structure, phonon_rmse_against_force_rmse, save

Raw = dict[str, Any]
MAGIC = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_same_documents_give_the_same_bytes(
    suffix: str, phonons: dict[str, Raw], benchmark_of: Callable[..., Raw], tmp_path: Path
) -> None:
    def made() -> Any:
        return band_structure(phonons["diamond"], [benchmark_of(phonons["diamond"])])

    figure = made()
    first = save(figure, tmp_path / "new" / f"a{suffix}").read_bytes()
    again = save(figure, tmp_path / f"b{suffix}").read_bytes()
    other = save(made(), tmp_path / f"c{suffix}").read_bytes()
    assert first == again == other
    assert first.startswith(MAGIC[suffix])
    assert b"Date" not in first
    assert [path.name for path in (tmp_path / "new").iterdir()] == [f"a{suffix}"]


def test_scatter_figures_are_deterministic(grid: list[Raw], tmp_path: Path) -> None:
    saved = [save(phonon_rmse_against_force_rmse(grid[:24]), tmp_path / f"{n}.svg").read_bytes() for n in range(2)]
    assert saved[0] == saved[1]


def test_a_png_has_200_dots_per_inch(phonons: dict[str, Raw], tmp_path: Path) -> None:
    figure = band_structure(phonons["diamond"], [])
    data = save(figure, str(tmp_path / "a.PNG")).read_bytes()
    assert int.from_bytes(data[16:20], "big") == round(200 * figure.get_figwidth())
    assert int.from_bytes(data[20:24], "big") == round(200 * figure.get_figheight())


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.gz", ".png"])
def test_an_unknown_suffix_is_refused(name: str, phonons: dict[str, Raw], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in \.png, \.pdf, \.svg"):
        save(band_structure(phonons["diamond"], []), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written_is_refused(phonons: dict[str, Raw], tmp_path: Path) -> None:
    figure = band_structure(phonons["diamond"], [])
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "file" / "a.png", tmp_path / "folder.png"):
        with pytest.raises(UsageError, match="cannot be written"):
            save(figure, path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]
    assert (tmp_path / "file").read_text() == "kept"
