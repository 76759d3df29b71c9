"""The kind of a configuration, told from what people and workflows call their VASP calculations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mlipdb.schemas.configuration import ConfigType

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["kind_of"]

#: Names of atomate2, autoplex and of people; underscores and hyphens count as spaces.
ISOLATED = re.compile(r"stat\w* ?iso ?atom|isolated ?atoms?|iso ?atom\b|free ?atom\b")
RATTLED = re.compile(r"\brand(om)? (static|structures?|displacements?)\b|\b(mc )?rattl\w*")
MD = re.compile(r"\b(aimd|md|nvt|npt|nve|molecular dynamics)\b")


def kind_of(
    names: Iterable[Any], atoms: Atoms, inputs: Mapping[str, Any], folders: Iterable[Any] = ()
) -> ConfigType | None:
    """The kind that names and INCAR tell; None leaves it to the geometry.

    Taken are the things that geometry cannot tell: an atom that is meant to be isolated (in too small a
    box it is refused), a rattled cell (which may be a step of dynamics), and dynamics, which IBRION = 0
    says.  ``phonon static``, ``static`` and ``tight relax`` are left to the geometry, which sees whether
    one atom, many or none are displaced: phonon workflows run all of these under the same name.

    Parameters
    ----------
    names
        Labels and tags, the most telling first; what is no text is passed over.
    atoms
        The structure.
    inputs
        As for `mlipdb.ingest.vasp_level.level_of`.
    folders
        Names of the folder and those above it, which come after the names.  A folder called ``md`` holds
        all sorts of runs, so it makes dynamics only of what may be dynamics by its input.
    """
    incar = inputs.get("incar")
    if isinstance(incar, Mapping) and str(incar.get("IBRION")).strip() == "0" and _steps(incar) > 1:
        return "molecular_dynamics"
    n_atoms, may_be_md = len(atoms), _may_be_md(inputs)
    for name, by_hand in [*((name, True) for name in names), *((name, False) for name in folders)]:
        if not isinstance(name, str):
            continue
        words = re.sub(r"[\s_\-/.]+", " ", name[:200].lower()).strip()
        if n_atoms == 1 and ISOLATED.search(words):
            return "isolated_atom"
        if n_atoms > 1 and RATTLED.search(words):
            return "rattled"
        if n_atoms > 1 and MD.search(words) and (by_hand or may_be_md):
            return "molecular_dynamics"
    return None


def _may_be_md(inputs: Mapping[str, Any]) -> bool:
    """Whether IBRION and NSW leave room for dynamics; without NSW VASP makes none."""
    places = [place for name in ("parameters", "incar") if isinstance(place := inputs.get(name), Mapping)]
    said = {key: value for place in places for key, value in place.items() if value is not None}
    return not said or (str(said.get("IBRION", 0)).strip() == "0" and _steps(said) > 0)


def _steps(incar: Mapping[str, Any]) -> int:
    value = incar.get("NSW")
    return int(value) if isinstance(value, (int, float)) and value == value and abs(value) < 1e9 else 0
