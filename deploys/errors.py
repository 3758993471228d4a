"""What a user did wrong, said once and before any connection.

`InputError` is both a pyinfra error and a click error: raised in an inventory or deploy file it reaches the terminal
as one message, without a traceback, and ends the run with status 1.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import FrameType

import pydantic
from pyinfra.api.exceptions import PyinfraError
from pyinfra_cli.exceptions import CliError

from deploys.refusal import Refusal

_OURS = Path(__file__).resolve().parent.parent
_MACHINERY = {Path("inventories", name) for name in ("_fleet.py", "_merge.py", "_hardened.py", "_ssh.py",
                                                        "_batched.py", "_clouds.py", "_lab.py")}  # fmt: skip


class InputError(Refusal, PyinfraError, CliError):  # type: ignore[misc]
    """Input that cannot be used; the message names the file, the host or object, the field, and what to do."""

    def __init__(self, message: str) -> None:
        CliError.__init__(self, message)


def near(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` when a known word is close to `word`, else an empty string."""
    match = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {match[0]!r}?)" if match else ""


@cache
def _is_user_code(file: str) -> bool:
    path = Path(file)
    if "pydantic" in path.parts or path.suffix != ".py":
        return False
    try:
        inside = path.resolve().relative_to(_OURS)
    except ValueError:
        return "site-packages" not in path.parts and "lib" not in path.parts[:3]
    return inside.parts[0] not in {"deploys", "facts", "operations"} and inside not in _MACHINERY


def caller() -> str:
    """`file:line` of the innermost frame of the user's own code (an inventory, a test), or an empty string."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the documented way to walk the stack
    while frame is not None:
        if _is_user_code(frame.f_code.co_filename):
            path = Path(frame.f_code.co_filename)
            try:
                shown = path.resolve().relative_to(Path.cwd())
            except ValueError:
                shown = path
            return f"{shown}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def explain_validation(model: type[pydantic.BaseModel], error: pydantic.ValidationError) -> list[str]:
    """Pydantic's findings as sentences: one for each field, unknown fields with the nearest known name.

    Values are not repeated but for plain strings and numbers: a secret must not leak through an error.
    """
    findings = []
    for finding in error.errors(include_url=False, include_input=False):
        path = ".".join(str(step) for step in finding["loc"])
        if finding["type"] == "extra_forbidden":
            text = f"unknown field {path!r}{near(path, model.model_fields)}"
        elif finding["type"] == "missing":
            text = f"field {path!r} is missing"
        else:
            message = finding["msg"].removeprefix("Value error, ")
            text = f"{path}: {message}" if path else message
        findings.append(text)
    return findings
