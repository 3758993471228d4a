"""tdnf's configuration files as values, read with the rules that tdnf itself has. Pure.

- A key that is missing is not the same as one that is off; here it is simply not there.
- Booleans: only `true` in any case and numbers other than 0 are true. `yes` and `on` are false.
- Passwords never leave this module.

Files travel as one text: a line `= MODE USER:GROUP PATH` for each file, and its own lines after it, each
with one blank in front, so that nothing in a file can be taken for the next file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from facts._answer import AnswerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from facts._types import Holds, RepositoryFile, Signatures

CONFIGURATION = "/etc/tdnf/tdnf.conf"
LOCKS = "/etc/tdnf/locks.d"
MINVERSIONS = "/etc/tdnf/minversions.d"
REPOSITORIES = "/etc/yum.repos.d"

END = "= end"
_FILE = re.compile(r"= (?P<mode>[0-7]+) (?P<owner>\S+) (?P<path>/.*)")
_SECTION = re.compile(r"\[(?P<section>[^\]]*)\]")
_SECRET = {"password", "proxy_password"}


@dataclass
class TextFile:
    """A file and what is in it."""

    path: str
    mode: str
    owner: str
    lines: list[str] = field(default_factory=list)


def read_command(*patterns: str) -> str:
    """A shell command that prints every file that matches; none is no error, one that cannot be read is."""
    show = "stat -Lc '= %a %U:%G %n' \"$f\" && sed 's/^/ /' \"$f\" && echo"
    return f"for f in {' '.join(patterns)}; do [ -e \"$f\" ] || continue; {show} || exit 1; done; echo '{END}'"


def files(lines: list[str]) -> list[TextFile]:
    """What `read_command` printed, without blank lines.

    Raises:
        AnswerError: the end is missing, or a line belongs to no file.
    """
    found: list[TextFile] = []
    for line in lines:
        if match := _FILE.match(line):
            found.append(TextFile(match["path"], match["mode"], match["owner"]))
        elif line.startswith(" ") and found:
            found[-1].lines.append(line[1:])
        elif line.strip() and line != END:
            message = f"unexpected line {line!r}"
            raise AnswerError(message)
    if END not in lines:
        message = "the files could not be read to the end"
        raise AnswerError(message)
    for one in found:
        one.lines = [line.rstrip() for line in one.lines if line.strip()]
    return found


def is_true(text: str) -> bool:
    """A boolean as tdnf reads it."""
    text = text.strip()
    if text.lower() == "true":
        return True
    match = re.match(r"[+-]?\d+", text)
    return match is not None and int(match[0]) != 0


def sections(lines: list[str]) -> dict[str, dict[str, str]]:
    """Section to options: keys in lower case, single blanks in values, the last of equal keys counts."""
    found: dict[str, dict[str, str]] = {}
    current: dict[str, str] | None = None
    last = ""
    for line in lines:
        text = line.strip()
        if not text or text[0] in "#;":
            continue
        if match := _SECTION.match(text):
            current = found.setdefault(match["section"].strip(), {})
            last = ""
        elif current is not None and line[0].isspace() and last:
            current[last] = " ".join([*current[last].split(), *text.split()])
        elif current is not None and "=" in text:
            key, _, value = text.partition("=")
            last = key.strip().lower()
            current[last] = " ".join(value.split())
    return found


def repository_files(lines: list[str]) -> dict[str, RepositoryFile]:
    """Path to repositories, for /etc/yum.repos.d."""
    return {
        one.path: {
            "mode": one.mode,
            "owner": one.owner,
            "repositories": {repo: dict(_without_secrets(options)) for repo, options in sections(one.lines).items()},
        }
        for one in files(lines)
    }


def _without_secrets(options: dict[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in options.items():
        yield key, "***" if key in _SECRET else value


def holds(lines: list[str]) -> Holds:
    """What locks.d, minversions.d and tdnf.conf say."""
    result: Holds = {"locks": {}, "minversions": {}, "excluded": []}
    for one in files(lines):
        entries = [line.strip() for line in one.lines if not line.lstrip().startswith("#")]
        if one.path.startswith(LOCKS + "/"):
            result["locks"][one.path] = entries
        elif one.path.startswith(MINVERSIONS + "/"):
            result["minversions"][one.path] = entries
        else:
            main = sections(one.lines).get("main", {})
            result["excluded"] = main.get("excludepkgs", "").replace(",", " ").split()
    return result


def signatures(lines: list[str]) -> Signatures:
    """tdnf.conf, behind a first line with rpm's own value of `%_pkgverify_level`.

    Raises:
        AnswerError: the first line is missing.
    """
    if not lines or not lines[0].strip() or lines[0].startswith(("=", "%")):
        message = "rpm did not say its %_pkgverify_level"
        raise AnswerError(message)
    main = next((sections(one.lines).get("main") for one in files(lines[1:])), None)
    check = main.get("gpgcheck") if main is not None else None
    return {
        "configuration": main is not None,
        "gpgcheck": None if check is None else is_true(check),
        "pkgverify_level": lines[0].strip(),
    }
