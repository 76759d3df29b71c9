"""Write docs/settings.md from the models of the settings and of GAP's hyperparameters.

``--check`` writes nothing and exits with 1 if the file is not what would be written.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import BaseModel
from reference import DOCS, default_text, description, main, models_in, paragraphs, table, type_text

from mlipdb.frameworks.gap_hyperparameters import GapHyperparameters
from mlipdb.settings import OTHER_VARIABLES, PROJECT_FILE, ProjectSettings

HEAD = f"""# Settings

<!-- Written by scripts/export_settings.py from the models in mlipdb/settings*.py; change those, not this file. -->

A project is a folder with a `{PROJECT_FILE}`. Commands find it upwards from where they run, as git does; `--project`
or the variable `MLIPDB_PROJECT` name another. An unknown key or a wrong value is refused with file, line and key.

Every key may be overridden by a variable: `MLIPDB_` and the key in capitals, parts joined by two underscores.

"""
TAIL = """## Variables that are no settings

| variable | meaning |
|---|---|
"""
OTHER = {
    "MLIPDB_PROJECT": "Folder of the project, where `--project` is not given.",
    "MLIPDB_TEST_DATABASE": "MongoDB address that the test suite runs against in place of the embedded database.",
}


def models_below(model: type[BaseModel]) -> list[type[BaseModel]]:
    """A model and all that its fields lead to, each once, from the top down."""
    found = [model]
    for item in found:
        for field in item.model_fields.values():
            found += [part for part in models_in(field.annotation) if part not in found]
    return found


def section(model: type[BaseModel], title: str, prefix: str | None = None) -> str:
    """Heading, meaning and table of a model; with a prefix its variables too."""
    rows = []
    for name, field in model.model_fields.items():
        row = [f"`{name}`", type_text(field.annotation), default_text(field), description(field)]
        rows.append(row if prefix is None else [*row[:1], f"`{prefix}{name.upper()}`", *row[1:]])
    header = (
        ["key", "type", "default", "meaning"] if prefix is None else ["key", "variable", "type", "default", "meaning"]
    )
    return f"{title}\n\n{paragraphs(model.__doc__)}\n\n{table(header, rows)}\n"


def generated() -> dict[Path, str]:
    """Content of the file."""
    text = HEAD + section(ProjectSettings, "## Top level", "MLIPDB_")
    for model in models_below(ProjectSettings)[1:]:
        prefix = "MLIPDB_PHONONS__" if model.__name__ == "PhononProtocol" else None
        text += section(model, f"## {model.__name__}", prefix)
    text += "## Hyperparameters of the framework gap\n\nWhat `fits.NAME.hyperparameters` takes; see [GAP](gap.md).\n\n"
    for model in models_below(GapHyperparameters):
        text += section(model, f"### {model.__name__}")
    text += TAIL + "".join(f"| `{name}` | {OTHER[name]} |\n" for name in sorted(OTHER_VARIABLES))
    return {DOCS / "settings.md": text}


if __name__ == "__main__":
    sys.exit(main(generated(), sys.argv[1:]))
