"""VASP task documents of emmet, atomate2 and atomate: where each of them keeps what a label needs.

Labels come from the last ionic step of the newest calculation (``calcs_reversed[0]``), so a
relaxation gives its last step and nothing of its way there.  The energy is ``e_fr_energy``: forces are
the derivative of the free energy, ``e_0_energy`` is extrapolated to no smearing and is 0.0 in many
documents, and ``output.energy`` is meant to be that one: it is taken where nothing else is there, and
marked as extrapolated, which the quality gates hold back.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from mlipdb.errors import ConfigurationError, IngestError
from mlipdb.ingest.calculation import Calculation, EnergyKind, require_crystal
from mlipdb.ingest.flat import read_structure
from mlipdb.ingest.vasp_level import level_of
from mlipdb.ingest.vasp_names import kind_of
from mlipdb.ingest.vasp_tags import pressure_of
from mlipdb.ingest.vasp_values import is_converged, stress_of_kbar

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["first_mapping", "hashed_id", "interpret_task", "is_vasp_task", "other_code", "require_vasp", "text_id"]

Raw = Mapping[str, Any]

#: What a producer says of a task that ended well; anything else did not.
SUCCESS = (None, "successful", "success", "completed", True)
#: Words in the names of modules and programs, and beginnings of names of classes, that say another code.
OTHER_CODES = frozenset({
    "abinit", "aims", "castep", "cp2k", "dftb", "dftbplus", "espresso", "fhiaims", "gaussian", "gpaw", "jdftx",
    "lammps", "mopac", "nwchem", "openmm", "openmx", "orca", "psi4", "pwscf", "qc", "qchem", "quantumespresso",
    "siesta", "turbomole", "wien2k", "xtb",
})  # fmt: skip
OTHER_CLASSES = tuple(sorted(OTHER_CODES - {"qc"}))
OTHER_CODE_HELP = "task documents of VASP are read, and outputs of other codes as their files"
#: Fields that change when the same directory is read into a document again.
VOLATILE = ("_id", "last_updated", "completed_at", "entry", "builder_meta", "dir_name", "uuid", "task_id")


def is_vasp_task(doc: Any) -> bool:
    """Whether a document has the form of a VASP task of emmet, atomate2 or atomate."""
    if not isinstance(doc, Mapping) or not isinstance(doc.get("output"), Mapping):
        return False
    if "calcs_reversed" in doc:
        return True
    # Documents without their calculations (CoreTaskDoc): told from flat records by their inputs.
    return ("orig_inputs" in doc or "input" in doc) and "structure" in doc["output"]


def other_code(doc: Any) -> str | None:
    """What in a document says that another code than VASP made it; None where nothing does."""
    calc = _newest(doc) if isinstance(doc, Mapping) else {}
    for place in (first_mapping(doc), first_mapping(calc), first_mapping(calc.get("input")), first_mapping(
        first_mapping(doc).get("input")), first_mapping(first_mapping(doc).get("schema"))):  # fmt: skip
        for key in ("@module", "@class", "code"):
            value = place.get(key)
            if isinstance(value, str) and _names_code(value):
                return f"{key} is {value:.80}"
    return None


def _names_code(value: str) -> bool:
    """Whether the name of a module, class or program is that of another code; VASP's own name rules that out."""
    text = value[:500].lower()
    words = {*re.split(r"[^a-z0-9]+", text), re.sub(r"[^a-z0-9]+", "", text)}
    return "vasp" not in text and (bool(words & OTHER_CODES) or text.startswith(OTHER_CLASSES))


def require_vasp(doc: Any) -> None:
    """Raise for a document of another code in the same form.

    Raises
    ------
    IngestError
        ``other_code``.
    """
    said = other_code(doc)
    if said is not None:
        raise IngestError(f"its {said}: another code than VASP made it; {OTHER_CODE_HELP}", reason="other_code")


