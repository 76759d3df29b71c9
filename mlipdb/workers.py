"""Worker processes that may die without taking the others' work along."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing import util
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any, NoReturn

from mlipdb.work_progress import Report, ReportFile, read_report, remove_reports, report_path, reports_to

__all__ = ["run_in_order", "run_in_processes"]

Raw = dict[str, Any]
#: Gets an item's label, the phase of the work on it, steps done, and steps there are.
Tell = Callable[[str, str, int, int], None]
#: Imported by default by the server that workers are forked from.
PRELOAD = "mlipdb.preload"
#: Items per worker that `run_in_order` takes beyond the first that is not done.
AHEAD = 4
#: Attempts for an item whose worker died: it may have been the neighbour's fault.
ATTEMPTS = 2
#: Seconds between two requests to end of a worker whose parent is gone.
ASK_AGAIN = 5.0
#: Seconds between two looks at what the workers report.
LOOK_EVERY = 0.25
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
log = logging.getLogger("mlipdb")


def run_in_order(
    function: Callable[[Raw], Raw],
    items: Iterable[Raw],
    workers: int,
    died: Callable[[Raw, str], Raw],
    *,
    preload: str = PRELOAD,
) -> Iterator[Raw]:
    """Results of a function over items, in the order of the items.

    As `run_in_processes`, which see.  Results that are ready before an earlier one wait, and while more
    than a few of them wait no further item is taken.

    Parameters
    ----------
    function, items, workers, died, preload
        As there; items hold no key ``_place``, and so do results.
    """
    state = {"next": 0}

    def numbered() -> Iterator[Raw | None]:
        for place, item in enumerate(items):
            while place >= state["next"] + AHEAD * workers:
                yield None
            yield {"function": function, "item": item, "_place": place, "label": item.get("label")}

    def fallen(work: Raw, sentence: str) -> Raw:
        return {"_place": work["_place"], "result": died(work["item"], sentence)}

    waiting: dict[int, Raw] = {}
    with closing(run_in_processes(_placed, numbered(), workers, fallen, preload=preload)) as results:
        for result in results:
            waiting[result["_place"]] = result["result"]
            while state["next"] in waiting:
                yield waiting.pop(state["next"])
                state["next"] += 1


def _placed(work: Raw) -> Raw:
    return {"_place": work["_place"], "result": work["function"](work["item"])}


def run_in_processes(
    function: Callable[[Raw], Raw],
    items: Iterable[Raw | None],
    workers: int,
    died: Callable[[Raw, str], Raw],
    *,
    tell: Tell | None = None,
    preload: str = PRELOAD,
) -> Generator[Raw]:
    """Results of a function over items, in the order they finish.

    No more items are taken than the workers can hold, so memory does not grow with their number.
    When a worker dies (killed, out of memory, a library that ends the process), the items that were
    being worked on are tried once more, each alone in a process of its own; one whose process dies
    again becomes a failed result.

    Parameters
    ----------
    function
        Importable; gets an item, returns a result, never raises.
    items
        Inputs, taken lazily; None stands for none before another result has been taken.
    workers
        Processes.
    died
        Makes the result of an item whose process died twice, from the item and a sentence.
    tell
        Gets what the function tells by `mlipdb.work_progress.report_progress`, with the item's label;
        called in this process, while it waits for results.
    preload
        Module that the server of the processes imports once.
    """
    queue = iter(items)
    # All temporary folders of the workers lie in this one, so that those of a killed worker go as well.
    with tempfile.TemporaryDirectory(prefix="mlipdb-build-", ignore_cleanup_errors=True) as folder:
        watch = _Watch((folder, preload), tell)
        while True:
            suspects: list[Raw] = []
            yield from _run_until_broken(function, queue, workers, suspects, watch)
            if not suspects:
                return
            watch.again(suspects)
            for item in suspects:
                yield _run_alone(function, item, died, watch)


@dataclass(frozen=True)
class _Attempt:
    """An item in work, and the file its worker reports in."""

    item: Raw
    file: Path


class _Watch:
    """Waits for results, and passes on what the workers report meanwhile."""

    def __init__(self, home: tuple[str, str], tell: Tell | None) -> None:
        self.home = home
        self._tell = tell
        self._numbers = count()
        self._told: dict[str, Report] = {}

    def attempt(self, item: Raw) -> _Attempt:
        """A file of its own for each: what a killed worker left says nothing of the next attempt."""
        return _Attempt(item, report_path(self.home[0], next(self._numbers)))

    def wait(self, running: Mapping[Future[Raw], _Attempt]) -> set[Future[Raw]]:
        """Futures that are done, at least one."""
        while True:
            done, rest = wait(running, None if self._tell is None else LOOK_EVERY, FIRST_COMPLETED)
            for future in rest:
                report = None if self._tell is None else read_report(running[future].file)
                if report is not None:
                    self._say(str(running[future].item.get("label")), report)
            if done:
                return done

    def again(self, items: Iterable[Raw]) -> None:
        """Take back what was told of items that are begun anew."""
        for item in items:
            label = str(item.get("label"))
            if label in self._told:
                self._say(label, ("process died, tried again", 0, 0))

    def _say(self, label: str, report: Report) -> None:
        if self._tell is not None and self._told.get(label) != report:
            self._told[label] = report
            self._tell(label, *report)


def _executor(workers: int, home: tuple[str, str]) -> ProcessPoolExecutor:
    folder, preload = home
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")  # one core a worker: BLAS threads would fight over them
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    return ProcessPoolExecutor(max_workers=workers, mp_context=context, initializer=partial(_initialise, folder))


class _Stop(BaseException):
    """A worker is told to end; raised where it works, so that programs it started are ended too."""


_busy = False
_folder: str | None = None
_warned: set[tuple[str, str]] = set()


def _initialise(folder: str) -> None:
    """Leave Ctrl-C to the parent, which ends its workers itself, and end when it is gone."""
    global _folder
    _folder = tempfile.tempdir = os.environ["TMPDIR"] = folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a closed terminal ends the parent, and its end the workers
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_watch_parent, daemon=True, name="parent").start()


def _watch_parent() -> None:
    # The kernel's signal at a parent's death (PR_SET_PDEATHSIG) would not do: to the kernel the parent is
    # the server that workers are forked from, which lives as long as they do.
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    wait_for([parent.sentinel])
    while True:  # where the request to end is swallowed by a library it is made again
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(ASK_AGAIN)


def _end(*_: object) -> None:
    if _busy:
        raise _Stop
    _leave()


def _leave() -> NoReturn:
    """End at once, but leave no temporary folder: neither kept ones nor, if it is empty now, the common one."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(Exception):
        # The finalizers of files, which come before those of queues, which would wait.
        util._run_finalizers(10)  # type: ignore[attr-defined]  # not among the stubs
    parent = multiprocessing.parent_process()
    if _folder is not None and parent is not None and not parent.is_alive():
        remove_reports(_folder)  # also those of workers that were killed
        with suppress(OSError):
            Path(_folder).rmdir()
    os._exit(143)


