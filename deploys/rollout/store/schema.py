"""The versions of the schema: schema.sql has a section for each, and what is older gets those that it lacks."""

from __future__ import annotations

import re
from pathlib import Path

from deploys.refusal import Refusal
from deploys.rollout.store.database import Connection

_SECTIONS = re.split(r"^-- version \d+\n", Path(__file__).with_name("schema.sql").read_text(), flags=re.MULTILINE)
VERSION = len(_SECTIONS)


def statements(since: int) -> list[str]:
    """What makes the schema of a version (0: nothing at all) today's."""
    text = "\n".join(_SECTIONS[since:])
    return [statement for statement in map(str.strip, text.split(";\n")) if statement]


def upgrade(db: Connection, found: int) -> None:
    """Make it today's, and write that down."""
    for statement in statements(found):
        db.execute(statement)
    db.execute("DELETE FROM meta")
    db.execute("INSERT INTO meta VALUES (?)", (VERSION,))


def require_known(name: str, found: int) -> None:
    """Refuse what a newer program has written.

    Raises:
        Refusal: its fields may mean something else.
    """
    if found > VERSION:
        message = (
            f"{name} was written by a newer Photon Fleet (schema {found}, here {VERSION}): use that one on this "
            "machine too"
        )
        raise Refusal(message)
