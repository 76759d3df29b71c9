"""Benchmarks that share one evaluation: which they are, and one item of work for each group.

At the reference's own cell all potentials are asked for forces of the same supercells.  Those of a
study also have descriptors and sparse points in common, so one evaluation serves them all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from mlipdb.builders.items import WorkItem, describe
from mlipdb.derive import Built
from mlipdb.errors import CalculatorError
from mlipdb.schemas.keys import content_hash
from mlipdb.schemas.phonon_benchmark import PhononBenchmark
from mlipdb.schemas.phonon_protocol import PhononProtocol

__all__ = ["Shared", "build_together", "group_item", "grouped", "results_of", "share_key", "share_memory"]

Raw = dict[str, Any]
log = logging.getLogger("mlipdb")

#: Bytes that the predictions of a group may take, beside what one potential alone takes.
MEMORY = 500_000_000
#: Fewest potentials that an evaluation is divided over the workers for.
FEWEST = 4
#: Numbers of double precision that phonons and their document take for each atom of the supercell.
PHONON_NUMBERS = 4000
#: Hyperparameters of SOAP in which potentials with one evaluation may differ.
OWN = ("n_sparse", "delta")


@dataclass(frozen=True)
class Shared:
    """What a group gave.

    Attributes
    ----------
    results
        For each member its document, or its failure as `describe` tells it.
    note
        Why the members were computed one by one after all.
    """

    results: list[Built | Raw]
    note: str | None = None


def share_key(potential: Raw, protocol: PhononProtocol) -> str | None:
    """What potentials have in common whose forces may come from one evaluation; None for one by itself.

    Parameters
    ----------
    potential
        Its document.
    protocol
        How phonons are computed: only at the reference's own cell are the supercells the same.
    """
    if protocol.relax != "none" or potential["framework"] != "gap" or potential.get("engine") != "grid":
        return None
    hyperparameters = potential.get("hyperparameters", {})
    soap = hyperparameters.get("soap")
    main = potential.get("main_file")
    side = sorted((ref["name"], ref["sha256"]) for ref in potential.get("files", []) if ref["name"] != main)
    if not soap or not side or hyperparameters.get("two_body") or hyperparameters.get("three_body"):
        return None
    return content_hash({"side": side, "soap": {name: soap[name] for name in soap if name not in OWN}})


def share_memory(potential: Raw, phonon: Raw) -> int:
    """Bytes that one more potential takes in a group, at most: forces, their derivatives, phonons."""
    soap = potential.get("hyperparameters", {}).get("soap") or {}
    radial: int = soap.get("n_max", 8) * len(potential.get("elements", []))
    components: int = radial * (radial + 1) // 2 * (soap.get("l_max", 6) + 1) + 1
    supercells: int = phonon.get("n_displacements", 1) + 1
    atoms: int = phonon.get("n_atoms_supercell", 1)
    return 8 * atoms * (components + 3 * supercells + PHONON_NUMBERS)


def grouped(items: Sequence[WorkItem], workers: int, alone: Collection[str | None] = ()) -> list[WorkItem]:
    """Put items that share an evaluation into one.

    Groups are divided where their predictions would take too much memory, or where there are fewer
    groups than workers.

    Parameters
    ----------
    items
        Single benchmarks.
    workers
        Processes that will work on them.
    alone
        Keys of those to leave as they are.

    Returns
    -------
    list of WorkItem
        Single ones first, in their order.
    """
    groups: dict[tuple[str, ...], list[WorkItem]] = {}
    for item in items:
        if item.plan["share"] is not None and item.key not in alone:
            stub = item.skeleton
            place = (stub["benchmark"], stub["protocol_id"], stub["phonon_id"], item.plan["share"])
            groups.setdefault(place, []).append(item)
    shared = [members for members in groups.values() if len(members) > 1]
    together = {item.inputs_hash for members in shared for item in members}
    single = [item for item in items if item.inputs_hash not in together]
    pieces = [piece for members in shared for piece in _pieces(members, workers, len(shared))]
    names = [_name(piece) for piece in pieces]
    return single + [
        _group(piece, name, names[:place].count(name) + 1, names.count(name))
        for place, (piece, name) in enumerate(zip(pieces, names, strict=True))
    ]


def _name(members: list[WorkItem]) -> str:
    stub = members[0].skeleton
    return f"{len(members)} {stub['framework']} on {stub.get('material_name')}"


def _pieces(members: list[WorkItem], workers: int, n_groups: int) -> list[list[WorkItem]]:
    members = sorted(members, key=lambda item: item.key or "")
    most = max(2, MEMORY // max(item.plan["memory"] for item in members))
    wanted = min(ceil(workers / n_groups), len(members) // FEWEST)
    count = max(1, wanted, ceil(len(members) / most))
    return [members[first::count] for first in range(count)]


def _group(members: list[WorkItem], name: str, number: int, total: int) -> WorkItem:
    label = name if total == 1 else f"{name} ({number} of {total})"
    digest = content_hash([item.inputs_hash for item in members])
    return WorkItem(label, digest, {"members": members}, skeleton=members[0].skeleton)


def group_item(item: WorkItem, members: list[Raw]) -> Raw:
    """A group ready for any process.

    Parameters
    ----------
    item
        The group.
    members
        Its members made ready; one that lacks its inputs brings a failure, which is its own.
    """
    return {
        "label": item.label,
        "inputs_hash": item.inputs_hash,
        "key": item.key,
        "skeleton": item.skeleton,
        "supersedes": item.supersedes,
        "members": [{name: value for name, value in member.items() if name != "inputs"} for member in members],
        "inputs": {"members": [member["inputs"] for member in members if "failure" not in member]},
    }


def build_together(members: list[Raw], single: Callable[[Raw], Built]) -> Shared:
    """Run the benchmarks of a group.

    Parameters
    ----------
    members
        Inputs of each.
    single
        Runs one by itself, where one evaluation cannot serve them.

    Raises
    ------
    CalculatorError
        ``disagreement``: no result of the group is to be trusted.
    """
    from mlipdb.derive.shared_benchmarks import CANNOT_SHARE, shared_benchmarks_of

    note = None
    if len(members) > 1:
        stubs = [PhononBenchmark.model_validate(member["stub"]) for member in members]
        try:
            results = shared_benchmarks_of(
                stubs,
                [member["potential"] for member in members],
                [member["files"] for member in members],
                members[0]["phonon"],
                PhononProtocol.model_validate(stubs[0].protocol),
            )
            return Shared([describe(one) if isinstance(one, Exception) else one for one in results])
        except CalculatorError as error:
            if error.reason != CANNOT_SHARE:
                raise
            note = error.message
    return Shared([_tried(single, member) for member in members], note)


def _tried(single: Callable[[Raw], Built], member: Raw) -> Built | Raw:
    try:
        return single(member)
    except Exception as error:  # noqa: BLE001 - one member's error must never end the others
        return describe(error)


def results_of(item: Raw) -> list[Raw]:
    """The members of a group that was worked on, each as if it had been an item of its own."""
    shared: Shared | None = item.get("built")
    if shared is not None and shared.note is not None:
        log.warning("%s: one by one, since %s", item["label"], shared.note)
    built = iter(shared.results if shared is not None else ())
    results = []
    for member in item["members"]:
        if "failure" in member:
            results.append(member)
        elif "failure" in item:
            results.append({**member, "failure": item["failure"]})
        else:
            one = next(built)
            results.append({**member, **({"built": one} if isinstance(one, Built) else {"failure": one})})
    return results
