"""Which points share an assembly, and scans along one axis twice."""

from __future__ import annotations

from typing import Any

import pytest

from mlipdb.errors import FitError
from mlipdb.frameworks.gap_command import descriptor_strings
from mlipdb.frameworks.gap_grid import StudyPoint, can_share, partition, scale_warning
from mlipdb.frameworks.gap_grid.points import eligible_config_types, study_terms
from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters


def gap(**content: Any) -> GapHyperparameters:
    return GapHyperparameters.model_validate(content)


def test_what_may_differ() -> None:
    points = [
        gap(soap={"n_sparse": n, "delta": delta}, f=f, sigmas={"energy": energy}, sparse_jitter=jitter)
        for n, delta, f, energy, jitter in ((100, 1.0, None, 0.001, 1e-8), (500, 3.0, 0.1, 0.01, 1e-6))
    ]
    assert can_share(points) is None
    assert can_share([StudyPoint(points[0], config_types=frozenset({"bulk"})), points[1]]) is None
    assert can_share([gap(soap={"options": {"cutoff_scale": 1.0}})]) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"two_body": {}}, "two-body"),
        ({"three_body": {}}, "three-body"),
        ({"soap": None, "two_body": {}}, "only SOAP alone"),
        ({"soap": {"n_sparse": {"bulk": 3}}}, "n_sparse by config type"),
        ({"soap": {"sparse_method": "kmeans"}}, "sparse_method kmeans"),
        ({"soap": {"covariance_type": "ard_se"}}, "covariance_type ard_se"),
        ({"soap": {"options": {"average": True}}}, "options average"),
        ({"options": {"config_type_sigma": "bulk:1:1:1:1"}}, "config_type_kernel_regularisation"),
        ({"e0_method": "average"}, "e0_method average"),
    ],
)
def test_what_only_gap_fit_knows(content: dict[str, Any], said: str) -> None:
    reason = can_share([gap(), gap(**content)])
    assert reason is not None
    assert said in reason


@pytest.mark.parametrize(
    "soap", [{"zeta": 2}, {"cutoff": 4.0}, {"l_max": 3}, {"atom_sigma": 0.4}, {"sparse_method": "pivot"}]
)
def test_what_changes_kernels(soap: dict[str, Any]) -> None:
    reason = can_share([gap(), gap(soap=soap)])
    assert reason is not None
    assert f"differ in {next(iter(soap))}," in reason
    assert "seed" in str(can_share([gap(), gap(seed=2)]))
    assert can_share([]) == "there are no points"


def test_partition() -> None:
    points = [gap(), gap(two_body={}), gap(soap={"zeta": 2}), gap(f=0.1), gap(soap={"zeta": 2, "delta": 3.0})]
    studies, left = partition(points)
    assert studies == [[0, 3], [2, 4]]
    assert list(left) == [1]
    assert "two-body" in left[1]
    assert all(can_share([points[i] for i in study]) is None for study in studies)
    assert partition([]) == ([], {})
    mixed = [gap(), gap(own_sigmas="replace"), gap(config_types=["bulk"]), gap(own_sigmas="replace", f=0.1)]
    assert partition(mixed)[0] == [[0, 2], [1, 3]]
    assert "own_sigmas" in str(can_share(mixed))


def test_delta_and_sigma_as_two_axes() -> None:
    def point(delta: float, scale: float, f: float = 0.1) -> GapHyperparameters:
        sigmas = {"energy": 0.001 * scale, "force": 0.05 * scale, "virial": 0.02 * scale}
        return gap(soap={"delta": delta}, sigmas=sigmas, f=f * scale)

    warning = scale_warning([point(delta, scale) for delta in (1.0, 2.0) for scale in (1.0, 2.0)])
    assert warning is not None
    assert "4 points" in warning
    assert "there are 3" in warning
    assert scale_warning([point(delta, 1.0) for delta in (0.5, 1.0, 2.0)]) is None
    assert scale_warning([point(1.0, scale) for scale in (0.5, 1.0, 2.0)]) is None
    # f alone is another ratio between forces and energies.
    assert scale_warning([point(delta, 1.0, f) for delta in (0.5, 1.0) for f in (0.1, 0.2)]) is None


