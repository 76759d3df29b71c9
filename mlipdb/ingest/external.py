"""Potentials whose files are not at hand: what is said of them, and the forces they gave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlipdb.errors import IngestError, UsageError
from mlipdb.ingest.files import Record
from mlipdb.ingest.phonopy_file import EXTERNAL, NAME, is_second, read_raw
from mlipdb.ingest.walk import walk
from mlipdb.ingest.writer import AddReport, TaskWriter
from mlipdb.schemas.common import utc_now
from mlipdb.schemas.keys import content_hash, make_key
from mlipdb.schemas.potential import Potential
from mlipdb.schemas.structure import formula_of
from mlipdb.stores import Database

__all__ = ["ExternalPotential", "add_external", "described", "hyperparameter_of_text", "scalar_of_text"]

Raw = dict[str, Any]
MAX_WORDS = 300
MAX_DEPTH = 5
#: What the words of command lines and CSV files stand for.
WORDS: dict[str, Any] = {"true": True, "false": False, "null": None, "none": None}


@dataclass(frozen=True)
class ExternalPotential:
    """What is said of a potential and one of its files.

    Attributes
    ----------
    path
        phonopy's file with the forces, or a folder of such files.
    name, framework, hyperparameters
        Which potential it is: its key is made of them.
    references
        DOIs or citations.
    license
        SPDX identifier.
    material, phonon
        The material (id or name) or phonon document it is held against; None: every one that fits.
    item
        Where in a manifest it stands.
    within
        The folder that its files must lie in: the manifest's.
    """

    path: Path
    name: str
    framework: str
    hyperparameters: Raw = field(default_factory=dict)
    references: list[str] = field(default_factory=list)
    license: str | None = None
    material: str | None = None
    phonon: str | None = None
    item: str = "0"
    within: Path | None = None

    def identity(self) -> Raw:
        """What the key of the potential is made of."""
        return {"framework": self.framework, "name": self.name, "hyperparameters": self.hyperparameters}

    @property
    def potential_id(self) -> str:
        """Key of the potential."""
        return make_key("pot", self.identity())


def described(path: Path, given: Mapping[str, Any], where: str, item: str = "0") -> ExternalPotential:
    """A potential as a command line or a row of a manifest describes it, checked.

    Parameters
    ----------
    path
        Its file or folder.
    given
        Fields of `ExternalPotential` but for the path; ``reference`` may stand for one of ``references``.
    where
        What to call the place in messages.
    item
        Row of a manifest.

    Raises
    ------
    UsageError
        A field is missing, unknown or of the wrong kind.
    """
    known = {"name", "framework", "hyperparameters", "reference", "references", "license", "material", "phonon"}
    for key in given:
        if key not in known:
            raise UsageError(f"{where}: there is no field {str(key)!r:.60}; {', '.join(sorted(known))} are known")
    texts = {key: given.get(key) for key in ("name", "framework", "license", "material", "phonon")}
    for key, value in texts.items():
        wrong = value is not None and (not isinstance(value, str) or not 0 < len(value.strip()) <= MAX_WORDS)
        if wrong or (value is None and key in ("name", "framework")):
            raise UsageError(f"{where}: {key} is {value!r:.60}; text is needed, such as "
                             f"{'gap' if key == 'framework' else 'GAP-2020'!r}")  # fmt: skip
    references = given.get("references", given.get("reference")) or []
    references = [references] if isinstance(references, str) else references
    if not isinstance(references, list) or not all(isinstance(text, str) and text for text in references):
        raise UsageError(f"{where}: references is {references!r:.60}; a DOI or citation, or a list of them, is needed")
    hyperparameters = given.get("hyperparameters") or {}
    if not isinstance(hyperparameters, Mapping) or not _is_plain(hyperparameters, MAX_DEPTH):
        raise UsageError(f"{where}: hyperparameters must be names with numbers, texts, or lists and mappings of them")
    return ExternalPotential(
        path=path,
        name=str(texts["name"]).strip(),
        framework=str(texts["framework"]).strip(),
        hyperparameters=dict(hyperparameters),
        references=references,
        license=texts["license"],
        material=texts["material"],
        phonon=texts["phonon"],
        item=item,
    )


def hyperparameter_of_text(texts: Iterable[str]) -> Raw:
    """Hyperparameters of a command line: ``n_sparse=200``, ``soap.l_max=6``.

    Raises
    ------
    UsageError
        One has no name or no value, or is given twice.
    """
    found: Raw = {}
    for text in texts:
        name, sign, value = (word.strip() for word in text.partition("="))
        if not sign or not name or not value:
            raise UsageError(f"--hyperparameter: {text!r} is no name with a value; write it as n_sparse=200")
        put_dotted(found, name, scalar_of_text(value), "--hyperparameter")
    return found


def put_dotted(target: Raw, name: str, value: Any, where: str) -> None:
    """Put a value under a dotted name.

    Raises
    ------
    UsageError
        If something is there already.
    """
    *groups, last = name.split(".")
    for group in groups:
        target = target.setdefault(group, {})
        if not isinstance(target, dict):
            raise UsageError(f"{where}: {name} is a group and a value at once")
    if last in target or not last:
        raise UsageError(f"{where}: {name} is given twice, or has no name")
    target[last] = value


def scalar_of_text(text: str) -> Any:
    """Number, truth value or text that a word stands for."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    if "_" in text:  # Python reads 1_000 as a number; elsewhere it is a name or a version
        return text
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _is_plain(value: Any, depth: int) -> bool:
    if isinstance(value, Mapping):
        names = all(isinstance(key, str) and key and not key.startswith("$") and "." not in key for key in value)
        return depth > 0 and names and all(_is_plain(item, depth - 1) for item in value.values())
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(item, depth - 1) for item in value)
    if isinstance(value, float):
        return value == value and abs(value) < float("inf")
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 2**63
    return value is None or isinstance(value, (str, bool))


