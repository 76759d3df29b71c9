"""Asks for a lease in a process of its own: address, builder; says `held` or `locked`, then waits to be told to end."""

from __future__ import annotations

import sys

from mlipdb.errors import LockedError
from mlipdb.locks import lease
from mlipdb.stores import Database


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with Database(sys.argv[1]) as database:
        say("ready")
        sys.stdin.readline()
        try:
            with lease(database, sys.argv[2]):
                say("held")
                sys.stdin.readline()
        except LockedError:
            say("locked")
