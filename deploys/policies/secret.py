"""References to secrets. A policy holds the reference; the value exists only while it is being applied.

The value is resolved on the controller, travels to the host on standard input, and is in no plan, log, report or
exception: `repr`, `str`, JSON and errors show the reference.
"""

from __future__ import annotations

import functools
import os
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import Self

from deploys.errors import InputError
from deploys.policies.base import Model

COMMAND_SECONDS = 60


class Kind(StrEnum):
    """What a reference points to."""

    ENV = "env"
    FILE = "file"
    COMMAND = "command"


class Secret(Model):
    """Where a secret is found: `Secret.env("X")`, `Secret.file("path")`, `Secret.command("sops", "-d", "x.yaml")`."""

    kind: Kind
    reference: tuple[str, ...]

    @classmethod
    def env(cls, variable: str) -> Self:
        """The value of an environment variable of the controller."""
        return cls(kind=Kind.ENV, reference=(variable,))

    @classmethod
    def file(cls, path: str | Path) -> Self:
        """The content of a file on the controller, without its final line ends."""
        return cls(kind=Kind.FILE, reference=(str(path),))

    @classmethod
    def command(cls, *words: str) -> Self:
        """What a command prints, without its final line ends. It is run without a shell, once per run."""
        return cls(kind=Kind.COMMAND, reference=words)

    def __str__(self) -> str:
        return f"Secret.{self.kind.value}({', '.join(map(repr, self.reference))})"

    __repr__ = __str__

    def resolve(self) -> str:
        """The value.

        Raises:
            InputError: it cannot be had; the message names the reference only.
        """
        return _resolve(self)


@functools.lru_cache(maxsize=1024)
def _resolve(secret: Secret) -> str:
    # What a failing command prints may hold the secret: it is not repeated.
    try:
        match secret.kind:
            case Kind.ENV:
                return os.environ[secret.reference[0]]
            case Kind.FILE:
                return Path(secret.reference[0]).expanduser().read_text().rstrip("\r\n")
            case Kind.COMMAND:
                done = subprocess.run(
                    secret.reference, capture_output=True, text=True, check=True, timeout=COMMAND_SECONDS
                )
                return done.stdout.rstrip("\r\n")
    except KeyError:
        reason = "no such environment variable"
    except subprocess.CalledProcessError as error:
        reason = f"the command ended with status {error.returncode}"
    except subprocess.TimeoutExpired:
        reason = f"the command took longer than {COMMAND_SECONDS} s"
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    message = f"{secret}: {reason}"
    raise InputError(message)