def add_external(
    database: Database,
    potentials: Sequence[ExternalPotential],
    *,
    group: str | None = None,
    replace: bool = False,
    keep: int | None = 40,
    advance: Callable[[int], None] | None = None,
) -> AddReport:
    """Keep the forces of external potentials as raw tasks, and a document for each potential.

    Parameters
    ----------
    database
        Open database.
    potentials
        Files and what is said of them.
    group
        Owner written into the documents.
    replace
        Let new content replace the old whichever file it comes from.
    keep
        Number of items of which the report tells one by one; None for all.
    advance
        Called with the number of items just finished.
    """
    report = AddReport(keep=keep)
    writer = TaskWriter(database, group, report, replace)
    elements: dict[str, set[str]] = {}
    for potential in potentials:
        files = _files(potential, writer)
        for path in files:
            record, found = _record(path, potential)
            before = len(report.problems)
            writer.take(record)
            if len(report.problems) == before:
                elements.setdefault(potential.potential_id, set()).update(found)
            if advance is not None:
                advance(1)
        writer.forget(*files)
    if report.added or report.updated:
        database.touch("tasks")
    written = [_write(database, potential, elements, group) for potential in potentials]
    if any(written):
        database.touch("potentials")
    return report


def _files(potential: ExternalPotential, writer: TaskWriter) -> list[Path]:
    """The file of a description, or phonopy's files in its folder."""
    if potential.path.is_file():
        return _inside([potential.path], potential, writer)  # named by the user: it may be called anything
    try:
        found = [unit.path for unit in walk(potential.path).units if unit.format == NAME and not is_second(unit.path)]
        if not found:
            raise IngestError(f"{potential.path} holds no phonopy file with forces", reason="empty_directory")
    except IngestError as error:
        writer.reject(Record(potential.path, potential.item, None, error))
        return []
    return _inside(found, potential, writer)


def _inside(files: list[Path], potential: ExternalPotential, writer: TaskWriter) -> list[Path]:
    """The files that lie in the manifest's folder; links that lead out of it are refused."""
    found = []
    for path in files:
        if potential.within is None or path.resolve().is_relative_to(potential.within.resolve()):
            found.append(path)
            continue
        message = f"{path.name} is a link to a file outside the folder of the manifest; files below it are read"
        writer.reject(Record(path, potential.item, None, IngestError(message, reason="outside_folder")))
    return found


def _record(path: Path, potential: ExternalPotential) -> tuple[Record, set[str]]:
    try:
        raw, data = read_raw(path)
    except IngestError as error:
        return Record(path, potential.item, None, error), set()
    told = {
        **potential.identity(),
        "potential_id": potential.potential_id,
        # References and licence stand in the potential's document: they may grow, and change no number.
        "material": potential.material,
        "phonon": potential.phonon,
    }
    raw["task_id"] = make_key("phonopy", [raw["task_id"], potential.potential_id])
    raw["potential"] = {key: value for key, value in told.items() if value is not None}
    record = Record(path, potential.item, raw, format=EXTERNAL)
    return record, set(formula_of(data.unitcell.numbers.tolist())[2])


def _write(
    database: Database, potential: ExternalPotential, elements: Mapping[str, set[str]], group: str | None
) -> bool:
    """Write the document of a potential some of whose forces were taken; whether anything is new in it."""
    if potential.potential_id not in elements:
        return False
    old = database.collection("potentials").find_one({"potential_id": potential.potential_id}, {"_id": 0})
    known = Potential.model_validate(old) if old is not None else None
    names = sorted(elements[potential.potential_id] | set(known.elements if known is not None else []))
    sizes = {key: potential.hyperparameters.get(key) for key in ("n_sparse", "delta", "f")}
    base = known or Potential(
        potential_id=potential.potential_id,
        framework=potential.framework,
        origin="external",
        name=potential.name,
        hyperparameters=potential.hyperparameters,
        group=group,
        inputs_hash=content_hash(potential.identity()),
        **{key: value for key, value in sizes.items() if _is_number(key, value)},
    )
    references = list(dict.fromkeys([*base.references, *potential.references]))
    update = {
        "elements": names,
        "chemsys": "-".join(names),
        "references": references,
        "license": potential.license or base.license,
        "state": "complete",
    }
    document = base.model_copy(update=update)
    if document == known:
        return False
    database.replace("potentials", document.model_copy(update={"last_updated": utc_now()}).to_bson())
    return True


def _is_number(key: str, value: Any) -> bool:
    kinds = (int,) if key == "n_sparse" else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool)
