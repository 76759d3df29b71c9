"""Frames worked on by several processes, results in the order of the frames."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlipdb.errors import FitError
from mlipdb.physics.frames import Frame

__all__ = ["SMALL", "Usage", "blas_threads", "map_frames", "peak_memory_mb", "set_blas_threads"]

# One module-level function for each name under which the wheels of numpy and scipy export it.
_SETTERS: Final = (
    "scipy_openblas_set_num_threads64_",
    "scipy_openblas_set_num_threads",
    "openblas_set_num_threads64_",
    "openblas_set_num_threads",
)
_GETTERS: Final = tuple(name.replace("_set_", "_get_") for name in _SETTERS)
#: Atoms that are worked on before a process would have started.
SMALL: Final = 300
_PRELOADED: Final = ["mlipdb.preload", "quippy.descriptors", "mlipdb.frameworks.gap_grid.assembly"]
_THREAD_VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Work = Callable[[Any, Frame], Any]


@dataclass
class Usage:
    """What worker processes used.

    Attributes
    ----------
    cpu_time_s
        CPU seconds of all workers together.
    peak_memory_mb
        Largest resident memory of any one, 10^6 bytes.
    """

    cpu_time_s: float = 0.0
    peak_memory_mb: float = 0.0


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, 10^6 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1.0 if sys.platform == "darwin" else 1024.0) / 1e6


def _openblas() -> list[ctypes.CDLL]:
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []  # not Linux: the number of threads stays what the environment said
    paths = {line.split(maxsplit=5)[-1] for line in lines if "openblas" in line}
    libraries = []
    for path in sorted(paths):
        with suppress(OSError):
            libraries.append(ctypes.CDLL(path))
    return libraries


def set_blas_threads(threads: int) -> None:
    """Set the number of threads of every OpenBLAS in this process, where there is one."""
    for library in _openblas():
        for name in _SETTERS:
            if hasattr(library, name):
                getattr(library, name)(threads)


@contextmanager
def blas_threads(threads: int) -> Iterator[None]:
    """Set the number of BLAS threads for a while."""
    before = [
        (getattr(library, setter), getattr(library, getter)())
        for library in _openblas()
        for setter, getter in zip(_SETTERS, _GETTERS, strict=True)
        if hasattr(library, setter) and hasattr(library, getter)
    ]
    set_blas_threads(threads)
    try:
        yield
    finally:
        for setter, count in before:
            setter(count)


def map_frames(
    function: Work, payload: Any, frames: Sequence[Frame], *, processes: int, usage: Usage, label: str
) -> Iterator[Any]:
    """Results of a function for each frame, in order.

    Parameters
    ----------
    function
        Importable; called with payload and a frame.
    payload
        Sent to each process once.
    frames
        The frames; no more are in hand than the processes need.
    processes
        With 1, or fewer than `SMALL` atoms in all, this process does the work.
    usage
        Gets what the workers used.
    label
        What is done, for the message of a failure.

    Raises
    ------
    FitError
        If a worker dies twice over the same frame; errors of the function come through.
    """
    if processes <= 1 or sum(frame.n_atoms for frame in frames) < SMALL:
        for frame in frames:
            yield function(payload, frame)
        return
    position = 0
    while position < len(frames):
        try:
            for result in _through_pool(function, payload, frames[position:], processes, usage):
                yield result
                position += 1
        except BrokenProcessPool:
            # One of those in hand ended its process.  Each is tried again alone, to find out which.
            for frame in frames[position : position + processes + 1]:
                yield _alone(function, payload, frame, usage, label)
                position += 1


def _alone(function: Work, payload: Any, frame: Frame, usage: Usage, label: str) -> Any:
    try:
        (result,) = _through_pool(function, payload, [frame], 1, usage)
    except BrokenProcessPool:
        raise FitError(
            f"the process working on {label} of configuration {frame.configuration_id!r} died twice (killed, or "
            "out of memory); give the study less memory or fewer processes",
            reason="killed",
        ) from None
    return result


def _through_pool(function: Work, payload: Any, frames: Sequence[Frame], processes: int, usage: Usage) -> Iterator[Any]:
    # What a forkserver that is not running yet starts with; one that is has its threads set below.
    for name in _THREAD_VARIABLES:
        os.environ.setdefault(name, "1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    pool = ProcessPoolExecutor(
        max_workers=min(processes, len(frames)),
        mp_context=context,
        initializer=_begin,
        initargs=(payload, os.getpid()),
    )
    waiting: deque[Future[tuple[Any, float, float]]] = deque()
    queue = iter(frames)
    try:
        while True:
            while len(waiting) < processes + 1 and (frame := next(queue, None)) is not None:
                waiting.append(pool.submit(_work, function, frame))
            if not waiting:
                return
            result, cpu_time_s, memory_mb = waiting.popleft().result()
            usage.cpu_time_s += cpu_time_s
            usage.peak_memory_mb = max(usage.peak_memory_mb, memory_mb)
            yield result
    finally:
        if waiting:  # interrupted, or nobody wants the rest
            for process in list((pool._processes or {}).values()):
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


_payload: Any = None
_reported_s = 0.0


def _begin(payload: Any, parent: int) -> None:
    global _payload
    _payload = payload
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    set_blas_threads(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End once the study's process is gone: a pool's workers would wait for ever."""
    while True:
        try:
            os.kill(parent, 0)
        except ProcessLookupError:
            os._exit(1)
        except PermissionError:
            pass
        time.sleep(1.0)


def _work(function: Work, frame: Frame) -> tuple[Any, float, float]:
    global _reported_s
    result = function(_payload, frame)
    if _reported_s == 0.0:
        set_blas_threads(1)  # libraries that came with the first frame
    total = time.process_time()
    used, _reported_s = total - _reported_s, total
    return result, used, peak_memory_mb()
