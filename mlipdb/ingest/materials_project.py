"""Structures, DFT phonons and tasks of the Materials Project, by the ids people write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlipdb.errors import IngestError, UsageError
from mlipdb.ingest.dates import to_utc
from mlipdb.ingest.files import Record
from mlipdb.ingest.mp_client import MaterialsProject, RemoteError
from mlipdb.ingest.prepare import prepare
from mlipdb.ingest.writer import AddReport, TaskWriter
from mlipdb.stores import Database

__all__ = ["KINDS", "add_materials", "is_material_id", "parse_kinds"]

Raw = dict[str, Any]
#: What can be asked for, in the order it is taken.
KINDS = ("structure", "phonons", "tasks")
METHODS = ("dfpt", "phonopy", "pheasy")
MATERIAL_ID = re.compile(r"^(?:mp|mvc)-(?:\d+|[a-z]+)$")
MATERIAL_FIELDS = [
    "material_id",
    "formula_pretty",
    "structure",
    "deprecated",
    "deprecation_reasons",
    "last_updated",
    "origins",
    "calc_types",
    "run_types",
]


def is_material_id(text: str) -> bool:
    """Whether a text is an id of the Materials Project: ``mp-149``, also in its newer form ``mp-ft``."""
    return MATERIAL_ID.match(text) is not None


def parse_kinds(text: str) -> tuple[str, ...]:
    """What is asked for, from ``structure,phonons,tasks``.

    Raises
    ------
    UsageError
        If a word is none of them.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    wrong = [word for word in words if word not in KINDS]
    if wrong or not words:
        raise UsageError(f"--what {text!r}: write one or more of {', '.join(KINDS)}, with commas between")
    return tuple(kind for kind in KINDS if kind in words)


def add_materials(
    database: Database,
    ids: Iterable[str],
    cache: Path,
    *,
    what: tuple[str, ...] = ("structure", "phonons"),
    refresh: bool = False,
    group: str | None = None,
    replace_others: bool = False,
    report: AddReport | None = None,
    advance: Callable[[int], None] | None = None,
    endpoint: str | None = None,
    wait: float | None = None,
) -> AddReport:
    """Take materials of the Materials Project into `tasks`.

    Parameters
    ----------
    database
        Open database.
    ids
        Ids as people write them; they are kept so.
    cache
        Folder for the answers.
    what
        Some of `KINDS`.
    refresh
        Ask again even where an answer of this version of their database is in the cache.
    group
        Owner written into the tasks.
    replace_others
        Let new content replace tasks that came from elsewhere.
    report
        Counts to go on with.
    advance
        Called with the number of materials just finished.
    endpoint, wait
        See `mlipdb.ingest.mp_client.MaterialsProject`.

    Raises
    ------
    UsageError
        If mp-api is not installed, or there is no key.
    RemoteError
        If the service does not answer at all; what is wrong with one id is a problem of the report.
    """
    report = report if report is not None else AddReport()
    options: Raw = {} if wait is None else {"wait": wait}
    service = MaterialsProject(cache, refresh=refresh, endpoint=endpoint, **options)
    writer = TaskWriter(database, group, report, replace_others)
    try:
        for material_id in ids:
            for record in _records(service, material_id, what):
                if record.problem is None:
                    writer.recovered(record)
                writer.write([prepare(record)])
            if advance is not None:
                advance(1)
    finally:
        if report.added or report.updated:
            database.touch("tasks")
    return report


def _records(service: MaterialsProject, material_id: str, what: tuple[str, ...]) -> Iterator[Record]:
    """Everything asked for of one material; what fails is a record with the problem, and the rest goes on."""
    base = Record(Path(service.name), material_id, None, address=service.name)
    try:
        material = _material(service, material_id)
    except IngestError as error:
        yield replace(base, problem=error)
        return
    yield from _structure_records(service, base, material, stored="structure" in what)
    for kind, read in (("phonons", _phonon_records), ("tasks", _task_records)):
        if kind not in what:
            continue
        try:
            yield from read(service, base, material)
        except IngestError as error:
            yield replace(base, item=f"{material_id} {kind}", problem=error)


def _material(service: MaterialsProject, material_id: str) -> Raw:
    """The material of an id.

    Raises
    ------
    RemoteError
        If there is none, or it was removed or joined to another one.
    """

    def search(fields: list[str], **query: Any) -> Callable[[Any], Any]:
        return lambda rester: rester.materials.search(fields=fields, num_chunks=1, chunk_size=1, **query)

    what = f"the material {material_id}"
    request = {"what": what, "kind": "material", "id": material_id, "fields": MATERIAL_FIELDS}
    found = service.ask(request, search(MATERIAL_FIELDS, material_ids=[material_id]))
    if found:
        return dict(found[0])
    fields = ["material_id", "deprecated", "deprecation_reasons"]
    request = {"what": what, "kind": "removed", "id": material_id}
    removed = service.ask(request, search(fields, material_ids=[material_id], deprecated=True))
    if removed:
        reasons = ", ".join(map(str, removed[0].get("deprecation_reasons") or [])) or "no reason given"
        raise RemoteError(
            f"{material_id} was removed from the Materials Project ({reasons}); look for the formula there",
            reason="removed_id",
        )
    request = {"what": what, "kind": "joined", "id": material_id}
    joined = service.ask(request, search(["material_id"], task_ids=[material_id]))
    if joined:
        raise RemoteError(
            f"{material_id} is a calculation of the material {joined[0].get('material_id')}; add that one",
            reason="removed_id",
        )
    raise RemoteError(
        f"the Materials Project has no material {material_id}; look for the formula there", reason="unknown_id"
    )


