"""Calculators from stored files, kept for the next item of the same process."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

__all__ = ["calculator_from_files"]

#: Potentials kept loaded in one process: benchmarks come potential by potential.
KEEP = 2
_loaded: dict[tuple[str, ...], tuple[Calculator, Finalize]] = {}


def calculator_from_files(
    framework: str, files: Mapping[str, bytes], main_file: str, key: str, *, trust: bool
) -> Calculator:
    """An ASE calculator from the bytes of a potential's files.

    Parameters
    ----------
    framework
        Name of the framework.
    files
        File name to bytes; the exact names the potential needs.
    main_file
        The file to load.
    key
        Identity of the potential: the same key gives the calculator loaded before.
    trust
        The files were made by this project's own fit and are verified, so that no trial in a child
        process is needed.

    Raises
    ------
    CalculatorError
        If the files are no usable potential.
    """
    from mlipdb.frameworks import get_framework

    identity = (framework, key, main_file)
    if identity in _loaded:
        return _loaded[identity][0]
    directory = Path(tempfile.mkdtemp(prefix="mlipdb-potential-"))
    # Worker processes end without Python's usual exit; this kind of finalizer runs there too.
    remove = Finalize(None, shutil.rmtree, args=(directory, True), exitpriority=10)
    try:
        for name, data in files.items():
            (directory / Path(name).name).write_bytes(data)
        calculator = get_framework(framework).calculator(directory, main_file, trust=trust)
    except BaseException:
        remove()
        raise
    while len(_loaded) >= KEEP:
        _, old = _loaded.pop(next(iter(_loaded)))
        old()
    _loaded[identity] = (calculator, remove)
    return calculator
