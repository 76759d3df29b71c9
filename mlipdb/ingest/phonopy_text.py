"""Understanding the text of phonopy's files: cells, displacements, forces, force constants, units.

phonopy's own reader would build Python objects that a file asks for; here its files are plain data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest.calculation import MAX_FORCE, require_crystal
from mlipdb.ingest.phonopy_units import Units, units_of
from mlipdb.ingest.plain_yaml import plain_yaml

if TYPE_CHECKING:
    from ase import Atoms

    from mlipdb.physics.phonopy_data import PhonopyData

__all__ = ["FORCE_CONSTANTS", "FORCE_SETS", "read_phonopy_text"]

Floats = NDArray[np.float64]
Raw = dict[str, Any]

FORCE_SETS, FORCE_CONSTANTS = "FORCE_SETS", "FORCE_CONSTANTS"
#: Largest displacement believed to be a harmonic one, Angstrom.
MAX_DISPLACEMENT = 0.5
#: Largest force constant believed, eV/Angstrom^2: C-C bonds in diamond have below 1e2.
MAX_FORCE_CONSTANT = 1e4
#: Atoms of a supercell; of one with force constants, which grow with the square.
MAX_ATOMS, MAX_ATOMS_FORCE_CONSTANTS = 10_000, 2_000
#: The supercell of a file may differ so much from the one that its unit cell and matrix give, Angstrom.
SAME_SITE = 1e-3
#: A displacement of FORCE_SETS may differ so much from the one that the YAML file lists, Angstrom.
SAME_DISPLACEMENT = 1e-4
#: An atom that moves less than this is at rest, Angstrom.
AT_REST = 1e-8


def read_phonopy_text(files: Mapping[str, str]) -> PhonopyData:
    """Read the texts of a phonopy calculation.

    Parameters
    ----------
    files
        File name to text: one YAML file, and ``FORCE_SETS`` or ``FORCE_CONSTANTS`` where the YAML file has no forces.

    Returns
    -------
    PhonopyData
        In eV and Angstrom; with force constants only where there are no forces.

    Raises
    ------
    IngestError
        Reasons ``bad_yaml``, ``bad_phonopy_file``, ``bad_units``, ``disordered``, ``bad_cell``, ``bad_element``,
        ``bad_supercell``, ``too_large``, ``no_forces``, ``missing_forces``, ``wrong_shape``, ``not_finite``,
        ``bad_displacement``, ``other_displacements``, ``many_displaced_atoms``, ``force_too_large``,
        ``bad_force_constants``.
    """
    name = next((item for item in files if item not in (FORCE_SETS, FORCE_CONSTANTS)), "phonopy.yaml")
    content = plain_yaml(files.get(name, ""), name)
    if not isinstance(content, dict):
        raise _bad(name, "holds no mapping; a file that phonopy wrote is needed")
    try:
        return _read(content, files, name)
    except ConfigurationError as error:
        raise IngestError(error.message, reason=error.reason) from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise _bad(name, f"is no file that phonopy wrote ({type(error).__name__}: {str(error)[:200]})") from None


def _read(content: Raw, files: Mapping[str, str], name: str) -> PhonopyData:
    from mlipdb.physics.phonopy_data import PhonopyData

    units = units_of(content, name)
    if "unit_cell" not in content or "supercell_matrix" not in content:
        raise _bad(name, "has no unit_cell or no supercell_matrix; write it again with phonopy's `save`")
    unitcell = _cell(content["unit_cell"], units, name)
    require_crystal(name, unitcell)
    matrix = _matrix(content["supercell_matrix"], len(unitcell), name)
    supercell = _supercell(unitcell, matrix)
    if "supercell" in content:
        _require_same(_cell(content["supercell"], units, name), supercell, name)
    displacements, forces = _forces(content, files, len(supercell), units, name)
    constants = (
        None if forces is not None else _force_constants(content, files, unitcell, matrix, supercell, units, name)
    )
    if forces is None and constants is None:
        raise IngestError(
            f"{name} holds {len(displacements)} displacements but no forces and no force constants; put FORCE_SETS "
            "beside it, or add the calculations of the displaced supercells themselves",
            reason="no_forces",
        )
    return PhonopyData(
        unitcell=unitcell,
        supercell_matrix=matrix,
        supercell=supercell,
        displacements=displacements if forces is not None else [],
        forces=forces,
        force_constants=constants,
        calculator=units.calculator,
        born_charges=any("born_effective_charge" in place for place in (content, content.get("nac") or {})),
    )


def _cell(content: Raw, units: Units, name: str) -> Atoms:
    from ase import Atoms
    from ase.data import atomic_numbers

    points = content["points"]
    if not isinstance(points, list) or not 0 < len(points) <= MAX_ATOMS:
        raise _bad(name, f"has a cell of {len(points)} atoms; 1 to {MAX_ATOMS} are taken", "too_large")
    if any("mixture" in point or point.get("weight", 1) != 1 for point in points):
        raise _bad(name, "has sites of mixed occupation; every site must hold one whole atom", "disordered")
    symbols = [str(point["symbol"]) for point in points]
    unknown = sorted({symbol for symbol in symbols if atomic_numbers.get(symbol, 0) == 0})
    if unknown:
        raise _bad(name, f"has the symbols {', '.join(unknown)[:60]}, which are no elements", "bad_element")
    lattice = _array(content["lattice"], (3, 3), "a lattice", name) * units.length
    fractions = _array([point["coordinates"] for point in points], (len(points), 3), "coordinates", name)
    if np.abs(fractions).max() > 100:
        raise _bad(name, "has coordinates far outside its cell; fractional ones are expected", "bad_cell")
    return Atoms(symbols, cell=lattice, positions=fractions @ lattice, pbc=True)


def _matrix(value: Any, n_atoms: int, name: str) -> NDArray[np.int64]:
    given = _array(value, (3, 3), "a supercell_matrix", name)
    whole = np.rint(given)
    if np.abs(given).max() > 1000 or np.abs(given - whole).max() > 1e-6 or round(abs(np.linalg.det(whole))) == 0:
        raise _bad(name, f"has the supercell_matrix {value!s:.120}; small integers, not singular, are needed")
    size = round(abs(float(np.linalg.det(whole)))) * n_atoms
    if size > MAX_ATOMS:
        raise _bad(name, f"has a supercell of {size} atoms; at most {MAX_ATOMS} are taken", "too_large")
    # phonopy's matrix acts on column vectors.
    result: NDArray[np.int64] = whole.T.astype(np.int64)
    return result


def _supercell(unitcell: Atoms, matrix: NDArray[np.int64]) -> Atoms:
    """The supercell in phonopy's order of atoms."""
    from phonopy.structure.cells import get_supercell

    from mlipdb.physics.crystals import to_ase, to_phonopy

    return to_ase(get_supercell(to_phonopy(unitcell), matrix.T))


