"""The instance lock: an fcntl lock on one file, for root only; the file goes when its holder ends.

A process that waited for the lock finds the file gone at its own end and says so, as tdnf does. So a third process
does not wait for the second: that is a defect of tdnf, kept here on purpose.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

PATH = "/var/run/.tdnf-instance-lockfile"


class InstanceLock:
    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._tried = False

    def acquire(self) -> None:
        """Take the lock, waiting without limit. Other users than root do not take part."""
        if os.geteuid():
            return
        self._tried = True
        try:
            self._descriptor = os.open(PATH, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            _say(f"can't create tdnf_instance lock on {PATH} ({error.strerror})")
            self._remove()
            _say("Failed to acquire tdnf_instance lock")
            return
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            # On stdout, also with -j.
            sys.stdout.write(f"waiting for tdnf_instance lock on {PATH}\n")
            sys.stdout.flush()
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        if self._tried:
            self._remove()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._tried = False

    def _remove(self) -> None:
        try:
            Path(PATH).unlink()
        except OSError:
            _say(f"WARNING: Unable to remove lockfile({PATH})")


def _say(text: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
