"""Figures of many potentials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from studies import make_study

from mlipdb.errors import DataError
from mlipdb.figures import phonon_rmse_against_force_rmse, rmse_against_n_sparse

Raw = dict[str, Any]
Draw = Callable[[Sequence[Raw]], Figure]
BOTH = pytest.mark.parametrize("draw", [rmse_against_n_sparse, phonon_rmse_against_force_rmse])
MATERIALS = ["bc8", "clathrate-II", "diamond", "lonsdaleite", "st12"]


def legend_texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def of(grid: list[Raw], material: str) -> list[Raw]:
    return [item for item in grid if item["material_name"] == material]


@BOTH
def test_one_panel_a_material(draw: Draw, grid: list[Raw]) -> None:
    figure = draw(grid)
    assert [axes.get_title() for axes in figure.axes] == MATERIALS
    assert {axes.get_ylabel() for axes in figure.axes} == {"Phonon RMSE, mesh (THz)", ""}


def test_axis_labels_stand_at_the_lowest_panels(grid: list[Raw]) -> None:
    figure = rmse_against_n_sparse(grid)
    assert [bool(axes.get_xlabel()) for axes in figure.axes] == [False, False, True, True, True]
    assert figure.axes[-1].get_xlabel() == "Sparse points $n_\\mathrm{sparse}$"
    assert phonon_rmse_against_force_rmse(grid[:1]).axes[-1].get_xlabel() == "Force RMSE on\nthe test set (eV/Å)"


def test_lines_join_the_sparse_points_of_a_training_set_and_delta(grid: list[Raw]) -> None:
    axes = rmse_against_n_sparse(of(grid, "diamond")).axes[0]
    lines = axes.get_lines()
    assert len(lines) == 4
    assert len({line.get_color() for line in lines}) == 4
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == 2
    expected = {
        tuple(
            item["mesh"]["rmse"]
            for item in of(grid, "diamond")
            if (item["training_set"], item["delta"]) == (name, delta)
        )
        for name in ("full", "displacements only")
        for delta in (1.0, 3.0)
    }
    assert {tuple(line.get_ydata()) for line in lines} == expected
    assert all(list(line.get_xdata()) == [500, 1000, 4000] for line in lines)


def test_potentials_that_differ_otherwise_are_not_joined(grid: list[Raw]) -> None:
    items = of(grid, "diamond")
    other = [{**item, "f": 0.05} for item in items]
    assert len(rmse_against_n_sparse([*({**item, "f": 0.1} for item in items), *other]).axes[0].get_lines()) == 8


def test_sparse_points_have_plain_labels_on_a_logarithmic_axis(grid: list[Raw]) -> None:
    axes = rmse_against_n_sparse(of(grid, "diamond")).axes[0]
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["500", "1000", "4000"]
    narrow = rmse_against_n_sparse([item for item in of(grid, "diamond") if item["n_sparse"] < 2000]).axes[0]
    assert narrow.get_xscale() == "linear"


def test_crowded_labels_are_left_out_before_their_ticks(grid: list[Raw]) -> None:
    base = grid[0]
    axes = rmse_against_n_sparse([{**base, "n_sparse": 1000 + 10 * n} for n in range(50)]).axes[0]
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert 1 < sum(map(bool, labels)) < 20
    assert sum(map(bool, labels)) < len(labels)


def test_ticks_do_not_lie_on_one_another(grid: list[Raw]) -> None:
    sizes = [50, 100, 200, 374, 400, 400, 800, 1018, 1378]
    items = [{**grid[0], "n_sparse": size, "phonon_id": f"ph-{k}"} for size in sizes for k in range(3)]
    figure = rmse_against_n_sparse(items)
    figure.draw_without_rendering()
    axis = figure.axes[0].xaxis
    assert list(axis.get_majorticklocs()) == [50, 100, 200, 400, 800, 1018, 1378]  # more potentials have 400 than 374
    places = [axis.axes.transData.transform((x, 1.0))[0] * 72 / figure.dpi for x in axis.get_majorticklocs()]
    assert min(np.diff(places)) > 4.0
    boxes = [text.get_window_extent() for text in axis.get_ticklabels() if text.get_text()]
    assert len(boxes) >= 3
    assert not any(one.overlaps(other) for one, other in pairwise(boxes))


def by_label(figure: Figure) -> dict[str, Any]:
    """Handle of each entry of the legend."""
    legend = figure.legends[0]
    return dict(zip(legend_texts(figure), legend.legend_handles, strict=True))


def crossed() -> list[Raw]:
    """Three training sets, four f, three deltas and six numbers of sparse points."""
    return make_study((50, 100, 200, 400, 800, 1378), (0.5, 1.0, 2.0), (0.01, 0.03, 0.1, 10.0), ("a", "b", "c"))[1]


@BOTH
def test_crossed_families_have_a_section_for_each(draw: Draw) -> None:
    figure = draw(crossed())
    texts = [text for text in legend_texts(figure) if text]
    expected = ["Training set", "a", "b", "c", "f", "0.01", "0.03", "0.1", "10", "δ (eV)", "0.5", "1", "2"]
    assert texts[: len(expected)] == expected
    entries = by_label(figure)
    assert len({entries[name].get_color() for name in "abc"}) == 3
    assert len({entries[name].get_marker() for name in "abc"}) == 1
    shapes = [entries[f] for f in ("0.01", "0.03", "0.1", "10")]
    assert len({handle.get_marker() for handle in shapes}) == 4
    assert len({handle.get_color() for handle in shapes}) == 1


def test_lines_of_crossed_families_join_the_best_delta() -> None:
    figure = rmse_against_n_sparse(crossed())
    axes = figure.axes[0]
    joined = [line for line in axes.get_lines() if line.get_linestyle() != "None"]
    assert (len(joined), len(axes.get_lines())) == (12, 36)
    best = {line.get_ydata().min() for line in joined}
    title = axes.get_title()
    assert best == {
        min(
            item["mesh"]["rmse"]
            for item in crossed()
            if (item["training_set"], item["f"], item["material_name"]) == (training_set, f, title)
        )
        for training_set in "abc"
        for f in (0.01, 0.03, 0.1, 10.0)
    }
    shapes = by_label(figure)
    for line in joined:
        f = next(
            item["f"]
            for item in crossed()
            if item["material_name"] == title and item["mesh"]["rmse"] == line.get_ydata().min()
        )
        handle = shapes[f"{f:g}"]
        assert (line.get_marker(), line.get_linestyle()) == (handle.get_marker(), handle.get_linestyle())
    assert {"Lines", "best δ in the panel"} <= set(legend_texts(figure))


def test_markers_of_crossed_families_tell_both() -> None:
    items = [item for item in crossed() if item["material_name"] == "bc8" and item["delta"] == 1.0]
    figure = phonon_rmse_against_force_rmse([{**item, "reference_in_training": True} for item in items])
    entries = by_label(figure)
    markers = figure.axes[0].collections
    assert len(markers) == len(items)
    for marker in markers:
        x, y = marker.get_offsets()[0]
        colour = to_hex(marker.get_facecolors()[0])
        assert colour in {
            to_hex(entries[item["training_set"]].get_color())
            for item in items
            if np.isclose(item["force_rmse"], x) and np.isclose(item["mesh"]["rmse"], y)
        }


@BOTH
def test_what_follows_from_the_training_set_has_no_section(draw: Draw) -> None:
    items = [{**item, "f": {"full": 0.1, "rattled": 0.2}[item["training_set"]]} for item in make_study(fs=(0.1,))[1]]
    figure = draw(items)
    assert legend_texts(figure)[:3] == ["Training set", "full, f = 0.1", "rattled, f = 0.2"]
    entries = by_label(figure)
    first, second = (entries[text] for text in ("full, f = 0.1", "rattled, f = 0.2"))
    assert (first.get_color(), first.get_marker()) != (second.get_color(), second.get_marker())
    assert first.get_marker() != second.get_marker()


def test_several_fields_share_a_section() -> None:
    items = make_study()[1]
    imported = {key: value for key, value in items[0].items() if key not in ("training_set", "f", "delta")}
    figure = rmse_against_n_sparse(
        [*({**item, "framework": "gap"} for item in items), {**imported, "framework": "mace"}]
    )
    texts = [text for text in legend_texts(figure) if text]
    assert texts[:8] == [
        "Training set",
        "full",
        "mace (imported)",
        "rattled",
        "Framework, f",
        "gap, 0.05",
        "gap, 0.1",
        "mace, –",
    ]


@BOTH
def test_protocols_do_not_mix(draw: Draw) -> None:
    items = make_study()[1]
    with pytest.raises(DataError, match=r"2 protocols .*--where protocol_id=ID") as caught:
        draw([*items, {**items[0], "protocol_id": "protocol-2"}])
    assert caught.value.reason == "several_protocols"
    draw([*items, {**items[0], "protocol_id": "protocol-2", "state": "withdrawn"}])


@BOTH
def test_wide_errors_are_logarithmic_with_plain_labels(draw: Draw, grid: list[Raw]) -> None:
    items = of(grid, "diamond")
    assert draw(items).axes[0].get_yscale() == "linear"
    assert draw(items).axes[0].get_ylim()[0] == 0.0
    wide = [*items, {**items[0], "n_sparse": 100, "mesh": {**items[0]["mesh"], "rmse": 5.0}}]
    axes = draw(wide).axes[0]
    assert axes.get_yscale() == "log"
    labels = {text.get_text() for text in axes.get_yticklabels()}
    assert {"0.2", "0.5", "1", "5"} <= labels
    assert not any("10^" in label for label in labels)


def test_markers_tell_size_shape_shade_and_training(grid: list[Raw]) -> None:
    items = of(grid, "clathrate-II")
    axes = phonon_rmse_against_force_rmse(items).axes[0]
    assert len(axes.collections) == len(items)
    seen = {}
    for marker in axes.collections:
        x, y = marker.get_offsets()[0]
        item = next(i for i in items if np.isclose(i["force_rmse"], x) and np.isclose(i["mesh"]["rmse"], y))
        filled = len(marker.get_facecolors()) == 1
        assert filled is item["reference_in_training"]
        colour = to_hex((marker.get_facecolors() if filled else marker.get_edgecolors())[0])
        seen[item["potential_id"]] = (item, marker.get_sizes()[0], colour, len(marker.get_paths()[0].vertices))
    assert len(seen) == len(items)
    for index, field in ((1, ("n_sparse",)), (2, ("training_set", "delta")), (3, ("training_set",))):
        pairs = {(tuple(entry[0][name] for name in field), entry[index]) for entry in seen.values()}
        assert len(pairs) == len({key for key, _ in pairs}) == len({value for _, value in pairs})
    areas = {entry[0]["n_sparse"]: entry[1] for entry in seen.values()}
    assert areas[500] < areas[1000] < areas[4000]


def test_the_legend_explains_everything(grid: list[Raw]) -> None:
    two = [*of(grid, "diamond"), *of(grid, "st12")]
    texts = [text for text in legend_texts(phonon_rmse_against_force_rmse(two)) if text]
    assert texts == [
        "Training set",
        "displacements only",
        "full",
        "δ (eV)",
        "1",
        "3",
        "Sparse points",
        "500",
        "1000",
        "4000",
        "Displaced supercells\nof the reference",
        "trained on",
        "not trained on",
    ]


def test_unknown_training_is_shown_as_unknown(grid: list[Raw]) -> None:
    item = {key: value for key, value in grid[0].items() if key not in ("reference_in_training", "n_sparse", "delta")}
    figure = phonon_rmse_against_force_rmse([item, grid[1]])
    assert {"unknown", "trained on", "none"} <= set(legend_texts(figure))


@BOTH
def test_what_is_missing_is_counted(draw: Draw, grid: list[Raw]) -> None:
    failed = {"phonon_id": "ph-si24", "material_name": "Si24", "state": "failed"}
    bare = {key: value for key, value in grid[0].items() if key not in ("n_sparse", "force_rmse")}
    figure = draw(
        [*of(grid, "bc8"), failed, failed, bare, {**grid[0], "mesh": None}, {**grid[0], "state": "withdrawn"}]
    )
    field = "n_sparse" if draw is rmse_against_n_sparse else "force RMSE"
    notes = legend_texts(figure)[legend_texts(figure).index("Not shown") + 1 :]
    assert notes == ["2 failed", "1 withdrawn", f"1 without {field}", "1 without phonon RMSE"]
    empty = next(axes for axes in figure.axes if axes.get_title() == "Si24")
    assert [text.get_text() for text in empty.texts] == ["nothing to show"]


def test_references_of_one_material_get_panels_of_their_own(grid: list[Raw]) -> None:
    items = of(grid, "diamond")
    other = [{**item, "phonon_id": "ph-0123456789"} for item in items]
    titles = [axes.get_title() for axes in rmse_against_n_sparse([*items, *other]).axes]
    assert titles == ["diamond (ph-012345)", "diamond (ph-diamon)"]


@BOTH
def test_nothing_overlaps(draw: Draw, grid: list[Raw]) -> None:
    names = {"full": "everything there is, rattled and displaced", "displacements only": "displacements_only_version_2"}
    figure = draw([{**item, "training_set": names[item["training_set"]]} for item in grid])
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    for index, box in enumerate([legend, *boxes]):
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
        assert index == 0 or not box.overlaps(legend)
    frames = [axes.get_window_extent() for axes in figure.axes]
    assert min(frame.width for frame in frames) > 0.9 * figure.dpi


@pytest.mark.parametrize("widest", [1.0, 9.0, 100.0])
def test_tick_labels_do_not_touch(widest: float, grid: list[Raw]) -> None:
    base = grid[0]
    values = [
        {
            **base,
            "force_rmse": 0.002 * factor,
            "mesh": {**base["mesh"], "rmse": 0.05 * factor},
            "phonon_id": f"ph-{panel}",
        }
        for panel in range(3)
        for factor in np.geomspace(1.0, widest, 4)
    ]
    figure = phonon_rmse_against_force_rmse(values)
    figure.draw_without_rendering()
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        low, high = axis.get_view_interval()
        shown = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        boxes = [label.get_window_extent() for label in shown if label.get_text()]
        assert len(boxes) >= 2
        assert not any(one.overlaps(other) for index, one in enumerate(boxes) for other in boxes[index + 1 :])


@BOTH
def test_no_documents(draw: Draw, grid: list[Raw]) -> None:
    with pytest.raises(DataError, match="there are no phonon benchmarks"):
        draw([])
    with pytest.raises(DataError, match=r"none of the 2 phonon benchmarks .*\(2 failed\)"):
        draw([{**grid[0], "state": "failed"}, {**grid[1], "state": "failed"}])
