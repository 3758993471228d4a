"""What is printed where: -q and -j take away levels, columns follow the terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

DEFAULT_WIDTH = 80


class Console:
    """tdnf's levels of output: `info` (not with -q or -j), `line` (not with -j), `error` (always, on stderr)."""

    def __init__(self, *, quiet: bool = False, json_output: bool = False, silent: bool = False) -> None:
        self.quiet, self.json, self.silent = quiet, json_output, silent

    def info(self, text: str) -> None:
        if not (self.quiet or self.json):
            self._write(text)

    def line(self, text: str) -> None:
        if not self.json:
            self._write(text)

    def document(self, value: Any) -> None:
        """A JSON document, as tdnf writes it: no blanks, no newline, no escaped slashes."""
        self._write(json.dumps(value, separators=(",", ":"), ensure_ascii=False), end="")

    def error(self, text: str) -> None:
        sys.stdout.flush()
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def _write(self, text: str, end: str = "\n") -> None:
        # librpm and scriptlets write to the same file descriptor: nothing may wait in a buffer.
        sys.stdout.write(f"{text}{end}")
        sys.stdout.flush()


def widths(percents: Sequence[int]) -> list[int]:
    """Column widths for the terminal, 80 columns without one."""
    columns = DEFAULT_WIDTH
    if sys.stdout.isatty():
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
    return [columns * percent // 100 for percent in percents]


def size(number: int) -> str:
    """`84063` as ` 82.09k`."""
    value, index = float(number), 0
    while index < len("bkMG") and value > 1024:
        value /= 1024
        index += 1
    return f"{value:6.2f}{'bkMG'[index]}"
