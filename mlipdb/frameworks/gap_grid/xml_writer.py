"""Writing a GAP the way `gap_fit` does, with the same bytes for the same potential."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from xml.sax.saxutils import escape

from mlipdb.physics.frames import FloatArray

__all__ = ["GAP_VERSION", "SideFile", "XmlTerm", "side_file", "write_gap_xml"]

#: Of the GAP code that computes the descriptors, quippy-ase 0.10; QUIP refuses newer ones than itself.
GAP_VERSION: Final = 1769700636
# QUIP's number of a dot-product covariance.
_DOT_PRODUCT: Final = 2
_MAX_ATOMIC_NUMBER: Final = 118


@dataclass(frozen=True)
class SideFile:
    """Sparse points of a term, as QUIP reads them.

    Parameters
    ----------
    name
        File name, made from the content.
    content
        One number a line.
    """

    name: str
    content: bytes

    @cached_property
    def md5(self) -> str:
        """Checksum the XML names."""
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True, eq=False)
class XmlTerm:
    """One descriptor of a potential.

    Parameters
    ----------
    descriptor
        As `gap_fit` writes it.
    zeta, delta
        Of the kernel; delta in eV.
    dimensions
        Length of the descriptor.
    weights
        Of the sparse points, the first ones of the side file.
    side
        The side file, which may hold more sparse points.
    """

    descriptor: str
    zeta: float
    delta: float
    dimensions: int
    weights: FloatArray
    side: SideFile


def side_file(number: int, points: FloatArray) -> SideFile:
    """File with the sparse points around an element, shape (M, D)."""
    content = "".join(f"{value:.20e}\n" for value in points.ravel().tolist()).encode("ascii")
    return SideFile(f"gap.xml.sparseX.{number}.{hashlib.sha256(content).hexdigest()[:16]}", content)


def write_gap_xml(terms: Sequence[XmlTerm], isolated_atom_energies: Mapping[int, float]) -> bytes:
    """Write a potential.

    Parameters
    ----------
    terms
        Its descriptors.
    isolated_atom_energies
        eV, by atomic number.

    Returns
    -------
    bytes
        The XML; its label is made from what it holds, not from the time.
    """
    body = "".join(_coordinates(term) for term in terms)
    energies = "".join(
        f'    <e0 Z="{number}" value="{_real(isolated_atom_energies.get(number, 0.0))}"/>\n'
        for number in range(1, _MAX_ATOMIC_NUMBER + 1)
    )
    label = "GAP_" + hashlib.sha256((energies + body).encode()).hexdigest()[:24]
    for index in range(1, len(terms) + 1):
        body = body.replace("@LABEL@", f"{label}{index}", 1)
    return (
        f"<{label}>\n"
        f'<Potential label="{label}" init_args="IP GAP label={label}"/>\n'
        f'<GAP_params label="{label}" gap_version="{GAP_VERSION}">\n'
        f'  <GAP_data do_core="F">\n{energies}  </GAP_data>\n'
        f'  <gpSparse label="{label}" n_coordinate="{len(terms)}" fitted="T">\n{body}  </gpSparse>\n'
        f"</GAP_params>\n</{label}>\n"
    ).encode("ascii")


def _coordinates(term: XmlTerm) -> str:
    # signal_variance holds delta, not its square.
    attributes = {
        "label": "@LABEL@",
        "dimensions": str(term.dimensions),
        "signal_variance": _real(term.delta),
        "signal_mean": _real(0.0),
        "sparsified": "T",
        "n_permutations": "1",
        "covariance_type": str(_DOT_PRODUCT),
        "zeta": _real(term.zeta),
        "n_sparseX": str(len(term.weights)),
        "sparseX_filename": term.side.name,
        "sparseX_md5sum": term.side.md5,
    }
    opening = " ".join(f'{name}="{value}"' for name, value in attributes.items())
    permutation = " ".join(map(str, range(1, term.dimensions + 1)))
    points = "".join(
        f'      <sparseX i="{index}" alpha="{_real(weight)}" sparseCutoff="{_real(1.0)}"/>\n'
        for index, weight in enumerate(term.weights.tolist(), start=1)
    )
    return (
        f"    <gpCoordinates {opening}>\n"
        f"      <descriptor>{escape(term.descriptor)}</descriptor>\n"
        f'      <permutation i="1">{permutation}</permutation>\n'
        f"{points}    </gpCoordinates>\n"
    )


def _real(value: float) -> str:
    return f"{value:.17e}"
