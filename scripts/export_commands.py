"""Write docs/commands.md from the command line itself.

``--check`` writes nothing and exits with 1 if the file is not what would be written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reference import DOCS, main, table
from typer.main import get_command

from mlipdb.cli.app import app

HEAD = """# Commands

<!-- Written by scripts/export_commands.py from mlipdb/cli; change that, not this file. -->

"""
CODES = """## Exit codes

| code | meaning |
|---|---|
| 0 | done, or nothing to do |
| 1 | something failed; the rest was done |
| 2 | wrong usage or settings |
| 3 | the database cannot be used |
| 4 | somebody else is building |
| 130, 143 | interrupted (Ctrl-C, SIGTERM); what was finished is kept |
"""
#: Options that the command-line library adds, and describes in words of its own version.
ADDED = {"install_completion", "show_completion", "help"}


def commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every command with its full name, in the order of ``--help``."""
    for name, command in group.commands.items():
        yield f"{prefix} {name}", command
        if getattr(command, "commands", None):
            yield from commands(command, f"{prefix} {name}")


def parameters(command: Any) -> list[list[str]]:
    """Name, default and meaning of every argument and option."""
    rows = []
    for parameter in command.params:
        if parameter.name in ADDED:
            continue
        is_option = parameter.param_type_name == "option"
        written = " ".join(filter(None, [", ".join(parameter.opts) if is_option else "", parameter.metavar]))
        default = parameter.default
        shown = "" if default in (None, False, 0) or callable(default) else f"`{default}`"
        rows.append([f"`{written}`", shown, parameter.help or ""])
    return rows


def section(name: str, command: Any) -> str:
    """One command."""
    arguments = [item.metavar for item in command.params if item.param_type_name == "argument"]
    takes = ["COMMAND ..."] if getattr(command, "commands", None) else arguments
    options = ["[OPTIONS]"] if parameters(command) else []
    text = f"## {name}\n\n```\n{' '.join([name, *options, *takes])}\n```\n\n"
    # Typer keeps the line breaks of a docstring inside a paragraph; Markdown joins them again.
    text += (command.help or "").strip() + "\n\n"
    rows = parameters(command)
    return text + (table(["argument or option", "default", "meaning"], rows) + "\n" if rows else "")


def generated() -> dict[Path, str]:
    """Content of the file."""
    root = get_command(app)
    text = HEAD + section("mlipdb", root)
    text += "Each command explains itself with `--help`.\n\n"
    text += "".join(section(name, command) for name, command in commands(root, "mlipdb"))
    return {DOCS / "commands.md": text + CODES}


if __name__ == "__main__":
    sys.exit(main(generated(), sys.argv[1:]))
