"""Figures of a hyperparameter study."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from studies import make_study

from mlipdb.errors import DataError, NotFoundError, UsageError
from mlipdb.figures import pareto_front, study_heat_maps, study_pareto
from mlipdb.figures.heat import FAILED, NO_FIT, PARTIAL, digits
from mlipdb.figures.scores import pareto_members, scores_of

Raw = dict[str, Any]


def cells(axes: Any) -> dict[tuple[int, int], Any]:
    """Rectangles by column and row."""
    return {(round(p.get_x() + 0.5), round(p.get_y() + 0.5)): p for p in axes.patches}


def texts(axes: Any) -> dict[tuple[int, int], str]:
    return {(round(t.get_position()[0]), round(t.get_position()[1])): t.get_text() for t in axes.texts}


def panels(figure: Figure) -> dict[str, Any]:
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def legend(figure: Figure) -> str:
    return "\n".join(text.get_text() for each in figure.legends for text in each.get_texts())


def test_pareto_front_by_hand() -> None:
    assert pareto_front([3.0, 1.0, 2.0, 2.0], [0.1, 0.5, 0.6, 0.2]) == [1, 3, 0]
    assert pareto_front([], []) == []
    assert pareto_front([1.0, 1.0, 2.0], [0.5, 0.4, 0.4]) == [1]  # ties in one number are beaten
    assert pareto_front([2.0, 1.0, 2.0, 1.0], [0.1, 0.3, 0.1, 0.3]) == [1, 3, 0, 2]  # duplicates stay together
    assert pareto_front([1.0, math.nan, 0.5, 2.0, -math.inf], [0.5, 0.0, math.nan, 0.4, 0.0]) == [0, 3]
    with pytest.raises(UsageError, match="2 costs and 1 errors"):
        pareto_front([1.0, 2.0], [1.0])


def test_pareto_front_against_its_definition() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        costs, errors = rng.integers(0, 6, (2, 25)).astype(float)
        beaten = [
            any(
                costs[j] <= costs[i] and errors[j] <= errors[i] and (costs[j] < costs[i] or errors[j] < errors[i])
                for j in range(25)
            )
            for i in range(25)
        ]
        front = pareto_front(costs, errors)
        assert sorted(front) == [i for i in range(25) if not beaten[i]]
        assert [costs[i] for i in front] == sorted(costs[i] for i in front)


def test_a_panel_for_each_training_set_and_f() -> None:
    figure = study_heat_maps(*make_study())
    found = panels(figure)
    assert list(found) == ["full\nf = 0.05", "full\nf = 0.1", "rattled\nf = 0.05", "rattled\nf = 0.1"]
    axes = found["rattled\nf = 0.1"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["100", "200", "400"]
    assert [label.get_text() for label in found["full\nf = 0.05"].get_yticklabels()] == ["0.5", "1"]
    # 0.2 THz, twice for rattled, 1.3 times for the second f, 1.1 times for the second delta, mean of 1, 1.5, 2.
    assert texts(axes)[0, 1] == digits(0.2 * 2 * 1.3 * 1.1 * 1.5)
    assert texts(axes)[2, 0] == digits(0.2 * 2 * 1.3 / 2 * 1.5)
    assert figure.axes[-1].get_ylabel() == "Phonon RMSE, mesh (THz)\nmean of 3 materials"


def test_one_colour_scale_for_all_panels() -> None:
    found = panels(study_heat_maps(*make_study(), material="diamond"))
    by_text: dict[str, set[str]] = {}
    for axes in found.values():
        for place, text in texts(axes).items():
            by_text.setdefault(text, set()).add(to_hex(cells(axes)[place].get_facecolor()))
    assert all(len(colours) <= 2 for colours in by_text.values())
    assert to_hex(cells(found["full\nf = 0.05"])[2, 0].get_facecolor()) == "#00224e"  # the best of all
    assert to_hex(cells(found["rattled\nf = 0.1"])[0, 1].get_facecolor()) == "#fee838"  # the worst of all


@pytest.mark.parametrize(
    ("metric", "factor", "label"),
    [
        ("path.rmse", 1.1 * 1.5, "Phonon RMSE, path (THz)\nmean of 3 materials"),
        ("force_rmse", 0.3, "Force RMSE on the test set (eV/Å)"),
        ("energy_rmse", 10.0, "Energy RMSE on the test set (meV/atom)"),
    ],
)
def test_other_metrics(metric: str, factor: float, label: str) -> None:
    potentials, benchmarks = make_study()
    figure = study_heat_maps(potentials, benchmarks if factor > 1.5 and metric == "path.rmse" else [], metric=metric)
    assert texts(panels(figure)["full\nf = 0.05"])[0, 0] == digits(0.2 * factor)
    assert figure.axes[-1].get_ylabel() == label


def test_a_mean_that_misses_materials_has_no_colour_and_no_place_on_the_front() -> None:
    potentials, benchmarks = make_study(fs=(0.1,), training_sets=("full",))
    best = potentials[2]["potential_id"]  # n_sparse 400, delta 0.5
    worst = next(b for b in benchmarks if b["potential_id"] == best and b["material_name"] == "st12")
    worst["state"] = "failed"
    del worst["mesh"]
    figure = study_heat_maps(potentials, benchmarks)
    (axes,) = panels(figure).values()
    assert texts(axes)[2, 0].endswith("\n2/3")
    assert to_hex(cells(axes)[2, 0].get_facecolor()) == to_hex(PARTIAL["facecolor"])
    assert "not to be compared" in legend(figure).replace("\n", " ")
    assert best not in [row["potential_id"] for row in pareto_members(potentials, benchmarks)]
    hollow = [
        c.get_gid() for c in study_pareto(potentials, benchmarks).axes[0].collections if not len(c.get_facecolor())
    ]
    assert hollow == [best]
    # On a material it has, it is compared as the others.
    assert best in [row["potential_id"] for row in pareto_members(potentials, benchmarks, material="diamond")]


def test_a_material_that_nothing_could_do_is_told_of() -> None:
    potentials, benchmarks = make_study()
    for item in benchmarks:
        if item["material_name"] == "st12":
            item["state"] = "failed"
    figure = study_heat_maps(potentials, benchmarks)
    assert "not shown: 1 material without any complete benchmark" in legend(figure)
    assert "2/3" not in "".join(texts(figure.axes[0]).values())


def test_missing_and_failed_potentials() -> None:
    potentials, benchmarks = make_study(fs=(0.1,), training_sets=("full",))
    failed, gone = potentials[0], potentials[4]
    for name in ("n_sparse", "delta", "f", "errors", "evaluation_time_ms"):
        del failed[name]
    failed["state"] = "failed"
    kept = [p for p in potentials if p is not gone] + [{"potential_id": "pot-x", "framework": "mace"}]
    benchmarks = [b for b in benchmarks if b["potential_id"] not in (failed["potential_id"], gone["potential_id"])]
    figure = study_heat_maps(kept, benchmarks)
    (axes,) = panels(figure).values()
    found = cells(axes)
    assert found[0, 0].get_hatch() == FAILED["hatch"]
    assert found[1, 1].get_hatch() == NO_FIT["hatch"]
    assert {(0, 0), (1, 1)}.isdisjoint(texts(axes))
    shown = legend(figure)
    assert "no potential" in shown
    assert "fit failed, or no complete benchmark" in shown
    assert "1 without n_sparse or delta" in shown
    assert "1 failed\n1 without RMSE" in legend(study_pareto(kept, benchmarks))


def test_no_two_potentials_share_a_cell_silently() -> None:
    potentials, benchmarks = make_study(fs=(0.1,), training_sets=("full",))
    soap = [
        {**p, "hyperparameters": {**p["hyperparameters"], "seed": 2}, "potential_id": f"o{n}"}
        for n, p in enumerate(potentials)
    ]
    titles = list(panels(study_heat_maps([*potentials, *soap], benchmarks)))
    assert titles == ["seed = none", "seed = 2"]
    later = [{**p, "training_set_id": "ts-later00000", "potential_id": f"l{n}"} for n, p in enumerate(potentials)]
    assert list(panels(study_heat_maps([*potentials, *later], benchmarks))) == ["ts-full", "ts-later0"]
    twins = [{**p, "potential_id": f"t{n}"} for n, p in enumerate(potentials)]
    with pytest.raises(DataError, match="the same place in the grid") as caught:
        study_heat_maps([*potentials, *twins], benchmarks)
    assert caught.value.reason == "shared_cell"


def test_the_front_of_a_study() -> None:
    potentials, benchmarks = make_study()
    rows = pareto_members(potentials, benchmarks, metric="mesh.rmse")
    assert [(r["n_sparse"], r["delta"], r["f"], r["training_set"]) for r in rows] == [
        (n, 0.5, 0.05, "full") for n in (100, 200, 400)
    ]
    assert [r["evaluation_time_ms"] for r in rows] == pytest.approx([1.0, 2.0, 4.0])
    assert [r["value"] for r in rows] == pytest.approx([0.3, 0.3 / 2**0.5, 0.15])
    figure = study_pareto(potentials, benchmarks)
    axes = figure.axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert len(axes.collections) == len(potentials)
    (line,) = [line for line in axes.get_lines() if line.get_gid() == "front"]
    assert line.get_drawstyle() == "steps-post"
    assert list(line.get_xdata())[1:-1] == [r["evaluation_time_ms"] for r in rows]
    assert [text.get_text() for text in axes.texts] == ["1", "2", "3"]
    assert "1:  100,  0.5,  0.05\n2:  200,  0.5,  0.05\n3:  400,  0.5,  0.05" in legend(figure)


def test_colour_stands_for_the_training_set_and_shape_for_f() -> None:
    potentials, benchmarks = make_study(deltas=(1.0,))
    looks = {p["potential_id"]: (p["training_set"], p["f"]) for p in potentials}
    seen = {
        (*looks[c.get_gid()], to_hex(c.get_facecolor()[0]), len(c.get_paths()[0].vertices))
        for c in study_pareto(potentials, benchmarks).axes[0].collections
    }
    assert len(seen) == 4
    assert len({(source, colour) for source, _, colour, _ in seen}) == 2
    assert len({(f, shape) for _, f, _, shape in seen}) == 2


def test_what_has_no_evaluation_time_is_counted() -> None:
    potentials, benchmarks = make_study()
    del potentials[0]["evaluation_time_ms"]
    assert "1 without evaluation\ntime" in legend(study_pareto(potentials, benchmarks))
    with pytest.raises(DataError, match=r"none of the 1 potentials .*\(1 without evaluation time\)"):
        study_pareto(potentials[:1], benchmarks)


def test_what_cannot_be_drawn() -> None:
    potentials, benchmarks = make_study()
    with pytest.raises(UsageError, match=r"no metric 'mesh\.rms'; did you mean mesh\.rmse"):
        study_heat_maps(potentials, benchmarks, metric="mesh.rms")
    with pytest.raises(UsageError, match="leave the material out"):
        study_pareto(potentials, benchmarks, metric="force_rmse", material="diamond")
    with pytest.raises(NotFoundError, match="benchmarked on graphite, but on bc8, diamond, st12"):
        study_pareto(potentials, benchmarks, material="graphite")
    with pytest.raises(DataError, match="there are no potentials"):
        study_heat_maps([], benchmarks)
    with pytest.raises(DataError, match="there are no phonon benchmarks of these potentials"):
        study_heat_maps(potentials, [])
    with pytest.raises(DataError, match=r"is complete and has a mesh\.rmse"):
        study_heat_maps(potentials, [{**item, "state": "failed"} for item in benchmarks])
    with pytest.raises(DataError, match="none of the 1 potentials has n_sparse and delta"):
        study_heat_maps([{"potential_id": "pot-1"}], [], metric="force_rmse")
    other = [{**benchmarks[0], "protocol_id": "protocol-2"}]
    with pytest.raises(DataError, match="2 protocols") as caught:
        study_heat_maps(potentials, benchmarks + other)
    assert caught.value.reason == "several_protocols"


def test_a_mean_over_references_of_one_material_counts_it_once() -> None:
    potentials, benchmarks = make_study((100,), (0.5,), (0.05,), ("full",), ("diamond", "bc8"))
    benchmarks.append({**benchmarks[0], "phonon_id": "ph-larger", "mesh": {"rmse": 0.4}})
    (row,) = scores_of(potentials, benchmarks, "mesh.rmse").rows
    assert row.value == pytest.approx(((0.2 + 0.4) / 2 + 0.3) / 2)


@pytest.mark.parametrize(
    ("value", "text"), [(0.2, "0.200"), (12.34, "12.3"), (0.0123, "0.012"), (1234.5, "1234"), (0, "0")]
)
def test_digits(value: float, text: str) -> None:
    assert digits(value) == text


def _large() -> tuple[list[Raw], list[Raw]]:
    return make_study(
        (250, 500, 1000, 2000),
        (0.25, 1.0, 4.0),
        (0.025, 0.05, 0.1, 0.2),
        ("full", "single_displacement", "everything there is, rattled and displaced"),
        [f"material {number}" for number in range(4)],
    )


@pytest.mark.parametrize("documents", [_large(), make_study((40, 80), (1.0,), (0.1,), ("full",))])
def test_nothing_overlaps(documents: tuple[list[Raw], list[Raw]]) -> None:
    potentials, benchmarks = documents
    heat = study_heat_maps(potentials, benchmarks[1:])
    for figure in (heat, study_pareto(potentials, benchmarks[1:])):
        figure.draw_without_rendering()
        boxes = [axes.get_tightbbox() for axes in figure.axes] + [each.get_window_extent() for each in figure.legends]
        for index, box in enumerate(boxes):
            assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
            assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
            assert not any(box.shrunk(0.99, 0.99).overlaps(other) for other in boxes[:index])
    for axes in (axes for axes in heat.axes if axes.get_title()):
        written = {place: text for text in axes.texts for place in [tuple(np.round(text.get_position()))]}
        for place, text in written.items():
            inner, outer = text.get_window_extent(), cells(axes)[place].get_window_extent()
            assert outer.x0 <= inner.x0 <= inner.x1 <= outer.x1
            assert outer.y0 <= inner.y0 <= inner.y1 <= outer.y1
