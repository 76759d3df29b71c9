"""Write docs/documents.md and docs/schemas/*.json from the models of the documents.

``--check`` writes nothing and exits with 1 if a file is not what would be written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel
from reference import DOCS, description, main, models_in, paragraphs, table, type_text

from mlipdb.schemas.build_run import BuildLock
from mlipdb.schemas.common import SCHEMA_VERSION, Document
from mlipdb.schemas.watermark import IngestWatermark
from mlipdb.stores import COLLECTIONS, LOCKS, WATERMARKS, CollectionSpec

HEAD = f"""# Documents

<!-- Written by scripts/export_schemas.py from the models in schemas/; change those, not this file. -->

One section for each collection, in the order data flows. The layout has version {SCHEMA_VERSION}. Fields that are
none are left out of the stored document, so that `$exists` finds those that are there. Unknown fields are errors.
The same models as JSON Schema: {{links}}. Units are eV, Angstrom, THz and K; stresses are Voigt xx yy zz yz xz xy,
tension positive.

"""


def rows_of(model: type[BaseModel], skip: set[str]) -> list[list[str]]:
    """Field, type and meaning of every field a model adds."""
    return [
        [f"`{name}`", type_text(field.annotation), description(field)]
        for name, field in model.model_fields.items()
        if name not in skip
    ]


def section(model: type[BaseModel], title: str, notes: str, skip: set[str]) -> str:
    """Heading, meaning and table of a model."""
    text = f"{title}\n\n{paragraphs(model.__doc__)}\n\n{notes}"
    return text + table(["field", "type", "meaning"], rows_of(model, skip)) + "\n"


def notes_of(item: CollectionSpec, model: type[Document]) -> str:
    """Key and parents of a collection."""
    parents = ", ".join(f"`{field}` in `{parent}`" for field, parent in item.parents.items())
    key = f"Model [`{model.__name__}`](schemas/{item.name}.json), key `{item.key}`"
    return f"{key}; parents: {parents}.\n\n" if parents else f"{key}.\n\n"


def parts_of(models: list[type[BaseModel]]) -> list[type[BaseModel]]:
    """Models inside models, each once, in the order they are met."""
    found: list[type[BaseModel]] = []
    queue = list(models)
    while queue:
        model = queue.pop(0)
        for field in model.model_fields.values():
            for part in models_in(field.annotation):
                if part not in found and part not in models:
                    found.append(part)
                    queue.append(part)
    return found


def generated() -> dict[Path, str]:
    """Content of every file."""
    models = {name: item.document_class() for name, item in COLLECTIONS.items()}
    everything: dict[str, type[BaseModel]] = {**models, LOCKS: BuildLock, WATERMARKS: IngestWatermark}
    links = ", ".join(f"[{name}](schemas/{name}.json)" for name in everything)
    text = HEAD.format(links=links)
    text += section(Document, "## What all documents share", "", set())
    for name, model in models.items():
        text += section(model, f"## {name}", notes_of(COLLECTIONS[name], model), set(Document.model_fields))
    text += section(BuildLock, f"## {LOCKS}", "The builder's name is the `_id`.\n\n", {"builder"})
    text += section(
        IngestWatermark, f"## {WATERMARKS}", "A hash of source, query and data collection is the `_id`.\n\n", set()
    )
    text += "## Parts of documents\n\n"
    for part in parts_of([Document, *everything.values()]):
        text += section(part, f"### {part.__name__}", "", set())
    files = {DOCS / "documents.md": text.rstrip() + "\n"}
    for name, schema_model in everything.items():
        schema = json.dumps(schema_model.model_json_schema(), indent=2, sort_keys=True, ensure_ascii=False)
        files[DOCS / "schemas" / f"{name}.json"] = schema + "\n"
    return files


if __name__ == "__main__":
    sys.exit(main(generated(), sys.argv[1:], owned="schemas/*.json"))
