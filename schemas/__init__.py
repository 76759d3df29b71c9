"""Pydantic models of every document mlipdb keeps: one document type a file, no database in sight."""