def test_terms_are_what_gap_fit_reads() -> None:
    settings = gap(soap={"n_sparse": 7, "delta": 2.0})
    point = StudyPoint(settings, n_sparse={"Cl": 3}, delta={"Li": 0.5})
    lithium, chlorine = study_terms(point, [17, 3, 3])
    assert (lithium.number, chlorine.number) == (3, 17)
    assert "n_sparse=7" in lithium.descriptor
    assert "delta=0.5" in lithium.descriptor
    assert "n_sparse=3" in chlorine.descriptor
    assert "delta=2.0" in chlorine.descriptor
    plain = study_terms(StudyPoint(settings), [3, 17])
    expected = [text.replace("{{", "{").replace("}}", "}") for text in descriptor_strings(settings, [3, 17])]
    assert [term.descriptor for term in plain] == expected


def test_keys_and_what_a_study_cannot_take() -> None:
    first = StudyPoint(gap(), config_types=frozenset({"b", "a"}))
    assert first.key == StudyPoint(gap(), config_types=frozenset({"a", "b"})).key
    assert first.key != StudyPoint(gap()).key
    with pytest.raises(FitError, match="without SOAP"):
        StudyPoint(gap(soap=None, two_body={})).tier(14)
    with pytest.raises(FitError, match="by config type"):
        StudyPoint(gap(soap={"n_sparse": {"bulk": 3}})).tier(14)


def test_config_types_of_hyperparameters_come_with_isolated_atoms() -> None:
    settings = gap(config_types=["rattled", "bulk"])
    point = StudyPoint(settings)
    assert point.config_types == {"isolated_atom", "bulk", "rattled"}
    assert StudyPoint(settings, config_types=frozenset({"bulk", "rattled", "isolated_atom"})).key == point.key
    assert StudyPoint(gap()).config_types is None
    with pytest.raises(FitError, match=r"names the config types strained, but its hyperparameters bulk, rattled"):
        StudyPoint(settings, config_types=frozenset({"strained"}))


def test_whose_environments_may_become_sparse_points() -> None:
    whole, bulk, both = gap(), gap(config_types=["bulk"]), gap(config_types=["bulk", "rattled"])
    for policy in ("any", "every"):
        assert eligible_config_types([whole, whole], policy) is None
    assert eligible_config_types([bulk, both], "any") == {"isolated_atom", "bulk", "rattled"}
    assert eligible_config_types([bulk, both], "every") == {"isolated_atom", "bulk"}
    assert eligible_config_types([whole, both], "any") is None
    assert eligible_config_types([whole, both], "every") == {"isolated_atom", "bulk", "rattled"}


def test_a_scan_of_replaced_sigmas_within_one_subset() -> None:
    def point(delta: float, scale: float, own: str, types: list[str] | None) -> GapHyperparameters:
        sigmas = {"energy": 0.001 * scale, "force": 0.05 * scale, "virial": 0.02 * scale}
        return gap(soap={"delta": delta}, sigmas=sigmas, own_sigmas=own, config_types=types)

    scan = [(delta, scale) for delta in (1.0, 2.0) for scale in (1.0, 2.0)]
    warning = scale_warning([point(*pair, "replace", ["bulk"]) for pair in scan])
    assert warning is not None
    assert "4 points" in warning
    assert "but for the energy sigma that isolated atoms keep" in warning
    # Points that fit other data, or keep what configurations bring, are no scan of one axis.
    first, second = (point(1.0, 1.0, "replace", ["bulk"]), point(2.0, 2.0, "replace", ["rattled"]))
    assert scale_warning([first, second]) is None
    assert scale_warning([first, point(2.0, 2.0, "keep", ["bulk"])]) is None
    assert scale_warning([first, point(2.0, 2.0, "replace", ["bulk"])]) is not None
