"""What outputs of DFT codes say of their level of theory, as fields of flat records."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["ReadLevel", "abinit", "aims", "castep", "cp2k", "espresso", "espresso_mesh", "gpaw"]

Raw = dict[str, Any]
#: Fields of the level of theory from a text and its structure; None where the text does not say.
ReadLevel = Callable[[str, "Atoms"], Raw]
HARTREE = 27.211386245988


def _first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text, re.M)
    return found.group(1).strip() if found else None


def _number(pattern: str, text: str, factor: float = 1.0) -> float | None:
    found = _first(pattern, text)
    return None if found is None else float(found) * factor


def _mesh(pattern: str, text: str) -> Raw | None:
    found = re.search(pattern, text, re.M)
    return {"mesh": [int(number) for number in found.groups()]} if found else None


def _element(label: str) -> str:
    """Silicon of a species called Si1 or Si_pv."""
    return re.sub(r"[^A-Za-z].*", "", label).capitalize()


#: Quantum ESPRESSO's names of the four parts of a functional (exchange, correlation, their gradients).
ESPRESSO_FUNCTIONALS = {
    "SLA PZ NOGX NOGC": "LDA",
    "SLA PW PBX PBC": "PBE",
    "SLA PW PBE PBE": "PBE",
    "SLA PW PSX PSC": "PBEsol",
    "SLA PW RPB PBC": "RPBE",
    "SLA PW REVX PBC": "revPBE",
    "PBE": "PBE",
    "PBESOL": "PBEsol",
    "SCAN": "SCAN",
    "R2SCAN": "r2SCAN",
    "PZ": "LDA",
    "LDA": "LDA",
    "REVPBE": "revPBE",
}


def espresso(text: str, _: Atoms) -> Raw:
    """Quantum ESPRESSO pw.x; its k-point mesh stands in its input (`espresso_mesh`)."""
    written = _first(r"^ +Exchange-correlation *= *(.*?)(?:\(.*)?$", text)
    words = None if written is None else " ".join(written.upper().replace("+", " ").split())
    files = re.findall(r"PseudoPot\. # *\d+ for +(\S+) +read from file:?\s+(\S+)", text)
    hubbard = re.search(r"LDA\+U calculation.*?\n.*?atomic species.*?\n((?: +[A-Z]\S* +\d+ +.*\n)+)", text)
    rows = hubbard.group(1).splitlines() if hubbard else []
    dispersion = None
    for word, name in (("DFT-D3 Dispersion", "D3"), ("Grimme-D2|DFT-D2", "D2"), ("Tkatchenko", "TS"), ("XDM", "XDM")):
        if re.search(word, text):
            dispersion = name
    return {
        "code_version": _first(r"Program PWSCF v\.?(\S+)", text),
        "functional": ESPRESSO_FUNCTIONALS.get(words, written) if words else None,
        "ecutwfc_Ry": _number(r"kinetic-energy cutoff += +(\S+) +Ry", text),
        "pseudopotentials": {_element(label): PurePath(name).name for label, name in files},
        "kpoints": _espresso_points(text),
        "spin_polarised": "Starting magnetic structure" in text or "total magnetization" in text,
        "hubbard_u": {_element(row.split()[0]): float(row.split()[2]) for row in rows},
        "dispersion": dispersion,
    }


def _espresso_points(text: str) -> Raw | None:
    """Gamma where there is no other point.

    The mesh cannot be told from the points that are listed: where it has not the symmetry of the lattice
    there are points of finer meshes among them.
    """
    gamma = re.search(r"^ +gamma-point specific algorithms are used", text, re.M)
    single = re.search(r"number of k points= +1 .*\n.*\n +k\( +1\) = \( +0\.0+ +0\.0+ +0\.0+\)", text)
    return {"mesh": [1, 1, 1]} if gamma or single else None


def espresso_mesh(text: str) -> Raw | None:
    """The k-point mesh of an input of Quantum ESPRESSO."""
    if re.search(r"^ *K_POINTS *[{(]? *gamma\b", text, re.M | re.I):
        return {"mesh": [1, 1, 1]}
    pattern = r"^ *K_POINTS *[{(]? *automatic *[)}]? *\n(?: *(?:!.*)?\n)* *(\d+)[ ,]+(\d+)[ ,]+(\d+)\b"
    found = re.search(pattern, text, re.M | re.I)
    return {"mesh": [int(number) for number in found.groups()]} if found else None


def gpaw(text: str, _: Atoms) -> Raw:
    """GPAW's text output; a cutoff only where plane waves are the basis."""
    species = re.findall(r"^  (\w+):\n(?:    .*\n)*?    file: +(\S+)", text, re.M)
    spin = _first(r"^Spin-(paired|polarized) calculation", text)
    return {
        "code_version": _first(r"^ \|__ \|  _\|___\|_____\| +(\S+)", text),
        "functional": _first(r"^ +Using the (\S+) Exchange-Correlation functional", text)
        or _first(r"^  xc: (\S+)", text),
        "cutoff_ev": _number(r"^ +Cutoff energy: +(\S+) eV", text),
        "pseudopotentials": {_element(name): PurePath(file).name.removesuffix(".gz") for name, file in species},
        "kpoints": _mesh(r"k-points?: (\d+) x (\d+) x (\d+) Monkhorst-Pack grid", text) or _gamma(text, r"^1 k-point"),
        "spin_polarised": None if spin is None else spin == "polarized",
        "method": "PAW",
    }


