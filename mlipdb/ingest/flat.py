"""Flat records: one JSON object a calculation, as the shipped silicon data and simple scripts write them.

Needed are ``structure`` (pymatgen's ``Structure.as_dict()``), ``energy`` (eV, free energy of the
cell), ``forces`` (eV/Angstrom) and ``code`` with ``functional``; ``stress`` (Voigt, eV/Angstrom^3,
tension positive), ``calc_type``, ``allotrope``, ``converged``, ``pseudopotential``, ``ecutwfc_Ry`` or
``cutoff_ev``, ``kpoints`` are used where they stand; so are ``energy_kind`` (begins with ``free``,
``extrapolated``, ``internal`` or ``unknown``) and what `mlipdb export` writes (mlipdb/ingest/exported.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest.calculation import Calculation, EnergyKind, require_crystal
from mlipdb.ingest.exported import LEVEL, LEVEL_KEYS
from mlipdb.ingest.vasp_level import level_of
from mlipdb.schemas.configuration import CONFIG_TYPES, ConfigType
from mlipdb.schemas.level_of_theory import LevelOfTheory, k_length_class

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

__all__ = ["NAME", "interpret", "read_structure", "recognises", "task_id_of"]

NAME = "flat"

#: CODATA 2018 Rydberg energy in eV.
RYDBERG = 13.605693122994

#: Words of producers for the kinds of configuration.
KINDS: dict[str, ConfigType] = {
    "relax": "bulk",
    "static": "bulk",
    "phonon_displacement": "single_displacement",
    "rattle": "rattled",
    "md": "molecular_dynamics",
}


def recognises(raw: Mapping[str, Any]) -> bool:
    """Whether a raw task is a flat record."""
    return "structure" in raw and ("energy" in raw or "forces" in raw) and "output" not in raw


def task_id_of(raw: Mapping[str, Any]) -> str | None:
    """The producer's id, as text.

    Raises
    ------
    IngestError
        If it is neither text nor an integer.
    """
    value = raw.get("task_id")
    if value is not None and (isinstance(value, bool) or not isinstance(value, (str, int))):
        raise IngestError(f"its task_id is a {type(value).__name__}; text or an integer is needed", reason="bad_id")
    return None if value is None or value == "" else str(value)


def interpret(task_id: str, raw: Mapping[str, Any]) -> Calculation:
    """Read a flat record.

    Raises
    ------
    ConfigurationError
        If a field is missing or of the wrong form.
    """
    for field in ("allotrope", "material", "calc_type", "config_type"):
        _require_text(task_id, field, raw.get(field))
    atoms = read_structure(task_id, raw.get("structure"))
    require_crystal(task_id, atoms)
    name = raw.get("allotrope") or raw.get("material")
    return Calculation(
        task_id=task_id,
        atoms=atoms,
        energy=_number(task_id, "energy", raw.get("energy")),
        forces=_array(task_id, "forces", raw.get("forces")),
        stress=_stress(task_id, raw.get("stress")),
        level=_read_level(task_id, raw, atoms),
        converged=_flag(task_id, "converged", raw.get("converged")) is not False,
        energy_kind=_energy_kind(task_id, raw.get("energy_kind")),
        config_type=_kind(raw),
        material_names=[name] if name else [],
        foreign_ids=_foreign_ids(raw),
    )


def read_structure(task_id: str, structure: Any) -> Atoms:
    """Atoms of pymatgen's ``Structure.as_dict()``.

    Raises
    ------
    ConfigurationError
        ``bad_structure`` or ``disordered``.
    """
    from ase import Atoms

    try:
        sites = structure["sites"]
        symbols = [site["species"][0]["element"] for site in sites]
        if not symbols:
            raise ValueError("it has no sites")
        if any(len(site["species"]) != 1 or site["species"][0].get("occu", 1) != 1 for site in sites):
            raise ConfigurationError(
                f"task {task_id}: its structure has sites of mixed or partial occupation; every site must hold one "
                "whole atom",
                reason="disordered",
            )
        if "lattice" not in structure:  # as pymatgen's Molecule: not periodic
            return Atoms(symbols, positions=np.array([site["xyz"] for site in sites], dtype=float).reshape(-1, 3))
        fractional = np.array([site["abc"] for site in sites], dtype=float)
        cell = np.array(structure["lattice"]["matrix"], dtype=float)
        if cell.shape != (3, 3):
            raise ValueError(f"a lattice matrix of shape {cell.shape}")
        # Not as scaled_positions, which ASE refuses for a cell without volume: that is told later, as such.
        return Atoms(symbols, cell=cell, positions=fractional.reshape(-1, 3) @ cell, pbc=True)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ConfigurationError(
            f"task {task_id}: its structure cannot be read ({type(error).__name__}: {error}); "
            "pymatgen's Structure.as_dict() is expected",
            reason="bad_structure",
        ) from None


def _require_text(task_id: str, name: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"task {task_id}: its {name} is {value!r:.80}; text is needed", reason="bad_text")


def _flag(task_id: str, name: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise ConfigurationError(
        f"task {task_id}: its {name} is {value!r:.80}; true, false or null is needed", reason="bad_flag"
    )


def _energy_kind(task_id: str, value: Any) -> EnergyKind:
    """The kind by its first word, such as ``free energy E-TS``; free where nothing is said."""
    _require_text(task_id, "energy_kind", value)
    word = (value or "free").split()[:1]
    return cast("EnergyKind", word[0]) if word and word[0] in get_args(EnergyKind) else "unknown"


def _foreign_ids(raw: Mapping[str, Any]) -> list[str]:
    listed = raw.get("foreign_ids")
    several = listed if isinstance(listed, list) else []
    return [str(item) for item in (raw.get("material_id"), raw.get("mp_id"), *several) if item]


def _number(task_id: str, name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigurationError(f"task {task_id}: its {name} is {value!r}; a number is needed", reason="bad_number")
    return float(value)


def _array(task_id: str, name: str, value: Any) -> NDArray[np.float64] | None:
    if value is None or (isinstance(value, list) and not value):
        return None
    try:
        # None inside stands for a number that the producer could not write: NaN, found later.
        return np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise ConfigurationError(f"task {task_id}: its {name} are no array of numbers", reason="bad_number") from None


def _stress(task_id: str, value: Any) -> NDArray[np.float64] | None:
    stress = _array(task_id, "stress components", value)
    if stress is not None and stress.shape != (6,):
        raise ConfigurationError(
            f"task {task_id}: its stress has shape {stress.shape}; (6,) in Voigt order xx yy zz yz xz xy is needed",
            reason="wrong_shape",
        )
    return stress


def _kind(raw: Mapping[str, Any]) -> ConfigType | None:
    word = raw.get("config_type") or raw.get("calc_type")
    if word == "phonon_displacement" and raw.get("displacement_index") == 0:
        return "bulk"  # the undisplaced supercell of a displacement set
    if word in CONFIG_TYPES:
        return cast("ConfigType", word)
    return KINDS.get(str(word))


def _read_level(task_id: str, raw: Mapping[str, Any], atoms: Atoms) -> LevelOfTheory:
    try:
        return _level(task_id, raw, atoms)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        first = str(error).splitlines()[0]
        raise ConfigurationError(
            f"task {task_id}: its level of theory cannot be read ({type(error).__name__}: {first}); cutoffs and "
            "k-point numbers must be numbers above zero, hubbard_u and pseudopotentials mappings by element",
            reason="bad_level",
        ) from None


def _level(task_id: str, raw: Mapping[str, Any], atoms: Atoms) -> LevelOfTheory:
    if isinstance(raw.get(LEVEL), Mapping):
        known = {name: raw[LEVEL][name] for name in LEVEL_KEYS if name in raw[LEVEL]}
        return LevelOfTheory.model_validate(known).with_keys()
    if isinstance(raw.get("vasp_inputs"), Mapping):
        return level_of(task_id, atoms, raw["vasp_inputs"])
    for needed in ("code", "functional"):
        if not isinstance(raw.get(needed), str) or not raw[needed]:
            raise ConfigurationError(
                f"task {task_id}: its level of theory has no {needed}; name it, such as "
                f"{'Quantum ESPRESSO' if needed == 'code' else 'PBE'!r}",
                reason="no_level",
            )
    cutoff = raw.get("cutoff_ev")
    if cutoff is None and raw.get("ecutwfc_Ry") is not None:
        cutoff = float(raw["ecutwfc_Ry"]) * RYDBERG
    pseudo = raw.get("pseudopotentials")
    if pseudo is None and raw.get("pseudopotential"):
        pseudo = dict.fromkeys(sorted(set(atoms.get_chemical_symbols())), str(raw["pseudopotential"]))
    isolated = len(atoms) == 1 and _kind(raw) == "isolated_atom"
    spin = _flag(task_id, "spin_polarised", raw.get("spin_polarised"))
    return LevelOfTheory(
        code=raw["code"],
        functional=raw["functional"],
        hubbard_u={str(key): float(value) for key, value in (raw.get("hubbard_u") or {}).items()},
        cutoff_ev=None if cutoff is None else float(cutoff),
        pseudopotentials=pseudo or {},
        k_length_class=None if isolated else _k_class(raw, atoms),
        k_spacing=None if isolated else _number("", "k_spacing", raw.get("k_spacing")),
        method=raw.get("method"),
        spin_polarised=isolated if spin is None else spin,
        dispersion=raw.get("dispersion"),
    ).with_keys()


def _k_class(raw: Mapping[str, Any], atoms: Atoms) -> float | None:
    kpoints, spacing = raw.get("kpoints"), raw.get("k_spacing")
    if isinstance(kpoints, Mapping) and "mesh" in kpoints:
        mesh = np.asarray(kpoints["mesh"], dtype=float)
        if mesh.shape != (3,) or not np.all(mesh >= 1):
            raise ValueError(f"a k-point mesh of {kpoints['mesh']}")
        lengths = mesh * atoms.cell.lengths()
        return k_length_class(float(lengths.min()))
    if spacing is None:
        return None
    if not float(spacing) > 0:
        raise ValueError(f"a k_spacing of {spacing}")
    return k_length_class(2 * np.pi / float(spacing))