def _require_same(stated: Atoms, made: Atoms, name: str) -> None:
    """Raise unless the supercell of a file is the one its unit cell and matrix make, in the same order."""
    from mlipdb.physics.cells import fractional, wrapped

    fits = len(stated) == len(made) and np.array_equal(stated.numbers, made.numbers)
    fits = fits and bool(np.abs(stated.cell.array - made.cell.array).max() < SAME_SITE)
    if fits:
        gaps = wrapped(fractional(stated) - fractional(made)) @ made.cell.array
        fits = bool(np.linalg.norm(gaps, axis=1).max() < SAME_SITE)
    if not fits:
        raise _bad(
            name, "has a supercell that its unit_cell and supercell_matrix do not give; write it again", "bad_supercell"
        )


def _forces(
    content: Raw, files: Mapping[str, str], n_atoms: int, units: Units, name: str
) -> tuple[list[tuple[int, Floats]], Floats | None]:
    """Displacements and forces of the YAML file, else of FORCE_SETS."""
    entries = _entries(content, n_atoms, name)
    source = name
    fitted = not entries and "dataset" in content  # FORCE_SETS of one atom each is of another run
    if not any(forces is not None for _, _, forces in entries) and FORCE_SETS in files and not fitted:
        listed = [(atom, _array(vector, (3,), "a displacement", name)) for atom, vector, _ in entries]
        entries, source = _force_sets(files[FORCE_SETS], n_atoms), FORCE_SETS
        _require_listed(listed, entries, units, name)
    displacements = [
        (atom, _array(vector, (3,), "a displacement", source) * units.length) for atom, vector, _ in entries
    ]
    for number, (atom, vector) in enumerate(displacements, start=1):
        if not 0 <= atom < n_atoms or not AT_REST < np.linalg.norm(vector) <= MAX_DISPLACEMENT:
            raise _bad(
                source,
                f"displaces atom {atom + 1} of {n_atoms} by {np.linalg.norm(vector):.3g} Angstrom in displacement "
                f"{number}; up to {MAX_DISPLACEMENT} of an atom of the supercell is expected",
                "bad_displacement",
            )
    without = [number for number, (_, _, forces) in enumerate(entries, start=1) if forces is None]
    if len(without) == len(entries):
        return displacements, None
    if without:
        raise _bad(
            source, f"has no forces for displacement {without[0]} ({len(without)} of {len(entries)})", "missing_forces"
        )
    found = [
        _array(forces, (n_atoms, 3), f"forces of displacement {number}", source) * units.force
        for number, (_, _, forces) in enumerate(entries, start=1)
    ]
    with np.errstate(over="ignore"):
        largest = max(float(np.linalg.norm(forces, axis=1).max()) for forces in found)
    if largest > MAX_FORCE:
        raise _bad(
            source, f"has a force of {largest:.3g} eV/Angstrom; at most {MAX_FORCE:g} is believed", "force_too_large"
        )
    return displacements, np.array(found)


