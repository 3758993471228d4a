"""What of a replayed case has to be as recorded, and what cannot be.

`differences(case, result)` compares exit status or signal, standard output, standard error, the packages that came
and went, the other program of a concurrent case, and what the follow-up commands showed.
"""

from __future__ import annotations

import re
from typing import Any

# Everything that is not compared as it is, and why:
NORMALISATIONS: tuple[tuple[re.Pattern[str], str], ...] = (
    # The keys are made anew for every build of the scenario.
    (re.compile(r"key ID [0-9a-f]{8}"), "key ID <key>"),
    (re.compile(r"gpg-pubkey-[0-9a-f]{8}-[0-9a-f]{8}"), "gpg-pubkey-<key>"),
    # Time stamps of the history.
    (re.compile(r'"TimeStamp":\d+'), '"TimeStamp":<time>'),
    (re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z]{2} \d\d \d{4} \d\d:\d\d \+"), "<date> +"),
    # The size of a package file is what rpmbuild and the signature make of it. The installed size is compared.
    (
        re.compile(r"(?m)^(\S+ +(?:x86_64|noarch) +\S+ +\S+ +[\d.]+[bkMG]) +(?!0\.00b)[\d.]+[bkMG]$"),
        r"\1 <download>",
    ),
    (re.compile(r"(?m)^Total download size: +(?!0\.00b)[\d.]+[bkMG]$"), "Total download size: <download>"),
    (re.compile(r"(?m)^Download Size  : +[\d.]+[bkMG] \(\d+\)$"), "Download Size  : <download>"),
    (re.compile(r'"DownloadSize":\d+'), '"DownloadSize":<download>'),
)


def normalised(text: str) -> str:
    for pattern, replacement in NORMALISATIONS:
        text = pattern.sub(replacement, text)
    return text


def differences(case: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """Describe every difference, none when the case is as recorded."""
    if "error" in result:
        return [f"the replay failed: {result['error']}"]
    found = _program("", case, result)
    for key in ("packages_added", "packages_removed"):
        # Sorted: the recording has no order of its own.
        expected, got = (sorted(map(normalised, side[key])) for side in (case, result))
        found += _differ(key, expected, got)
    if "concurrent" in case:
        found += _program("concurrent ", case["concurrent"], result["concurrent"])
    for step, got in zip(case.get("followups", []), result["followups"], strict=True):
        found += _program(f"{' '.join(step['argv'])}: ", _ordered(step), _ordered({**got, "argv": step["argv"]}))
    return found


def _program(prefix: str, case: dict[str, Any], result: dict[str, Any]) -> list[str]:
    found = []
    for key in ("exit", "signal", "stdout", "stderr"):
        expected, got = case.get(key), result.get(key)
        if isinstance(expected, str) and key.startswith("std"):
            expected, got = normalised(expected), normalised(str(got))
        found += _differ(f"{prefix}{key}", expected, got)
    return found


def _ordered(step: dict[str, Any]) -> dict[str, Any]:
    """`find` shows the order of a directory, which no file system promises."""
    if step["argv"][0] != "find":
        return step
    return {**step, "stdout": "".join(sorted(step["stdout"].splitlines(keepends=True)))}


def _differ(what: str, expected: object, got: object) -> list[str]:
    return [] if expected == got else [f"{what}:\n  recorded {expected!r}\n  replayed {got!r}"]
