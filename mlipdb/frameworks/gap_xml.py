"""Reading the XML file of a GAP without trusting it.

QUIP's own reader ends the whole process on a malformed file, so every file is read here first.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.parsers import expat

from mlipdb.errors import CalculatorError

__all__ = ["GapXml", "GapXmlTerm", "check_files", "normalised_xml_hash", "parse_gap_xml"]

# Attributes that hold a time stamp, or a name made from one.
_STAMPED: Final = {"label", "sparseX_filename"}
_FILE_NAME = re.compile(r"[A-Za-z0-9_.+-]+")
_ELEMENT_KEYS = re.compile(r"(?<![A-Za-z_])(?:Z|Z1|Z2|Z_center|species_Z)=\{*([0-9 ]+)\}*")


@dataclass
class GapXmlTerm:
    """One descriptor's part of a GAP: a ``gpCoordinates`` element.

    Attributes
    ----------
    attributes
        The element's attributes as text.
    descriptor
        The descriptor string.
    alphas, cutoffs
        Weight and ``sparseCutoff`` of each sparse point, as text.
    theta
        Length scales, as text; empty for kernels without.
    """

    attributes: dict[str, str]
    descriptor: str = ""
    theta: str = ""
    alphas: list[str] = field(default_factory=list)
    cutoffs: list[str] = field(default_factory=list)

    @property
    def n_sparse(self) -> int:
        """Number of sparse points that were written."""
        return int(self.attributes.get("n_sparseX", "0"))

    @property
    def side_file(self) -> str | None:
        """Name of the file with the sparse points; None where they are in the XML."""
        return self.attributes.get("sparseX_filename")


@dataclass
class GapXml:
    """What a GAP's XML file holds.

    Attributes
    ----------
    label
        QUIP's name of the potential (holds a time stamp).
    e0
        Isolated-atom energy, eV, as text, by atomic number as text.
    terms
        One for each descriptor.
    """

    label: str = ""
    e0: dict[str, str] = field(default_factory=dict)
    terms: list[GapXmlTerm] = field(default_factory=list)

    @property
    def atomic_numbers(self) -> set[int]:
        """Elements the descriptors name; empty where one of them is for any element."""
        numbers: set[int] = set()
        for term in self.terms:
            found = {int(z) for text in _ELEMENT_KEYS.findall(term.descriptor) for z in text.split()} - {0}
            if not found:
                return set()
            numbers |= found
        return numbers


class _Reader:
    """Expat handlers that fill a `GapXml`."""

    def __init__(self) -> None:
        self.xml = GapXml()
        self._text: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._text = []
        if name == "GAP_params":
            self.xml.label = attributes.get("label", "")
        elif name == "e0":
            self.xml.e0[attributes.get("Z", "")] = attributes.get("value", "")
        elif name == "gpCoordinates":
            self.xml.terms.append(GapXmlTerm(attributes=attributes))
        elif name == "sparseX" and self.xml.terms:
            self.xml.terms[-1].alphas.append(attributes.get("alpha", "nan"))
            self.xml.terms[-1].cutoffs.append(attributes.get("sparseCutoff", "nan"))

    def text(self, data: str) -> None:
        self._text.append(data)

    def end(self, name: str) -> None:
        if self.xml.terms and name == "descriptor":
            self.xml.terms[-1].descriptor = " ".join("".join(self._text).split())
        elif self.xml.terms and name == "theta":
            self.xml.terms[-1].theta = " ".join("".join(self._text).split())
        self._text = []

    def refuse_doctype(self, *_: object) -> None:
        raise CalculatorError("the potential's XML declares a document type, which no GAP does", reason="bad_xml")


def parse_gap_xml(data: bytes) -> GapXml:
    """Read a GAP's XML, refusing document types and entities.

    Parameters
    ----------
    data
        The whole file.

    Returns
    -------
    GapXml
        Its content, checked: at least one descriptor, as many weights as sparse points, all
        numbers finite, side files named without a path.

    Raises
    ------
    CalculatorError
        If it is not such a file; ``reason`` is ``bad_xml`` or ``not_finite``.
    """
    reader = _Reader()
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.refuse_doctype
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise CalculatorError(f"the potential's XML is not well formed: {error}", reason="bad_xml") from error
    if not reader.xml.terms:
        raise CalculatorError("the XML holds no gpCoordinates; it is not a fitted GAP", reason="bad_xml")
    for term in reader.xml.terms:
        _check_term(term)
    _finite([*reader.xml.e0.values()], "isolated-atom energies")
    return reader.xml


def _check_term(term: GapXmlTerm) -> None:
    what = f"descriptor {term.descriptor!r}"
    if not term.attributes.get("n_sparseX", "").isdigit() or term.n_sparse != len(term.alphas):
        raise CalculatorError(
            f"{what}: the XML announces {term.attributes.get('n_sparseX')} sparse points and holds "
            f"{len(term.alphas)} weights",
            reason="bad_xml",
        )
    _finite(term.alphas, f"weights of {what}")
    _finite(term.cutoffs, f"cutoffs of {what}")
    if term.side_file is not None and not _FILE_NAME.fullmatch(term.side_file):
        raise CalculatorError(f"{what}: {term.side_file!r} is not a plain file name", reason="bad_xml")


def _finite(texts: list[str], what: str) -> None:
    try:
        finite = all(math.isfinite(float(text)) for text in texts)
    except ValueError as error:
        raise CalculatorError(f"the XML's {what} are not all numbers: {error}", reason="bad_xml") from error
    if not finite:
        raise CalculatorError(f"the XML's {what} hold NaN or infinity", reason="not_finite")


def check_files(directory: Path, main_file: str) -> tuple[GapXml, bytes]:
    """Check that a GAP's files are all there and belong together.

    Parameters
    ----------
    directory
        Where the XML and its side files lie.
    main_file
        Name of the XML file.

    Returns
    -------
    tuple
        The content of the XML, and its bytes.

    Raises
    ------
    CalculatorError
        If a file is missing, or is not the one the XML was written with (MD5).
    """
    data = _read(directory, main_file)
    xml = parse_gap_xml(data)
    for term in xml.terms:
        if term.side_file is None:
            continue
        # MD5 is what QUIP writes; it guards against mix-ups, not against forgery.
        digest = hashlib.md5(_read(directory, term.side_file), usedforsecurity=False).hexdigest()
        if digest != term.attributes.get("sparseX_md5sum", digest):
            raise CalculatorError(
                f"the side file {term.side_file} is not the one {main_file} was written with (MD5 differs)",
                reason="bad_side_file",
            )
    return xml, data


def _read(directory: Path, name: str) -> bytes:
    try:
        return (directory / name).read_bytes()
    except OSError as error:
        raise CalculatorError(
            f"the potential's file {name} cannot be read ({error.strerror}); "
            "all its files must lie side by side under their own names",
            reason="missing_file",
        ) from error


def normalised_xml_hash(data: bytes) -> str:
    """Hash what a GAP's XML means, without time stamps, file names and the command line.

    Parameters
    ----------
    data
        The XML file.

    Returns
    -------
    str
        SHA-256 of descriptors, weights, length scales, isolated-atom energies and the MD5 sums of
        the side files; equal for two fits that gave the same potential.

    Raises
    ------
    CalculatorError
        If the file is not a GAP.
    """
    xml = parse_gap_xml(data)
    digest = hashlib.sha256()
    for term in xml.terms:
        kept = sorted((key, value) for key, value in term.attributes.items() if key not in _STAMPED)
        digest.update(repr((kept, term.descriptor, term.theta, term.alphas, term.cutoffs)).encode())
    digest.update(repr(sorted(xml.e0.items())).encode())
    return digest.hexdigest()
