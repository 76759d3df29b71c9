"""The command line; each command imports what it needs when it runs."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["main"]


class Interrupted(BaseException):
    """The user (Ctrl-C) or the system (SIGTERM) wants the command to end.

    No ``Exception``, so that nothing takes it for the failure of one item.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def main() -> None:
    """Run the command line; errors become one sentence and an exit code.

    0: done, or nothing to do.  1: something failed.  2: wrong usage or settings.
    3: the database cannot be used.  4: somebody else is building.  130, 143: interrupted.
    """
    from mlipdb.cli.app import app
    from mlipdb.errors import MlipdbError

    try:
        with _signals():
            try:
                app()
            finally:
                # Here a full disk can still be told; when Python ends it could not.
                sys.stdout.flush()
    except MlipdbError as error:
        for line in error.message.splitlines():
            sys.stderr.write(f"mlipdb: {line}\n")
        sys.exit(error.exit_code)
    except Interrupted as stop:
        sys.stderr.write("\nmlipdb: interrupted; what was finished is kept, run the command again to go on\n")
        sys.exit(stop.exit_code)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; keep Python from complaining at exit.
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        sys.exit(_refused(error))


def _refused(error: OSError) -> int:
    """Say in one sentence what the system refused; returns the exit code."""
    reason = error.strerror or str(error)
    try:
        sys.stdout.flush()
    except OSError:
        # What could not be written would be tried again, and complained about, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.filename is None:
        sys.stderr.write(f"mlipdb: the system refused to read or write ({reason}); free space or rights are needed\n")
    else:
        sys.stderr.write(f"mlipdb: {error.filename} cannot be used ({reason}); look at its path and its rights\n")
    wrong_path = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
    return 2 if isinstance(error, wrong_path) or error.errno == errno.EROFS else 1


@contextmanager
def _signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the command through its clean-up, leases and workers included."""

    def interrupt(number: int, _: object) -> None:
        raise Interrupted(number)

    old = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