def _require_listed(
    listed: list[tuple[int, Floats]], entries: list[tuple[int, Any, Any]], units: Units, name: str
) -> None:
    """Raise unless FORCE_SETS has the displacements of the YAML file, where that lists some."""
    if not listed:
        return
    found = [(atom, _array(vector, (3,), "a displacement", FORCE_SETS)) for atom, vector, _ in entries]
    pairs = list(zip(listed, found, strict=False))
    number = next(
        (
            number
            for number, ((atom, vector), (other, moved)) in enumerate(pairs, start=1)
            if atom != other or np.abs(vector - moved).max() * units.length > SAME_DISPLACEMENT
        ),
        None,
    )
    if number is None and len(listed) == len(found):
        return
    where = f"{len(found)} in place of {len(listed)}" if number is None else f"number {number} is the first"
    raise _bad(
        FORCE_SETS, f"has other displacements than {name} beside it ({where}); put the files of each run into a folder "
        "of their own", "other_displacements",
    )  # fmt: skip


def _entries(content: Raw, n_atoms: int, name: str) -> list[tuple[int, Any, Any]]:
    """(atom from 0, vector, forces or None) of the displaced supercells in a YAML file."""
    if "dataset" in content:
        dataset = content["dataset"]
        forces = dataset.get("forces")
        moved = _array(dataset["displacements"], (None, n_atoms, 3), "displacements", name)
        if forces is not None and len(forces) != len(moved):
            raise _bad(name, f"has {len(moved)} displaced supercells but forces of {len(forces)}", "wrong_shape")
        return _single(moved, forces, content, name)
    listed = content.get("displacements") or []
    if listed and isinstance(listed[0], list):  # many displaced atoms, as phonopy before 2.24 wrote them
        moved = _array([[atom["displacement"] for atom in one] for one in listed], (None, n_atoms, 3), "them", name)
        forces = [[atom["force"] for atom in one] for one in listed] if "force" in listed[0][0] else None
        return _single(moved, forces, content, name)
    return [(int(entry["atom"]) - 1, entry["displacement"], entry.get("forces")) for entry in listed]


def _single(moved: Floats, forces: Any, content: Raw, name: str) -> list[tuple[int, Any, Any]]:
    """Supercells with displacements for every atom, if only one of them moves."""
    norms = np.linalg.norm(moved, axis=2)
    if not np.all((norms > AT_REST).sum(axis=1) == 1):
        if "force_constants" in content:
            return []  # fitted already
        raise _bad(
            name,
            f"displaces {int((norms > AT_REST).sum(axis=1).max())} atoms of a supercell at once; displacements of one "
            "atom each are needed, or the force constants fitted to them "
            "(phonopy's `save(settings={'force_constants': True})`)",
            "many_displaced_atoms",
        )
    atoms = norms.argmax(axis=1)
    return [
        (int(atom), moved[number, atom], None if forces is None else forces[number])
        for number, atom in enumerate(atoms)
    ]