def _work(function: Callable[[Raw], Raw], item: Raw, file: Path | None = None) -> Raw:
    """Call the function; when told to end, end once everything on the way out has been cleaned up."""
    global _busy
    _busy = True
    try:
        with warnings.catch_warnings(record=True) as caught:
            result = function(item) if file is None else _reporting(function, item, file)
        _note(caught)
        return result
    except _Stop:
        _leave()
    finally:
        _busy = False


def _reporting(function: Callable[[Raw], Raw], item: Raw, file: Path) -> Raw:
    reports = ReportFile(file)
    try:
        with reports_to(reports):
            return function(item)
    finally:
        reports.close()


def _note(caught: Iterable[warnings.WarningMessage]) -> None:
    """Log each warning of a library once; on stderr they would tear the bars of the parent."""
    for warning in caught:
        key = (warning.category.__name__, str(warning.message))
        if key not in _warned:
            _warned.add(key)
            log.debug("%s: %s", *key)


def _end_workers(pool: ProcessPoolExecutor) -> None:
    # Python 3.14 has terminate_workers(); before, the processes are known to the pool alone.
    for process in list((pool._processes or {}).values()):
        process.terminate()


def _run_until_broken(
    function: Callable[[Raw], Raw],
    queue: Iterator[Raw | None],
    workers: int,
    suspects: list[Raw],
    watch: _Watch,
) -> Iterator[Raw]:
    """Work until the queue is empty or a worker dies; then `suspects` holds what was in hand."""
    pool = _executor(workers, watch.home)
    running: dict[Future[Raw], _Attempt] = {}
    ended = False
    try:
        while True:
            while len(running) < workers + 1 and (item := next(queue, None)) is not None:
                attempt = watch.attempt(item)
                try:
                    running[pool.submit(_work, function, item, attempt.file)] = attempt
                except BrokenProcessPool:
                    suspects.append(item)
                    break
            if not running:
                ended = True
                return
            for future in watch.wait(running):
                item = running.pop(future).item
                try:
                    result = future.result()
                except BrokenProcessPool:
                    suspects.append(item)
                else:
                    yield result
            if suspects:
                yield from _collect(running, suspects)
                ended = True
                return
    finally:
        if not ended:  # interrupted, or nobody wants the rest
            _end_workers(pool)
        pool.shutdown(wait=True, cancel_futures=True)


def _collect(running: dict[Future[Raw], _Attempt], suspects: list[Raw]) -> Iterator[Raw]:
    """Results that were ready all the same when the pool broke; the rest are suspects."""
    for future, attempt in running.items():
        try:
            result = future.result()
        except BrokenProcessPool:
            suspects.append(attempt.item)
        else:
            yield result


def _run_alone(function: Callable[[Raw], Raw], item: Raw, died: Callable[[Raw, str], Raw], watch: _Watch) -> Raw:
    for _ in range(ATTEMPTS - 1):
        with _executor(1, watch.home) as pool:
            attempt = watch.attempt(item)
            try:
                future = pool.submit(_work, function, item, attempt.file)
                watch.wait({future: attempt})
                return future.result()
            except BrokenProcessPool:
                continue
    return died(
        item,
        f"the process working on {item.get('label')} died {ATTEMPTS} times (killed, out of memory, or ended by a "
        "library); look at the memory of the machine and try `mlipdb build --retry-failed`",
    )
