"""Which hosts a commit is about: those whose policies say something else than at an earlier one, and why."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from deploys.rollout.place import Place, git

CODE = ("deploys", "facts", "operations", "templates", "pyproject.toml", "constraints.txt")
"""What carries policies out: where it differs, every host may become something else."""
_MOST_FILES = 3

Policies = Mapping[str, Mapping[str, str]]
"""Host -> policy -> digest."""


def code_between(place: Place, earlier: str, later: str) -> str:
    """Why all hosts are meant; "" when none of the code differs that carries policies out."""
    names = git(place.repository, "diff", "--name-only", earlier, later, "--", *CODE, "inventories/_*.py").splitlines()
    found = [name for name in names if PurePosixPath(name).name != "_roles.py"]
    if not found:
        return ""
    more = f" and {len(found) - _MOST_FILES} more" if len(found) > _MOST_FILES else ""
    return f"the code that applies policies differs: {', '.join(found[:_MOST_FILES])}{more}"


def reasons(earlier: Policies, later: Policies) -> dict[str, str]:
    """Host -> why it is meant. A host that is gone from the inventory is nobody's to change."""
    found = {}
    for host, policies in later.items():
        if host not in earlier:
            found[host] = "it is new"
            continue
        before = earlier[host]
        words = [
            *(f"{name} is new" for name in policies if name not in before),
            *(f"{name} is gone" for name in before if name not in policies),
            *(f"{name} differs" for name in policies if name in before and before[name] != policies[name]),
        ]
        if words:
            found[host] = ", ".join(words)
    return found
