"""How far one item of work is: told by whoever works on it, shown by whoever waits for it.

Worker processes tell it through small files, each replaced whole: a process may be killed at any
moment, and would take the lock of a queue along.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

__all__ = ["Report", "ReportFile", "read_report", "remove_reports", "report_path", "report_progress", "reports_to"]

#: Phase, steps done, steps there are (0: not known).
Report = tuple[str, int, int]
Handler = Callable[[str, int, int], None]
#: Seconds between two writes of a report.
WRITE_EVERY = 0.25
PREFIX = "progress-"
_handler: ContextVar[Handler | None] = ContextVar("progress handler", default=None)


def report_progress(phase: str, done: int, total: int) -> None:
    """Tell how far the work in hand is; may be called as often as one likes.

    Where nobody listens (FireWorks, a script) nothing happens.

    Parameters
    ----------
    phase
        What is being done, in a few words.
    done, total
        Steps done, and steps there are; a total of 0 says that their number is not known.
    """
    handler = _handler.get()
    if handler is not None:
        handler(phase, done, total)


@contextmanager
def reports_to(handler: Handler) -> Iterator[None]:
    """Let a function get what is reported meanwhile, in this thread."""
    token = _handler.set(handler)
    try:
        yield
    finally:
        _handler.reset(token)


class ReportFile:
    """Keeps the newest report in a file, until it is closed.

    A call only remembers the report; a thread writes the newest a few times a second.  So the last of
    a quick series is never lost, and a signal to the working thread never hits a write.

    Parameters
    ----------
    path
        The file, which is there from the first report until the end.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._latest: Report | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Remember a report."""
        self._latest = (phase, done, total)
        if self._thread is None:
            thread = threading.Thread(target=self._run, daemon=True, name="progress")
            with suppress(RuntimeError):  # a limit on threads must not end the work
                thread.start()
                self._thread = thread

    def close(self) -> None:
        """Write no more, and remove the file."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            _remove(self._path)

    def _run(self) -> None:
        written: Report | None = None
        while not self._ended.is_set():
            latest = self._latest
            if latest is not None and latest != written:
                self._write(latest)
                written = latest
            self._ended.wait(WRITE_EVERY)

    def _write(self, report: Report) -> None:
        part = self._path.with_suffix(".part")
        # What cannot be shown (a full disk) must not end the work.
        with suppress(OSError, TypeError, ValueError):
            part.write_text(json.dumps([report[0], int(report[1]), int(report[2])]), encoding="utf-8")
            part.replace(self._path)


def report_path(folder: str, number: int) -> Path:
    """File for the reports of one attempt at an item."""
    return Path(folder) / f"{PREFIX}{number}.json"


def read_report(path: Path) -> Report | None:
    """The newest report in a file; None where there is none, or none that can be read."""
    try:
        phase, done, total = json.loads(path.read_text(encoding="utf-8"))
        return str(phase), int(done), int(total)
    except (OSError, TypeError, ValueError):
        return None


def remove_reports(folder: str) -> None:
    """Remove all files of reports in a folder."""
    for path in Path(folder).glob(f"{PREFIX}*"):
        _remove(path)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