def text_id(value: Any) -> str | None:
    """A producer's id as opaque text; None where there is none.

    Raises
    ------
    IngestError
        ``bad_id`` if it is neither text nor an integer.
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise IngestError(f"its task_id is a {type(value).__name__}; text or an integer is needed", reason="bad_id")
    return str(value)


def hashed_id(name: str, doc: Raw) -> str:
    """An id from the content of a document that carries none; the same when it is made again from its directory."""
    kept = {key: value for key, value in doc.items() if key not in VOLATILE}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), default=str)
    return f"{name}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:20]}"


def interpret_task(task_id: str, doc: Raw, names: Iterable[Any] = ()) -> Calculation:
    """Read a VASP task document.

    Parameters
    ----------
    task_id
        Its id in the database.
    doc
        The document.
    names
        What its job was called besides, for the kind of the configuration.

    Raises
    ------
    ConfigurationError
        ``other_code``, ``task_failed``, ``not_self_consistent``, ``force_field``, ``no_forces``, ``no_energy``,
        ``bad_structure`` and the like.
    """
    said = other_code(doc)
    if said is not None:
        raise ConfigurationError(f"task {task_id}: its {said}: another code than VASP made it; {OTHER_CODE_HELP}",
                                 reason="other_code")  # fmt: skip
    calc = _newest(doc)
    output, result = first_mapping(calc.get("output")), first_mapping(doc.get("output"))
    step = _last_step(output)
    inputs = _inputs(doc, calc)
    structures = (step.get("structure"), output.get("structure"), result.get("structure"), doc.get("structure"))
    atoms = read_structure(task_id, next((item for item in structures if isinstance(item, Mapping)), None))
    require_crystal(task_id, atoms)
    level = level_of(task_id, atoms, inputs)
    converged = is_converged(task_id, step, inputs)
    _require_success(task_id, doc, calc, converged, inputs)
    forces = _vectors(task_id, "forces", step.get("forces"), result.get("forces"))
    if forces is None:
        raise ConfigurationError(
            f"task {task_id}: has no forces{'' if step else ', nor ionic steps that would hold them'}; documents "
            "without `calcs_reversed` (CoreTaskDoc) keep energies only; add the whole document or the VASP directory",
            reason="no_forces",
        )
    energy, energy_kind = _energy(task_id, step, output, result)
    if energy_kind == "free" and pressure_of(inputs) != 0:
        energy_kind = "unknown"  # e_fr_energy may be the enthalpy
    return Calculation(
        task_id=task_id,
        atoms=atoms,
        energy=energy,
        energy_kind=energy_kind,
        forces=forces,
        stress=stress_of_kbar(task_id, step.get("stress") or result.get("stress")),
        level=level,
        converged=converged is not False,
        config_type=kind_of([*names, *_names(doc)], atoms, inputs, _folders(doc)),
        foreign_ids=_foreign_ids(doc),
    )


def first_mapping(*values: Any) -> Raw:
    """The first of some values that is a mapping; an empty one if none is."""
    return next((value for value in values if isinstance(value, Mapping)), {})


def _newest(doc: Raw) -> Raw:
    calcs = doc.get("calcs_reversed")
    return first_mapping(*calcs[:1]) if isinstance(calcs, list) else {}


def _last_step(output: Raw) -> Raw:
    steps = output.get("ionic_steps")
    return first_mapping(*steps[-1:]) if isinstance(steps, list) else {}


def _inputs(doc: Raw, calc: Raw) -> dict[str, Any]:
    """What `vasp_level` reads, each from the record nearest to the run."""
    places = [first_mapping(place) for place in (calc.get("input"), doc.get("input"), doc.get("orig_inputs"))]
    return {
        "incar": first_mapping(*(place.get("incar") for place in places)),
        "parameters": first_mapping(*(place.get("parameters") for place in places)),
        "kpoints": first_mapping(*(place.get("kpoints") for place in places)),
        "potcars": next((found for place in places if (found := _potcars(place))), []),
        "hubbards": next((u for place in (*places, calc) if (u := place.get("hubbards"))), None),
        "run_type": calc.get("run_type") or doc.get("run_type"),
    }


def _potcars(place: Raw) -> list[str]:
    """TITEL lines, or what comes nearest to them."""
    specs = place.get("potcar_spec")
    if isinstance(specs, list) and specs:
        titels = [spec.get("titel") for spec in specs if isinstance(spec, Mapping)]
        if all(isinstance(titel, str) and titel for titel in titels):
            return [str(titel) for titel in titels]
    symbols: Any = place.get("potcar")
    kinds: Any = place.get("potcar_type")
    if isinstance(symbols, Mapping):  # pymatgen's Potcar
        symbols, kinds = symbols.get("symbols"), [f"PAW_{symbols.get('functional') or 'PBE'}"]
    pseudo = place.get("pseudo_potential")
    if not symbols and isinstance(pseudo, Mapping):
        symbols = pseudo.get("labels")
        kinds = [f"{pseudo.get('pot_type') or 'paw'}_{pseudo.get('functional') or 'pbe'}".upper()]
    if not isinstance(symbols, list) or not isinstance(kinds, list) or not kinds:
        return []
    return [f"{kinds[0]} {symbol}" for symbol in symbols if isinstance(symbol, str)]


def _require_success(task_id: str, doc: Raw, calc: Raw, converged: bool | None, inputs: Raw) -> None:
    """Raise if its producer calls a task failed, and nothing that is known of it explains that.

    emmet calls a calculation failed whose self-consistency ran out, which is said apart, and a
    relaxation that ran out of ionic steps, whose last step is a label as good as any.
    """
    states = [doc.get("state"), calc.get("has_vasp_completed")]
    bad = [state for state in states if state not in SUCCESS]
    if not bad or converged is False:
        return
    steps = first_mapping(inputs.get("incar")).get("NSW") or 0
    if not (converged and isinstance(steps, (int, float)) and steps > 1):
        raise ConfigurationError(
            f"task {task_id}: its producer says that it did not end well ({bad[0]!r:.40}); finish the calculation and "
            "add it again",
            reason="task_failed",
        )


def _energy(task_id: str, step: Raw, output: Raw, result: Raw) -> tuple[float, EnergyKind]:
    """The free energy; where no step and no OUTCAR tells it, what ``output.energy`` is by pymatgen."""
    outcar = first_mapping(output.get("outcar"))
    for value in (step.get("e_fr_energy"), outcar.get("final_fr_energy")):
        if _is_number(value) and value != 0.0:
            return float(value), "free"
    for value in (result.get("energy"), output.get("energy")):
        if _is_number(value):
            return float(value), "extrapolated"
    raise ConfigurationError(
        f"task {task_id}: has no energy in calcs_reversed[0].output.ionic_steps nor in output; add the whole document, "
        "with what its database keeps in GridFS or an additional store, or the VASP directory",
        reason="no_energy",
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _vectors(task_id: str, name: str, *values: Any) -> NDArray[np.float64] | None:
    value = next((value for value in values if value), None)
    if value is None:
        return None
    try:
        return np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise ConfigurationError(f"task {task_id}: its {name} are no array of numbers", reason="bad_number") from None


def _names(doc: Raw) -> list[Any]:
    tags = doc.get("tags")
    return [doc.get("task_label"), doc.get("name"), *(tags if isinstance(tags, list) else [])]


def _folders(doc: Raw) -> list[str]:
    folder = doc.get("dir_name")
    return folder.rstrip("/").split("/")[-2:][::-1] if isinstance(folder, str) else []


def _foreign_ids(doc: Raw) -> list[str]:
    """What others call the crystal, as they write it: never parsed."""
    extra = first_mapping(doc.get("additional_json"))
    found = [place.get(key) for place in (doc, extra) for key in ("material_id", "mp_id")]
    icsd = doc.get("icsd_id")
    found.append(None if icsd is None else f"icsd-{icsd}")
    return sorted({str(value) for value in found if isinstance(value, (str, int)) and value})
