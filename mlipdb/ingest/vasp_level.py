"""Level of theory of a VASP calculation, for documents and directories alike.

What is read, all of it as VASP or pymatgen writes it: ``incar`` and ``parameters`` (what the user
set, and what VASP ran with), ``kpoints``, ``potcars`` (TITEL lines), ``hubbards`` and ``run_type``.
The hash of a POTCAR takes no part: directories do not have it, and one TITEL is one potential.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlipdb.errors import ConfigurationError
from mlipdb.ingest.vasp_functional import functional_of
from mlipdb.ingest.vasp_tags import Tags, element_of, flag, integer, numbers, positive, symbol_of
from mlipdb.schemas.level_of_theory import LevelOfTheory, k_length_class

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["CODE", "PARAMETERS", "element_of_titel", "level_of"]

CODE = "VASP"
Inputs = Mapping[str, Any]

#: Parameters of vasprun.xml that decide on the level of theory or on its self-consistency.
PARAMETERS = (
    "AEXX", "ALGO", "BPARAM", "CPARAM", "ENMAX", "GGA", "HFSCREEN", "IBRION", "ICHARG", "ISPIN", "IVDW", "IVDW_NL",
    "KSPACING", "LDAU", "LDAUJ", "LDAUL", "LDAUTYPE", "LDAUU", "LEPSILON", "LHFCALC", "LIBXC1", "LIBXC2",
    "LNONCOLLINEAR", "LSORBIT", "LUSE_VDW", "LVDW", "METAGGA", "NELECT", "NELM", "NSW", "PARAM1", "PARAM2", "PSTRESS",
)  # fmt: skip

#: Kinds of ALGO whose last numbers are not those of a ground state.
EXCITED = ("GW", "G0W0", "EVGW", "QPGW", "SCGW", "CHI", "BSE", "TDHF", "TIMEEV", "ACFDT", "RPA", "2E4W", "CRPA")
FIXED_ALGO = ("NONE", "NOTHING", "EXACT", "EIGENVAL", "DIAG")


def level_of(task_id: str, atoms: Atoms, inputs: Inputs) -> LevelOfTheory:
    """Level of theory of a VASP calculation.

    Parameters
    ----------
    task_id
        Named in errors.
    atoms
        Structure; its cell turns a k-point mesh into a density.
    inputs
        Mapping of ``incar``, ``parameters``, ``kpoints`` (``mesh``, or pymatgen's ``Kpoints.as_dict()``),
        ``potcars`` (TITEL lines), ``hubbards`` (eV by element), ``run_type`` and ``neutral_electrons`` (what
        the POTCARs add up to); each may be missing.

    Raises
    ------
    ConfigurationError
        With the reason ``no_level`` if nothing tells the functional, ``bad_level`` if an input has the
        wrong form; ``not_self_consistent`` or ``force_field`` if energy and forces are not those of a
        self-consistent ground state, ``charged`` if the cell is not neutral.
    """
    try:
        _require_ground_state(task_id, inputs)
        _require_neutral(task_id, inputs)
        return _level(task_id, atoms, inputs)
    except (TypeError, ValueError, AttributeError, OverflowError, KeyError, IndexError) as error:
        first = str(error).splitlines()[0] if str(error) else ""
        raise ConfigurationError(
            f"task {task_id}: its level of theory cannot be read ({type(error).__name__}: {first:.200}); INCAR, "
            "KPOINTS and POTCAR.spec as VASP and pymatgen write them are expected",
            reason="bad_level",
        ) from None


def _require_ground_state(task_id: str, inputs: Inputs) -> None:
    """Raise for a fixed density, a single diagonalisation, methods for excited states, and learned forces."""
    said = Tags(inputs)
    charge, algorithm = integer(said("ICHARG"), 0), str(said("ALGO") or "").strip().upper()
    what = None
    if charge >= 10:
        what = f"ICHARG = {charge} keeps the charge density fixed"
    elif algorithm.startswith(EXCITED):
        what = f"ALGO = {algorithm} is a method for excited states or response"
    elif algorithm in FIXED_ALGO:
        what = f"ALGO = {algorithm} makes no self-consistency"
    if what is not None:
        raise ConfigurationError(
            f"task {task_id}: {what}; its energy and forces are no labels, those of a self-consistent calculation "
            "are needed",
            reason="not_self_consistent",
        )
    if flag(said("ML_LMLFF")):
        raise ConfigurationError(
            f"task {task_id}: ML_LMLFF = T: its energy and forces may be those of VASP's own force field; only DFT "
            "calculations are labels",
            reason="force_field",
        )


def _require_neutral(task_id: str, inputs: Inputs) -> None:
    """Raise for a charged cell: its energy holds a background, and depends on the size of the cell.

    VASP's own number of electrons is that of the neutral cell, so only an INCAR makes it another one.
    """
    said, neutral = Tags(inputs), inputs.get("neutral_electrons")
    told = said.incar.get("NELECT") if neutral is None else said("NELECT")
    if told is None or (neutral is not None and not abs(float(told) - float(neutral)) > 1e-3):
        return
    known = "nothing tells how many the neutral cell has" if neutral is None else f"the neutral cell has {neutral:g}"
    raise ConfigurationError(
        f"task {task_id}: NELECT = {float(told):g} electrons, {known}; the energy of a charged cell is no label, "
        "remove NELECT from the INCAR",
        reason="charged",
    )


def _level(task_id: str, atoms: Atoms, inputs: Inputs) -> LevelOfTheory:
    said = Tags(inputs)
    titels = _titels(inputs.get("potcars"))
    functional, dispersion = functional_of(said, titels, inputs.get("run_type"))
    if functional is None:
        raise ConfigurationError(
            f"task {task_id}: nothing tells its functional; GGA or METAGGA in the INCAR, the TITEL of a POTCAR or a "
            "run_type is needed",
            reason="no_level",
        )
    cutoff = said("ENCUT") if said("ENCUT") is not None else said("ENMAX")
    k_length, spacing = (None, None) if _is_isolated(atoms) else _k_density(atoms, inputs, said)
    elements = set(atoms.get_chemical_symbols())
    return LevelOfTheory(
        code=CODE,
        functional=functional,
        method=_method(titels),
        hubbard_u={key: value for key, value in _hubbard(said, inputs, titels).items() if key in elements},
        cutoff_ev=None if cutoff is None else positive("ENCUT", cutoff),
        pseudopotentials=_by_element(titels, elements),
        k_length_class=None if k_length is None else k_length_class(k_length),
        k_spacing=spacing,
        spin_polarised=integer(said("ISPIN"), 1) == 2 or flag(said("LNONCOLLINEAR")),
        dispersion=dispersion,
    ).with_keys()


def _hubbard(said: Tags, inputs: Inputs, titels: Sequence[str]) -> dict[str, float]:
    """U - J in eV of each element that has one."""
    given = inputs.get("hubbards")
    if isinstance(given, Mapping) and any(given.values()):
        found = {element_of(str(key)): float(value or 0.0) for key, value in given.items()}
    elif flag(said("LDAU")):
        us, js = numbers(said("LDAUU")), numbers(said("LDAUJ"))
        js = js if len(js) == len(us) else [0.0] * len(us)
        found = {}
        ls = numbers(said("LDAUL"))
        ls = ls if len(ls) == len(us) else [2.0] * len(us)
        for titel, u, j, momentum in zip(titels, us, js, ls, strict=False):
            name = element_of(symbol_of(titel))
            found[name] = found.get(name, 0.0) or (u - j if momentum >= 0 else 0.0)
    else:
        return {}
    without = _without_u(said, titels)
    return {key: value for key, value in sorted(found.items()) if key and key not in without and abs(value) > 1e-8}


def _without_u(said: Tags, titels: Sequence[str]) -> set[str]:
    """Elements that LDAUL = -1 takes out of +U, whatever their U is."""
    pairs = zip(titels, numbers(said("LDAUL")), strict=False)
    kinds = [(element_of(symbol_of(titel)), momentum) for titel, momentum in pairs]
    return {name for name, _ in kinds} - {name for name, momentum in kinds if momentum >= 0}


def _titels(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        raise TypeError("potcars that are no list of text")
    return [" ".join(item.split()) for item in value if item.strip()]


def element_of_titel(titel: str) -> str:
    """Element of a POTCAR: ``Li`` of ``PAW_PBE Li_sv 10Sep2004``; empty where there is none."""
    return element_of(symbol_of(titel)) if titel.strip() else ""


def _by_element(titels: Sequence[str], elements: set[str]) -> dict[str, str]:
    """TITEL of each element; an element with several (two species of it) has them all."""
    found: dict[str, set[str]] = {}
    for titel in titels:
        found.setdefault(element_of(symbol_of(titel)), set()).add(titel)
    return {key: " + ".join(sorted(value)) for key, value in sorted(found.items()) if key in elements}


def _method(titels: Sequence[str]) -> str | None:
    kinds = {titel.split()[0].upper().split("_")[0] for titel in titels}
    if kinds == {"PAW"}:
        return "PAW"
    return "ultrasoft" if kinds == {"US"} else None


def _is_isolated(atoms: Atoms) -> bool:
    from mlipdb.physics.config_types import classify

    return len(atoms) == 1 and bool(atoms.cell.rank == 3) and classify(atoms, None) == "isolated_atom"


def _k_density(atoms: Atoms, inputs: Inputs, said: Tags) -> tuple[float | None, float | None]:
    """Length in Angstrom that the k-points stand for, and the KSPACING where that made them.

    VASP takes ``max(1, ceil(2 pi |b_i| / KSPACING))`` points, so the same KSPACING gives cells of
    different size different densities; all of them are the level that was asked for, 2 pi / KSPACING.
    A KPOINTS file has the last word: KSPACING counts only where it explains the mesh.
    """
    spacing = said.incar.get("KSPACING")
    mesh, length = _mesh(inputs.get("kpoints"))
    if spacing is not None:
        step = positive("KSPACING", spacing)
        silent = mesh is None and length is None and not _is_list(inputs.get("kpoints"))
        if silent or (mesh is not None and _explains(step, mesh, atoms)):
            return 2.0 * np.pi / step, step
    if mesh is None:
        return length, None
    return float((mesh * atoms.cell.lengths()).min()), None


def _explains(spacing: float, mesh: Any, atoms: Atoms) -> bool:
    """Whether a KSPACING gives a mesh; the cell may have changed by some percent after that."""
    wanted = 2.0 * np.pi * np.linalg.norm(atoms.cell.reciprocal().array, axis=1) / spacing
    low, high = np.maximum(1, np.ceil(0.97 * wanted)), np.maximum(1, np.ceil(1.03 * wanted))
    return bool(np.all((mesh >= low) & (mesh <= high)))


def _is_list(kpoints: Any) -> bool:
    """Whether the k-points are listed one by one, or along lines."""
    if not isinstance(kpoints, Mapping) or kpoints.get("mesh") is not None:
        return False
    style = str(kpoints.get("generation_style") or "").lower()
    return bool(style) and not style.startswith(("g", "m", "a"))


def _mesh(kpoints: Any) -> tuple[Any, float | None]:
    """Mesh of a regular grid, or the length of VASP's fully automatic one; None for lists and lines."""
    if not isinstance(kpoints, Mapping):
        return None, None
    values = kpoints.get("mesh")
    if values is None:
        style = str(kpoints.get("generation_style") or "").lower()
        rows = kpoints.get("kpoints") or []
        if not rows or not style.startswith(("g", "m", "a")):
            return None, None
        values = rows[0]
    if np.size(values) == 1:
        return None, positive("KPOINTS", np.ravel(values)[0])
    mesh = np.asarray(values, dtype=float)
    if mesh.shape != (3,) or not np.all(np.isfinite(mesh)) or not np.all(mesh >= 1):
        raise ValueError(f"a k-point mesh of {values!r:.80}")
    return mesh, None
