"""What the documentation says is there: files, headings, commands, options, variables, fields."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command
from workbench import Workbench

import mlipdb
from mlipdb.cli.app import app
from mlipdb.cli.demo import benchmark_table
from mlipdb.settings import OTHER_VARIABLES, ProjectSettings, parse_settings
from mlipdb.stores import COLLECTIONS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")

each_page = pytest.mark.parametrize("name", NAMES)


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return [code for found, code in FENCE.findall(text_of(name)) if found == language]


def slugs(text: str) -> set[str]:
    """Anchors of a page's headings, as mkdocs and GitHub make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@each_page
def test_links_lead_somewhere(name: str) -> None:
    for target in LINK.findall(FENCE.sub("", text_of(name))):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), f"{name} links to {target}"
        if anchor:
            assert anchor in slugs(file.read_text(encoding="utf-8")), f"{name} links to {target}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = yaml.safe_load(text_of("mkdocs.yml"))["nav"]
    listed = {leaf for leaf in _leaves(navigation) if leaf.endswith(".md")}
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}


def _leaves(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for value in node.values():
            yield from _leaves(value)
    else:
        for value in node:
            yield from _leaves(value)


def called(name: str) -> Iterator[list[str]]:
    """Words after ``mlipdb`` in every command line of a page."""
    text = text_of(name)
    lines = [line for language in ("sh", "crontab") for code in blocks(name, language) for line in _joined(code)]
    lines += re.findall(r"`(mlipdb [^`\n]+)`", FENCE.sub("", text))
    for line in lines:
        words = shlex.split(line, comments=True)
        for index, word in enumerate(words):
            if word == "mlipdb" or word.endswith("/bin/mlipdb"):
                yield words[index + 1 :]
                break


def _joined(code: str) -> list[str]:
    return code.replace("\\\n", " ").splitlines()


def check_command(words: list[str]) -> None:
    """Walk from the root command to the one that is called, and look its options up."""
    command: Any = get_command(app)
    options = _options(command)
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word.startswith((">", "2>")):
            return
        elif word.startswith("--"):
            assert word in options, f"mlipdb {' '.join(words)} uses {word}"
            skip = options[word]
        elif getattr(command, "commands", None) and not re.fullmatch(r"[A-Z.]+", word):
            assert word in command.commands, f"there is no command in `mlipdb {' '.join(words)}`"
            command = command.commands[word]
            options |= _options(command)


def _options(command: Any) -> dict[str, bool]:
    """Option to whether it takes a value."""
    options = {"--help": False}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            options |= dict.fromkeys(parameter.opts, not parameter.is_flag)
    return options


@each_page
def test_commands_and_options_exist(name: str) -> None:
    for words in called(name):
        check_command(words)


def test_a_command_that_is_not_there_is_found() -> None:
    check_command(shlex.split("--project demo find potentials --where n_sparse>=100 --sort -f"))
    check_command(shlex.split("plot bands diamond --output bands.pdf"))
    for wrong in ("cook", "find potentials --wher x", "plot pies"):
        with pytest.raises(AssertionError):
            check_command(shlex.split(wrong))


@each_page
def test_variables_exist(name: str) -> None:
    for variable in re.findall(r"MLIPDB_[A-Z_]*[A-Z]", text_of(name)):
        assert variable in OTHER_VARIABLES or is_setting(variable), f"{name} names {variable}"


def is_setting(variable: str) -> bool:
    model: Any = ProjectSettings
    for part in variable.removeprefix("MLIPDB_").lower().split("__"):
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or part not in model.model_fields:
            return False
        model = model.model_fields[part].annotation
    return True


def test_a_variable_that_is_not_there_is_found() -> None:
    assert is_setting("MLIPDB_PHONONS__MESH_LENGTH")
    assert not is_setting("MLIPDB_PHONONS__MESH")
    assert not is_setting("MLIPDB_DATABASES")


@pytest.mark.parametrize("name", [name for name in NAMES if blocks(name, "yaml") and name != "README.md"])
def test_settings_in_the_text_are_valid(name: str) -> None:
    for code in blocks(name, "yaml"):
        settings = parse_settings(code)
        for fit in settings.fits.values():
            if fit.framework == "gap":
                assert list(fit.points())


def test_the_document_in_the_readme_has_fields_that_exist() -> None:
    (code,) = blocks("README.md", "yaml")
    model = COLLECTIONS["phonon_benchmarks"].document_class()
    shown = yaml.safe_load(code)
    assert set(shown) <= set(model.model_fields)
    for part in ("mesh", "stability", "structure"):
        (inner,) = [item for item in model.model_fields[part].annotation.__args__ if item is not type(None)]
        assert set(shown[part]) <= set(inner.model_fields)


def test_the_readme_on_a_small_project(bench: Workbench, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its Python example runs, and its tables have the headings that are printed."""
    (code,) = blocks("README.md", "python")
    bench.settle(bench.recipe + bench.small_fit)
    bench.add(bench.diamond)
    reports = bench.build()
    assert reports["phonon_benchmarks"].built == 1
    (best,) = bench.docs("phonon_benchmarks")
    (tmp_path / "mlipdb-demo").mkdir()
    (tmp_path / "mlipdb-demo" / "mlipdb.yaml").write_text((tmp_path / "mlipdb.yaml").read_text())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert first == f"{best['potential_id']} {best['mesh']['rmse']:.3f} THz"
    assert second.endswith(" eV/atom")
    assert float(second.split()[0]) == pytest.approx(-107.1, abs=0.5)
    capsys.readouterr()
    benchmark_table(bench.database)
    assert heading(capsys.readouterr().out) == heading(printed("Phonon benchmarks"))
    (words,) = [words for words in called("README.md") if words[0] == "find"]
    get_command(app).main(["--project", str(tmp_path), *words], standalone_mode=False)
    assert heading(capsys.readouterr().out) == heading(printed("phonon_benchmarks"))


def printed(word: str) -> str:
    """The block of the README's printed output with a word in it."""
    (block,) = [code for code in blocks("README.md", "text") if word in code]
    return block


def heading(table: str) -> list[str]:
    """Words above the rule of a table, however its columns are broken into lines."""
    return sorted(table.partition("──")[0].split())


def test_the_release_is_named_alike_everywhere() -> None:
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["version"] == mlipdb.__version__
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert f"## {mlipdb.__version__}" in text_of("CHANGELOG.md")


def test_make_targets_in_text_and_workflows_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    workflows = [str(path.relative_to(ROOT)) for path in (ROOT / ".github" / "workflows").glob("*.yml")]
    steps = []
    for name in workflows:
        jobs = yaml.safe_load(text_of(name))["jobs"]
        steps += [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    used = {word for step in steps for word in re.findall(r"\bmake ([a-z-]+)", step)}
    for name in NAMES:
        used |= set(re.findall(r"`make ([a-z-]+)[^`]*`", text_of(name)))
        used |= {word for code in blocks(name, "sh") for word in re.findall(r"^make ([a-z-]+)", code, re.MULTILINE)}
    assert {"test", "check", "demo"} <= used <= targets
