"""The table of options is checked against what the installed programs themselves say."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from mlipdb.frameworks import gap_options
from mlipdb.frameworks.gap import find_gap_fit
from mlipdb.frameworks.gap_options import (
    COMMON_DESCRIPTOR_OPTIONS,
    DESCRIPTOR_OPTIONS,
    DESCRIPTOR_RESERVED,
    FIT_OPTIONS,
    FIT_RESERVED,
    format_value,
)

_ENTRY = re.compile(r"^(\w+) type=(\w+) (?:scalar|dim=\d+) current_value=.*\n(.*)", re.MULTILINE)


def test_gap_fit_help_names_the_same_options() -> None:
    help_text = subprocess.run([find_gap_fit(), "--help"], capture_output=True, text=True, check=False).stdout
    named = {name: kind.lower() for name, kind, _ in _ENTRY.findall(help_text)}
    canonical = {gap_options._ALIASES.get(name, name) for name in named}
    assert canonical == {*FIT_OPTIONS, *FIT_RESERVED}
    assert {name: named[name] for name in FIT_OPTIONS} == dict(FIT_OPTIONS)
    assert not set(FIT_OPTIONS) & set(FIT_RESERVED)


@pytest.mark.parametrize("kind", ["soap", "distance_2b", "angle_3b"])
def test_descriptor_help_names_the_same_options(kind: str) -> None:
    code = (
        "import sys\nfrom quippy.descriptors import Descriptor\n"
        "try:\n    Descriptor(sys.argv[1] + ' --help')\nexcept RuntimeError:\n    pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code, kind], capture_output=True, text=True, check=False)
    named = {
        gap_options._ALIASES.get(name, name)
        for name, _, text in _ENTRY.findall(done.stdout)
        if not text.startswith("Type of descriptor")
    }
    ours = {*DESCRIPTOR_OPTIONS[kind], *DESCRIPTOR_RESERVED[kind], *COMMON_DESCRIPTOR_OPTIONS}
    assert len(named) >= 5
    assert named <= ours
    assert not set(DESCRIPTOR_OPTIONS[kind]) & set(DESCRIPTOR_RESERVED[kind])


def test_values_as_quip_reads_them() -> None:
    assert [format_value(v) for v in (True, False, 3, 0.5, 1e-8, "a b")] == [
        "T",
        "F",
        "3",
        "0.5",
        "1e-08",
        "{a b}",
    ]
