"""Settings and colours."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
from matplotlib.colors import to_rgb

from mlipdb.figures.style import PALETTE, applied, shades


def test_the_settings_of_the_user_come_back() -> None:
    with matplotlib.rc_context({"font.size": 33.0, "text.usetex": True}):
        with applied():
            assert matplotlib.rcParams["font.size"] == 10.0
            assert not matplotlib.rcParams["text.usetex"]
        assert matplotlib.rcParams["font.size"] == 33.0
        assert matplotlib.rcParams["text.usetex"]


def test_shades_go_from_light_to_dark() -> None:
    for colour in PALETTE:
        brightness = [sum(to_rgb(shade)) for shade in shades(colour, 4)]
        assert brightness == sorted(brightness, reverse=True)
        assert len(set(brightness)) == 4
        assert shades(colour, 1) == [colour.lower()]


def test_importing_the_figures_imports_no_matplotlib() -> None:
    code = (
        "import sys, mlipdb.figures; sys.exit(any(name in sys.modules for name in ('matplotlib', 'numpy', 'pydantic')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
