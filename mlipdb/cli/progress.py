"""How a run is shown: bars on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from mlipdb.cli.bars import Bars
    from mlipdb.runner import RunReport

__all__ = ["AddBar", "BarReporter", "LogReporter", "adding", "counter", "reporter", "start_logging"]

#: Seconds between two log lines on a long loop.
LOG_EVERY = 5.0
log = logging.getLogger("mlipdb")


class _StandardError(logging.StreamHandler[Any]):
    """Writes to what `sys.stderr` is at that moment: a notebook or a test may have put another in its place."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        """The standard error output of now."""
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        """Nothing is kept, so there is nothing to set."""


def start_logging() -> None:
    """Log lines with a date on stderr; the root logger is left alone."""
    if not log.handlers:
        handler = _StandardError()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False


def _progress() -> Bars:
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

    from mlipdb.cli.bars import Bars
    from mlipdb.cli.output import console

    return Bars(
        SpinnerColumn(),
        TextColumn("{task.description:<18}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=console(error=True),
    )


class BarReporter:
    """One progress bar for each builder, and a line for each item that tells how far it is."""

    def __init__(self, progress: Bars) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._in_work: dict[tuple[str, str], str] = {}

    def begin(self, builder: str, total: int) -> None:
        """Show a bar."""
        self._tasks[builder] = self._progress.add_task(builder, total=total, note="")

    def advance(self, builder: str, label: str, failure: str | None) -> None:
        """Move it; a failure is printed above the bars and stays."""
        if failure is not None:
            self._progress.console.print(f"failed: {said(label, failure)}", markup=False)
        self._in_work.pop((builder, label), None)
        self._draw()
        self._progress.update(self._tasks[builder], advance=1)

    def progress(self, builder: str, label: str, phase: str, done: int, total: int) -> None:
        """Show a phase in a line below the bars."""
        self._in_work[builder, label] = step(phase, done, total)
        self._draw()

    def end(self, report: RunReport) -> None:
        """Finish it with what was done."""
        self.clear()
        if report.builder not in self._tasks:
            self._tasks[report.builder] = self._progress.add_task(report.builder, total=0, note="")
        self._progress.update(self._tasks[report.builder], note=summary(report))

    def clear(self) -> None:
        """Nothing is in work any more."""
        self._in_work.clear()
        self._draw()

    def _draw(self) -> None:
        self._progress.in_work = tuple((label, phase) for (_, label), phase in self._in_work.items())


class LogReporter:
    """Log lines: one at the start, one for each failure, some on the way, one at the end."""

    def __init__(self) -> None:
        self._total: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._in_work: dict[str, str] = {}
        self._said = monotonic()

    def begin(self, builder: str, total: int) -> None:
        """Say what is coming."""
        self._total[builder], self._done[builder] = total, 0
        if total:
            log.info("%s: %d to build", builder, total)

    def advance(self, builder: str, label: str, failure: str | None) -> None:
        """Say how far it is, now and then."""
        self._done[builder] += 1
        self._in_work.pop(label, None)
        if failure is not None:
            log.error("%s: %s", builder, said(label, failure))
        elif monotonic() - self._said > LOG_EVERY:
            self._said = monotonic()
            log.info("%s: %d of %d, %s", builder, self._done[builder], self._total[builder], label)

    def progress(self, builder: str, label: str, phase: str, done: int, total: int) -> None:
        """Say how far all items in work are, now and then."""
        self._in_work[label] = step(phase, done, total)
        if monotonic() - self._said > LOG_EVERY:
            self._said = monotonic()
            log.info("%s: %s", builder, "; ".join(f"{item}: {text}" for item, text in self._in_work.items()))

    def end(self, report: RunReport) -> None:
        """Say what was done."""
        self._in_work.clear()
        log.info("%s: %s", report.builder, summary(report))


def step(phase: str, done: int, total: int) -> str:
    """A phase, with its steps where their number is known."""
    return f"{phase} {done}/{total}" if total else phase


def said(label: str, failure: str) -> str:
    """A failure with the name of its item, unless its sentence begins with that."""
    return failure if failure.startswith(label) else f"{label}: {failure}"


def summary(report: RunReport) -> str:
    """What a builder did, in a few words."""
    if report.locked:
        return report.locked
    parts = [
        f"{number} {word}"
        for number, word in (
            (report.built, "built"),
            (report.failed, "failed"),
            (report.withdrawn, "withdrawn"),
            (report.unchanged, "unchanged"),
        )
        if number
    ]
    text = ", ".join(parts) or "nothing there yet"
    return text if report.built or report.failed or report.withdrawn else f"nothing to do ({text})"


@contextmanager
def reporter() -> Iterator[BarReporter | LogReporter]:
    """Bars where stderr is a terminal, log lines elsewhere."""
    if sys.stderr.isatty():
        with _progress() as progress:
            bars = BarReporter(progress)
            try:
                yield bars
            finally:
                bars.clear()  # what is interrupted is not in work
    else:
        start_logging()
        yield LogReporter()


@contextmanager
def counter(description: str, total: int | None = None) -> Iterator[Callable[..., Any]]:
    """Something to call after each item of a loop."""
    if sys.stderr.isatty():
        with _progress() as progress:
            task = progress.add_task(description, total=total, note="")
            yield lambda *_: progress.update(task, advance=1)
        return
    start_logging()
    state = {"done": 0, "said": monotonic()}

    def advance(*_: Any) -> None:
        state["done"] += 1
        if monotonic() - state["said"] > LOG_EVERY:
            state["said"] = monotonic()
            log.info("%s: %d%s", description, state["done"], f" of {total}" if total else "")

    yield advance
    log.info("%s: %d done", description, state["done"])


class AddBar:
    """How far `add` is: files and directories read, and items in them."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._units = self._done = self._items = 0
        self._said = monotonic()

    def begin(self, units: int) -> None:
        """Show what is coming."""
        self._units = units
        if self._progress is not None:
            self._task = self._progress.add_task("add", total=units, note="")

    def advance(self, units: int, items: int) -> None:
        """Move on."""
        self._done += units
        self._items += items
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, advance=units, note=f"{self._items} items")
        elif monotonic() - self._said > LOG_EVERY:
            self._said = monotonic()
            log.info("add: %d of %d files and directories, %d items", self._done, self._units, self._items)


@contextmanager
def adding() -> Iterator[AddBar]:
    """A bar where stderr is a terminal, log lines now and then elsewhere."""
    if sys.stderr.isatty():
        with _progress() as progress:
            yield AddBar(progress)
    else:
        start_logging()
        yield AddBar(None)
