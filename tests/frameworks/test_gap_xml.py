from __future__ import annotations

import re
from pathlib import Path

import pytest

from mlipdb.errors import CalculatorError
from mlipdb.frameworks.base import FitResult
from mlipdb.frameworks.gap_xml import check_files, normalised_xml_hash, parse_gap_xml


@pytest.fixture(scope="module")
def xml(small_fit: tuple[Path, FitResult]) -> bytes:
    return (small_fit[0] / "gap.xml").read_bytes()


def test_content(xml: bytes) -> None:
    parsed = parse_gap_xml(xml)
    assert parsed.atomic_numbers == {14}
    assert float(parsed.e0["14"]) == pytest.approx(-102.5368, abs=1e-3)
    (term,) = parsed.terms
    assert term.n_sparse == len(term.alphas) == len(term.cutoffs) == 20
    assert term.descriptor.startswith("soap Z=14")
    assert term.side_file is not None


def test_elements_of_several_descriptors() -> None:
    text = "".join(
        f'<gpCoordinates n_sparseX="0"><descriptor>{descriptor}</descriptor></gpCoordinates>'
        for descriptor in (
            "soap n_Z=1 Z=3 species_Z={3 17}",
            "angle_3b Z_center=8 Z1=1 Z2=17",
            "distance_2b Z1=11 Z2=3",
        )
    )
    assert parse_gap_xml(f"<a>{text}</a>".encode()).atomic_numbers == {1, 3, 8, 11, 17}
    anything = '<gpCoordinates n_sparseX="0"><descriptor>distance_2b cutoff=3</descriptor></gpCoordinates>'
    assert parse_gap_xml(f"<a>{text}{anything}</a>".encode()).atomic_numbers == set()


def test_hash_ignores_stamps_and_sees_weights(xml: bytes) -> None:
    stamp = re.search(rb'GAP_params label="([^"]+)"', xml)
    assert stamp is not None
    restamped = xml.replace(stamp[1], b"GAP_2001_1_1_0_0_0_0_0")
    assert restamped != xml
    assert normalised_xml_hash(restamped) == normalised_xml_hash(xml)
    assert normalised_xml_hash(re.sub(rb'alpha="', b'alpha="1', xml, count=1)) != normalised_xml_hash(xml)
    assert normalised_xml_hash(xml.replace(b"zeta=4.0", b"zeta=2.0")) != normalised_xml_hash(xml)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda xml: b"", "bad_xml"),
        (lambda xml: b"\x00\xffgarbage", "bad_xml"),
        (lambda xml: xml[: len(xml) // 2], "bad_xml"),
        (lambda xml: b"<a/>", "bad_xml"),
        (lambda xml: re.sub(rb'alpha="[^"]*"', b'alpha="NaN"', xml, count=1), "not_finite"),
        (lambda xml: re.sub(rb'alpha="[^"]*"', b'alpha="many"', xml, count=1), "bad_xml"),
        (lambda xml: re.sub(rb'n_sparseX="\d+"', b'n_sparseX="21"', xml), "bad_xml"),
        (lambda xml: re.sub(rb'(sparseX_filename=")', rb"\1../../", xml), "bad_xml"),
        (lambda xml: b'<!DOCTYPE a [<!ENTITY b "c">]>' + xml, "bad_xml"),
    ],
)
def test_damaged_xml_is_refused(xml: bytes, damage: object, reason: str) -> None:
    with pytest.raises(CalculatorError) as caught:
        parse_gap_xml(damage(xml))  # type: ignore[operator]
    assert caught.value.reason == reason


def test_files_belong_together(small_fit: tuple[Path, FitResult], tmp_path: Path) -> None:
    _, result = small_fit
    for name, path in result.files.items():
        assert isinstance(path, Path)
        (tmp_path / name).write_bytes(path.read_bytes())
    check_files(tmp_path, "gap.xml")
    side = next(tmp_path.glob("*.sparseX.*"))
    side.write_bytes(side.read_bytes() + b"\n")
    with pytest.raises(CalculatorError, match="MD5 differs"):
        check_files(tmp_path, "gap.xml")
    side.unlink()
    with pytest.raises(CalculatorError, match="cannot be read") as caught:
        check_files(tmp_path, "gap.xml")
    assert caught.value.reason == "missing_file"
