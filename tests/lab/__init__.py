"""Throwaway hosts for tests and for the first run: see docs/lab.md and `python -m tests.lab --help`."""
