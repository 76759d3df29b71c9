"""Raw input: reading it, keeping it as it came, and understanding it; one file per kind."""
