"""Imported once by the server that the processes of `mlipdb add` are forked from: what takes time to import."""

from __future__ import annotations

import ase.io.extxyz  # noqa: F401
import bson  # noqa: F401

import mlipdb.ingest.reading  # noqa: F401