def _structure_records(service: MaterialsProject, base: Record, material: Raw, *, stored: bool) -> Iterator[Record]:
    if not stored:
        return
    if not material.get("structure"):
        problem = RemoteError(f"{base.item}: the answer of the Materials Project has no structure", reason="no_answer")
        yield replace(base, problem=problem)
        return
    kept = ("formula_pretty", "structure", "deprecated", "last_updated", "origins", "run_types")
    about = {"kind": "structure", "material_id": base.item, "database_version": service.version}
    raw = {"materials_project": about, **{key: material[key] for key in kept if material.get(key) is not None}}
    yield replace(base, raw=raw, changed=to_utc(material.get("last_updated")))


def _phonon_records(service: MaterialsProject, base: Record, material: Raw) -> Iterator[Record]:
    """Phonons of every method there is, each with its bands, density of states and force constants as offered."""
    material_id = base.item
    request = {"what": f"the phonons of {material_id}", "kind": "phonon ids", "id": material_id}
    found = service.ask(
        request,
        lambda rester: rester.materials.summary.search(
            material_ids=[material_id], fields=["material_id", "phonon_IDs"], num_chunks=1, chunk_size=1
        ),
    )
    ids = (found[0].get("phonon_IDs") if found else None) or {}
    wanted = [(method, str(one)) for method in METHODS for one in ids.get(method) or []]
    if not wanted:
        raise RemoteError(f"the Materials Project offers no phonons of {material_id}", reason="no_phonons")
    for method, identifier in wanted:
        item = f"{material_id} {method} {identifier}"
        try:
            raw = _phonon(service, material_id, method, identifier)
        except IngestError as error:
            yield replace(base, item=item, problem=error)
            continue
        raw.setdefault("structure", material.get("structure"))
        yield replace(base, item=item, raw=raw, changed=to_utc(raw.get("last_updated")))


def _phonon(service: MaterialsProject, material_id: str, method: str, identifier: str) -> Raw:
    named = f"the {method} phonons {identifier} of {material_id}"

    def ask(kind: str, words: str, question: Callable[[Any], Any]) -> Any:
        request = {"what": f"{words}{named}", "kind": kind, "id": identifier, "method": method}
        return service.ask(request, question)

    def part(kind: str, words: str, function: str, **options: Any) -> Any:
        """Bands, densities and force constants: of each there may be none."""

        def question(rester: Any) -> Any:
            from mp_api.client.core import MPRestError

            try:
                return getattr(rester.materials.phonon, function)(identifier, method, **options)
            except MPRestError as error:
                if str(error).startswith("No phonon"):
                    return None
                raise

        return ask(kind, words, question)

    found = ask(
        "phonon",
        "",
        lambda rester: rester.materials.phonon.search(
            identifiers=[identifier], phonon_method=method, num_chunks=1, chunk_size=1
        ),
    )
    parts = {
        "band_structure": part("bands", "the bands of ", "get_bandstructure_from_phonon_id"),
        "density_of_states": part("dos", "the density of states of ", "get_dos_from_phonon_id"),
        "force_constants": part("force constants", "the force constants of ", "get_forceconstants_from_phonon_id"),
    }
    parts = {name: value for name, value in parts.items() if value}
    if not parts:
        raise RemoteError(f"the Materials Project offers no data for {named}", reason="no_phonons")
    about = {
        "kind": "phonon",
        "material_id": material_id,
        "phonon_id": identifier,
        "method": method,
        "database_version": service.version,
    }
    if isinstance(parts.get("band_structure"), dict):  # large, and nothing needs them
        parts["band_structure"].pop("eigendisplacements", None)
    kept = {key: value for key, value in (found[0] if found else {}).items() if value is not None}
    return {"materials_project": about, **kept, **parts}


def _task_records(service: MaterialsProject, base: Record, material: Raw) -> Iterator[Record]:
    """The DFT tasks behind a material, as they are offered: emmet's documents, mostly without forces."""
    task_ids = sorted(map(str, material.get("calc_types") or {}))
    if not task_ids:
        raise RemoteError(f"the Materials Project names no tasks of {base.item}", reason="no_tasks")
    for task_id in task_ids:
        request = {"what": f"the task {task_id} of {base.item}", "kind": "task", "id": task_id}
        try:
            found = service.ask(request, _task_question(task_id))
        except IngestError as error:
            yield replace(base, item=task_id, problem=error)
            continue
        if not found:
            problem = RemoteError(f"the Materials Project does not offer the task {task_id}", reason="no_answer")
            yield replace(base, item=task_id, problem=problem)
            continue
        # The id as the material names it: the service writes some in another form.
        yield replace(
            base, item=task_id, raw={**found[0], "task_id": task_id}, changed=to_utc(found[0].get("last_updated"))
        )


def _task_question(task_id: str) -> Callable[[Any], Any]:
    return lambda rester: rester.materials.tasks.search(task_ids=[task_id], num_chunks=1, chunk_size=1)