def _gamma(text: str, pattern: str) -> Raw | None:
    return {"mesh": [1, 1, 1]} if re.search(pattern, text, re.M) else None


#: ABINIT's ixc; negative ones are pairs of libxc.
ABINIT_FUNCTIONALS = {
    1: "LDA", 2: "LDA", 7: "LDA", 11: "PBE", 14: "revPBE", 15: "RPBE", -116133: "PBEsol", -133116: "PBEsol",
    -101130: "PBE", -130101: "PBE", -263267: "SCAN", -497498: "r2SCAN",
}  # fmt: skip


def abinit(text: str, _: Atoms) -> Raw:
    """ABINIT's main output."""
    ixc = _number(r" - ixc= *(-?\d+)", text) or _number(r"^ +ixc +(-?\d+)", text)
    files = re.findall(r"pspini: atom type +(\d+) +psp file is (\S+)", text)
    znucl = re.search(r"^ +znucl +((?:[\d.]+\s+)+)", text, re.M)
    spin = _number(r"nsppol = +(\d)", text)
    vdw = _first(r"^ +vdw_xc +(\d+)", text)
    return {
        "code_version": _first(r"^\.Version +(\S+) +of ABINIT", text),
        "functional": ABINIT_FUNCTIONALS.get(int(ixc), f"ixc {int(ixc)}") if ixc is not None else None,
        "cutoff_ev": _number(r"^ +ecut +(\S+) +Hartree", text, HARTREE),
        "pseudopotentials": _abinit_files(files, znucl.group(1).split() if znucl else []),
        "kpoints": _mesh(r"^ +kptrlatt +(\d+) +0 +0 +0 +(\d+) +0 +0 +0 +(\d+) *$", text),
        "spin_polarised": None if spin is None else spin == 2,
        "dispersion": {"5": "D2", "6": "D3", "7": "D3(BJ)"}.get(vdw, f"vdw_xc {vdw}") if vdw else None,
    }


def _abinit_files(files: list[tuple[str, str]], charges: list[str]) -> dict[str, str]:
    from ase.data import chemical_symbols

    found = {}
    for number, name in files:
        index = int(number) - 1
        if index < len(charges) and 0 < float(charges[index]) < len(chemical_symbols):
            found[chemical_symbols[int(float(charges[index]))]] = PurePath(name).name
    return found


CASTEP_FUNCTIONALS = {
    "Perdew Burke Ernzerhof": "PBE",
    "PBE for solids (2008)": "PBEsol",
    "Local Density Approximation": "LDA",
    "PBE with Wu-Cohen exchange": "WC",
    "revised Perdew Burke Ernzerhof": "RPBE",
    "Perdew Wang (1991)": "PW91",
    "regularised SCAN": "rSCAN",
    "RSCAN Functional": "rSCAN",
}


