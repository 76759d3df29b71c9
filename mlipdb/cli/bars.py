"""Progress bars with lines below them for the items in work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.progress import Progress
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Bars"]


class Bars(Progress):
    """Bars, and below them one line for each item that tells how far it is."""

    #: What each item in work is called, and its phase; replaced whole, since another thread draws it.
    in_work: tuple[tuple[str, str], ...] = ()

    def get_renderables(self) -> Iterator[RenderableType]:
        """The bars, then the lines, each cut to the width of the terminal."""
        yield from super().get_renderables()
        for label, phase in self.in_work:
            yield Text(fitted(label, phase, self.console.width - 1), style="dim", no_wrap=True, overflow="ellipsis")


def fitted(label: str, phase: str, width: int) -> str:
    """A line of at most a width; what is too long loses the middle of its label, then the end of its phase."""
    room = max(width - len(f"  : {phase}"), 1)
    if len(label) > room:
        end = (room - 1) // 3  # labels may differ in their last characters alone
        label = label[: room - 1 - end] + "…" + label[len(label) - end :]
    return f"  {label}: {phase}"[:width]
