"""Contract tests: the lab's stand-ins against recordings of the real programs."""
