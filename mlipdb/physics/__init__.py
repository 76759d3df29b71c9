"""Pure functions on structures, forces and phonons: no database, no files."""
