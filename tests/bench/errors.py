"""The one exception of the benchmark. Its text is for the person at the terminal."""

from __future__ import annotations


class BenchError(Exception):
    """A figure cannot be had; the message says why."""
