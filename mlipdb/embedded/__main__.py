"""``python -m mlipdb.embedded serve DIRECTORY``: the server in this process."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mlipdb.errors import EmbeddedError


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mlipdb.embedded", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve_parser = commands.add_parser("serve", help="serve a data folder until nobody needs it")
    serve_parser.add_argument("directory", type=Path)
    serve_parser.add_argument(
        "--idle",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="end after that long without a connection",
    )
    serve_parser.add_argument(
        "--port", type=int, default=None, help="listen on this loopback port, for tools that need one"
    )
    parsed = parser.parse_args(arguments)
    from mlipdb.embedded.server import serve  # pymongo and mongomock-ng only when needed

    try:
        serve(parsed.directory.resolve(), parsed.idle, parsed.port)
    except EmbeddedError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
