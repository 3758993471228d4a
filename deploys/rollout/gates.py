"""Asking gates. What cannot be understood does not pass: no answer, rubbish and a timeout are inconclusive."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence

from deploys.policies.secret import Secret
from deploys.rollout.model import Answer
from deploys.rollout.settings import CommandGate, Gate, HttpGate, SilenceGate

CANNOT_TELL = 75
_MOST_BYTES = 1 << 20
_LETTERS = 300


def asked(gates: Sequence[Gate], gate: str, wave: int, hosts: Sequence[str]) -> tuple[Answer, str]:
    """What a gate says of a wave, and why."""
    found = next((each for each in gates if each.name == gate), None)
    match found:
        case CommandGate():
            return _command(found, wave, hosts)
        case HttpGate():
            return _http(found)
        case SilenceGate():
            return _silence(found)
    return Answer.INCONCLUSIVE, f"the inventory has no gate {gate!r}"


def _command(gate: CommandGate, wave: int, hosts: Sequence[str]) -> tuple[Answer, str]:
    env = {**os.environ, "PHOTON_FLEET_WAVE": str(wave + 1), "PHOTON_FLEET_HOSTS": " ".join(hosts)}
    try:
        done = subprocess.run(
            list(gate.command), env=env, capture_output=True, text=True, errors="replace", check=False,
            timeout=gate.seconds, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Answer.INCONCLUSIVE, f"no end within {gate.seconds:g} s"
    except OSError as error:
        return Answer.INCONCLUSIVE, f"{gate.command[0]}: {error.strerror or error}"
    words = _short((done.stdout.strip() or done.stderr.strip()).rpartition("\n")[2])
    if done.returncode in {0, CANNOT_TELL}:
        return (Answer.INCONCLUSIVE if done.returncode else Answer.PASS), words
    return Answer.FAIL, f"it ended with {done.returncode}: {words}"


def _http(gate: HttpGate) -> tuple[Answer, str]:
    status, text = _fetched(gate.url, gate.token, gate.seconds)
    if status is None:
        return Answer.INCONCLUSIVE, text
    if status != gate.status:
        return Answer.FAIL, f"the answer has the status {status}: {_short(text)}"
    if gate.contains and gate.contains not in text:
        return Answer.FAIL, f"the answer has no {gate.contains!r}: {_short(text)}"
    if gate.absent and gate.absent in text:
        return Answer.FAIL, f"the answer has {gate.absent!r}"
    return Answer.PASS, f"status {status}"


def _silence(gate: SilenceGate) -> tuple[Answer, str]:
    """Source of the format: Prometheus' HTTP API, "Instant queries"."""
    url = f"{gate.url.rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': gate.query})}"
    status, text = _fetched(url, gate.token, gate.seconds)
    if status is None:
        return Answer.INCONCLUSIVE, text
    try:
        answer = json.loads(text)
        if answer["status"] != "success" or answer.get("warnings"):
            return Answer.INCONCLUSIVE, _short(str(answer.get("error") or answer.get("warnings")))
        found = [each.get("metric", {}) for each in answer["data"]["result"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return Answer.INCONCLUSIVE, f"no answer of Prometheus': {_short(text)}"
    names = sorted({str(metric.get("alertname") or metric) for metric in found})
    return (Answer.FAIL, f"{len(found)} found: {_short(', '.join(names))}") if found else (Answer.PASS, "silence")


def _fetched(url: str, token: Secret | None, seconds: float) -> tuple[int | None, str]:
    """Status and text; None and why when there is no answer."""
    request = urllib.request.Request(url)  # noqa: S310 - http and https alone, see the settings
    if token is not None:
        request.add_unredirected_header("Authorization", f"Bearer {token.resolve()}")
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - see above
            return answer.status, answer.read(_MOST_BYTES).decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read(_MOST_BYTES).decode(errors="replace")
    except (OSError, ValueError) as error:
        return None, f"no answer: {error}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LETTERS else f"{line[:_LETTERS]}..."