def _force_sets(text: str, n_atoms: int) -> list[tuple[int, Any, Any]]:
    """Displacements and forces of a FORCE_SETS file with one displaced atom each."""
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    try:
        if not rows or len(rows[0]) != 1:
            raise _bad(
                FORCE_SETS,
                "displaces all atoms at once; displacements of one atom each are needed",
                "many_displaced_atoms",
            )
        stated, count, body = int(rows[0][0]), int(rows[1][0]), rows[2:]
        if stated != n_atoms or len(body) != count * (n_atoms + 2):
            raise _bad(
                FORCE_SETS,
                f"is of {count} supercells of {stated} atoms in {len(body)} lines; {n_atoms} atoms, each supercell in "
                f"{n_atoms + 2} lines, are expected",
                "wrong_shape",
            )
        blocks = [body[start : start + n_atoms + 2] for start in range(0, len(body), n_atoms + 2)]
        return [(int(block[0][0]) - 1, block[1], block[2:]) for block in blocks]
    except (ValueError, IndexError) as error:
        raise _bad(FORCE_SETS, f"is no file that phonopy wrote ({error})") from None


def _force_constants(
    content: Raw,
    files: Mapping[str, str],
    unitcell: Atoms,
    matrix: NDArray[np.int64],
    supercell: Atoms,
    units: Units,
    name: str,
) -> Floats | None:
    """Force constants between all atoms of the supercell, shape (N, N, 3, 3)."""
    n_atoms = len(supercell)
    if "force_constants" in content:
        shape, elements = content["force_constants"]["shape"], content["force_constants"]["elements"]
    elif FORCE_CONSTANTS in files:
        rows = [line.split() for line in files[FORCE_CONSTANTS].splitlines() if line.strip()]
        shape = [int(word) for word in rows[0]] * (2 // len(rows[0]))
        elements = [rows[start + 1 : start + 4] for start in range(1, len(rows), 4)]
        name = FORCE_CONSTANTS
    else:
        return None
    if n_atoms > MAX_ATOMS_FORCE_CONSTANTS:
        raise _bad(name, f"has force constants of {n_atoms} atoms; {MAX_ATOMS_FORCE_CONSTANTS} are taken", "too_large")
    first, second = (int(number) for number in shape)
    if second != n_atoms or not 0 < first <= n_atoms:
        raise _bad(name, f"has force constants of shape {shape} for {n_atoms} atoms", "wrong_shape")
    flat = _array(elements, (first * second, 3, 3), "force constants", name)
    if np.abs(flat).max() * units.force_constants > MAX_FORCE_CONSTANT:
        raise _bad(name, f"has a force constant above {MAX_FORCE_CONSTANT:g} eV/Angstrom^2", "bad_force_constants")
    constants = flat.reshape(first, second, 3, 3) * units.force_constants
    return constants if first == n_atoms else _all_rows(constants, unitcell, matrix, content, name)


def _all_rows(constants: Floats, unitcell: Atoms, matrix: NDArray[np.int64], content: Raw, name: str) -> Floats:
    """Force constants of all atoms from those of a primitive cell's, by translation."""
    from phonopy import Phonopy
    from phonopy.harmonic.force_constants import compact_fc_to_full_fc

    from mlipdb.physics.crystals import to_phonopy

    given = content.get("primitive_matrix")
    axes = np.eye(3) if given is None else _array(given, (3, 3), "a primitive_matrix", name)
    try:
        phonopy = Phonopy(to_phonopy(unitcell), supercell_matrix=matrix.T, primitive_matrix=axes, log_level=0)
    except (RuntimeError, ValueError) as error:
        raise _bad(name, f"has a primitive_matrix that does not fit its unit cell ({error})") from None
    if len(phonopy.primitive.p2s_map) != len(constants):
        raise _bad(
            name,
            f"has force constants of {len(constants)} atoms; its primitive cell has {len(phonopy.primitive.p2s_map)}",
            "wrong_shape",
        )
    full: Floats = np.array(compact_fc_to_full_fc(phonopy.primitive, np.array(constants, order="C")))
    return full


def _array(value: Any, shape: tuple[int | None, ...], what: str, name: str) -> Floats:
    """Numbers of a shape (None: any number), all finite."""
    try:
        array = np.array(value, dtype=float)
    except (TypeError, ValueError, OverflowError):
        raise _bad(name, f"has {what} that are no numbers in equal rows", "wrong_shape") from None
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = tuple("any" if want is None else want for want in shape)
        raise _bad(name, f"has {what} of shape {array.shape}; {wanted} is needed", "wrong_shape")
    if not np.all(np.isfinite(array)):
        raise _bad(name, f"has NaN or infinity in {what}; only finite numbers are taken", "not_finite")
    return array


def _bad(name: str, what: str, reason: str = "bad_phonopy_file") -> IngestError:
    return IngestError(f"{name} {what}", reason=reason)
