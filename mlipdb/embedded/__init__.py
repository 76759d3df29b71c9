"""The embedded database: a small server speaking MongoDB's wire protocol over a unix socket.

One process serves one data folder.  :func:`start` makes sure that it runs and
returns the ``mongodb://`` address that any pymongo client understands; the
process ends by itself when nobody has been connected for a while.  Nothing but
the standard library is imported here: clients pay for the server only in the
server's own process.
"""

from __future__ import annotations

from mlipdb.embedded.launch import ServerStatus, start, status, stop

__all__ = ["ServerStatus", "start", "status", "stop"]
