"""Writes one artifact from a process of its own: address, file name, seed of the bytes."""

from __future__ import annotations

import random
import sys

from mlipdb.artifacts import Artifacts
from mlipdb.stores import Database

if __name__ == "__main__":
    with Database(sys.argv[1]) as database:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        ref = Artifacts(database).put(sys.argv[2], random.Random(int(sys.argv[3])).randbytes(1_000_000))
        sys.stdout.write(ref.sha256)
