"""The functional and the dispersion correction of a VASP calculation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlipdb.ingest.vasp_tags import Tags, element_of, first, flag, integer, numbers, real, symbol_of, word

__all__ = ["functional_of"]

#: INCAR tag GGA (VASP manual, "GGA").
GGA = {
    "PE": "PBE", "PS": "PBEsol", "91": "PW91", "AM": "AM05", "RP": "RPBE", "RE": "revPBE", "CA": "LDA", "PZ": "LDA",
    "BF": "BEEF", "B3": "B3LYP", "B5": "B3LYP", "OR": "optPBE", "BO": "optB88", "MK": "optB86b", "ML": "rPW86",
}  # fmt: skip
#: INCAR tag METAGGA; vasprun.xml cuts long names off.
META_GGA = {
    "SCAN": "SCAN", "RSCAN": "rSCAN", "R2SCA": "r2SCAN", "R2SCAN": "r2SCAN", "TPSS": "TPSS", "RTPSS": "revTPSS",
    "M06L": "M06-L", "MS0": "MS0", "MS1": "MS1", "MS2": "MS2",
}  # fmt: skip
#: INCAR tag IVDW (VASP manual, "IVDW").
IVDW = {
    1: "D2", 10: "D2", 11: "D3(0)", 12: "D3(BJ)", 13: "D4", 15: "DFT-ulg", 2: "TS", 20: "TS", 21: "TS+HI",
    202: "MBD@rsSCS", 263: "MBD@rsSCS/FI", 4: "dDsC",
}  # fmt: skip
#: Values of GGA and METAGGA that hand over to the library Libxc.
LIBXC = ("LI", "LIBXC")
#: BPARAM of rVV10 that was fitted to a functional, and the values VASP takes where none is set.
RVV10, BPARAM, CPARAM = {"SCAN": 15.7, "r2SCAN": 11.95}, 6.3, 0.0093
#: Hybrids that a ``run_type`` names, with their screening in 1/Angstrom.
HYBRIDS = {"HSE06": (0.2, 0.207), "HSE03": (0.3,), "PBE0": (0.0,)}
#: ``run_type`` of emmet and pymatgen where there is neither GGA nor a POTCAR to tell.
RUN_TYPES = {
    "GGA": "PBE", "PBE": "PBE", "PBESOL": "PBEsol", "LDA": "LDA", "HSE06": "HSE06", "HSE03": "HSE03", "PBE0": "PBE0",
    "SCAN": "SCAN", "RSCAN": "rSCAN", "R2SCAN": "r2SCAN", "RPBE": "RPBE", "AM05": "AM05", "PW91": "PW91",
}  # fmt: skip


def functional_of(said: Tags, titels: Sequence[str], run_type: Any) -> tuple[str | None, str | None]:
    """Functional and dispersion correction."""
    base = _gga(said, titels) or _from_run_type(run_type)
    meta = word(said("METAGGA"))
    dispersion = _correction(said)
    if meta and meta not in {"F", "FALSE", ".FALSE."}:
        base = _libxc(said) if meta in LIBXC else META_GGA.get(meta, meta)
        if flag(said("LUSE_VDW")):
            dispersion = _rvv10(base, said)
    elif flag(said("LUSE_VDW")) and base is not None:
        base, dispersion = _van_der_waals(base, said), _non_local(base, said)
    if flag(said("LHFCALC")):
        base = _hybrid(base or "PBE", said)
    if base is not None and flag(said("LDAU")) and integer(first(said("LDAUTYPE")), 2) != 2:
        base += _rotationally_invariant(said, titels)
    if base is not None and flag(said("LSORBIT")):
        base += " + SOC"
    return base, dispersion


def _gga(said: Tags, titels: Sequence[str]) -> str | None:
    tag = word(said("GGA"))
    if tag in LIBXC:
        return _libxc(said)
    if tag:
        return GGA.get(tag, f"GGA {tag}")
    kinds = sorted({titel.split()[0].upper() for titel in titels})
    if not kinds:
        return None
    if any("PBE" in kind for kind in kinds):
        return "PBE"
    return "PW91" if any("GGA" in kind or "91" in kind for kind in kinds) else "LDA"


def _libxc(said: Tags) -> str | None:
    """The functionals of Libxc with their parameters, all by number or label as the INCAR has them."""
    parts = []
    for tag in ("LIBXC1", "LIBXC2"):
        named = word(said(tag))
        if named:
            own = sorted(key for key in said.incar if key.startswith(f"{tag}_"))
            parts.append(" ".join([named, *(f"{key} {said(key)}" for key in own)]))
    return f"Libxc {' + '.join(parts)}" if parts else None


def _correction(said: Tags) -> str | None:
    """The dispersion correction; LVDW is the older name of IVDW = 1."""
    number = integer(said("IVDW"), 0) or int(flag(said("LVDW")))
    return IVDW.get(number, f"IVDW {number}") if number else None


def _non_local(base: str, said: Tags) -> str:
    """The kernel: rVV10 is chosen by IVDW_NL = 2, or by its parameters where VASP is older."""
    rvv10 = integer(said("IVDW_NL"), 1) == 2 or said.incar.get("BPARAM") is not None
    return _rvv10(base, said) if rvv10 else "vdW-DF"


def _rvv10(base: str | None, said: Tags) -> str:
    """rVV10, with the parameters that are not those of the functional."""
    b, c = real(said("BPARAM"), BPARAM), real(said("CPARAM"), CPARAM)
    other = [f"BPARAM {b:g}"] if abs(b - RVV10.get(base or "", BPARAM)) > 1e-6 else []
    other += [f"CPARAM {c:g}"] if abs(c - CPARAM) > 1e-8 else []
    return f"rVV10 ({', '.join(other)})" if other else "rVV10"


def _rotationally_invariant(said: Tags, titels: Sequence[str]) -> str:
    """The type of +U where not U - J alone counts: J of each element that has one, eV."""
    js = {element_of(symbol_of(titel)): j for titel, j in zip(titels, numbers(said("LDAUJ")), strict=False) if j}
    parts = [f"LDAUTYPE {integer(first(said('LDAUTYPE')), 2)}", *(f"J {name} {js[name]:g}" for name in sorted(js))]
    return f" ({', '.join(parts)})"


def _from_run_type(run_type: Any) -> str | None:
    return RUN_TYPES.get(str(run_type or "").upper().split("+")[0].strip())


def _van_der_waals(base: str, said: Tags) -> str:
    """The exchange of a non-local functional: two of them differ by their parameters alone."""
    first, second = real(said("PARAM1"), 0.1234), real(said("PARAM2"), 1.0)
    if base == "optB86b" and abs(second - 0.711357) < 1e-4:
        return "rev-vdW-DF2"
    usual = {"optB88": 0.1833333333, "optB86b": 0.1234, "optPBE": first, "revPBE": first, "rPW86": first}
    if base in usual and abs(first - usual[base]) < 1e-4:
        return base
    return f"{base} (PARAM1 {first:g}, PARAM2 {second:g})"


def _hybrid(base: str, said: Tags) -> str:
    """A hybrid by base, screening and fraction of exact exchange; what is not the usual is written out."""
    known = HYBRIDS.get(base)  # by run_type: named already
    fraction, screening = real(said("AEXX"), 0.25), real(said("HFSCREEN"), known[0] if known else 0.0)
    if known and round(screening, 4) in known:
        return base if abs(fraction - 0.25) < 1e-6 else f"{base} (AEXX {fraction:g})"
    base = "PBE" if known else base
    if base == "B3LYP":
        return base
    if abs(fraction - 1.0) < 1e-6 and not screening:
        return "HF"
    named = {("PBE", 0.2): "HSE06", ("PBE", 0.207): "HSE06", ("PBE", 0.3): "HSE03", ("PBE", 0.0): "PBE0"}
    named |= {("PBEsol", 0.2): "HSEsol", ("PBEsol", 0.207): "HSEsol", ("PBEsol", 0.0): "PBEsol0"}
    name = named.get((base, round(screening, 4)))
    if name is None:
        return f"hybrid {base} (AEXX {fraction:g}, HFSCREEN {screening:g})"
    return name if abs(fraction - 0.25) < 1e-6 else f"{name} (AEXX {fraction:g})"