def castep(text: str, _: Atoms) -> Raw:
    """CASTEP's .castep file."""
    written = _first(r"^ using functional +: +(.*?) *$", text)
    block = re.search(r"Files used for pseudopotentials:\s*\n((?: +[A-Z]\S* +\S.*\n)+)", text)
    files = [line.split(None, 1) for line in block.group(1).splitlines()] if block else []
    dispersion = _first(r"^ SEDC with +: +(.*?) *$", text)
    return {
        "code_version": _first(r"CASTEP version (\S+)", text),
        "functional": CASTEP_FUNCTIONALS.get(written, written) if written else None,
        "cutoff_ev": _number(r"plane wave basis set cut-off +: +(\S+) +eV", text),
        "pseudopotentials": {_element(label): PurePath(name.strip()).name for label, name in files},
        "kpoints": _mesh(r"MP grid size for SCF calculation is +(\d+) +(\d+) +(\d+)", text),
        "spin_polarised": "treating system as spin-polarized" in text,
        "dispersion": dispersion,
    }


AIMS_FUNCTIONALS = {
    "pbe": "PBE", "pbesol": "PBEsol", "pw-lda": "LDA", "pz-lda": "LDA", "rpbe": "RPBE", "revpbe": "revPBE",
    "hse06": "HSE06", "pbe0": "PBE0", "blyp": "BLYP", "am05": "AM05",
}  # fmt: skip


def aims(text: str, atoms: Atoms) -> Raw:
    """FHI-aims: its output repeats control.in at the beginning."""
    control = text.partition("Parsing control.in")[2] or text
    written = _first(r"^  +xc +(\S.*?) *(?:#.*)?$", control)
    spin = _first(r"^  +spin +(\w+)", control)
    words = (("many_body_dispersion_nl", "MBD-NL"), ("many_body_dispersion", "MBD"), ("vdw_correction_hirshfeld", "TS"),
             ("d3", "D3"))  # fmt: skip
    dispersion = next((name for word, name in words if re.search(rf"^  +{word}\b", control, re.M)), None)
    mesh = _mesh(r"^  +k_grid +(\d+) +(\d+) +(\d+)", control)
    return {
        "code_version": _first(r"FHI-aims version +: +(\S+)", text) or _first(r"Version +(\d{6}\S*)", text),
        "functional": AIMS_FUNCTIONALS.get(written.lower(), written) if written else None,
        "kpoints": mesh if mesh is not None or not np.any(atoms.pbc) else {"mesh": [1, 1, 1]},
        "spin_polarised": spin == "collinear",
        "dispersion": dispersion,
        "method": "all-electron",
    }


def cp2k(text: str, _: Atoms) -> Raw:
    """CP2K with Quickstep; the basis set of an element is named with its pseudopotential."""
    names = re.findall(r"^ FUNCTIONAL\| ([\w-]+):", text, re.M)
    found = re.findall(
        r"^ +\d+\. Atomic kind: (\S+) .*?Orbital Basis Set +(\S+).*?Potential information for +(\S+)", text, re.M | re.S
    )
    vdw = _first(r"^ vdW POTENTIAL\| +(DFT-D\d\S*|\S*D\d\(BJ\)|rVV10|\S+)", text)
    return {
        "code_version": _first(r"CP2K version (\S+)", text),
        "functional": "+".join(dict.fromkeys(names)) or None,
        "cutoff_ev": _number(r"^ QS\| Density cutoff \[a\.u\.\]: +(\S+)", text, HARTREE),
        "pseudopotentials": {_element(kind): f"{potential} {basis}" for kind, basis, potential in found},
        "kpoints": _mesh(r"BRILLOUIN\| K-Point grid +(\d+) +(\d+) +(\d+)", text) or {"mesh": [1, 1, 1]},
        "spin_polarised": "Spin unrestricted" in text,
        "dispersion": vdw,
    }
