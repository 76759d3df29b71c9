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
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from multiprocessing import util
from multiprocessing.connection import wait as wait_for
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["run_in_processes"]

Raw = dict[str, Any]
#: Attempts for an item whose worker died: it may have been the neighbour's fault.
ATTEMPTS = 2
#: Seconds between two requests to end of a worker whose parent is gone.
ASK_AGAIN = 5.0
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
log = logging.getLogger("mlipdb")


def run_in_processes(
    function: Callable[[Raw], Raw], items: Iterable[Raw], workers: int, died: Callable[[Raw, str], Raw]
) -> Iterator[Raw]:
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
        Inputs, taken lazily.
    workers
        Processes.
    died
        Makes the result of an item whose process died twice, from the item and a sentence.
    """
    queue = iter(items)
    # All temporary folders of the workers lie in this one, so that those of a killed worker go as well.
    with tempfile.TemporaryDirectory(prefix="mlipdb-build-", ignore_cleanup_errors=True) as folder:
        while True:
            suspects: list[Raw] = []
            yield from _run_until_broken(function, queue, workers, suspects, folder)
            if not suspects:
                return
            for item in suspects:
                yield _run_alone(function, item, died, folder)


def _executor(workers: int, folder: str) -> ProcessPoolExecutor:
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, "1")  # one core a worker: BLAS threads would fight over them
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlipdb.preload"])
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
        with suppress(OSError):
            Path(_folder).rmdir()
    os._exit(143)


def _work(function: Callable[[Raw], Raw], item: Raw) -> Raw:
    """Call the function; when told to end, end once everything on the way out has been cleaned up."""
    global _busy
    _busy = True
    try:
        with warnings.catch_warnings(record=True) as caught:
            result = function(item)
        _note(caught)
        return result
    except _Stop:
        _leave()
    finally:
        _busy = False


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
    function: Callable[[Raw], Raw], queue: Iterator[Raw], workers: int, suspects: list[Raw], folder: str
) -> Iterator[Raw]:
    """Work until the queue is empty or a worker dies; then `suspects` holds what was in hand."""
    pool = _executor(workers, folder)
    running: dict[Future[Raw], Raw] = {}
    ended = False
    try:
        while True:
            while len(running) < workers + 1 and (item := next(queue, None)) is not None:
                try:
                    running[pool.submit(_work, function, item)] = item
                except BrokenProcessPool:
                    suspects.append(item)
                    break
            if not running:
                ended = True
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                item = running.pop(future)
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


def _collect(running: dict[Future[Raw], Raw], suspects: list[Raw]) -> Iterator[Raw]:
    """Results that were ready all the same when the pool broke; the rest are suspects."""
    for future, item in running.items():
        try:
            result = future.result()
        except BrokenProcessPool:
            suspects.append(item)
        else:
            yield result


def _run_alone(function: Callable[[Raw], Raw], item: Raw, died: Callable[[Raw, str], Raw], folder: str) -> Raw:
    for _ in range(ATTEMPTS - 1):
        with _executor(1, folder) as pool:
            try:
                return pool.submit(_work, function, item).result()
            except BrokenProcessPool:
                continue
    return died(
        item,
        f"the process working on {item.get('label')} died {ATTEMPTS} times (killed, out of memory, or ended by a "
        "library); look at the memory of the machine and try `mlipdb build --retry-failed`",
    )
