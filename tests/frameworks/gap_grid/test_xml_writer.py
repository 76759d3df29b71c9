"""The XML is what gap_fit would write, the same bytes each time."""

from __future__ import annotations

import numpy as np

from mlipdb.frameworks.base import FitResult
from mlipdb.frameworks.gap_grid.xml_writer import GAP_VERSION, XmlTerm, side_file, write_gap_xml
from mlipdb.frameworks.gap_xml import parse_gap_xml

DESCRIPTOR = "soap Z=14 n_species=1 species_Z={14} cutoff=4.5"
POINTS = np.linspace(-1, 1, 12).reshape(4, 3)


def term(weights: list[float]) -> XmlTerm:
    return XmlTerm(DESCRIPTOR, 4.0, 0.5, 3, np.array(weights), side_file(14, POINTS))


def test_content_reads_back_exactly() -> None:
    weights = [0.1, -1 / 3, 1e-300]
    data = write_gap_xml([term(weights), term([2.0])], {14: -102.53680849824581, 3: 0.1})
    xml = parse_gap_xml(data)
    assert [float(text) for text in xml.terms[0].alphas] == weights
    assert xml.terms[0].n_sparse == 3
    assert xml.terms[0].descriptor == DESCRIPTOR
    assert float(xml.terms[0].attributes["signal_variance"]) == 0.5
    assert float(xml.e0["14"]) == -102.53680849824581
    assert float(xml.e0["1"]) == 0.0
    assert [t.attributes["label"] for t in xml.terms] == [f"{xml.label}1", f"{xml.label}2"]
    assert xml.terms[0].attributes["sparseX_md5sum"] == side_file(14, POINTS).md5


def test_bytes_depend_on_content_alone() -> None:
    assert write_gap_xml([term([1.0])], {14: 1.0}) == write_gap_xml([term([1.0])], {14: 1.0})
    labels = {parse_gap_xml(write_gap_xml([term([w])], {14: e})).label for w in (1.0, 2.0) for e in (1.0, 2.0)}
    assert len(labels) == 4
    assert side_file(14, POINTS).name != side_file(14, POINTS + 1).name


def test_side_file_holds_one_number_a_line() -> None:
    lines = side_file(14, POINTS).content.decode().splitlines()
    assert [float(line) for line in lines] == POINTS.ravel().tolist()
    assert lines[0] == "-1.00000000000000000000e+00"


def test_same_elements_and_attributes_as_gap_fit(small_fit: tuple[object, FitResult]) -> None:
    """The version of the GAP code too: QUIP refuses potentials newer than itself."""
    main = small_fit[1].files["gap.xml"]
    by_gap_fit = main if isinstance(main, bytes) else main.read_bytes()
    assert f'gap_version="{GAP_VERSION}"'.encode() in by_gap_fit
    theirs = parse_gap_xml(by_gap_fit)
    ours = parse_gap_xml(write_gap_xml([term([1.0])], {14: 1.0}))
    assert list(ours.terms[0].attributes) == list(theirs.terms[0].attributes)
    assert list(ours.e0) == list(theirs.e0)
    for name in ("signal_mean", "sparsified", "n_permutations", "covariance_type"):
        mine, other = ours.terms[0].attributes[name], theirs.terms[0].attributes[name]
        assert mine == other or float(mine) == float(other)
