"""Writing figures to files."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from mlipdb.errors import UsageError
from mlipdb.figures.style import applied

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "save"]

#: Suffix -> metadata that would carry the date or the version of matplotlib, taken out.
FORMATS: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    ".svg": {"Date": None, "Creator": None},
}


def save(figure: Figure, path: str | os.PathLike[str], *, dpi: float = 200.0) -> Path:
    """Write a figure; the same figure gives the same bytes.

    The folder is made where it is missing, and the file appears at once or not at all.

    Parameters
    ----------
    figure
        What one of the functions of `mlipdb.figures` returned.
    path
        File whose suffix sets the format: ``.png``, ``.pdf`` or ``.svg``.
    dpi
        Dots per inch of a PNG.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    UsageError
        If the suffix is another one, or the file cannot be written.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"a figure cannot be saved as {target.name!r}; use a name that ends in {', '.join(FORMATS)}")
    stream = BytesIO()
    with applied():
        figure.savefig(stream, format=suffix[1:], dpi=dpi, metadata=FORMATS[suffix])
    _replace(target, stream.getvalue())
    return target


def _replace(target: Path, data: bytes) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"the figure cannot be written to {target} ({error.strerror}); choose a path in a folder you can write to"
        ) from error
