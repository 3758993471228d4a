"""One run of tdnf: run so that nothing of its answer is lost, and what is wrong with an answer. Pure.

Contract:
- tdnf's answer is what its exit status, both its streams and every JSON document in them say together.
  Exit 0 alone says nothing: a repository that is down, or that answers a web page, is exit 0 as well.
- `troubles` names, in sentences, everything that makes an answer less than the whole truth. An empty list
  of packages without trouble is a real "none".
- Text that cannot be understood becomes a trouble or an `AnswerError`; no other exception leaves this module.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

TIME_LIMIT = 300
"""Seconds. Without a limit a `gpgkey=` file that is no key, or a held lock, keeps tdnf for ever."""

MARK = "##TDNF-EXIT "
UPDATES_AVAILABLE = 100
"""The exit status of check-update with updates, where `dnf_check_update_compat=1` is set."""

_NOT_FOUND = {126, 127}
_TIMED_OUT = {124, 137}

_UNREADABLE = re.compile(r"Error: Failed to synchronize cache for repo '(?P<repo>.*?)'(?: from '.*')?$")
_ERROR = re.compile(r"Error\((?P<number>\d+)\) : (?P<text>.*)")
_HTTP = re.compile(r"Error: (?P<text>\d{3} when downloading \S+)")
_DUPLICATE = re.compile(r"ERROR: duplicate repo id: (?P<repo>.+)")
_DETAIL = re.compile(r"^(?:\d+\. .*|.* package not found or not installed|package .* is protected)$", re.MULTILINE)
_DISABLED = re.compile(r"Disabling Repo: '(?P<repo>.*)'")


class AnswerError(ValueError):
    """The text is not what tdnf or rpm print."""


@dataclass(frozen=True)
class Answer:
    """One run of tdnf. `exit` is the status a shell sees (128 + signal for a killed process)."""

    exit: int
    stdout: str
    stderr: str = ""


@dataclass
class Decoded:
    """The JSON documents of a standard output, and the lines between them."""

    documents: list[Any] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)


def command(arguments: str) -> str:
    """A shell command that runs `tdnf ARGUMENTS` and prints all of its answer.

    First stderr, then a mark with the status, then stdout. It always succeeds, needs no temporary file, and
    says 127 where there is no tdnf.
    """
    run = f"LC_ALL=C timeout -k 10 {TIME_LIMIT} tdnf {arguments} 2>&3 </dev/null"
    return f'{{ out=$({run}); rc=$?; }} 3>&1; printf \'\\n{MARK}%s\\n%s\\n\' "$rc" "$out"'


def answer(lines: list[str], program: str = "tdnf", mark: str = MARK) -> Answer:
    """What `command` printed, or another shell command that frames an answer with a mark.

    Raises:
        AnswerError: the mark is missing, so the shell did not get to the end.
    """
    for index, line in enumerate(lines):
        if line.startswith(mark) and line[len(mark) :].strip().isdecimal():
            return Answer(int(line[len(mark) :]), "\n".join(lines[index + 1 :]), "\n".join(lines[:index]))
    message = f"the answer of {program} is incomplete"
    raise AnswerError(message)


def decode(text: str) -> Decoded:
    """Every JSON document in the text.

    tdnf prints a second document behind the first when a transaction fails, lock messages before it, and
    what scriptlets print behind it. A document starts a line or follows another one; one cut short is noise.
    """
    result, position = Decoded(), 0
    decoder = json.JSONDecoder(strict=False)
    while position < len(text):
        if text[position] in "[{":
            try:
                document, position = decoder.raw_decode(text, position)
            except (ValueError, RecursionError):
                pass
            else:
                result.documents.append(document)
                continue
        end = text.find("\n", position)
        end = len(text) if end < 0 else end + 1
        if line := text[position:end].strip():
            result.noise.append(line)
        position = end
    return result


def errors(decoded: Decoded) -> list[tuple[int, str]]:
    """The error documents: tdnf's own number and message."""
    found = (item for item in decoded.documents if isinstance(item, dict) and isinstance(item.get("Error"), int))
    return [(item["Error"], str(item.get("ErrorMessage", ""))) for item in found]


def rows(given: Answer, *, expected: bool = True) -> tuple[list[dict[str, Any]], list[str]]:
    """The objects of the list that tdnf printed, and what is wrong with it.

    With `expected` the command prints a document whatever the result is (`list`, `check-update`,
    `repolist`, `updateinfo`); without it (`repoquery`, `provides`) silence with status 0 means none.
    """
    decoded = decode(given.stdout)
    lists = [document for document in decoded.documents if isinstance(document, list)]
    trouble = troubles(given, decoded)
    if not lists and not trouble and expected:
        said = f": {decoded.noise[0]}" if decoded.noise else " at all"
        trouble.append(f"tdnf gave no answer{said}")
    found = [item for document in lists for item in document]
    good: list[dict[str, Any]] = [item for item in found if isinstance(item, dict)]
    if len(good) != len(found):
        trouble.append("tdnf's answer has entries that are no objects")
    return good, trouble


def troubles(given: Answer, decoded: Decoded | None = None) -> list[str]:
    """What is wrong with an answer, in sentences; nothing means that it is complete."""
    if given.exit in _NOT_FOUND:
        return [f"tdnf could not be run: {_last(given.stderr) or 'not found'}"]
    decoded = decode(given.stdout) if decoded is None else decoded
    numbered = dict(errors(decoded))
    found = [*_repository_troubles(given, numbered)]
    details = "".join(f"; {line}" for line in _DETAIL.findall(given.stderr))
    found += [f"tdnf error {number}: {text}{details}" for number, text in numbered.items()]
    if given.exit in _TIMED_OUT:
        found.append(f"tdnf did not end in time (limit {TIME_LIMIT} seconds)")
    elif given.exit not in {0, UPDATES_AVAILABLE} and not found:
        found.append(_silent_failure(given))
    return list(dict.fromkeys(found))


def _repository_troubles(given: Answer, numbered: dict[int, str]) -> Iterator[str]:
    """One sentence per repository that could not be read; stderr's other errors go to `numbered`."""
    reason, pending = "", set[int]()
    for line in given.stderr.splitlines():
        if match := _HTTP.match(line):
            reason = match["text"]
        elif match := _ERROR.match(line):
            reason = reason or match["text"]
            pending.add(int(match["number"]))
            numbered.setdefault(int(match["number"]), match["text"])
        elif match := _UNREADABLE.match(line):
            yield f"repository {match['repo']!r} could not be read{': ' + reason if reason else ''}"
            for number in pending:
                numbered.pop(number, None)
            reason, pending = "", set()
        elif match := _DUPLICATE.match(line):
            yield f"repository {match['repo']!r} is defined more than once"
            numbered.pop(1037, None)
    for repo in _DISABLED.findall(given.stdout):
        yield f"repository {repo!r} was left out"


def _silent_failure(given: Answer) -> str:
    last = _last(given.stderr)
    return f"tdnf ended with status {given.exit}" + (f": {last}" if last else " and said nothing")


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
