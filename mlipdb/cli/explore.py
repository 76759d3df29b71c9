"""Commands that ask the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlipdb.cli.options import JsonOption, opened

if TYPE_CHECKING:
    from rich.tree import Tree

    from mlipdb.provenance import Node

__all__ = ["find", "show"]

#: Parents of one kind shown below a document before the rest is counted.
SIBLINGS = 4
#: Items of a list shown by `show`.
LIST_ITEMS = 6


def find(
    context: typer.Context,
    collection: Annotated[
        str,
        typer.Argument(
            metavar="COLLECTION",
            help="tasks, materials, configurations, phonons, training_sets, potentials, phonon_benchmarks, "
            "levels_of_theory or build_runs.",
        ),
    ],
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="field=value, also != > >= < <= =~ (such as mesh.rmse<0.3), or a MongoDB filter in JSON; repeatable.",
        ),
    ] = None,
    fields: Annotated[
        str | None, typer.Option("--fields", metavar="A,B,...", help="Fields to show, dotted paths.")
    ] = None,
    sort: Annotated[
        list[str] | None, typer.Option("--sort", metavar="FIELD", help="Sort by a field; -FIELD downwards; repeatable.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, metavar="N", help="Most documents; 0 shows all.")] = 0,
    everything: Annotated[bool, typer.Option("--all", help="Also failed and withdrawn documents.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List documents of a collection that meet all conditions.

    With --json a plain list of documents, whole unless --fields is given.
    """
    from mlipdb.cli.output import print_json, table
    from mlipdb.client import Collection
    from mlipdb.query import pick
    from mlipdb.stores import spec

    wanted = [name.strip() for name in fields.split(",") if name.strip()] if fields else []
    columns = wanted or list(spec(collection).columns)
    with opened(context) as (_, database):
        asked = Collection(database, collection)
        documents = asked.find(
            *(where or ()),
            fields=wanted or ([] if as_json else columns),
            sort=sort or (),
            limit=limit,
            failed=everything,
        )
        hidden = 0 if everything or where else asked.count(where={"state": {"$in": ["failed", "withdrawn"]}})
    if as_json:
        print_json(documents)
        return
    table([[pick(document, column) for column in columns] for document in documents], columns)
    note = f"; {hidden} failed or withdrawn ones not shown (--all)" if hidden else ""
    typer.echo(f"{len(documents)} {collection}{note}")


def show(
    context: typer.Context,
    document_id: Annotated[
        str, typer.Argument(metavar="ID", help="Key of a document, its first characters, or a material's name.")
    ],
    tree: Annotated[bool, typer.Option("--tree", help="Show what it was made from, down to the DFT tasks.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Cut no list short.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show one document, or with --tree everything it was made from."""
    from mlipdb.cli.output import print_json
    from mlipdb.client import Collection, MlipDB
    from mlipdb.provenance import tree_of

    with opened(context) as (_, database):
        collection, key = MlipDB.of(database).find_id(document_id)
        if tree:
            node = tree_of(database, collection, key)
            document: dict[str, Any] = {**node.as_dict(), "task_ids": node.tasks()} if as_json else {}
        else:
            document = Collection(database, collection).get(key)
    if as_json:
        print_json(document)
    elif tree:
        _print_tree(node, everything)
    else:
        typer.echo(f"{collection} {key}")
        _print_document(document, everything)


def _print_tree(node: Node, everything: bool) -> None:
    from rich.markup import escape
    from rich.tree import Tree

    from mlipdb.cli.output import console

    root = Tree(escape(_text(node)))
    _grow(root, node, everything, set())
    console().print(root)
    typer.echo(f"{len(node.tasks())} DFT tasks behind it")


def _grow(branch: Tree, node: Node, everything: bool, seen: set[str]) -> None:
    from rich.markup import escape

    shown: dict[str, int] = {}
    for parent in node.parents:
        shown[parent.collection] = shown.get(parent.collection, 0) + 1
        if shown[parent.collection] > SIBLINGS and not everything:
            continue
        known = parent.key in seen and bool(parent.parents)
        twig = branch.add(escape(_text(parent) + (" (as above)" if known else "")))
        if not known:
            seen.add(parent.key)
            _grow(twig, parent, everything, seen)
    for collection, count in shown.items():
        if count > SIBLINGS and not everything:
            branch.add(f"... and {count - SIBLINGS} more {collection} (--all shows them)")


def _text(node: Node) -> str:
    label = f"  {node.label}" if node.label else ""
    return f"{node.key}{label}" + ("  MISSING" if node.missing else "")


def _print_document(document: dict[str, Any], everything: bool) -> None:
    import yaml

    shortened = document if everything else {key: _shorten(value) for key, value in document.items()}
    text = yaml.safe_dump(shortened, sort_keys=False, allow_unicode=True, width=100, default_flow_style=None)
    typer.echo(text.rstrip())


def _shorten(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _shorten(item) for key, item in value.items()}
    if isinstance(value, list):
        if len(value) > LIST_ITEMS or (len(value) > 1 and isinstance(value[0], (dict, list))):
            first = value[0]
            kind = "lists" if isinstance(first, list) else "mappings" if isinstance(first, dict) else "values"
            shown = "" if isinstance(first, (list, dict)) else f": {first}, ... {value[-1]}"
            return f"{len(value)} {kind}{shown}"
        return [_shorten(item) for item in value]
    if isinstance(value, str) and len(value) > 400:
        return f"{value[:200]} ... ({len(value)} characters)"
    return value
